"""Convolution arithmetic in exact integers: sizes, padding, parameters, operations, receptive fields.

Pure Python: nothing here needs JAX or an array. Sizes are spatial extents (height, width) in pixels, batch and
channels left out. A kernel, window, stride or dilation is one integer for every axis or one integer an axis.

Along one axis, n input positions with `before` and `after` positions of padding, a kernel of f positions at dilation
d and a stride of s give `(n + before + after - e) // s + 1` outputs, e = d (f - 1) + 1 (Dumoulin and Visin 2016, A
guide to convolution arithmetic for deep learning). Windows that do not fit are dropped.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import prod
from typing import NamedTuple

from cnnjax.errors import ConfigError, ShapeError, unknown

Extent = int | Sequence[int]
Padding = str | int | Sequence[int | Sequence[int]]
Pairs = tuple[tuple[int, int], ...]

PADDINGS = ("same", "valid", "full")


# --- windows over an input


def per_axis(value: Extent, *, axes: int = 2, name: str = "kernel_size") -> tuple[int, ...]:
    """`value` as one positive integer an axis: 3 -> (3, 3). Raises ConfigError naming `name`."""
    values = tuple(value) if isinstance(value, Sequence) else (value,) * axes
    if len(values) != axes or not all(_is_integer(v) and v > 0 for v in values):
        raise ConfigError(f"{name} = {value!r}: must be a positive integer, or {axes} of them, one an axis")
    return values


def effective_kernel(kernel: int, *, dilation: int = 1) -> int:
    """The positions a dilated kernel spans along one axis: d (f - 1) + 1."""
    return dilation * (kernel - 1) + 1


def resolve_padding(
    padding: Padding, sizes: Sequence[int], *, kernel: Extent, strides: Extent = 1, dilation: Extent = 1
) -> Pairs:
    """Padding as explicit (before, after) counts, one pair an axis.

    `padding` is "valid" (none), "same" (ceil(n / s) outputs at any stride; where the total is odd the extra position
    is on the high side, as in TensorFlow and XLA), "full" (every overlap: e - 1 each side), an integer for every side,
    or a sequence with an integer or a (before, after) pair for each axis. So (1, 2) pads the rows by 1 and the columns
    by 2 on both sides. Raises ConfigError for anything else, negative counts included.
    """
    axes = len(sizes)
    if isinstance(padding, str):
        spans, steps = _spans(kernel, dilation, axes), per_axis(strides, axes=axes, name="strides")
        return tuple(_named_padding(padding, n, e, s) for n, e, s in zip(sizes, spans, steps, strict=True))
    sides = tuple(padding) if isinstance(padding, Sequence) else (padding,) * axes
    pairs = tuple(tuple(side) if isinstance(side, Sequence) else (side, side) for side in sides)
    if len(pairs) != axes or not all(len(p) == 2 and all(_is_integer(v) and v >= 0 for v in p) for p in pairs):
        raise ConfigError(
            f"padding = {padding!r}: must be {', '.join(map(repr, PADDINGS))}, a count >= 0, or for each of the {axes} "
            "axes a count or a pair (before, after)"
        )
    return tuple((before, after) for before, after in pairs)


def output_shape(
    sizes: Sequence[int], *, kernel: Extent, strides: Extent = 1, padding: Padding = "valid", dilation: Extent = 1
) -> tuple[int, ...]:
    """The spatial shape of a convolution's output.

    Raises ShapeError where an output axis would be empty, with the arithmetic, and ConfigError for a bad field.
    """
    outputs = tuple(axis.inside() for axis in _axes(sizes, kernel, strides, padding, dilation))
    if min(outputs) < 1:
        raise ShapeError(_misfit(f"kernel {_kernel_text(kernel, dilation, len(sizes))}", sizes, padding, outputs))
    return outputs


def output_size(size: int, *, kernel: int, stride: int = 1, before: int = 0, after: int = 0, dilation: int = 1) -> int:
    """Outputs along one axis: (n + before + after - e) // s + 1. Raises ShapeError below 1."""
    (output,) = output_shape((size,), kernel=kernel, strides=stride, padding=((before, after),), dilation=dilation)
    return output


def dropped(
    sizes: Sequence[int], *, kernel: Extent, strides: Extent = 1, padding: Padding = "valid", dilation: Extent = 1
) -> tuple[int, ...]:
    """Input rows and columns at the high end that no window reaches; padding is not counted.

    A stride above 1 drops them where it does not divide. What a stride larger than the kernel jumps over between two
    windows is not counted either. Raises as `output_shape`.
    """
    outputs = output_shape(sizes, kernel=kernel, strides=strides, padding=padding, dilation=dilation)
    axes = _axes(sizes, kernel, strides, padding, dilation)
    return tuple(max(-axis.beyond(count), 0) for axis, count in zip(axes, outputs, strict=True))


# --- transposed convolutions


def transposed_shape(
    sizes: Sequence[int],
    *,
    kernel: Extent,
    strides: Extent = 1,
    padding: Padding = "valid",
    dilation: Extent = 1,
    output_padding: Extent = 0,
) -> tuple[int, ...]:
    """The spatial shape of a transposed convolution's output: (n - 1) s + e - before - after + output padding.

    A transposed convolution leads back where the convolution of these fields came from, so `padding` cuts: "valid"
    nothing, "full" e - 1 on each side, a count so many positions (PyTorch's), "same" as many as leave n s of them.
    Several sizes lead to the same size, hence `output_padding`: positions at the end that are not cut, or are added.
    Raises ShapeError where an output axis would be empty, with the arithmetic, and ConfigError for a bad field.
    """
    return _transposed(sizes, kernel, strides, padding, dilation, output_padding)[0]


def transposed_padding(
    sizes: Sequence[int],
    *,
    kernel: Extent,
    strides: Extent = 1,
    padding: Padding = "valid",
    dilation: Extent = 1,
    output_padding: Extent = 0,
) -> Pairs:
    """Padding (before, after) an axis of the convolution that leads from a transposed one's output back to `sizes`.

    It is negative, a cut, where an output padding as large as the stride exceeds the padding. Raises as
    `transposed_shape`.
    """
    _, axes = _transposed(sizes, kernel, strides, padding, dilation, output_padding)
    ends = (axis.beyond(n) for axis, n in zip(axes, sizes, strict=True))
    # A convolution drops up to s - 1 positions at the end: so many need not be cut.
    return tuple((axis.before, min(max(end, 0), end + axis.stride - 1)) for axis, end in zip(axes, ends, strict=True))


def _transposed(
    sizes: Sequence[int], kernel: Extent, strides: Extent, padding: Padding, dilation: Extent, output_padding: Extent
) -> tuple[tuple[int, ...], list[_Axis]]:
    """The output's shape, and its axes with the windows of the convolution that leads back."""
    steps = per_axis(strides, axes=len(sizes), name="strides")
    extra = _extra(output_padding, steps, padding, per_axis(dilation, axes=len(sizes), name="dilation"))
    outputs = same = tuple(n * s for n, s in zip(sizes, steps, strict=True))
    axes = _axes(same, kernel, steps, padding, dilation)
    if padding != "same":
        spans = (n + axis.span - axis.stride - axis.before - axis.after for n, axis in zip(same, axes, strict=True))
        outputs = tuple(map(sum, zip(spans, extra, strict=True)))
    for n, output, axis in zip(sizes, outputs, axes, strict=True):
        if output < 1:
            text, shape = _kernel_text(kernel, dilation, len(sizes)), "x".join(map(str, sizes))
            sums = f"({n} - 1) x stride {axis.stride} + {axis.span} - padding {axis.before} - {axis.after} = {output}"
            raise ShapeError(f"transposed kernel {text} leaves nothing of its {shape} input: {sums}")
    return outputs, [axis._replace(size=n) for axis, n in zip(axes, outputs, strict=True)]


def _extra(value: Extent, strides: Sequence[int], padding: Padding, dilation: Sequence[int]) -> tuple[int, ...]:
    """`output_padding` as one count an axis."""
    extra = tuple(value) if isinstance(value, Sequence) else (value,) * len(strides)
    if len(extra) != len(strides) or not all(_is_integer(n) and n >= 0 for n in extra):
        raise ConfigError(f"output_padding = {value!r}: must be a count >= 0, or {len(strides)} of them, one an axis")
    if padding == "same" and any(extra):
        raise ConfigError(f"output_padding = {value!r}: not with padding 'same', whose output is stride x input")
    if any(n >= max(s, d) for n, s, d in zip(extra, strides, dilation, strict=True)):
        raise ConfigError(f"output_padding = {value!r}: must be less than the strides {strides} or dilation {dilation}")
    return extra


# --- pooling


def pool_shape(
    sizes: Sequence[int],
    *,
    window: Extent,
    strides: Extent | None = None,
    padding: Padding = "valid",
    partial: bool = False,
) -> tuple[int, ...]:
    """The spatial shape of a pooling's output; `strides=None` is the window, windows that do not overlap.

    With `partial` (PyTorch's ceil_mode) the last window may reach beyond the padded input, provided that it starts
    before the high-side padding: ceil((n + before + after - f) / s) + 1 outputs, less one where the last would not.
    Raises ShapeError where an output axis would be empty. Raises ConfigError where a side's padding is as large as
    the window: some windows would then hold nothing but padding.
    """
    axes = _pool_axes(sizes, window, strides, padding)
    text = _by(axis.span for axis in axes)
    if any(max(axis.before, axis.after) >= axis.span for axis in axes):
        raise ConfigError(f"padding = {padding!r}: must be smaller than the pooling window {text}")
    outputs = tuple(axis.begun() if partial else axis.inside() for axis in axes)
    if min(outputs) < 1:
        raise ShapeError(_misfit(f"window {text}", sizes, padding, outputs))
    return outputs


def pool_padding(
    sizes: Sequence[int],
    *,
    window: Extent,
    strides: Extent | None = None,
    padding: Padding = "valid",
    partial: bool = False,
) -> Pairs:
    """Padding as explicit pairs, the high side long enough for a partial last window. Raises as `pool_shape`."""
    outputs = pool_shape(sizes, window=window, strides=strides, padding=padding, partial=partial)
    axes = _pool_axes(sizes, window, strides, padding)
    return tuple((a.before, max(a.after, a.beyond(count))) for a, count in zip(axes, outputs, strict=True))


# --- parameters and operations


def check_groups(inputs: int, *, features: int, groups: int) -> None:
    """Raises ShapeError unless both input channels and features divide into `groups`."""
    if not _is_integer(groups) or groups < 1:
        raise ConfigError(f"groups = {groups!r}: must be a positive integer")
    for count, what in ((inputs, "input channels"), (features, "features")):
        if count % groups:
            raise ShapeError(
                f"{count} {what} do not divide into {groups} groups; {count} % {groups} = {count % groups}"
            )


def conv_params(kernel: Extent, *, inputs: int, features: int, groups: int = 1, bias: bool = True) -> int:
    """Parameters of a 2-D convolution: (f_h f_w c_in / groups + 1) features, the + 1 being the bias."""
    check_groups(inputs, features=features, groups=groups)
    return (prod(per_axis(kernel)) * inputs // groups + bias) * features


def conv_macs(output: Sequence[int], *, kernel: Extent, inputs: int, features: int, groups: int = 1) -> int:
    """Multiply-accumulates of a 2-D convolution, one example: n'_h n'_w f_h f_w c_in / groups features."""
    return prod(output) * conv_params(kernel, inputs=inputs, features=features, groups=groups, bias=False)


def transposed_macs(sizes: Sequence[int], *, kernel: Extent, inputs: int, features: int, groups: int = 1) -> int:
    """Multiply-accumulates of a 2-D transposed convolution, one example: each input position meets the whole kernel.

    n_h n_w f_h f_w c_in / groups features, those of the convolution that leads back (fvcore's rule too).
    """
    return conv_macs(sizes, kernel=kernel, inputs=inputs, features=features, groups=groups)


def dense_params(inputs: int, *, features: int, bias: bool = True) -> int:
    """Parameters of a dense layer: (inputs + 1) features, the + 1 being the bias."""
    return (inputs + bias) * features


def dense_macs(inputs: int, *, features: int) -> int:
    """Multiply-accumulates of a dense layer, one example: inputs times features."""
    return inputs * features


class Cost(NamedTuple):
    """What a linear map costs: the floats it stores, and its multiplications and additions together, an image."""

    floats: int
    operations: int


class LinearCosts(NamedTuple):
    """One and the same local linear map stored in three ways."""

    convolution: Cost
    sparse: Cost
    dense: Cost


def linear_costs(sizes: Sequence[int], *, kernel: Extent) -> LinearCosts:
    """What a one-channel valid convolution costs as such, as a sparse matrix and as a dense matrix.

    An output position takes f multiplications and f - 1 additions, f the positions of the kernel, or of the whole
    input for the dense matrix. The sparse matrix holds its nonzero entries, f an output position. No bias. Raises
    ShapeError where the kernel does not fit. After Goodfellow, Bengio and Courville 2016, Deep Learning, section 9.2.
    """
    outputs = prod(output_shape(sizes, kernel=kernel))
    local, full = prod(per_axis(kernel, axes=len(sizes))), prod(sizes)
    convolving = outputs * (2 * local - 1)
    return LinearCosts(
        convolution=Cost(local, convolving),
        sparse=Cost(outputs * local, convolving),
        dense=Cost(outputs * full, outputs * (2 * full - 1)),
    )


# --- receptive fields


class ReceptiveField(NamedTuple):
    """What an output position sees of the network's input along one axis, in input pixels.

    `size` pixels, the field of output position i beginning at pixel `offset + i * jump`; a negative offset begins in
    the padding. The plain value is the input itself. See Araujo, Norris and Sim 2019, Computing receptive fields of
    convolutional neural networks.
    """

    size: int = 1
    jump: int = 1
    offset: int = 0

    def through(self, kernel: int, *, stride: int = 1, before: int = 0, dilation: int = 1) -> ReceptiveField:
        """The field after one more layer with this kernel (or pooling window), stride and low-side padding."""
        span = effective_kernel(kernel, dilation=dilation)
        return ReceptiveField(
            size=self.size + (span - 1) * self.jump,
            jump=self.jump * stride,
            offset=self.offset - before * self.jump,
        )

    def join(self, other: ReceptiveField) -> ReceptiveField:
        """The field of a sum or concatenation of two branches: all that either sees.

        Raises ShapeError where the branches step through the input at different strides.
        """
        if self.jump != other.jump:
            raise ShapeError(f"branches of total stride {self.jump} and {other.jump} cannot be joined")
        offset = min(self.offset, other.offset)
        end = max(self.offset + self.size, other.offset + other.size)
        return ReceptiveField(size=end - offset, jump=self.jump, offset=offset)


# --- one axis


class _Axis(NamedTuple):
    """A window of `span` positions stepping along one padded axis."""

    size: int
    span: int
    stride: int
    before: int
    after: int

    def inside(self) -> int:
        """Windows that fit the padded axis; not positive where none does."""
        return (self.size + self.before + self.after - self.span) // self.stride + 1

    def begun(self) -> int:
        """Windows counting one that reaches beyond the padded axis, if it starts before the high-side padding."""
        steps = -((self.span - self.size - self.before - self.after) // self.stride) + 1
        return steps - 1 if (steps - 1) * self.stride >= self.size + self.before else steps

    def beyond(self, outputs: int) -> int:
        """How far the last of so many windows reaches beyond the input; negative where it ends inside."""
        return (outputs - 1) * self.stride + self.span - self.before - self.size


def _axes(sizes: Sequence[int], kernel: Extent, strides: Extent, padding: Padding, dilation: Extent) -> list[_Axis]:
    pairs = resolve_padding(padding, sizes, kernel=kernel, strides=strides, dilation=dilation)
    spans, steps = _spans(kernel, dilation, len(sizes)), per_axis(strides, axes=len(sizes), name="strides")
    return [_Axis(n, e, s, *pair) for n, e, s, pair in zip(sizes, spans, steps, pairs, strict=True)]


def _pool_axes(sizes: Sequence[int], window: Extent, strides: Extent | None, padding: Padding) -> list[_Axis]:
    windows = per_axis(window, axes=len(sizes), name="window")
    return _axes(sizes, windows, windows if strides is None else strides, padding, 1)


def _is_integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _spans(kernel: Extent, dilation: Extent, axes: int) -> tuple[int, ...]:
    factors = per_axis(dilation, axes=axes, name="dilation")
    return tuple(effective_kernel(f, dilation=d) for f, d in zip(per_axis(kernel, axes=axes), factors, strict=True))


def _named_padding(name: str, size: int, span: int, stride: int) -> tuple[int, int]:
    if name not in PADDINGS:
        raise ConfigError(unknown("padding", name, PADDINGS))
    if name == "full":
        return span - 1, span - 1
    outputs = -(-size // stride)
    total = max((outputs - 1) * stride + span - size, 0) if name == "same" else 0
    return total // 2, total - total // 2


# --- text


def _by(sizes: Iterable[int]) -> str:
    """(5, 5) -> `5`, (5, 3) -> `5x3`."""
    sizes = tuple(sizes)
    return str(sizes[0]) if len(set(sizes)) == 1 else "x".join(map(str, sizes))


def _kernel_text(kernel: Extent, dilation: Extent, axes: int) -> str:
    factors = per_axis(dilation, axes=axes, name="dilation")
    spread = f" at dilation {_by(factors)} (spanning {_by(_spans(kernel, dilation, axes))})"
    return _by(per_axis(kernel, axes=axes)) + (spread if max(factors) > 1 else "")


def _misfit(window: str, sizes: Sequence[int], padding: Padding, outputs: Iterable[int]) -> str:
    padded = f"{padding} padding" if isinstance(padding, str) else f"padding {padding}"
    shape, output = ("x".join(str(max(n, 0)) for n in extent) for extent in (sizes, outputs))
    return f"{window} does not fit its {shape} input ({padded}); output would be {output}"
