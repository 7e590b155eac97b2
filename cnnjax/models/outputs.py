"""What a network returns: logits, or what it takes to find them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from cnnjax.errors import ShapeError
from cnnjax.models.model import Model


def logits_of(
    model: Model, outputs: Any, *, batch: int, needed: int, spare: bool = False, target_rank: int = 1
) -> jax.Array:
    """The logits in what the network of `model` returned for `batch` images, by `Model.logits`.

    needed: K, the outputs an image; `spare` admits more. target_rank: axes of one example's target, a class or a number
    counted as one. Raises ShapeError where they are not real floating-point numbers [B, K]; where targets have more
    axes, the loss says what they must be.
    """
    logits, name = array_of(model, outputs), type(model).__name__
    if target_rank == 1 and logits.ndim == 4:
        raise ShapeError(
            f"{name}: outputs are [B,H,W,C] maps, {shown(logits)}; pool them in the network or override "
            "logits(outputs): return outputs.mean((1, 2))"
        )
    if target_rank == 1 and logits.ndim != 2:
        raise ShapeError(f"{name}: outputs are {shown(logits)}, not [B,K]; override logits(outputs)")
    if not logits.ndim or logits.shape[0] != batch:
        raise ShapeError(f"{name}: outputs are {shown(logits)} for {batch} images; the first axis must be the images'")
    if target_rank == 1 and (logits.shape[1] < needed or (logits.shape[1] > needed and not spare)):
        raise ShapeError(
            f"{name}: outputs are {shown(logits)}, but {needed} an image are needed; its last layer should have "
            "self.num_classes"
        )
    if not jnp.issubdtype(logits.dtype, jnp.floating):
        raise ShapeError(f"{name}: outputs are {shown(logits)}; they must be real floating-point numbers")
    return logits


def array_of(model: Model, outputs: Any) -> jax.Array:
    """What `Model.logits` finds in the outputs. Raises ShapeError where it is no array."""
    logits = model.logits(outputs)
    if not is_array(logits):
        raise ShapeError(
            f"{type(model).__name__}: the network returns {shown(logits)}, not an array; say where its logits are: "
            f"def logits(self, outputs): return {_example(logits)}"
        )
    return logits


def joined(outputs: Any) -> jax.Array:
    """One array [B, n] of all real floating-point arrays [B, ...] in the outputs; an array is returned as it is."""
    if is_array(outputs):
        return outputs
    held = [x for x in jax.tree.leaves(outputs) if jnp.issubdtype(x.dtype, jnp.floating)]
    return jnp.concatenate([x.reshape(len(x), -1) for x in held], axis=1)


def is_array(held: Any) -> bool:
    """Whether it has a shape and a type of numbers."""
    return hasattr(held, "shape") and hasattr(held, "dtype")


def shown(tree: Any) -> str:
    """`(float32[8,10], {'pooled': float32[8,64]})`."""
    if isinstance(tree, Mapping):
        return "{" + ", ".join(f"{name!r}: {shown(held)}" for name, held in tree.items()) + "}"
    if isinstance(tree, tuple | list):
        return "(" + ", ".join(map(shown, tree)) + ")"
    if is_array(tree):
        return f"{tree.dtype}[{','.join(map(str, tree.shape))}]"
    return f"{tree!r}"


def _example(outputs: Any) -> str:
    if isinstance(outputs, Mapping) and outputs:
        named = "logits" if "logits" in outputs else next(iter(outputs))
        return f"outputs[{named!r}]"
    return "outputs[0]" if isinstance(outputs, tuple | list) else "..."
