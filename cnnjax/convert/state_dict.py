"""State dicts of PyTorch to variables of Flax, and back."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from cnnjax import calling
from cnnjax.analysis import Analysis, analysed
from cnnjax.convert.tensor_names import prefix, torchvision_names, without
from cnnjax.convert.weights_file import array
from cnnjax.errors import ConfigError, WeightsError
from cnnjax.models import Model, config
from cnnjax.models.heads.classifier import boxes_by_class

Shape = tuple[int, ...]
Variables = dict[str, Any]

HEAD = "logits"
TRANSPOSED = "transposed_convolution"
"""The kind of layer, as an analysis names it, whose kernel PyTorch keeps with its inputs first."""
_LEAVES = {"kernel": "weight", "scale": "weight", "bias": "bias", "mean": "running_mean", "var": "running_var"}


def from_torch(
    model: str | Model,
    state_dict: Mapping[str, Any],
    *,
    input_shape: tuple[int, int, int] | None = None,
    fresh_head: bool = False,
) -> Variables:
    """Flax variables (`{"params": ..., "batch_stats": ...}`, NumPy float32) from a PyTorch state dict.

    model: an architecture's name, or its config. Where `num_classes` is not set it is taken from the weights.
    state_dict: names to tensors or arrays, torchvision's or timm's; what wrapped the network ("module.", "_orig_mod.",
    "model.", "backbone.", ...) may stand before the names. Weights of auxiliary heads are accepted though the model
    has none. input_shape: of the images (height, width, channels); None is what the network was published for. It
    matters to dense layers after a flattening. fresh_head: the layers of logits are drawn anew, whether the state dict
    has any or not; `num_classes` must be set then.

    Raises WeightsError listing every tensor that is missing, left over, of another shape or not finite, by both names,
    and ConfigError where the architecture has no counterpart. Warns where it took one of several copies.
    """
    network = config(model) if isinstance(model, str) else model
    if not isinstance(state_dict, Mapping) or not all(hasattr(tensor, "shape") for tensor in state_dict.values()):
        raise WeightsError("a state dict maps names to tensors or arrays; give model.state_dict()")
    tensors = torchvision_names(state_dict)
    if network.num_classes is None:
        if fresh_head:
            raise ConfigError("a fresh head has as many classes as you say: set num_classes (model.num_classes=N)")
        network = network.model_copy(update={"num_classes": _classes(network, tensors, input_shape)})
    held = tensors
    slots, tensors, before = _matched(network, _slots(network, input_shape), held)
    fresh = [slot for slot in slots if slot.is_head] if fresh_head else []
    slots = [slot for slot in slots if slot not in fresh]
    for slot in fresh:
        tensors.pop(slot.name, None)
    problems = _problems(network, slots, tensors)
    if problems:
        name = model if isinstance(model, str) else network.tag
        head = f"the weights do not fit {name} ({len(problems)} tensors)"
        raise WeightsError("\n".join([head, *problems, *_remedy(slots, tensors, before, held)]))
    leaves = {slot.path: slot.to_flax(array(tensors[slot.name])) for slot in slots}
    if fresh:
        leaves |= _drawn(network, input_shape, [slot.path for slot in fresh])
    return {"batch_stats": {}, **traverse_util.unflatten_dict(leaves)}


def to_torch(
    model: str | Model, variables: Mapping[str, Any], *, input_shape: tuple[int, int, int] | None = None
) -> dict[str, np.ndarray]:
    """The state dict (names to NumPy arrays) that PyTorch's `load_state_dict` takes; the inverse of `from_torch`."""
    network = config(model) if isinstance(model, str) else model
    if network.num_classes is None:
        path = ("params", *network.logits_path.split("."), "kernel")
        logits = _flat(variables).get(path) if isinstance(variables, Mapping) else None
        if logits is None:
            raise WeightsError(f"{network.tag}: the variables have no {'.'.join(path)} to tell the classes from")
        network = network.model_copy(update={"num_classes": network.classes_of(logits.shape[-1])})
    slots = _slots(network, input_shape)
    leaves: dict[tuple[str, ...], Any] = _flat(variables)
    wrong = [
        f"  {'.'.join(slot.path)}: {_by(slot.shape)} expected, {_by(np.shape(leaves[slot.path]))} given"
        if slot.path in leaves
        else f"  {'.'.join(slot.path)}: missing"
        for slot in slots
        if slot.path not in leaves or np.shape(leaves[slot.path]) != slot.shape
    ]
    if wrong:
        raise WeightsError("\n".join([f"{network.tag}: these are not its variables", *wrong]))
    tensors = {slot.name: slot.to_torch(np.asarray(leaves[slot.path])) for slot in slots}
    counted = [name.removesuffix("running_var") for name in tensors if name.endswith("running_var")]
    return tensors | {f"{name}num_batches_tracked": np.zeros((), np.int64) for name in counted}


# --- one array of the network and its tensor


@dataclass(frozen=True)
class _Slot:
    """path: collection and keys in the variables. shape: there. name, torch_shape: in PyTorch. timm_name: in timm.

    flattened: (height, width, channels) of the maps whose flattening the kernel multiplies, None for other arrays.
    transposed: whether it is the kernel of a transposed convolution, whose inputs come first in PyTorch. by_class:
    whether it says a box for each class (`boxes_by_class`).
    """

    path: tuple[str, ...]
    shape: Shape
    name: str
    timm_name: str
    torch_shape: Shape
    flattened: Shape | None
    transposed: bool = False
    by_class: bool = False

    @property
    def is_head(self) -> bool:
        """Whether it belongs to a layer of logits, or of boxes that are one for each of them."""
        return self.by_class or any(HEAD in key for key in self.path)

    def fits(self, shape: Shape) -> bool:
        """Whether an array of `shape` is this one, of these many numbers in this order.

        A dense layer may be kept as the convolution that covers its whole input, and a 1x1 convolution as a dense one.
        """
        whole = None
        if self.flattened:
            height, width, channels = self.flattened
            whole = (self.shape[1], channels, height, width)
        return shape == whole or _without_ones(shape) == _without_ones(self.torch_shape)

    def to_flax(self, tensor: np.ndarray) -> np.ndarray:
        if self.transposed:
            return np.ascontiguousarray(tensor.reshape(self.torch_shape).transpose(2, 3, 0, 1))
        if len(self.shape) == 4:
            return np.ascontiguousarray(tensor.reshape(_torch_order(self.shape)).transpose(2, 3, 1, 0))
        if self.flattened:
            height, width, channels = self.flattened
            tensor = tensor.reshape(-1, channels, height, width).transpose(0, 2, 3, 1)
        if len(self.shape) == 2:
            return np.ascontiguousarray(tensor.reshape(self.shape[::-1]).T)
        # Contiguous, NumPy gives a scalar an axis.
        return np.ascontiguousarray(tensor).reshape(self.shape)

    def to_torch(self, array: np.ndarray) -> np.ndarray:
        if self.transposed:
            return np.ascontiguousarray(array.transpose(2, 3, 0, 1))
        if len(self.shape) == 4:
            return np.ascontiguousarray(array.transpose(3, 2, 0, 1)).reshape(self.torch_shape)
        if len(self.shape) != 2:
            return array.reshape(self.torch_shape)
        array = array.T
        if self.flattened:
            array = array.reshape(-1, *self.flattened).transpose(0, 3, 1, 2)
        return np.ascontiguousarray(array).reshape(self.torch_shape)


def _slots(network: Model, input_shape: tuple[int, int, int] | None) -> list[_Slot]:
    """The arrays of the network, with what PyTorch calls them. Raises ConfigError."""
    image = input_shape or network.input_shape
    if image is None:
        raise ConfigError(f"{network.tag}: give input_shape=(height, width, channels): it was published for none")
    frozen: Any = network  # of which pyright sees no hash
    shapes, flattenings, transposed = _laid_out(frozen, tuple(image))
    slots = [_slot(network, path, shape, flattenings, transposed) for path, shape in shapes.items()]
    return [replace(slot, by_class=boxes_by_class(shapes, slot.path)) for slot in slots]


# Weights are often written where they were read, or read several times.
@lru_cache(maxsize=8)
def _laid_out(
    network: Model, image: tuple[int, int, int]
) -> tuple[dict[tuple[str, ...], Shape], Mapping[str, Shape], frozenset[str]]:
    """The shape of each variable, by collection and keys, `_flattenings`, and the transposed convolutions."""
    analysis, variables = analysed(network.build(), image, train=True)
    shapes = {path: leaf.shape for path, leaf in _flat(variables).items()}
    transposed = frozenset(layer.path for layer in analysis.layers if layer.op == TRANSPOSED)
    return shapes, _flattenings(analysis), transposed


def _flat(variables: Mapping[str, Any]) -> dict[tuple[str, ...], Any]:
    """Arrays by collection and keys."""
    flat: Any = traverse_util.flatten_dict(dict(variables))
    return flat


def _slot(
    network: Model,
    path: tuple[str, ...],
    shape: Shape,
    flattenings: Mapping[str, Shape],
    transposed: frozenset[str],
) -> _Slot:
    *_, leaf = path
    module = ".".join(path[1:-1])
    name, timm_name = (
        ".".join(filter(None, [named(module), leaves.get(leaf, leaf)]))
        for named, leaves in (
            (network.torch_name, _LEAVES),
            (network.timm_name, _LEAVES | network.timm_leaves),
        )
    )
    if leaf == "kernel" and module in transposed:
        return _Slot(path, shape, name, timm_name, (*shape[2:], *shape[:2]), None, transposed=True)
    torch_shape = network.torch_shape(".".join(path[1:]), _torch_order(shape))
    return _Slot(path, shape, name, timm_name, torch_shape, flattenings.get(module) if leaf == "kernel" else None)


def _without_ones(shape: Shape) -> Shape:
    """The shape without the ones that it ends with."""
    last = max((axis for axis, size in enumerate(shape) if size != 1), default=-1)
    return tuple(shape[: last + 1])


def _torch_order(shape: Shape) -> Shape:
    return (shape[3], shape[2], *shape[:2]) if len(shape) == 4 else shape[::-1]


def _flattenings(analysis: Analysis) -> dict[str, Shape]:
    """For each dense layer that takes flattened maps, their (height, width, channels)."""
    found, maps = {}, None
    for layer in analysis.layers:
        if len(layer.output_shape) == 3:
            maps = layer.output_shape
        elif maps is not None and math.prod(layer.output_shape) != math.prod(maps):
            if layer.op == "dense" and max(maps[:2]) > 1:
                found[layer.path] = maps
            maps = None
    return found


# --- state dicts


def _matched(network: Model, slots: list[_Slot], tensors: dict[str, Any]) -> tuple[list[_Slot], dict[str, Any], str]:
    """The slots with the names of the library whose network this is, the tensors without what is before those names,
    and what was before them."""
    forms = [slots, [replace(slot, name=slot.timm_name) for slot in slots]]
    counts = []
    for form in forms:
        head = [slot.name for slot in form if slot.is_head]
        before, averages = prefix(tensors.keys(), [slot.name for slot in form], head)
        counts.append((sum(before + slot.name in tensors for slot in form), before, averages))
    best = max(range(len(forms)), key=lambda number: counts[number][0])
    form, (_, before, averages) = forms[best], counts[best]
    if best and (differs := network.timm_differs()):
        raise WeightsError(f"these are weights of timm's {network.tag}, and {differs}")
    if averages:
        others = ", ".join(map(repr, averages))
        warnings.warn(f"taken: the weights {before!r}; beside them are averages, {others}: see key=", stacklevel=3)
        tensors = {name: tensor for name, tensor in tensors.items() if not name.startswith(averages)}
    return form, without(tensors, before, [slot.name for slot in form if slot.is_head]), before


def _classes(network: Model, tensors: Mapping[str, Any], input_shape: Shape | None) -> int:
    names = [f"{named(network.logits_path)}.weight" for named in (network.torch_name, network.timm_name)]
    held = [name for name in names if name in tensors]
    # Where something stands before the names: of several, which they are said to be later.
    held += [name for name in tensors if name.endswith(tuple(f".{wanted}" for wanted in names))]
    if not held:
        lacking = f"no tensor {names[0]!r} ({network.logits_path}.kernel) to tell the number of classes from"
        there = f"there are: {', '.join(list(tensors)[:5]) or 'none'}, ..."
        found, wanted = _found(network.model_copy(update={"num_classes": 2}), tensors, input_shape)
        if found < wanted / 2:
            raise WeightsError(
                f"{network.tag}: {lacking}, and only {found} of its {wanted} tensors: are the weights another "
                f"architecture's? {there}"
            )
        raise WeightsError(f"{network.tag}: it has no head: {lacking}; {there}; {FRESH_HEAD}")
    name = min(held, key=len)
    shape = tuple(tensors[name].shape)
    if len(shape) not in (2, 4) or not shape[0]:
        raise WeightsError(
            f"{network.tag}: {name} ({network.logits_path}.kernel) is {_by(shape)}: no kernel of a layer of logits"
        )
    return network.classes_of(int(shape[0]))


FRESH_HEAD = "to draw a new one, say how many classes and fresh_head=True (model.num_classes=N --fresh-head)"


def _found(network: Model, tensors: Mapping[str, Any], input_shape: Any) -> tuple[int, int]:
    """How many tensors of the network are there, under any library's names and behind anything, and how many it has."""
    parts = [name.split(".") for name in tensors]
    ends = {".".join(steps[first:]) for steps in parts for first in range(len(steps))}
    slots = _slots(network, input_shape)
    forms = [slot.name for slot in slots], [slot.timm_name for slot in slots]
    return max(sum(name in ends for name in form) for form in forms), len(slots)


def _remedy(slots: list[_Slot], tensors: Mapping[str, Any], before: str, held: Mapping[str, Any]) -> list[str]:
    """What to do, where all that is missing is the head, or where the network is there whole beside other tensors.

    held: all tensors of the file. before: what is before the names of the network's in it.
    """
    missing = [slot for slot in slots if slot.name not in tensors]
    if missing:
        return [f"the head is missing; {FRESH_HEAD}"] if all(slot.is_head for slot in missing) else []
    others = {name for name in held if not name.startswith(before)} & (tensors.keys() - {slot.name for slot in slots})
    if others and all(before + slot.name in held for slot in slots):
        key = before.rstrip(".")
        return [f"to leave out what is not under {before!r}: key={key!r} (--key {key})"]
    return []


def _drawn(network: Model, input_shape: Shape | None, paths: list[tuple[str, ...]]) -> dict[tuple[str, ...], Any]:
    """Initial values of the arrays at `paths`, always the same."""
    module, image = network.build(), input_shape or network.input_shape

    def draw(key: jax.Array) -> list[jax.Array]:
        flat = _flat(calling.init(module, key, jnp.zeros((1, *(image or ())))))
        return [flat[path] for path in paths]

    return dict(zip(paths, map(np.asarray, jax.jit(draw)(jax.random.key(0))), strict=True))


def _problems(network: Model, slots: list[_Slot], tensors: Mapping[str, Any]) -> list[str]:
    wanted = {slot.name: slot for slot in slots}
    lines = []
    for name, slot in wanted.items():
        ours = f"{name} ({'.'.join(slot.path)})"
        if name not in tensors:
            lines.append(f"  missing: {ours}, {_by(slot.torch_shape)}")
        elif not slot.fits(tuple(tensors[name].shape)):
            lines.append(f"  shape: {ours} is {_by(tensors[name].shape)}, the network needs {_by(slot.torch_shape)}")
        elif problem := _wrong_values(name, tensors[name]):
            lines.append(f"  {problem[0]}: {ours} {problem[1]}")
    for name in tensors:
        if name not in wanted and not network.torch_ignores(name):
            lines.append(f"  left over: {name}, {_by(tensors[name].shape)}: the network has no such array")
    return lines


def _wrong_values(name: str, tensor: Any) -> tuple[str, str] | None:
    try:
        values = array(tensor)
    except (TypeError, RuntimeError) as error:
        return "not an array", f"cannot be read as numbers: {error}"
    if values.dtype.kind != "f":
        return "not real numbers", f"is {values.dtype}"
    if not np.isfinite(values).all():
        return "not finite", "holds NaN or infinity"
    if name.endswith("running_var") and (values < 0).any():
        return "negative", "is a variance below 0"
    return None


def _by(shape: Any) -> str:
    return "x".join(map(str, shape)) or "a scalar"
