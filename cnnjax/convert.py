"""Weights from PyTorch and back: names, layouts, and everything that does not fit listed at once.

Each architecture says what its modules are called in PyTorch (`Model.torch_name`). State dicts of torchvision and timm
have those names, Hugging Face's ResNet is translated to them first. Kernels go from (out, in, height, width) to
(height, width, in, out), dense kernels from (out, in) to (in, out), and the inputs of a dense layer after a flattening
from (channels, height, width) order to (height, width, channels).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from cnnjax import calling
from cnnjax.analysis import Analysis, analyse
from cnnjax.errors import ConfigError, WeightsError
from cnnjax.models import Model, config

Shape = tuple[int, ...]
Variables = dict[str, Any]

_LEAVES = {"kernel": "weight", "scale": "weight", "bias": "bias", "mean": "running_mean", "var": "running_var"}
_COUNTER = "num_batches_tracked"


def from_torch(
    model: str | Model, state_dict: Mapping[str, Any], *, input_shape: tuple[int, int, int] | None = None
) -> Variables:
    """Flax variables (`{"params": ..., "batch_stats": ...}`, NumPy float32) from a PyTorch state dict.

    model: an architecture's name, or its config. Where `num_classes` is not set it is taken from the weights.
    state_dict: names to tensors or arrays. Weights of auxiliary heads are accepted though the model has none.
    input_shape: of the images (height, width, channels); None is what the network was published for. It matters to
    dense layers after a flattening.

    Raises WeightsError listing every tensor that is missing, left over, of another shape or not finite, by both names,
    and ConfigError where the architecture has no counterpart.
    """
    network = config(model) if isinstance(model, str) else model
    if not isinstance(state_dict, Mapping) or not all(hasattr(tensor, "shape") for tensor in state_dict.values()):
        raise WeightsError("a state dict maps names to tensors or arrays; give model.state_dict()")
    tensors = _torchvision_names(state_dict)
    if network.num_classes is None:
        network = network.model_copy(update={"num_classes": _classes(network, tensors)})
    slots = _slots(network, input_shape)
    problems = _problems(network, slots, tensors)
    if problems:
        name = model if isinstance(model, str) else network.tag
        head = f"the weights do not fit {name} ({len(problems)} tensors)"
        raise WeightsError("\n".join([head, *problems]))
    leaves = {slot.path: slot.to_flax(_array(tensors[slot.name])) for slot in slots}
    return {"batch_stats": {}, **traverse_util.unflatten_dict(leaves)}


def to_torch(
    model: str | Model, variables: Mapping[str, Any], *, input_shape: tuple[int, int, int] | None = None
) -> dict[str, np.ndarray]:
    """The state dict (names to NumPy arrays) that PyTorch's `load_state_dict` takes; the inverse of `from_torch`."""
    network = config(model) if isinstance(model, str) else model
    if network.num_classes is None:
        held = variables.get("params", {}) if isinstance(variables, Mapping) else {}
        logits = held.get("logits", {}).get("kernel")
        if logits is None:
            raise WeightsError(f"{network.tag}: the variables have no params.logits.kernel to tell the classes from")
        network = network.model_copy(update={"num_classes": logits.shape[-1]})
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
    return tensors | {f"{name}{_COUNTER}": np.zeros((), np.int64) for name in counted}


def read_weights(path: Path | str) -> dict[str, np.ndarray]:
    """The tensors of a .safetensors file, or of a file that torch.save wrote, as float32 arrays by name.

    Nothing in the file is executed: of PyTorch's files only tensors are read (`weights_only`), and one that holds
    objects besides is refused. A state dict under "state_dict" or "model" is found. Raises WeightsError.
    """
    path = Path(path)
    if not path.is_file():
        raise WeightsError(f"{path}: there is no such file")
    try:
        held = _read_safetensors(path) if _is_safetensors(path) else _read_torch(path)
    except ImportError as error:
        raise WeightsError(f"{path}: reading it needs {error.name}: pip install 'cnnjax[torch]'") from None
    for wrapper in ("state_dict", "model"):
        if isinstance(held, Mapping) and isinstance(held.get(wrapper), Mapping):
            held = held[wrapper]
    others = [str(name) for name, value in held.items() if not hasattr(value, "shape")] if _is_dict(held) else ["it"]
    if others or not held:
        what = f"{', '.join(others[:5])} {'is' if len(others) == 1 else 'are'} no tensor" if others else "it is empty"
        raise WeightsError(f"{path}: not a state dict: {what}; save it with torch.save(model.state_dict(), ...)")
    try:
        return {str(name): _array(value) for name, value in held.items()}
    except (TypeError, RuntimeError) as error:
        raise WeightsError(f"{path}: a tensor is no array of numbers (sparse or quantized?): {error}") from None


def _is_dict(held: Any) -> bool:
    return isinstance(held, Mapping)


def _is_safetensors(path: Path) -> bool:
    """By name, or by what it begins with: eight bytes of length, then JSON."""
    with path.open("rb") as file:
        return path.suffix == ".safetensors" or file.read(9)[8:] == b"{"


def _read_safetensors(path: Path) -> Mapping[str, Any]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    except (SafetensorError, OSError, TypeError) as error:
        raise WeightsError(f"{path}: not a readable safetensors file: {error}") from None


def _read_torch(path: Path) -> Any:
    import pickle
    import warnings

    import torch  # pyright: ignore[reportMissingImports] (an extra)

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        found = re.search(r"GLOBAL ([\w.]+)", str(error))
        what = f" ({found[1]})" if found else ""
        raise WeightsError(
            f"{path}: refused: it holds objects{what} besides tensors, and loading those would run code; "
            "save it with torch.save(model.state_dict(), ...)"
        ) from None
    except Exception as error:
        # Whatever a damaged file makes the reader stumble over.
        reason = str(error).splitlines()[0] if isinstance(error, RuntimeError) else type(error).__name__
        raise WeightsError(f"{path}: not a whole file of torch.save's: {reason}") from None


# --- one array of the network and its tensor


@dataclass(frozen=True)
class _Slot:
    """path: collection and keys in the variables. shape: there. name, torch_shape: in PyTorch.

    flattened: (height, width, channels) of the maps whose flattening the kernel multiplies, None for other arrays.
    """

    path: tuple[str, ...]
    shape: Shape
    name: str
    torch_shape: Shape
    flattened: Shape | None

    def to_flax(self, tensor: np.ndarray) -> np.ndarray:
        if len(self.shape) == 4:
            return np.ascontiguousarray(tensor.reshape(_torch_order(self.shape)).transpose(2, 3, 1, 0))
        if self.flattened:
            height, width, channels = self.flattened
            tensor = tensor.reshape(-1, channels, height, width).transpose(0, 2, 3, 1).reshape(tensor.shape)
        return np.ascontiguousarray(tensor.T if len(self.shape) == 2 else tensor.reshape(self.shape))

    def to_torch(self, array: np.ndarray) -> np.ndarray:
        if len(self.shape) == 4:
            return np.ascontiguousarray(array.transpose(3, 2, 0, 1)).reshape(self.torch_shape)
        if len(self.shape) != 2:
            return array.reshape(self.torch_shape)
        array = array.T
        if self.flattened:
            array = array.reshape(-1, *self.flattened).transpose(0, 3, 1, 2).reshape(array.shape)
        return np.ascontiguousarray(array)


def _slots(network: Model, input_shape: tuple[int, int, int] | None) -> list[_Slot]:
    """The arrays of the network, with what PyTorch calls them. Raises ConfigError."""
    image = input_shape or network.input_shape
    if image is None:
        raise ConfigError(f"{network.tag}: give input_shape=(height, width, channels): it was published for none")
    module = network.build()
    images = jax.ShapeDtypeStruct((1, *image), jnp.float32)
    shapes: Any = jax.eval_shape(partial(calling.init, module), jax.random.key(0), images)
    flattenings = _flattenings(analyse(module, image, train=True))
    return [_slot(network, path, leaf.shape, flattenings) for path, leaf in _flat(shapes).items()]


def _flat(variables: Mapping[str, Any]) -> dict[tuple[str, ...], Any]:
    """Arrays by collection and keys."""
    flat: Any = traverse_util.flatten_dict(dict(variables))
    return flat


def _slot(network: Model, path: tuple[str, ...], shape: Shape, flattenings: Mapping[str, Shape]) -> _Slot:
    *_, leaf = path
    module = ".".join(path[1:-1])
    name = ".".join(filter(None, [network.torch_name(module), _LEAVES.get(leaf, leaf)]))
    torch_shape = network.torch_shape(".".join(path[1:]), _torch_order(shape))
    return _Slot(path, shape, name, torch_shape, flattenings.get(module) if leaf == "kernel" else None)


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


def _classes(network: Model, tensors: Mapping[str, Any]) -> int:
    name = f"{network.torch_name('logits')}.weight"
    if name not in tensors:
        raise WeightsError(
            f"{network.tag}: no tensor {name!r} (logits.kernel) to tell the number of classes from; "
            f"there are: {', '.join(list(tensors)[:5]) or 'none'}, ..."
        )
    shape = tuple(tensors[name].shape)
    if len(shape) not in (2, 4) or not shape[0]:
        raise WeightsError(f"{network.tag}: {name} (logits.kernel) is {_by(shape)}: no kernel of a layer of logits")
    return int(shape[0])


def _problems(network: Model, slots: list[_Slot], tensors: Mapping[str, Any]) -> list[str]:
    wanted = {slot.name: slot for slot in slots}
    lines = []
    for name, slot in wanted.items():
        ours = f"{name} ({'.'.join(slot.path)})"
        if name not in tensors:
            lines.append(f"  missing: {ours}, {_by(slot.torch_shape)}")
        elif tuple(tensors[name].shape) != slot.torch_shape:
            lines.append(f"  shape: {ours} is {_by(tensors[name].shape)}, the network needs {_by(slot.torch_shape)}")
        elif problem := _wrong_values(name, tensors[name]):
            lines.append(f"  {problem[0]}: {ours} {problem[1]}")
    for name in tensors:
        if name not in wanted and not name.endswith(_COUNTER) and not network.torch_ignores(name):
            lines.append(f"  left over: {name}, {_by(tensors[name].shape)}: the network has no such array")
    return lines


def _wrong_values(name: str, tensor: Any) -> tuple[str, str] | None:
    try:
        array = _array(tensor)
    except (TypeError, RuntimeError) as error:
        return "not an array", f"cannot be read as numbers: {error}"
    if array.dtype.kind != "f":
        return "not real numbers", f"is {array.dtype}"
    if not np.isfinite(array).all():
        return "not finite", "holds NaN or infinity"
    if name.endswith("running_var") and (array < 0).any():
        return "negative", "is a variance below 0"
    return None


def _by(shape: Any) -> str:
    return "x".join(map(str, shape)) or "a scalar"


def _array(tensor: Any) -> np.ndarray:
    """A tensor or array as float32 NumPy; counters stay whole numbers."""
    if hasattr(tensor, "detach"):
        tensor = tensor.detach().cpu()
        tensor = (tensor.float() if tensor.is_floating_point() else tensor).numpy()
    array = np.asarray(tensor)
    return np.asarray(array) if array.dtype.kind in "iubc" else array.astype(np.float32)


_HUGGING_FACE = [
    (r"resnet\.embedder\.embedder\.convolution\.", "conv1."),
    (r"resnet\.embedder\.embedder\.normalization\.", "bn1."),
    (r"resnet\.encoder\.stages\.(\d+)\.layers\.(\d+)\.shortcut\.convolution\.", r"layer{0}.\2.downsample.0."),
    (r"resnet\.encoder\.stages\.(\d+)\.layers\.(\d+)\.shortcut\.normalization\.", r"layer{0}.\2.downsample.1."),
    (r"resnet\.encoder\.stages\.(\d+)\.layers\.(\d+)\.layer\.(\d+)\.convolution\.", r"layer{0}.\2.conv{1}."),
    (r"resnet\.encoder\.stages\.(\d+)\.layers\.(\d+)\.layer\.(\d+)\.normalization\.", r"layer{0}.\2.bn{1}."),
    (r"classifier\.1\.", "fc."),
]


def _torchvision_names(state_dict: Mapping[str, Any]) -> dict[str, Any]:
    """The tensors under torchvision's names: without the wrapper of parallel training, translated from others."""
    tensors = {name.removeprefix("module."): tensor for name, tensor in state_dict.items()}
    if "resnet.embedder.embedder.convolution.weight" in tensors:
        return {_from_hugging_face(name): tensor for name, tensor in tensors.items()}
    # As torchvision's files of DenseNet have them; its models have no second dot.
    return {re.sub(r"(denselayer\d+\.(?:norm|conv))\.([12])\.", r"\1\2.", name): t for name, t in tensors.items()}


def _from_hugging_face(name: str) -> str:
    for pattern, replacement in _HUGGING_FACE:
        found = re.match(pattern, name)
        if found:
            # Stages and convolutions count from 0 there and from 1 in torchvision.
            counted = [int(found[group]) + 1 for group in (1, 3) if group <= (found.lastindex or 0)]
            return found.expand(replacement.format(*counted)) + name[found.end() :]
    return name
