"""The kernels of a network: which parameters they are, their fans, and how their layers keep them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import flax.linen as nn
import jax
from flax import traverse_util
from jax.extend.core import Literal

from cnnjax import calling
from cnnjax.errors import ConfigError

Path = tuple[str, ...]


@dataclass(frozen=True)
class Kernel:
    """A parameter named `kernel`: the weights of a convolution or a dense layer.

    path: its place in the parameters, with dots. shape: as its layer keeps it, `stacked` copies of one layer's in front
    (`nn.scan`, `nn.vmap`). window: positions of a convolution along each axis; () of a dense layer. channels: inputs
    that an output is made of, at one position: those of one group. features: outputs, of all groups. groups: the parts
    that inputs and outputs are split into, in order. transposed: of a transposed convolution, which steps its output by
    `strides`. direct: whether the layer's outputs are in proportion to the kernel; not so within a gate, or where
    weights are standardized.
    """

    path: str
    shape: tuple[int, ...]
    window: tuple[int, ...]
    channels: int
    features: int
    groups: int = 1
    transposed: bool = False
    strides: tuple[int, ...] = ()
    stacked: tuple[int, ...] = ()
    features_first: bool = False
    direct: bool = True

    @property
    def layout(self) -> tuple[int, ...]:
        """The shape in which a kernel is drawn: (*window, channels, features)."""
        return (*self.window, self.channels, self.features)

    @property
    def fan_in(self) -> float:
        """Inputs that an output is made of; of a transposed convolution on average, since its outputs differ."""
        return prod(self.window) * self.channels / prod(self.strides if self.transposed else ())

    @property
    def fan_out(self) -> float:
        """Outputs that an input has a part in, as if a convolution did not stride: He et al. 2015, section 2.2."""
        return prod(self.window) * self.features / self.groups

    def kept(self, draw: Callable[[jax.Array], jax.Array], key: jax.Array) -> jax.Array:
        """`draw(key)`, of the `layout`, in the shape that the layer keeps; each of stacked layers has a key."""
        count = prod(self.stacked)
        drawn = jax.vmap(draw)(jax.random.split(key, count)) if self.stacked else draw(key)
        if self.features_first:
            drawn = drawn.swapaxes(-1, -2)
        return drawn.reshape(self.shape)


def kernels_of(network: nn.Module, images: Any, streams: Callable[[str], jax.Array]) -> dict[str, Kernel]:
    """The kernels of a network that are drawn at random, by path, in the order in which their layers are called.

    Left out are those that a layer begins with at fixed values, whatever the key (zeros, bilinear interpolation): they
    are meant so. images [B, H, W, C]: what the network is initialized with. Raises ConfigError where a kernel's fans
    cannot be told.
    """
    seen: dict[Path, Kernel] = {}

    def started(key: jax.Array) -> Any:
        with nn.intercept_methods(_noting(seen)):
            return calling.init(network, key, images, streams=streams)["params"]

    traced, shapes = jax.make_jaxpr(started, return_shape=True)(streams("params"))
    random = _reached(traced.jaxpr)
    params: dict[Path, Any] = traverse_util.flatten_dict(dict(shapes))  # pyright: ignore[reportAssignmentType]
    paths = [tuple(entry.key for entry in path) for path, _ in jax.tree_util.tree_leaves_with_path(shapes)]
    drawn = {path for path, is_random in zip(paths, random, strict=True) if is_random and path[-1] == "kernel"}
    order = [*(path for path in seen if path in drawn), *(path for path in paths if path in drawn - seen.keys())]
    return {".".join(path): _fitted(seen.get(path), path, params[path].shape) for path in order}


def _noting(seen: dict[Path, Kernel]) -> Any:
    """A Flax interceptor that notes the kernel of each module that is called."""

    def noting(method: Any, args: Any, kwargs: Any, context: Any) -> Any:
        returned, module = method(*args, **kwargs), context.module
        if context.method_name == "__call__" and holds_kernel(module):
            kernel = nn.unbox(module.get_variable("params", "kernel"))
            path = (*module.scope.path, "kernel")
            given = [x for x in (*args, *kwargs.values()) if getattr(x, "ndim", 0) >= 2]
            seen.setdefault(path, _of(module, path, kernel.shape, given[0].shape if given else None))
        return returned

    return noting


def holds_kernel(module: nn.Module) -> bool:
    """Whether the module, inside of a call, has a parameter named `kernel` of its own."""
    return module.scope is not None and module.has_variable("params", "kernel")


def _of(module: nn.Module, path: Path, shape: tuple[int, ...], given: tuple[int, ...] | None) -> Kernel:
    name = ".".join(path)
    if isinstance(module, nn.DenseGeneral) and len(shape) > 2:
        axes = len(module.axis) if isinstance(module.axis, tuple | list) else 1
        return Kernel(name, shape, (), prod(shape[:axes]), prod(shape[axes:]))
    if isinstance(module, nn.ConvLocal):  # A dense layer of its own at every place.
        *places, inputs, features = list(shape)
        return Kernel(name, shape, (), inputs, features, stacked=tuple(places))
    if len(shape) < 3:
        return _dense(name, shape)
    transposed = isinstance(module, nn.ConvTranspose) or getattr(module, "transposed", False)
    first = isinstance(module, nn.ConvTranspose) and module.transpose_kernel
    *window, channels, features = shape
    channels, features = (features, channels) if first else (channels, features)
    # Flax's take any number of axes of examples; else a window of other axes than the input's reads something else.
    reads = given is not None and (len(given) == len(shape) or isinstance(module, nn.Conv | nn.ConvTranspose))
    inputs = given[-1] if given is not None and reads else channels
    groups = inputs // channels
    if groups * channels != inputs or features % groups:
        raise ConfigError(
            f"initialization: {name} has {channels} channels and {features} features and its layer an input of "
            f"{inputs} channels, which are no groups of a convolution: call what is no kernel of (*window, channels / "
            "groups, features) otherwise",
            path="initialization",
        )
    strides = getattr(module, "strides", None) or 1
    steps = tuple(strides) if isinstance(strides, tuple | list) else (strides,) * len(window)
    direct = (given is None or reads) and getattr(module, "standardize", None) is None
    fields: dict[str, Any] = {"groups": groups, "transposed": transposed, "strides": steps, "direct": direct}
    return Kernel(name, shape, tuple(window), channels, features, features_first=first, **fields)


def _dense(name: str, shape: tuple[int, ...]) -> Kernel:
    if len(shape) != 2:
        raise ConfigError(
            f"initialization: {name} of shape {shape} has no inputs and outputs; name it otherwise",
            path="initialization",
        )
    return Kernel(name, shape, (), *shape)


def _fitted(kernel: Kernel | None, path: Path, shape: tuple[int, ...]) -> Kernel:
    """The kernel as it stands in the parameters. Raises ConfigError where its fans cannot be told."""
    name = ".".join(path)
    if kernel is None and len(shape) == 2:
        return _dense(name, shape)
    if kernel is None or shape[len(shape) - len(kernel.shape) :] != kernel.shape:
        raise ConfigError(
            f"initialization: {name} of shape {shape}: its layer's inputs and outputs cannot be told, since no module "
            "with that kernel is called for the images (stacked layers have theirs on the first axes)",
            path="initialization",
        )
    return Kernel(**{**vars(kernel), "shape": shape, "stacked": (*shape[: -len(kernel.shape)], *kernel.stacked)})


def _reached(jaxpr: Any) -> list[bool]:
    """Which results depend on an argument; an operation's results all depend on what any of its operands does."""
    reached = set(jaxpr.invars)
    for equation in jaxpr.eqns:
        if any(not isinstance(x, Literal) and x in reached for x in equation.invars):
            reached |= set(equation.outvars)
    return [not isinstance(x, Literal) and x in reached for x in jaxpr.outvars]


def replaced(params: Mapping[str, Any], kernels: Mapping[str, jax.Array]) -> dict[str, Any]:
    """The parameters with `kernels`, by path, in the place of those."""
    flat: dict[Path, Any] = traverse_util.flatten_dict(dict(params))  # pyright: ignore[reportAssignmentType]
    new = {path: kernels.get(".".join(path), leaf) for path, leaf in flat.items()}
    return traverse_util.unflatten_dict(new)
