"""Auxiliary classifiers: losses in the middle of a network."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax

COLLECTION = "auxiliary"


def add_auxiliary_logits(module: nn.Module, name: str, logits: jax.Array, *, weight: float) -> None:
    """Let training add `weight` times the loss of these logits (batch, classes) to that of the network's own.

    They are left in the collection "auxiliary" under `name`, where the step finds them; a network adds them with
    `train` only.
    """
    if not module.is_initializing():
        left: Any = (logits, weight)
        module.sow(COLLECTION, name, left, reduce_fn=lambda _, new: new, init_fn=lambda: None)
