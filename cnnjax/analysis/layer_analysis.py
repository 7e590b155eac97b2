"""The analysis of a network: trace it, follow its equations, lay out its layers, explain what went wrong."""

from __future__ import annotations

import dataclasses
import math
import traceback
from collections.abc import Mapping, Sequence
from typing import Any

from flax import linen as nn
from jax import numpy as jnp
from jax.typing import DTypeLike

from cnnjax.analysis import receptive_field
from cnnjax.analysis.call_marks import Call
from cnnjax.analysis.dataflow import Reused, Row, follow
from cnnjax.analysis.gradient import Weights, weights
from cnnjax.analysis.layers import Analysis, LayerRow, volume
from cnnjax.analysis.lint import lint
from cnnjax.analysis.receptive_field import Field
from cnnjax.analysis.shape_checks import check_weights
from cnnjax.analysis.squashing import squashed_by
from cnnjax.analysis.tracing import Trace, trace
from cnnjax.calling import in_mode
from cnnjax.errors import CnnjaxError, ShapeError

_SHAPE_ERRORS = (TypeError, ValueError, AssertionError, ZeroDivisionError)


def analyse(
    module: nn.Module, input_shape: tuple[int, int, int], *, train: bool = False, dtype: DTypeLike = jnp.float32
) -> Analysis:
    """The layers of `module`, with parameters, multiply-accumulates, activations and receptive fields.

    Any Linen module `module(images)` or `module(images, train=...)` on NHWC images will do, by whatever of its names
    `train` goes (`cnnjax.calling`); its `apply` is traced on an abstract batch of one image. Nothing is allocated or
    run.

    Multiply-accumulates are those of convolutions and matrix products of the image or what became of it, padding
    included (`cnnjax.analysis.macs`); of a matrix that is computed from no variable, such as a resize's, those with
    numbers that are not 0. The body of a scan counts once a step, that of a while loop once, of a
    conditional the costliest branch.

    Args:
        module: the unbound network.
        input_shape: height, width and channels of an image, without batch.
        train: the mode to trace, for modules that know one.
        dtype: of the image.

    Raises:
        ShapeError: a layer does not fit its input; the message gives its path and the cause.
        CnnjaxError: the module cannot be traced for another reason. What it raises of this kind itself passes
            unchanged.
    """
    return analysed(module, input_shape, train=train, dtype=dtype)[0]


def analysed(
    module: nn.Module, input_shape: tuple[int, int, int], *, train: bool = False, dtype: DTypeLike = jnp.float32
) -> tuple[Analysis, Mapping[str, Any]]:
    """What `analyse` returns, and the shapes and types of the module's first variables by collection."""
    analysis, traced = measured(module, input_shape, train=train, dtype=dtype)
    analysis = dataclasses.replace(analysis, warnings=lint(analysis, _weights(module, traced, input_shape)))
    return analysis, traced.variables


def measured(
    module: nn.Module,
    input_shape: tuple[int, int, int],
    *,
    train: bool,
    dtype: DTypeLike = jnp.float32,
    complete: bool = True,
) -> tuple[Analysis, Trace]:
    """What `analyse` returns but for the warnings, and the trace it was read from.

    Not `complete`: parameters and state that the pass does not read may be missing.
    """
    _check(module, input_shape)
    traced = trace(module, input_shape, train=train, dtype=dtype, complete=complete)
    try:
        rows, maps = _rows(traced)
    except Reused:
        traced = trace(module, input_shape, train=train, dtype=dtype, complete=complete, isolated=True)
        rows, maps = _rows(traced)
    check_weights(traced.weights)
    layers = _layers(rows, traced.params, input_shape)
    image = math.prod(input_shape)
    analysis = Analysis(
        input_shape=input_shape,
        params=sum(traced.params.values()),
        state=traced.state,
        macs=sum(layer.macs for layer in layers),
        activations=image + sum(layer.activations for layer in layers),
        activation_bytes=jnp.dtype(dtype).itemsize * image + sum(layer.activation_bytes for layer in layers),
        layers=layers,
        receptive_field=receptive_field.together(maps, input_shape) if maps else (1, 1),
        squashed=squashed_by(traced),
    )
    return analysis, traced


def _check(module: nn.Module, input_shape: tuple[int, int, int]) -> None:
    if not isinstance(module, nn.Module):
        raise CnnjaxError(f"{module!r} is no flax.linen.Module")
    in_mode(module, train=False)
    if len(input_shape) != 3 or not all(isinstance(n, int) and n > 0 for n in input_shape):
        raise ShapeError(f"input shape {input_shape}: must be (height, width, channels), each 1 or more")


def _weights(module: nn.Module, traced: Trace, input_shape: tuple[int, int, int]) -> Weights:
    """What becomes of the parameters. Unreached are those that no gradient comes to from a loss in training either."""
    found = weights(traced)
    if not found.unreached:
        return found
    training = trace(module, input_shape, train=True, loss=True, isolated=traced.isolated)
    if training.error is not None:
        return found
    return found._replace(unreached=found.unreached & weights(training).unreached)


def _rows(traced: Trace) -> tuple[list[Row], list[Field]]:
    """The rows of a trace and the fields of its last maps. Raises what analyse raises, and Reused."""
    if isinstance(traced.error, CnnjaxError):
        raise traced.error
    found = follow(traced)
    if traced.error is not None:
        raise _explained(traced.failed, traced.error) from traced.error
    return found


def _explained(call: Call, error: Exception) -> CnnjaxError:
    """The module's exception as one line with the layer that raised it, and what that layer was given."""
    given = " and ".join(volume(shape[1:]) for shape in call.inputs)
    cause = " ".join(str(error).split("\n")[0].split()) or _statement(error)
    if isinstance(error, _SHAPE_ERRORS):
        return ShapeError(f"{call.name}: fails on its input {given}: {cause}")
    return CnnjaxError(f"{call.name}: fails on its input {given}: {type(error).__name__}: {cause}")


def _statement(error: Exception) -> str:
    """What an error without a message has to say: its type and the line of code that raised it."""
    frames = traceback.extract_tb(error.__traceback__)
    return f"{type(error).__name__} at `{frames[-1].line}`" if frames else type(error).__name__


def _layers(rows: Sequence[Row], params: dict[tuple[str, ...], int], image: Sequence[int]) -> tuple[LayerRow, ...]:
    """The rows as layers, each module's parameters in the first row that owns them."""
    remaining, layers = dict(params), []
    for row in rows:
        own = remaining.pop(row.call.path, 0) if row.owns else 0
        if own or not row.only_params:
            layers.append(_layer(row, own, image))
    return tuple(layers)


def _layer(row: Row, params: int, image: Sequence[int]) -> LayerRow:
    spans = row.field or ()
    seen = [receptive_field.extent(span, pixels) for span, pixels in zip(spans, image, strict=False)] or [(0, 0, 0)] * 2
    (height, jump_h, offset_h), (width, jump_w, offset_w) = seen
    return LayerRow(
        path=".".join(row.call.path),
        op=row.op,
        output_shape=tuple(row.shape),
        input_shape=None if row.input_shape is None else tuple(row.input_shape),
        params=params,
        macs=row.macs,
        activations=row.activations,
        activation_bytes=row.activation_bytes,
        receptive_field=(height, width),
        jump=(jump_h, jump_w),
        offset=(offset_h, offset_w),
        global_context=any(span.axis is not None and span.fixed is not None for span in spans),
        least_receptive_field=receptive_field.least(row.field) if row.field else (0, 0),
        batch_group=row.call.batch_group,
        **(row.window._asdict() if row.window else {}),
    )
