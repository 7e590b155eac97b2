"""Files of weights: what torch.save or safetensors wrote, and which of the weights in it are meant."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cnnjax.convert.kinds import kind
from cnnjax.convert.tensor_names import bare, is_average
from cnnjax.errors import WeightsError, unknown

# Under these the weights themselves lie; the first that is there is taken before the others.
_WRAPPERS = ("state_dict", "model_state_dict", "model", "net", "network", "module", "weights", "params")
_DEPTH = 3


@dataclass(frozen=True)
class WeightsFile:
    """tensors: by name, float32. key: the entry of the file that they are, "" for the file itself. others: the entries
    that are weights, too, and were not taken.
    """

    tensors: Mapping[str, np.ndarray]
    key: str
    others: tuple[str, ...] = ()

    def choice(self) -> str | None:
        """What was taken of several, in words."""
        if not self.others:
            return None
        others = ", ".join(map(repr, self.others))
        return f"taken: the weights under {self.key!r}; there are others, which key= (--key) chooses: {others}"


def read_weights(path: Path | str, *, key: str | None = None) -> dict[str, np.ndarray]:
    """The tensors of a .safetensors file, or of a file that torch.save wrote, as float32 arrays by name.

    Nothing in the file is executed: of PyTorch's files only tensors are read (`weights_only`), and one that holds
    objects besides is refused. A state dict within, under "state_dict", "model" or another name, is found; of several
    the weights themselves are taken rather than their averages, with a warning. key: the one to take, "state_dict_ema";
    or what the names of those to take begin with, "teacher". Raises WeightsError.
    """
    file = read_file(path, key=key)
    if (choice := file.choice()) is not None:
        warnings.warn(f"{path}: {choice}", stacklevel=2)
    return dict(file.tensors)


def read_file(path: Path | str, *, key: str | None = None) -> WeightsFile:
    """As `read_weights`, with what was chosen of the file."""
    path = Path(path)
    if not path.is_file():
        raise WeightsError(f"{path}: there is no such file")
    try:
        held = _read_safetensors(path) if kind(path) == "safetensors" else _read_torch(path)
    except ImportError as error:
        raise WeightsError(f"{path}: reading it needs {error.name}: pip install 'cnnjax[torch]'") from None
    try:
        taken, tensors, others = _chosen(held, key)
        return WeightsFile({name: array(value) for name, value in tensors.items()}, taken, others)
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}") from None
    except (TypeError, RuntimeError) as error:
        raise WeightsError(f"{path}: a tensor is no array of numbers (sparse or quantized?): {error}") from None


def array(tensor: Any) -> np.ndarray:
    """A tensor or array as float32 NumPy; counters stay whole numbers."""
    if hasattr(tensor, "detach"):
        tensor = tensor.detach().cpu()
        tensor = (tensor.float() if tensor.is_floating_point() else tensor).numpy()
    values = np.asarray(tensor)
    return values if values.dtype.kind in "iubc" else values.astype(np.float32)


def _read_safetensors(path: Path) -> Mapping[str, Any]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    except (SafetensorError, OSError, TypeError) as error:
        raise WeightsError(f"{path}: not a readable safetensors file: {error}") from None


def _read_torch(path: Path) -> Any:
    import pickle

    import torch  # pyright: ignore[reportMissingImports] (an extra)

    try:
        # Opened here, for by its name torch.load might take it for another kind.
        with warnings.catch_warnings(), path.open("rb") as file:
            warnings.simplefilter("ignore")
            return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        found = re.search(r"GLOBAL ([\w.]+)", str(error))
        if found is None:
            reason = re.search(r"WeightsUnpickler error: (.+)", str(error))
            what = f"; reading stopped at: {reason[1].strip()}" if reason else ""
            raise WeightsError(f"{path}: not a whole file of torch.save's, or not of tensors{what}") from None
        raise WeightsError(
            f"{path}: refused: it holds objects ({found[1]}) besides tensors, and loading those would run code; "
            "save it with torch.save(model.state_dict(), ...)"
        ) from None
    except Exception as error:
        # Whatever a damaged file makes the reader stumble over.
        reason = str(error).splitlines()[0] if isinstance(error, RuntimeError) else type(error).__name__
        raise WeightsError(f"{path}: not a whole file of torch.save's: {reason}") from None


# --- which of the weights in a file


def _chosen(held: Any, key: str | None) -> tuple[str, Mapping[str, Any], tuple[str, ...]]:
    """(its name, tensors, names of the others) of the state dict that is meant."""
    found = dict(_state_dicts(held))
    if key is not None:
        return key, _by_key(found, key), ()
    if not found:
        raise WeightsError(_no_state_dict(held))
    best = min(found, key=_rank)
    rivals = [name for name in found if _rank(name)[0] == _rank(best)[0] > 0]
    if len(rivals) > 1:
        raise WeightsError(f"it holds several weights; choose with key= (--key): {', '.join(rivals)}")
    return best, found[best], tuple(name for name in found if name != best)


def _state_dicts(held: Any, name: str = "", depth: int = 0) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The mappings of names to tensors in what a file holds, each with its dotted name; not an optimizer's."""
    if not isinstance(held, Mapping) or not all(isinstance(part, str) for part in held):
        return
    if held and all(hasattr(value, "shape") for value in held.values()):
        yield name, held
    elif depth < _DEPTH and not any(hasattr(value, "shape") for value in held.values()):
        for part, value in held.items():
            if "optim" not in part.lower():
                yield from _state_dicts(value, f"{name}.{part}" if name else part, depth + 1)


def _rank(name: str) -> tuple[int, int]:
    """The lower, the rather taken: usual names of weights, then others, then averages."""
    parts = [part for part in name.split(".") if part]
    if is_average(name):
        return 2, 0
    places = [_WRAPPERS.index(part) for part in parts if part in _WRAPPERS]
    return (0, places[0]) if len(places) == len(parts) and parts else (int(bool(parts)), 0)


def _by_key(found: Mapping[str, Mapping[str, Any]], key: str) -> Mapping[str, Any]:
    """The state dict of that name, the only one under it, or the tensors whose names begin with it."""
    under = [name for name in found if name == key or name.startswith(f"{key}.")]
    if len(under) == 1:
        return found[under[0]]
    choices = list(found)
    for name in sorted(found, key=_rank):
        tensors = {bare(of): tensor for of, tensor in found[name].items()}
        begun = {of.removeprefix(f"{key}."): t for of, t in tensors.items() if of.startswith(f"{key}.")}
        if begun:
            return begun
        choices += list(dict.fromkeys(of.partition(".")[0] for of in tensors))
    raise WeightsError(unknown("key", key, [choice for choice in choices if choice]))


def _no_state_dict(held: Any) -> str:
    if isinstance(held, Mapping) and held:
        others = [str(name) for name, value in held.items() if not hasattr(value, "shape")]
        what = f"{', '.join(others[:5])} {'is' if len(others) == 1 else 'are'} no tensor"
    else:
        what = "it is empty" if isinstance(held, Mapping) else f"it is one {type(held).__name__}"
    return f"not a state dict: {what}; save it with torch.save(model.state_dict(), ...)"
