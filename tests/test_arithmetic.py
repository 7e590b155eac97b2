"""Convolution arithmetic against the lectures' numbers and against counting windows one by one."""

from __future__ import annotations

from math import prod

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from cnnjax.arithmetic import (
    Cost,
    ReceptiveField,
    check_groups,
    conv_macs,
    conv_params,
    dense_macs,
    dense_params,
    dropped,
    effective_kernel,
    linear_costs,
    output_shape,
    output_size,
    per_axis,
    pool_padding,
    pool_shape,
    resolve_padding,
)
from cnnjax.errors import ConfigError, ShapeError

counting = settings(max_examples=200, deadline=None, derandomize=True)

# --- the lectures' numbers


@pytest.mark.parametrize(
    ("sizes", "kernel", "strides", "padding", "expected"),
    [
        ((32, 32), 5, 1, "valid", (28, 28)),
        ((7, 7), 3, 2, "valid", (3, 3)),
        ((28, 28), 5, 1, 2, (28, 28)),
        ((24, 24), 3, 1, "same", (24, 24)),
        ((6, 6), 3, 1, "valid", (4, 4)),
        ((6, 6), 3, 1, 1, (6, 6)),
        ((100, 150), (91, 141), 1, "valid", (10, 10)),
        ((280, 320), (1, 2), 1, "valid", (280, 319)),
        ((19, 19), 5, 1, 2, (19, 19)),
        ((5, 5), 3, 1, "full", (7, 7)),
        ((227, 227), 11, 4, "valid", (55, 55)),
        ((224, 224), 7, 2, 3, (112, 112)),
        ((9, 9), 3, 2, ((0, 1), (1, 0)), (4, 4)),
        ((9, 6), 3, 1, (0, (1, 2)), (7, 7)),
    ],
)
def test_output_shape(sizes, kernel, strides, padding, expected):
    assert output_shape(sizes, kernel=kernel, strides=strides, padding=padding) == expected


@pytest.mark.parametrize(
    ("size", "window", "strides", "partial", "expected"),
    [(28, 2, 2, False, 14), (13, 3, 2, False, 6), (4, 2, 1, False, 3), (7, 2, None, False, 3), (7, 2, None, True, 4)],
)
def test_pool_shape(size, window, strides, partial, expected):
    assert pool_shape((size, size), window=window, strides=strides, partial=partial) == (expected, expected)


def test_same_padding_of_the_lectures():
    pairs = resolve_padding("same", (24, 24), kernel=3)
    assert [24 + sum(pair) for pair in pairs] == [26, 26]
    assert resolve_padding("same", (19, 19), kernel=5) == ((2, 2), (2, 2))
    assert resolve_padding("same", (224, 224), kernel=3, strides=2) == ((0, 1), (0, 1))
    assert resolve_padding("same", (8, 8), kernel=2) == ((0, 1), (0, 1))


@pytest.mark.parametrize(
    ("counted", "expected"),
    [
        (conv_params(5, inputs=3, features=10), 760),
        (conv_params((91, 141), inputs=1, features=1), 12_832),
        (conv_params(3, inputs=64, features=128, groups=64, bias=False), 3 * 3 * 1 * 128),
        (conv_macs((28, 28), kernel=5, inputs=3, features=6), 28 * 28 * 5 * 5 * 3 * 6),
        (conv_macs((14, 14), kernel=3, inputs=32, features=32, groups=32), 14 * 14 * 9 * 32),
        (dense_params(150 * 100 * 3, features=100), 4_500_100),
        (dense_params(150 * 100, features=100), 1_500_100),
        (dense_params(10, features=3, bias=False), 30),
        (dense_macs(150 * 100, features=100), 1_500_000),
    ],
)
def test_parameters_and_operations(counted, expected):
    assert counted == expected


def test_linear_costs_of_the_vertical_edge_detector():
    costs = linear_costs((320, 280), kernel=(2, 1))
    assert costs.convolution == Cost(floats=2, operations=267_960)
    assert costs.sparse == Cost(floats=178_640, operations=267_960)
    assert costs.dense.floats == 319 * 280 * 320 * 280 > 8e9
    assert costs.dense.operations == 319 * 280 * (2 * 320 * 280 - 1) > 16e9


VGG16 = [64, 64, "pool", 128, 128, "pool", *[256] * 3, "pool", *[512] * 3, "pool", *[512] * 3, "pool"]
VGG16_WEIGHTS = [
    1_728, 36_864, 73_728, 147_456, 294_912, 589_824, 589_824, 1_179_648, 2_359_296, 2_359_296, 2_359_296, 2_359_296,
    2_359_296, 102_760_448, 16_777_216, 4_096_000,
]  # fmt: skip


def test_vgg16_table():
    """The lecture's rows; its total line (24M floats, 93 MB) is wrong, its own rows give 15.2M floats, 61 MB."""
    shape, inputs, volumes, weights, params = (224, 224), 3, [224 * 224 * 3], [], 0
    for features in VGG16:
        if features == "pool":
            shape = pool_shape(shape, window=2)
        else:
            shape = output_shape(shape, kernel=3, padding=1)
            weights.append(conv_params(3, inputs=inputs, features=features, bias=False))
            params += conv_params(3, inputs=inputs, features=features)
            inputs = features
        volumes.append(prod(shape) * inputs)
    assert (shape, volumes[1]) == ((7, 7), 3_211_264)
    for width, features in ((7 * 7 * 512, 4096), (4096, 4096), (4096, 1000)):
        weights.append(dense_params(width, features=features, bias=False))
        params += dense_params(width, features=features)
        volumes.append(features)
    assert weights == VGG16_WEIGHTS
    assert params == 138_357_544
    assert sum(volumes) == 15_237_608
    assert 60 < 4 * sum(volumes) / 1e6 < 62


# --- counting windows


def starts(size, span, stride, before, after):
    """Low ends of the windows that fit, found by trying every position."""
    return [p for p in range(-before, size + after) if (p + before) % stride == 0 and p + span <= size + after]


extents = st.integers(1, 9)


@counting
@given(st.integers(1, 30), extents, st.integers(1, 5), st.integers(0, 4), st.integers(0, 4), st.integers(1, 3))
def test_output_size_counts_windows(size, kernel, stride, before, after, dilation):
    span = max(range(0, kernel * dilation, dilation)) + 1
    assert effective_kernel(kernel, dilation=dilation) == span
    windows = starts(size, span, stride, before, after)
    sides = {"padding": ((before, after),), "strides": stride, "dilation": dilation}
    if not windows:
        with pytest.raises(ShapeError, match="output would be 0"):
            output_shape((size,), kernel=kernel, **sides)
        return
    outputs = output_size(size, kernel=kernel, stride=stride, before=before, after=after, dilation=dilation)
    assert outputs == len(windows)
    unreached = [p for p in range(size) if p >= windows[-1] + span]
    assert dropped((size,), kernel=kernel, **sides) == (len(unreached),)


@counting
@given(st.integers(1, 40), extents, st.integers(1, 5), st.integers(1, 3))
def test_named_paddings(size, kernel, stride, dilation):
    fields = {"kernel": kernel, "strides": stride, "dilation": dilation}
    assert output_shape((size,), padding="same", **fields) == (len(range(0, size, stride)),)
    ((before, after),) = resolve_padding("same", (size,), **fields)
    assert after - before in (0, 1)
    span = effective_kernel(kernel, dilation=dilation)
    assert resolve_padding("valid", (size,), **fields) == ((0, 0),)
    overlapping = [p for p in range(1 - span, size) if (p + span - 1) % stride == 0]
    assert output_shape((size,), padding="full", **fields) == (len(overlapping),)


@counting
@given(st.integers(1, 30), st.integers(1, 6), st.integers(1, 7), st.data(), st.booleans())
def test_pool_shape_counts_windows(size, window, stride, data, partial):
    before, after = (data.draw(st.integers(0, window - 1)) for _ in range(2))
    fields = {"window": window, "strides": stride, "padding": ((before, after),), "partial": partial}
    windows = starts(size, window, stride, before, after)
    if partial:
        # One more, if the input is not exactly used up and it begins before the high-side padding.
        assume(size + before + after - window > -stride)
        reached = windows[-1] + window if windows else -before
        begin = windows[-1] + stride if windows else -before
        windows += [begin] if reached < size + after and begin < size else []
    if not windows:
        with pytest.raises(ShapeError):
            pool_shape((size,), **fields)
        return
    assert pool_shape((size,), **fields) == (len(windows),)
    assert pool_padding((size,), **fields) == ((before, max(after, windows[-1] + window - size)),)


layers = st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(0, 2), st.integers(1, 2))


@counting
@given(st.lists(layers, max_size=4), st.integers(0, 3))
def test_receptive_field_follows_connections(stack, position):
    field, seen = ReceptiveField(), {position}
    for kernel, stride, before, dilation in stack:
        field = field.through(kernel, stride=stride, before=before, dilation=dilation)
    for kernel, stride, before, dilation in reversed(stack):
        seen = {p * stride - before + k * dilation for p in seen for k in range(kernel)}
    assert min(seen) == field.offset + position * field.jump
    assert max(seen) - min(seen) + 1 == field.size


def test_receptive_fields_of_branches_join():
    stem = ReceptiveField().through(7, stride=2, before=3)
    assert stem == ReceptiveField(size=7, jump=2, offset=-3)
    branch = stem.through(3, before=1).through(3, before=1)
    assert branch.join(stem) == branch == ReceptiveField(size=15, jump=2, offset=-7)
    ahead = ReceptiveField(size=3, offset=4)
    assert ahead.join(ReceptiveField(size=2, offset=-1)) == ReceptiveField(size=8, offset=-1)
    with pytest.raises(ShapeError, match="total stride 2 and 4"):
        stem.join(stem.through(1, stride=2))


# --- refusals


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: output_shape((4, 4), kernel=5),
            "kernel 5 does not fit its 4x4 input (valid padding); output would be 0x0",
        ),
        (
            lambda: output_shape((10, 3), kernel=(3, 7), strides=2),
            "kernel 3x7 does not fit its 10x3 input (valid padding); output would be 4x0",
        ),
        (
            lambda: output_shape((4, 4), kernel=3, dilation=3, padding=1),
            "kernel 3 at dilation 3 (spanning 7) does not fit its 4x4 input (padding 1); output would be 0x0",
        ),
        (
            lambda: pool_shape((1, 1), window=2),
            "window 2 does not fit its 1x1 input (valid padding); output would be 0x0",
        ),
        (
            lambda: check_groups(6, features=8, groups=4),
            "6 input channels do not divide into 4 groups; 6 % 4 = 2",
        ),
        (lambda: check_groups(8, features=6, groups=4), "6 features do not divide into 4 groups; 6 % 4 = 2"),
    ],
)
def test_shape_errors_give_the_arithmetic(call, message):
    with pytest.raises(ShapeError) as caught:
        call()
    assert str(caught.value) == message


@pytest.mark.parametrize(
    "padding", [-1, "sane", True, 1.5, None, (1,), (1, 2, 3), (1, -1), ((1, 2), (3,)), ((1, 2, 3), (0, 0)), ("1", 1)]
)
def test_bad_padding(padding):
    with pytest.raises(ConfigError, match="padding"):
        resolve_padding(padding, (8, 8), kernel=3)


@pytest.mark.parametrize("value", [0, -1, True, 2.0, "3", None, (3,), (3, 0), (1, 2, 3)])
def test_bad_extent(value):
    with pytest.raises(ConfigError, match="strides = "):
        per_axis(value, name="strides")


def test_padding_as_large_as_the_pooling_window():
    with pytest.raises(ConfigError, match="must be smaller than the pooling window 2"):
        pool_shape((8, 8), window=2, padding=2)


def test_bad_groups():
    with pytest.raises(ConfigError, match="groups = 0"):
        conv_params(3, inputs=4, features=4, groups=0)
