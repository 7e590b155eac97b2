"""Warnings: what a network, or a training of it, does that its author would hardly have meant.

Each names the layers it concerns, shows the arithmetic, and says what to do. A rule is a function from what is known of
the network to warnings; the thresholds stand below.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from cnnjax.analysis.call_marks import Path
from cnnjax.analysis.gradient import Weights
from cnnjax.analysis.layers import Analysis, LayerRow, volume
from cnnjax.analysis.window_coverage import SlidingWindow, WindowAxis, named, windows

HALF = 0.5
"""The share of the image that some unit before the head should see, in height and in width."""
QUARTER = 0.25
"""The same where dense layers after a flattening can put together what lies further apart."""
CENTRED_OUTSIDE = 0.1
"""The share of the rows or columns of the last map whose centres may lie outside the image."""
UNREAD = 0.02
"""The share of its input's rows or columns that a window may leave unread at the far end."""
SMALL_IMAGE = 64
"""Pixels a side up to which an image is small, so that a total stride of 4 in the stem is much."""
STEM_STRIDE, STEM_CONVOLUTIONS = 4, 3
LARGEST_SHARE = 0.8
"""The share of all parameters that one layer may hold."""
EXAMPLES = 16
"""Examples that should share the statistics of a batch normalization (Wu and He 2018, Group normalization, fig. 1)."""


class _Network(NamedTuple):
    """What rules look at: the analysis, the parameters that have no effect, the rows that slide a window."""

    analysis: Analysis
    weights: Weights
    windows: list[SlidingWindow]

    @property
    def convolutions(self) -> list[SlidingWindow]:
        return [window for window in self.windows if window.layer.macs]


Rule = Callable[[_Network], Iterable[str]]


def lint(analysis: Analysis, weights: Weights) -> tuple[str, ...]:
    """The warnings that follow from a network and the shape of its input alone."""
    network = _Network(analysis, weights, windows(analysis.layers))
    return tuple(warning for rule in RULES for warning in rule(network))


def lint_training(analysis: Analysis, *, batch_size: int, accumulate: int = 1, devices: int = 1) -> tuple[str, ...]:
    """The warnings that follow from a batch's split over `devices` and into parts whose gradients are accumulated."""
    part = batch_size // accumulate
    sizes = {"global": part, "device": part // devices}
    groups = {name: layer.batch_group for name, layer in named(analysis.layers) if layer.batch_group is not None}
    examples = {name: sizes.get(str(group), group) for name, group in groups.items()}
    small = [name for name, count in examples.items() if isinstance(count, int) and count < EXAMPLES]
    if not small:
        return ()
    group = groups[small[0]]
    arithmetic = f"batch_size {batch_size}"
    arithmetic += f" / {accumulate} accumulated parts" * (accumulate > 1)
    arithmetic += f" / {devices} devices" * (group == "device" and devices > 1)
    return (
        f"{_listed(small)}: batch normalization over {examples[small[0]]} examples "
        f"({f'group {group}' if isinstance(group, int) else arithmetic}), fewer than {EXAMPLES}: its statistics are "
        "noisy and unlike those of inference; enlarge the batch or the group, or take group normalization",
    )


# --- parameters


def _unreached(network: _Network) -> Iterator[str]:
    """Parameters without a gradient: their module's output is not used, stopped, or multiplied by zero."""
    sizes, unreached = network.weights.sizes, network.weights.unreached
    for path in _tops(sizes, unreached):
        count = sum(sizes[inside] for inside in unreached if inside[: len(path)] == path)
        yield (
            f"{'.'.join(path) or 'the network'}: dead: no gradient comes from the outputs to its {count:,} parameters, "
            "for what it computes is unused, stopped or multiplied by 0; use its output or remove it"
        )


def _tops(paths: Iterable[Path], unreached: frozenset[Path]) -> list[Path]:
    """The shortest paths below which all is unreached."""
    reached = {path[:n] for path in paths if path not in unreached for n in range(len(path) + 1)}
    prefixes = ([path[:n] for n in range(len(path) + 1)] for path in paths if path in unreached)
    return list(dict.fromkeys(next(prefix for prefix in each if prefix not in reached) for each in prefixes))


def _cancelled_bias(network: _Network) -> Iterator[str]:
    """A bias before batch normalization, which subtracts the mean and the bias in it."""
    if cancelled := network.weights.cancelled:
        count = sum(network.weights.sizes[path] for path, _ in cancelled)
        yield (
            f"{_listed(['.'.join(path) for path, _ in cancelled])}: {count:,} parameters without effect: batch "
            f"normalization ({cancelled[0][1]}) subtracts the mean, and the bias with it; turn the bias off"
        )


def _largest(network: _Network) -> Iterator[str]:
    """One layer that has nearly all parameters."""
    own = [(name, layer) for name, layer in named(network.analysis.layers) if layer.params]
    if len(own) < 2:
        return
    name, layer = max(own, key=lambda entry: entry[1].params)
    share = layer.params / network.analysis.params
    if share > LARGEST_SHARE:
        sizes = [*(layer.input_shape or ()), *layer.output_shape]
        dense = f" ({sizes[0]:,} inputs x {sizes[1]:,} units)" if len(sizes) == 2 else ""
        yield (
            f"{name}: {layer.params:,} of all {network.analysis.params:,} parameters ({share:.0%}) are in one "
            f"layer{dense}; make it narrower{', or pool globally instead of flattening' if dense else ''}"
        )


# --- windows


def _idle_taps(network: _Network) -> Iterator[str]:
    """TapCounts of a kernel that meet padding wherever it stands: on maps smaller than it, 1x1 above all."""
    # A module that is called at several sizes may use at one of them what it does not at another.
    calls = Counter(window.name for window in network.windows)
    idle = [window for window in network.convolutions if _idle(window) and calls[window.name] == 1]
    if idle:
        taps = math.prod(axis.kernel for axis in idle[0].axes)
        count = sum(
            _kernel(window) // math.prod(axis.kernel for axis in window.axes) * _idle(window) for window in idle
        )
        yield (
            f"{_places(idle)}: {idle[0].text} on a {idle[0].input} map: {_idle(idle[0])} of {taps} taps never meet "
            f"anything but padding; {count:,} weights in all learn nothing; downsample less before, or take smaller "
            "kernels"
        )


def _idle(window: SlidingWindow) -> int:
    taps, used = (math.prod(numbers) for numbers in zip(*((a.kernel, a.taps.used) for a in window.axes), strict=True))
    return taps - used


def _kernel(window: SlidingWindow) -> int:
    """The numbers in the kernel of a convolution: each is multiplied once at every place."""
    return window.layer.macs // math.prod(axis.outputs for axis in window.axes)


def _empty_windows(network: _Network) -> Iterator[str]:
    """Windows that see only padding."""
    empty = [window for window in network.windows if any(axis.taps.empty for axis in window.axes)]
    if empty:
        what = _counted([axis.taps.empty for axis in empty[0].axes], [axis.outputs for axis in empty[0].axes])
        yield (
            f"{_places(empty)}: {what} of its output see nothing but padding ({empty[0].text} on a {empty[0].input} "
            f"map, padding {empty[0].padding}); pad by less than the kernel spans"
        )


def _unread(network: _Network) -> Iterator[str]:
    """Rows and columns after the last window, which a stride has no room for."""
    found = [window for window in network.windows if any(axis.unread / axis.size > UNREAD for axis in window.axes)]
    if found:
        axis = max(found[0].axes, key=lambda axis: axis.unread)
        what = _counted([axis.unread for axis in found[0].axes], [axis.size for axis in found[0].axes])
        yield (
            f"{_places(found)}: the last {what} of its input are dropped: {found[0].text}, padding "
            f"{found[0].padding}, reads {axis.end} of {axis.size}; pad by {max(axis.stride - axis.unread, 1)} more at "
            f"the end, or make the input {axis.unread} smaller"
        )


def _even(network: _Network) -> Iterator[str]:
    """An even window at stride 1 has no middle: if the map keeps its size, it moves."""
    found = [window for window in network.windows if any(map(_is_lopsided, window.axes))]
    if found:
        shift = sum(max(window.layer.jump) for window in found) / 2
        yield (
            f"{_places(found)}: {found[0].text} has no middle, so same padding ({found[0].padding}) moves the map by "
            f"half a position; {shift:g} pixels of the image in all; take odd kernels"
        )


def _is_lopsided(axis: WindowAxis) -> bool:
    return axis.stride == 1 and axis.span % 2 == 0 and axis.outputs == axis.size > 1


def _coarse_stem(network: _Network) -> Iterator[str]:
    """The stem that ResNets have for 224 pixels, on images that are small already."""
    pixels, stem = network.analysis.input_shape[:2], _stem(network)
    if max(pixels) > SMALL_IMAGE or not stem:
        return
    stride, left = max(stem[-1].layer.jump), stem[-1].layer.output_shape[:2]
    if stride >= STEM_STRIDE:
        steps = [f"{window.name} ({window.text})" for window in stem if max(axis.stride for axis in window.axes) > 1]
        yield (
            f"{' and '.join(steps)}: a total stride of {stride} to begin with leaves {volume(left)} of a "
            f"{volume(pixels)} image; on small images begin with a 3x3 convolution of stride 1 and no pooling"
        )


def _stem(network: _Network) -> list[SlidingWindow]:
    """The windows before the second convolution, or to the first pooling where it comes after at most three."""
    second = next((network.windows.index(window) for window in network.convolutions[1:]), 0)
    pooling = next((k for k, window in enumerate(network.windows) if not window.layer.macs), 0)
    return network.windows[: max(second, pooling + 1 if pooling <= STEM_CONVOLUTIONS else 0)] if second else []


# --- receptive fields


def _sees_little(network: _Network) -> Iterator[str]:
    """The head gets features of patches that are small against the image."""
    head = _head(network.analysis)
    if head is None:
        return
    name, layer = max(head.maps, key=lambda entry: min(entry[1].receptive_field))
    shares = [seen / n for seen, n in zip(layer.receptive_field, network.analysis.input_shape, strict=False)]
    limit = QUARTER if head.combines else HALF
    if min(shares) < limit:
        yield (
            f"{name}: before the head no unit sees more than {volume(layer.receptive_field)} of the "
            f"{volume(network.analysis.input_shape[:2])} image ({min(shares):.0%}, less than {limit:.0%}): what is "
            "recognized are small patches; add layers, strides, pooling or dilation, or enlarge kernels"
        )


def _sees_all(network: _Network) -> Iterator[str]:
    """Kernels that widen a view in which, by every path, each unit has the whole image already."""
    image = network.analysis.input_shape
    found = [window for window in network.convolutions if _only_repeats(window, image)]
    if found:
        axis = found[0].axes[0]
        yield (
            f"{_places(found)}: each unit of its {found[0].input} input sees the whole {volume(image[:2])} image "
            f"already, in a field of {axis.seen} >= {image[0]} + ({axis.size} - 1) * {axis.jump} pixels, so that a "
            "kernel adds no context; remove these layers, downsample later, or take larger images"
        )


def _only_repeats(window: SlidingWindow, image: Sequence[int]) -> bool:
    kernel, units = (max(numbers) for numbers in zip(*((axis.kernel, axis.size) for axis in window.axes), strict=True))
    seen = all(axis.sees_all(pixels) for axis, pixels in zip(window.axes, image, strict=False))
    return kernel > 1 and units > 1 and seen


def _centred_outside(network: _Network) -> Iterator[str]:
    """Much of the last map looks at padding."""
    head = _head(network.analysis)
    if head is None:
        return
    name, layer = head.maps[-1]
    for axis, what in enumerate(("rows", "columns")):
        pixels, count, jump = network.analysis.input_shape[axis], layer.output_shape[axis], layer.jump[axis]
        first = layer.offset[axis] + (layer.receptive_field[axis] - 1) / 2
        before = min(count, max(0, math.ceil((-0.5 - first) / jump)))
        upto = max(before, min(count, math.floor((pixels - 0.5 - first) / jump) + 1))
        outside = before + count - upto
        if outside / count > CENTRED_OUTSIDE:
            last = first + (count - 1) * jump
            yield (
                f"{name}: {outside} of the last {count} {what} before the head are centred in the padding "
                f"(pixels {first:g} to {last:g} of 0 to {pixels - 1}); pad by no more than half a kernel"
            )
            return


class _Head(NamedTuple):
    """The named rows that are maps, and whether the rows after them can put together what is in several places."""

    maps: list[tuple[str, LayerRow]]
    combines: bool


def _head(analysis: Analysis) -> _Head | None:
    """None for a network without maps, or whose output is one."""
    rows = named(analysis.layers)
    maps = [k for k, (_, layer) in enumerate(rows) if len(layer.output_shape) == 3 and min(layer.jump) > 0]
    if not maps or maps[-1] + 1 == len(rows):
        return None
    last, after = rows[maps[-1]][1], [layer for _, layer in rows[maps[-1] + 1 :]]
    if any(len(layer.output_shape) > 1 for layer in after):
        # Places laid out in a row, as in a transformer, still see one another.
        return None
    flattens = any(layer.op == "flatten" for layer in after) and max(last.output_shape[:2]) > 1
    return _Head([rows[k] for k in maps], flattens and sum(layer.macs > 0 for layer in after) > 1)


RULES: tuple[Rule, ...] = (
    _unreached,
    _cancelled_bias,
    _idle_taps,
    _empty_windows,
    _unread,
    _even,
    _coarse_stem,
    _sees_little,
    _sees_all,
    _centred_outside,
    _largest,
)


# --- text


def _counted(counts: Sequence[int], sizes: Sequence[int]) -> str:
    """`1 of 7 rows and 1 of 9 columns`."""
    entries = zip(counts, sizes, ("rows", "columns"), strict=True)
    return " and ".join(f"{count} of {size} {what}" for count, size, what in entries if count)


def _places(found: Sequence[SlidingWindow]) -> str:
    return _listed([window.name for window in found])


def _listed(names: Sequence[str]) -> str:
    """The first three names, and how many more there are."""
    names = list(dict.fromkeys(names))
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more
