"""Studies: axes, the checked plan, and what a folder holds of it already."""
