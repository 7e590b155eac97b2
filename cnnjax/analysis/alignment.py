"""Which row of one network stands where a row of another does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from difflib import SequenceMatcher

from cnnjax.analysis.layers import LayerRow


def keys(layers: Sequence[LayerRow]) -> list[Hashable]:
    """Names for rows that are equal where two rows are the same place of a network, and differ within it.

    A module is known by its path; of several rows with one path each is known by its operation and occurrence too.
    """
    often = Counter(layer.path for layer in layers)
    seen: Counter[tuple[str, str]] = Counter()
    names: list[Hashable] = []
    for layer in layers:
        place = (layer.path, layer.op)
        seen[place] += 1
        names.append(layer.path if layer.path and often[layer.path] == 1 else (*place, seen[place]))
    return names


def aligned(left: Sequence[LayerRow], right: Sequence[LayerRow]) -> list[tuple[LayerRow | None, LayerRow | None]]:
    """The rows of two networks in pairs, in order; None where a row has no counterpart."""
    pairs: list[tuple[LayerRow | None, LayerRow | None]] = []
    matcher = SequenceMatcher(None, keys(left), keys(right), autojunk=False)
    for what, i, j, k, l in matcher.get_opcodes():
        if what == "equal":
            pairs += zip(left[i:j], right[k:l], strict=True)
        else:
            pairs += [(layer, None) for layer in left[i:j]] + [(None, layer) for layer in right[k:l]]
    return pairs
