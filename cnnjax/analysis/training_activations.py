"""What a training forward pass writes, beside what inference writes: both modes of a network in one analysis."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from flax import linen as nn
from jax import numpy as jnp
from jax.typing import DTypeLike

from cnnjax.analysis.alignment import aligned
from cnnjax.analysis.layer_analysis import measured
from cnnjax.analysis.layers import Analysis, LayerRow
from cnnjax.calling import has_modes


def with_training(inference: Analysis, module: nn.Module, *, dtype: DTypeLike = jnp.float32) -> Analysis:
    """`inference`, an analysis of `module`, with the activations of training in every row and in total.

    A row that only training has (an auxiliary classifier) is added in its place, with no multiply-accumulates and no
    activations of inference. A module that is not told its mode is not traced again. Raises what `analyse` raises.
    """
    if not has_modes(module):
        training = inference
    else:
        training, _ = measured(module, inference.input_shape, train=True, dtype=dtype, complete=False)
    layers = _merged(inference.layers, training.layers)
    return dataclasses.replace(
        inference,
        params=max(inference.params, training.params),
        layers=layers,
        train_activations=training.activations,
        train_activation_bytes=training.activation_bytes,
    )


def _merged(inference: Sequence[LayerRow], training: Sequence[LayerRow]) -> tuple[LayerRow, ...]:
    rows, added = [], []
    for own, trained in aligned(inference, training):
        row = own or dataclasses.replace(trained, macs=0, activations=0, activation_bytes=0)  # type: ignore[type-var]
        numbers = (trained.activations, trained.activation_bytes) if trained else (0, 0)
        rows.append(dataclasses.replace(row, train_activations=numbers[0], train_activation_bytes=numbers[1]))
        added += [row] if own is None else []
    left = (_without_shown(row, added) for row in rows)
    return tuple(row for row in left if row is not None)


def _without_shown(row: LayerRow, added: Sequence[LayerRow]) -> LayerRow | None:
    """The row without the parameters that rows of training alone now show below its module; None if it had no more."""
    below = sum(other.params for other in added if other.path.startswith(f"{row.path}." if row.path else ""))
    if row in added or not 0 < below <= row.params:
        return row
    less = dataclasses.replace(row, params=row.params - below)
    return less if less.params or less.macs or less.activations else None
