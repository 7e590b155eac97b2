"""Studies: axes, the checked plan, and the executor that trains what is missing."""
