"""Windows that fit nowhere in their input, and layers of 0 features: JAX goes on with an empty array, never meant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from jax.extend.core import JaxprEqn

from cnnjax.analysis.equation import input_shape, output_shape
from cnnjax.analysis.layers import volume
from cnnjax.errors import ShapeError

_FEATURES = "a layer needs at least 1 feature (a width that is divided or scaled may have been rounded to 0)"


def check_fit(equation: JaxprEqn, layer: str) -> None:
    """Raise ShapeError with the name of the `layer` and the arithmetic if a convolution or pooling has no output."""
    output = output_shape(equation)
    if 0 not in output or "window_strides" not in equation.params:
        return
    inputs, p = input_shape(equation), equation.params
    if 0 in inputs:
        raise ShapeError(f"{layer}: its input is empty: {volume(inputs[1:])}")
    if "window_dimensions" in p:
        axes = [axis for axis, length in enumerate(p["window_dimensions"]) if length > 1]
        kernel, dilation, padding = (_at(p[k], axes) for k in ("window_dimensions", "window_dilation", "padding"))
        what, inputs, output = "window", _at(inputs, axes), _at(output, axes)
    else:
        lhs, rhs, out = p["dimension_numbers"]
        if 0 in (input_shape(equation, 1)[rhs[0]], input_shape(equation, 1)[rhs[1]]):
            raise ShapeError(f"{layer}: its kernel {volume(input_shape(equation, 1))} is empty; {_FEATURES}")
        kernel, dilation, padding = _at(input_shape(equation, 1), rhs[2:]), p["rhs_dilation"], p["padding"]
        what, inputs, output = "kernel", _at(inputs, lhs[2:]), _at(output, out[2:])
    spread = "" if set(dilation) == {1} else f" dilated by {volume(dilation)}"
    padded = f"padding {' and '.join(f'{a}+{b}' for a, b in padding)}" if any(map(any, padding)) else "valid padding"
    raise ShapeError(
        f"{layer}: {what} {volume(kernel)}{spread} does not fit its {volume(inputs)} input ({padded}); "
        f"output would be {volume(output)}"
    )


def check_weights(weights: Mapping[tuple[str, ...], int]) -> None:
    """Raise ShapeError with the name of a parameter without numbers: the layers after it see nothing of the image."""
    for path, count in weights.items():
        if count == 0:
            raise ShapeError(f"{'.'.join(path)} is empty: it has no numbers; {_FEATURES}")


def _at(sequence: Sequence, axes: Sequence[int]) -> tuple:
    return tuple(sequence[axis] for axis in axes)
