"""Multiply-accumulates of the two operations that are counted: convolution and matrix product.

A multiplication by zero padding counts, as in the tables of the literature. A transposed convolution multiplies each
input by each tap, whatever its stride: the zeros that it puts between its inputs and around them do not count.
Elementwise operations, normalization and pooling count nothing. A multiply-accumulate is two floating-point operations.
"""

from __future__ import annotations

import math
from pathlib import Path

from jax import lax
from jax.extend.core import JaxprEqn

from cnnjax.analysis.equation import input_shape, output_shape

_TRANSPOSED = {
    (lax.conv_transpose.__code__.co_name, lax.conv_transpose.__code__.co_filename),
    ("convolve_transposed", str(Path(__file__).parents[1] / "nn" / "transposed_convolution.py")),
}
"""Function and file of those that make transposed convolutions."""


def macs(equation: JaxprEqn) -> int:
    """The multiply-accumulates of one equation; 0 for all but convolutions and matrix products."""
    count = _COUNTS.get(equation.primitive.name)
    return count(equation) if count else 0


def _convolution(equation: JaxprEqn) -> int:
    """Places x kernel height x width x output features x input features of a group.

    Places are those of the output; of the input along a dilated axis, and in a transposed convolution.
    """
    inputs, kernel, output = input_shape(equation), input_shape(equation, 1), output_shape(equation)
    lhs, rhs, out = equation.params["dimension_numbers"]
    resizes = any(output[o] != inputs[i] for i, o in zip(lhs[2:], out[2:], strict=True))
    transposed = resizes and max(equation.params["window_strides"]) == 1 and _is_transposed(equation)
    places = (
        inputs[i] if transposed or dilation > 1 else output[o]
        for i, o, dilation in zip(lhs[2:], out[2:], equation.params["lhs_dilation"], strict=True)
    )
    features = output[out[0]] * output[out[1]] * kernel[rhs[1]]
    return features * math.prod(places) * math.prod(kernel[axis] for axis in rhs[2:])


def _is_transposed(equation: JaxprEqn) -> bool:
    """Whether a function for it made it: at stride 1 nothing else tells it from a convolution with other padding."""
    traceback = equation.source_info.traceback
    frames = traceback.frames if traceback else ()
    return any((frame.function_name, frame.file_name) in _TRANSPOSED for frame in frames)


def _product(equation: JaxprEqn) -> int:
    """Output size x length of the contracted axes."""
    (contracted, _), _ = equation.params["dimension_numbers"]
    shape = input_shape(equation)
    return math.prod(output_shape(equation)) * math.prod(shape[axis] for axis in contracted)


_COUNTS = {"conv_general_dilated": _convolution, "dot_general": _product}
