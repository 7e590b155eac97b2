"""Names in state dicts: without what wrapped the network, and translated from other libraries."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from cnnjax.errors import WeightsError

# What PyTorch's wrappers put before the names of what they wrap, anywhere in a network: DataParallel, DDP and
# swa_utils.AveragedModel, torch.compile, FSDP, activation checkpointing.
_WRAPPING = {"module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"}
# Counters that networks do not need: of batch normalization's batches, of AveragedModel's averages.
COUNTERS = ("num_batches_tracked", "n_averaged")
_AVERAGES = re.compile(r"(?<![a-z])(ema|swa)(?![a-z])|averag|teacher", re.IGNORECASE)

_HUGGING_FACE = [
    (r"embedder\.embedder\.convolution\.", "conv1."),
    (r"embedder\.embedder\.normalization\.", "bn1."),
    (r"encoder\.stages\.(\d+)\.layers\.(\d+)\.shortcut\.convolution\.", r"layer{0}.\2.downsample.0."),
    (r"encoder\.stages\.(\d+)\.layers\.(\d+)\.shortcut\.normalization\.", r"layer{0}.\2.downsample.1."),
    (r"encoder\.stages\.(\d+)\.layers\.(\d+)\.layer\.(\d+)\.convolution\.", r"layer{0}.\2.conv{1}."),
    (r"encoder\.stages\.(\d+)\.layers\.(\d+)\.layer\.(\d+)\.normalization\.", r"layer{0}.\2.bn{1}."),
]
_HUGGING_FACE_STEM = "embedder.embedder.convolution.weight"


def bare(name: str) -> str:
    """The name without what PyTorch's wrappers put into it."""
    return ".".join(part for part in name.split(".") if part not in _WRAPPING)


def torchvision_names(state_dict: Mapping[str, Any]) -> dict[str, Any]:
    """The tensors without wrappers and counters, and under torchvision's names where they had Hugging Face's.

    Raises WeightsError where two would have one name.
    """
    tensors = _renamed(state_dict, {name: bare(name) for name in state_dict if not is_counter(name)})
    stem = next((name for name in tensors if name.endswith(_HUGGING_FACE_STEM)), None)
    if stem is not None:
        body = stem.removesuffix(_HUGGING_FACE_STEM)
        return _renamed(tensors, {name: _from_hugging_face(name, body) for name in tensors})
    # As torchvision's files of DenseNet have them; its models have no second dot.
    names = {name: re.sub(r"(denselayer\d+\.(?:norm|conv))\.([12])\.", r"\1\2.", name) for name in tensors}
    return _renamed(tensors, names)


def is_counter(name: str) -> bool:
    """Whether the tensor of that name counts something, and is no weight."""
    return name.rpartition(".")[2] in COUNTERS


def _renamed(tensors: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """The tensors of `names` under the names it maps to."""
    before: dict[str, str] = {}
    for name, new in names.items():
        if before.setdefault(new, name) != name:
            raise WeightsError(f"{before[new]!r} and {name!r} are both {new!r}: give one of the two")
    return {new: tensors[name] for name, new in names.items()}


def _from_hugging_face(name: str, body: str) -> str:
    """body: what the names of the network without its head begin with."""
    if found := re.search(r"(?:^|\.)classifier\.1\.(\w+)$", name):
        return f"fc.{found[1]}"
    for pattern, replacement in _HUGGING_FACE:
        found = re.match(pattern, name.removeprefix(body))
        if found:
            # Stages and convolutions count from 0 there and from 1 in torchvision.
            counted = [int(found[group]) + 1 for group in (1, 3) if group <= (found.lastindex or 0)]
            return found.expand(replacement.format(*counted)) + name.removeprefix(body)[found.end() :]
    return name


# --- what the names of a network begin with


def prefix(names: Collection[str], wanted: Collection[str], head: Collection[str]) -> tuple[str, tuple[str, ...]]:
    """What comes before the `wanted` names of a network in `names`, "model.", "backbone." or nothing; and what comes
    before those of averages of the same weights, where these are there too.

    Raises WeightsError where the whole network but its `head` is there several times otherwise.
    """
    body = [name for name in wanted if name not in head]
    counts = {found: sum(found + name in names for name in body) for found in _prefixes(names, body)}
    if not counts:
        return "", ()
    copies = [found for found, count in counts.items() if count == len(body)]
    weights = [found for found in copies if not is_average(found)]
    if len(copies) > 1 and len(weights) != 1:
        shown = ", ".join(repr(found) for found in copies)
        keys = " or ".join(f"key={found.rstrip('.')!r}" for found in copies if found)
        raise WeightsError(
            f"it holds the weights of this network {len(copies)} times, under names that begin {shown}: choose with "
            f"{keys} (--key)"
        )
    most = max(counts.values())
    best = min((found for found, count in counts.items() if count == most), key=len)
    return (weights[0], tuple(found for found in copies if found != weights[0])) if weights else (best, ())


def is_average(name: str) -> bool:
    """Whether weights of that name are averages of others."""
    return _AVERAGES.search(name) is not None


def _prefixes(names: Collection[str], body: list[str]) -> Iterator[str]:
    # Of several of the names, for one of them may be what is missing.
    seen = set()
    for name in names:
        for wanted in body[:8]:
            before = name.removesuffix(wanted)
            if before != name and before not in seen and (not before or before.endswith(".")):
                seen.add(before)
                yield before


def without(tensors: Mapping[str, Any], prefix: str, head: Collection[str]) -> dict[str, Any]:
    """The tensors without the `prefix`, where they have it; the `head` without any, where it is there once.

    Raises WeightsError where two would have one name.
    """
    names = {name: name.removeprefix(prefix) for name in tensors}
    present = set(names.values())
    for wanted in head:
        elsewhere = [name for name in tensors if name.endswith(f".{wanted}")]
        if wanted not in present and len(elsewhere) == 1:
            names[elsewhere[0]] = wanted
    return _renamed(tensors, names)
