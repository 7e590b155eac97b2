"""Multiply-accumulates of the two operations that are counted: convolution and matrix product.

A multiplication by zero padding counts, as in the tables of the literature; one by the zeros that a transposed
convolution puts between its inputs does not. Elementwise operations, normalization and pooling count nothing. A
multiply-accumulate is two floating-point operations.
"""

from __future__ import annotations

import math

from jax.extend.core import JaxprEqn

from cnnjax.analysis.equation import input_shape, output_shape


def macs(equation: JaxprEqn) -> int:
    """The multiply-accumulates of one equation; 0 for all but convolutions and matrix products."""
    count = _COUNTS.get(equation.primitive.name)
    return count(equation) if count else 0


def _convolution(equation: JaxprEqn) -> int:
    """Output size x kernel height x width x input features of a group; on a dilated axis its inputs are counted."""
    inputs, kernel, output = input_shape(equation), input_shape(equation, 1), output_shape(equation)
    lhs, rhs, out = equation.params["dimension_numbers"]
    places = (
        output[o] if dilation == 1 else inputs[i]
        for i, o, dilation in zip(lhs[2:], out[2:], equation.params["lhs_dilation"], strict=True)
    )
    features = output[out[0]] * output[out[1]] * kernel[rhs[1]]
    return features * math.prod(places) * math.prod(kernel[axis] for axis in rhs[2:])


def _product(equation: JaxprEqn) -> int:
    """Output size x length of the contracted axes."""
    (contracted, _), _ = equation.params["dimension_numbers"]
    shape = input_shape(equation)
    return math.prod(output_shape(equation)) * math.prod(shape[axis] for axis in contracted)


_COUNTS = {"conv_general_dilated": _convolution, "dot_general": _product}
