"""Controlled ablation studies of convolutional networks in JAX."""
