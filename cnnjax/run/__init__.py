"""Training in a run directory: the loop, checkpoints, and everything a result is traced by."""
