"""What windows cover: of each row that slides one over a map, which taps meet the input and what stays unread."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from cnnjax.analysis.layers import LayerRow, volume


class WindowAxis(NamedTuple):
    """A window along one axis of its input, height or width.

    size, outputs: positions of the input and of the output. kernel: taps of the window. stride, dilation: in positions
    of the input. before, after: padding. jump: pixels of the image from one input position to the next. seen: pixels
    of the image that one input position sees, by the path that sees least.
    """

    size: int
    outputs: int
    kernel: int
    stride: int
    before: int
    after: int
    dilation: int
    jump: int | float
    seen: int | float

    @property
    def span(self) -> int:
        """Units from the first tap to the last."""
        return self.dilation * (self.kernel - 1) + 1

    @property
    def end(self) -> int:
        """Where in the input the last window ends; above `size` in the padding."""
        return (self.outputs - 1) * self.stride + self.span - self.before

    @property
    def unread(self) -> int:
        """Units after the last window, but for what a stride beyond the window leaves out between any two."""
        return max(self.size - self.end - max(self.stride - self.span, 0), 0)

    @property
    def taps(self) -> TapCounts:
        """How many taps of the window meet the input, and how many windows meet none of it."""
        if self.before <= 0 and self.end <= self.size:
            return TapCounts(self.kernel, 0)
        taps, windows = (self.kernel, self.dilation), (self.outputs, self.stride)
        used, meeting = (
            _meeting(self.size, self.before, *one, *other) for one, other in ((taps, windows), (windows, taps))
        )
        return TapCounts(used, self.outputs - meeting)

    def sees_all(self, pixels: int) -> bool:
        """Whether each unit of the input sees all `pixels` of the image."""
        return self.seen >= pixels + (self.size - 1) * self.jump


class TapCounts(NamedTuple):
    """Along an axis: the taps that meet the input in some window, and the windows in which none does."""

    used: int
    empty: int


class SlidingWindow(NamedTuple):
    """A row with a window, by name; its axes are height and width."""

    name: str
    layer: LayerRow
    axes: tuple[WindowAxis, WindowAxis]

    @property
    def input(self) -> str:
        """Height and width of what it reads."""
        return volume(tuple(axis.size for axis in self.axes))

    @property
    def text(self) -> str:
        """`kernel 3x3 with stride 2`."""
        strides, dilation = ([getattr(axis, field) for axis in self.axes] for field in ("stride", "dilation"))
        stride = strides[0] if len(set(strides)) == 1 else volume(tuple(strides))
        spread = f" dilated by {volume(tuple(dilation))}" if max(dilation) > 1 else ""
        kernel = volume(tuple(axis.kernel for axis in self.axes))
        return f"{'kernel' if self.layer.macs else 'window'} {kernel}{spread} with stride {stride}"

    @property
    def padding(self) -> str:
        """`1+1`, before and after; for both axes if they differ."""
        return " and ".join(dict.fromkeys(f"{axis.before}+{axis.after}" for axis in self.axes))


def named(layers: Sequence[LayerRow]) -> list[tuple[str, LayerRow]]:
    """Rows with names: of the network's own operations, which have no path, the operation and what it comes after."""
    entries, last = [], ""
    for layer in layers:
        last = layer.path or last
        entries.append((layer.path or (f"{layer.op} after {last}" if last else layer.op), layer))
    return entries


def windows(layers: Sequence[LayerRow]) -> list[SlidingWindow]:
    """The rows that slide one window over a map of height, width and channels, transposed convolutions left out."""
    found = ((name, layer, _axes(layer)) for name, layer in named(layers))
    return [SlidingWindow(name, layer, (axes[0], axes[1])) for name, layer, axes in found if len(axes) == 2]


def _axes(layer: LayerRow) -> list[WindowAxis]:
    if not layer.kernel_size or min(layer.jump) <= 0 or set(layer.input_dilation or ()) != {1}:
        return []
    if layer.input_shape is None or not len(layer.input_shape) == len(layer.output_shape) == 3:
        return []
    axes = list(_each_axis(layer, layer.input_shape))
    # Another order of the axes than height, width, channels does not add up.
    return axes if all(axis.outputs == _outputs(axis) for axis in axes) else []


def _each_axis(layer: LayerRow, inputs: Sequence[int]) -> Iterator[WindowAxis]:
    fields = (layer.kernel_size, layer.strides, layer.padding, layer.dilation, layer.jump, layer.least_receptive_field)
    values = zip(inputs, layer.output_shape, *(field or () for field in fields), strict=False)
    for size, outputs, kernel, stride, (before, after), dilation, jump, seen in values:
        step = jump // stride if jump % stride == 0 else jump / stride
        least = seen - dilation * (kernel - 1) * step
        yield WindowAxis(size, outputs, kernel, stride, before, after, dilation, step, least)


def _outputs(axis: WindowAxis) -> int:
    return (axis.size + axis.before + axis.after - axis.span) // axis.stride + 1


def _meeting(size: int, before: int, count: int, step: int, others: int, other_step: int) -> int:
    """How many of `count` taps meet one of `size` units in some of `others` windows; or windows, in some of their taps.

    Tap i of window j is at i * step + j * other_step - before: either may be called the tap.
    """
    reach = (others - 1) * other_step
    first = max(0, -(-(before - reach) // step))
    last = min(count - 1, (size - 1 + before) // step)
    if other_step <= size:  # so that none falls between two of the others
        return max(0, last - first + 1)
    return sum(
        (size - 1 + before - i * step) // other_step >= max(0, -(-(before - i * step) // other_step))
        for i in range(first, last + 1)
    )
