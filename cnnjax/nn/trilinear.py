"""A convolution and its two gradients as one JAX primitive, so that each has a lowering of its own.

With x the input, k the kernel and y a cotangent of the output, <y, convolution(x, k)> is linear in each of the three.
Its derivative with respect to one of them, "output", "input" or "kernel", is the convolution or a gradient of it, and
the derivative of that with respect to one of its operands is again one of the three. So the primitive takes two of them
and gives the third; differentiation of any order, forward and reverse, stays within it.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jax.sharding import NamedSharding, PartitionSpec

from cnnjax.nn import batched_products, matrix_products, xla_convolution
from cnnjax.nn.geometry import Geometry
from cnnjax.nn.lowering_rules import Wanted, choose
from cnnjax.nn.mesh import varying_alike

OPERANDS: Mapping[Wanted, tuple[Wanted, Wanted]] = {
    "output": ("input", "kernel"),
    "input": ("output", "kernel"),
    "kernel": ("input", "output"),
}
Lanes = tuple[tuple[bool, bool], ...]
"""For each axis that vmap put in front, outermost first: which of the two operands have it."""

trilinear = Primitive("cnnjax_convolution")


def bind(
    a: jax.Array, b: jax.Array, *, wanted: Wanted, geometry: Geometry, lanes: Lanes = (), lowering: str
) -> jax.Array:
    """`wanted` from the two operands that OPERANDS names. The result has every axis of `lanes`."""
    a, b = varying_alike(a, b), varying_alike(b, a)
    return trilinear.bind(a, b, wanted=wanted, geometry=geometry, lanes=lanes, lowering=lowering)


# --- shapes


def _shape(wanted: Wanted, g: Geometry, first: tuple[int, ...], second: tuple[int, ...]) -> tuple[int, ...]:
    if wanted == "output":
        return (first[0], *g.output, second[3])
    if wanted == "input":
        return (first[0], *g.size, second[2] * g.groups)
    return (*g.kernel, first[3] // g.groups, second[3])


@trilinear.def_abstract_eval
def _abstract(a: Any, b: Any, *, wanted: Wanted, geometry: Geometry, lanes: Lanes, lowering: str) -> Any:
    shapes = (x.shape[sum(flags) :] for x, flags in zip((a, b), _by_operand(lanes), strict=True))
    sizes = (next(x.shape[i] for x, i in zip((a, b), where, strict=True) if i is not None) for where in _places(lanes))
    shape = (*sizes, *_shape(wanted, geometry, *shapes))
    sharding = NamedSharding(a.sharding.mesh, PartitionSpec(*[None] * len(shape)))
    return a.update(shape=shape, dtype=a.dtype, weak_type=False, sharding=sharding)


def _by_operand(lanes: Lanes) -> tuple[tuple[bool, ...], tuple[bool, ...]]:
    return tuple(first for first, _ in lanes), tuple(second for _, second in lanes)


def _places(lanes: Lanes) -> list[tuple[int | None, ...]]:
    """For each lane the axis that it is of either operand."""
    return [
        tuple(sum(level[k] for level in lanes[:n]) if flags[k] else None for k in (0, 1))
        for n, flags in enumerate(lanes)
    ]


# --- derivatives and vmap


def _transpose(operand: int, cotangent: jax.Array, a: Any, b: Any, **params: Any) -> jax.Array:
    """The cotangent of one operand: that operand is wanted, from the other one and what was wanted."""
    wanted = params.pop("wanted")
    lanes = params.pop("lanes")
    names = OPERANDS[wanted]
    values = {wanted: cotangent, names[1 - operand]: b if operand == 0 else a}
    has = {wanted: (True,) * len(lanes), names[1 - operand]: _by_operand(lanes)[1 - operand]}
    first, second = OPERANDS[names[operand]]
    lanes_then = tuple(zip(has[first], has[second], strict=True))
    result = bind(values[first], values[second], wanted=names[operand], lanes=lanes_then, **params)
    shared = tuple(n for n, flags in enumerate(lanes) if not flags[operand])
    return result.sum(shared) if shared else result


ad.defbilinear(trilinear, partial(_transpose, 0), partial(_transpose, 1))


def _batched(args: Any, dims: Any, *, wanted: Wanted, lanes: Lanes, **params: Any) -> tuple[jax.Array, int]:
    flags = (dims[0] is not None, dims[1] is not None)
    a, b = (x if dim is None else jnp.moveaxis(x, dim, 0) for x, dim in zip(args, dims, strict=True))
    if not lanes and wanted != "kernel" and flags == (True, False):
        # Images of many lanes with one kernel are one larger batch.
        result = bind(a.reshape(-1, *a.shape[2:]), b, wanted=wanted, **params)
        return result.reshape(*a.shape[:2], *result.shape[1:]), 0
    return bind(a, b, wanted=wanted, lanes=(flags, *lanes), **params), 0


batching.primitive_batchers[trilinear] = _batched


# --- lowering


def by_xla(wanted: Wanted, a: jax.Array, b: jax.Array, g: Geometry) -> jax.Array:
    """As XLA does it: `lax.conv_general_dilated` or what JAX derives from it."""
    if wanted == "output":
        return xla_convolution.output(a, b, g)
    like = varying_alike(jnp.zeros(_shape(wanted, g, a.shape, b.shape), a.dtype), a)
    if wanted == "input":
        return jax.linear_transpose(lambda x: xla_convolution.output(x, b, g), like)(a)[0]
    return jax.linear_transpose(lambda kernel: xla_convolution.output(a, kernel, g), like)(b)[0]


def compute(
    wanted: Wanted, a: jax.Array, b: jax.Array, g: Geometry, lowering: str, *, packed: bool = False
) -> jax.Array:
    """`wanted` from the operands that OPERANDS names, by the lowering of that name; what it cannot do is XLA's.

    packed: whether both operands have an axis of lanes, of which this is one.
    """
    if lowering == "products" and packed and g.groups == 1 and jnp.issubdtype(a.dtype, jnp.floating):
        by_wanted = {
            "output": batched_products.output,
            "input": batched_products.input_gradient,
            "kernel": batched_products.kernel_gradient,
        }
        return by_wanted[wanted](a, b, g)
    lowering = "xla" if lowering == "products" else lowering
    if lowering == "xla" or not jnp.issubdtype(a.dtype, jnp.floating) or (wanted == "input" and g.is_spread):
        return by_xla(wanted, a, b, g)
    if wanted == "output":
        return _output(a, b, g, lowering=lowering, packed=packed)
    if wanted == "input":
        forward = partial(_output, lowering=lowering, packed=packed)
        return matrix_products.input_gradient(a, b, g, forward=forward).astype(a.dtype)
    if lowering == "auto":
        lowering = choose(wanted, g, a.shape[3], b.shape[3], packed=packed)
    if lowering == "taps":
        return matrix_products.kernel_gradient_by_taps(a, b, g)
    if lowering == "patches":
        return matrix_products.kernel_gradient(a, b, g)
    return xla_convolution.kernel_gradient(a, b, g) if g.groups == 1 else by_xla(wanted, a, b, g)


def _output(x: jax.Array, kernel: jax.Array, g: Geometry, *, lowering: str, packed: bool) -> jax.Array:
    if lowering == "auto":
        lowering = choose("output", g, x.shape[3], kernel.shape[3], packed=packed)
    by_name = {"direct": xla_convolution.output, "patches": matrix_products.by_patches, "taps": matrix_products.by_taps}
    return by_name[lowering](x, kernel, g).astype(x.dtype)


def _lowered(
    a: jax.Array, b: jax.Array, *, wanted: Wanted, geometry: Geometry, lanes: Lanes, lowering: str
) -> jax.Array:
    packed = any(all(flags) for flags in lanes)

    def function(a: jax.Array, b: jax.Array) -> jax.Array:
        return compute(wanted, a, b, geometry, lowering, packed=packed)

    for flags in reversed(lanes):
        function = jax.vmap(function, in_axes=tuple(0 if flag else None for flag in flags))
    return function(a, b)


def _elsewhere(a: jax.Array, b: jax.Array, **params: Any) -> jax.Array:
    """On accelerators XLA has libraries made for this, but for lanes that each have a kernel of their own."""
    options: Any = params | {"lowering": "products" if params["lowering"] == "products" else "xla"}
    return _lowered(a, b, **options)


def _on_cpu(a: jax.Array, b: jax.Array, **params: Any) -> jax.Array:
    options: Any = params | {"lowering": "auto" if params["lowering"] == "products" else params["lowering"]}
    return _lowered(a, b, **options)


mlir.register_lowering(trilinear, mlir.lower_fun(_elsewhere, multiple_results=False))
mlir.register_lowering(trilinear, mlir.lower_fun(_on_cpu, multiple_results=False), platform="cpu")


@partial(jax.jit, static_argnames=("wanted", "geometry", "lanes", "lowering"))
def _compiled(a: jax.Array, b: jax.Array, **params: Any) -> jax.Array:
    return trilinear.bind(a, b, **params)


@trilinear.def_impl
def _run(a: jax.Array, b: jax.Array, **params: Any) -> jax.Array:
    """Outside of any jit."""
    config: Any = jax.config
    if config.jax_disable_jit:
        return _elsewhere(a, b, **params)
    return _compiled(a, b, **params)
