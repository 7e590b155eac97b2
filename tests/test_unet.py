"""U-Net: its sizes, its knobs, and what the way up is given."""

from __future__ import annotations

from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

from cnnjax import analyse, models
from cnnjax.config import replace
from cnnjax.errors import ConfigError, ShapeError

SMALL = models.UNet(depth=2, features=(2, 3, 4), num_classes=5)


def run(config, size=(16, 16), seed=0):
    """The network, its variables and its outputs for one image of one channel."""
    images = jnp.asarray(np.random.default_rng(seed).normal(size=(1, *size, 1)).astype(np.float32))
    module = config.build()
    outputs, variables = jax.jit(module.init_with_output)(jax.random.key(0), images)
    return module, variables, images, outputs


@pytest.mark.parametrize(
    ("fields", "sizes"),
    [
        # Figure 1 of the paper: 572 -> 570, 568, / 2 = 284 ... 32, 30, 28 ... 392, 390, 388.
        ({"padding": "valid"}, [((572, 572), (388, 388)), ((188, 204), (4, 20))]),
        ({}, [((16, 16), (16, 16)), ((512, 64), (512, 64))]),
        ({"depth": 1, "padding": "valid", "kernel_size": (3, 1)}, [((20, 4), (4, 4))]),
        ({"depth": 1, "padding": "valid", "convolutions": 1}, [((10, 12), (2, 4))]),
    ],
)
def test_sizes(fields, sizes):
    config = models.UNet(**fields)
    narrow = replace(config, {"features": (1,) * (config.depth + 1), "num_classes": 2})
    for image, maps in sizes:
        assert config.output_size(*image) == maps
        assert jax.eval_shape(lambda: run(narrow, image)[3]).shape == (1, *maps, 2)  # noqa: B023


@pytest.mark.parametrize(
    ("fields", "size", "message"),
    [
        ({}, (100, 96), r"depth = 4: 100 rows .* 100, / 2 = 50, / 2 = 25, which is odd; 96 or 112 fit"),
        ({}, (96, 8), r"8 columns .* 8, / 2 = 4, / 2 = 2, / 2 = 1, which is odd; 16 fit"),
        (
            {"padding": "valid"},
            (570, 572),
            r"570 rows .* 570 - 4 = 566, / 2 - 4 = 279, which is odd; 556 or 572 fit",
        ),
        ({"padding": "valid", "depth": 1}, (12, 18), r"12 - 4 = 8, / 2 - 4 = 0: nothing is left; 18 fit"),
        ({"padding": "valid", "depth": 1}, (14, 18), r"14 - 4 = 10, / 2 - 4 = 1, x 2 - 4 = -2: nothing is left; 18"),
    ],
)
def test_sizes_that_do_not_fit(fields, size, message):
    config = models.UNet(num_classes=2, **fields)
    with pytest.raises(ShapeError, match=message):
        config.output_size(*size)
    with pytest.raises(ShapeError, match=message):
        jax.eval_shape(config.build().init, jax.random.key(0), jnp.ones((1, *size, 1)))


def test_every_size_said_to_fit_does():
    for fields in ({"depth": 2}, {"depth": 2, "padding": "valid"}, {"depth": 1, "padding": "valid", "convolutions": 3}):
        config = models.UNet(features=(1,) * (fields["depth"] + 1), **fields)
        for size in range(1, 60):
            try:
                assert config.output_size(size, size)[0] > 0
            except ShapeError as error:
                fit = str(error).split(";")[1]
                for near in (int(word) for word in fit.split() if word.isdigit()):
                    assert config.output_size(near, near)[0] > 0


def test_one_width_a_stage():
    with pytest.raises(ConfigError, match=r"features: 2 widths for 5 stages \(depth = 4, and the bottom\)"):
        models.UNet(features=(1, 2))


def hand_count(widths, *, first, last, taps=9, doubled=4, down=0, skip=True):
    """Parameters with one channel in, two convolutions a stage and biases."""
    count, before = 0, first
    for width in widths:
        count += taps * before * width + width + taps * width * width + width
        before = width
    for width in widths[:-1]:
        count += down * width * width + (width if down else 0)
    for width, lower in pairwise(widths):
        joined = 2 * width if skip else width
        count += doubled * lower * width + width + taps * joined * width + width + taps * width * width + width
    return count + widths[0] * last + last


@pytest.mark.parametrize(
    ("fields", "counted"),
    [
        ({}, {}),
        ({"down": "average"}, {}),
        ({"down": "stride"}, {"down": 4}),
        ({"up": "nearest"}, {"doubled": 9}),
        ({"up": "bilinear", "kernel_size": (3, 1)}, {"doubled": 3, "taps": 3}),
        ({"skip": False}, {"skip": False}),
        ({"padding": "valid"}, {}),
    ],
)
def test_parameters_of_each_knob(fields, counted):
    config = replace(SMALL, fields)
    _, variables, images, outputs = run(config, (44, 44))
    assert outputs.shape == (1, *config.output_size(44, 44), 5)
    params = sum(leaf.size for leaf in jax.tree.leaves(variables))
    assert params == hand_count((2, 3, 4), first=1, last=5, **counted)
    assert analyse(config.build(), images.shape[1:]).params == params


def test_without_skips_all_goes_through_the_bottom():
    for skip in (True, False):
        module, variables, images, outputs = run(replace(SMALL, {"skip": skip}))
        params = variables["params"]
        silent = params | {"stage3": jax.tree.map(jnp.zeros_like, params["stage3"])}
        other = module.apply({"params": silent}, images)
        varies = bool(np.asarray(other).std(axis=(1, 2)).max() > 1e-3)
        assert varies is skip
        assert np.asarray(outputs).std() > 1e-3


def test_valid_maps_show_the_middle():
    """With maps that only pass on what they get, the output is the middle of the image."""
    config = models.UNet(depth=1, features=(1, 1), kernel_size=3, padding="valid", num_classes=1, activation="identity")
    module, variables, images, _ = run(config, (24, 28))
    passing = jnp.zeros((3, 3, 1, 1)).at[1, 1].set(1)
    params = jax.tree.map(jnp.zeros_like, variables["params"])
    for stage in ("stage1", "merge1"):
        for conv in ("conv1", "conv2"):
            kernel = params[stage][conv]["conv"]["kernel"]
            params[stage][conv]["conv"]["kernel"] = kernel.at[:, :, :1].set(passing)
    params["logits"]["kernel"] = params["logits"]["kernel"] + 1
    maps = module.apply({"params": params}, images)
    rows, columns = config.output_size(24, 28)
    assert_allclose(maps, images[:, 8 : 8 + rows, 8 : 8 + columns], rtol=1e-6)


def test_rescaled_widths():
    config = next(models.UNet(features=8).rescaled(0.5))
    assert config.widths == (4, 8, 16, 32, 64)
    assert next(models.UNet(depth=1, features=(6, 6)).rescaled(1.5)).widths == (9, 9)


@pytest.mark.torch
@pytest.mark.parametrize("padding", ["same", "valid"])
def test_logits_are_those_of_the_network_written_in_pytorch(padding):
    torch = pytest.importorskip("torch")
    functional = torch.nn.functional
    _, variables, images, outputs = run(replace(SMALL, {"padding": padding}), (44, 48))

    def conv(x, path, *, edge=0, call=functional.conv2d, axes=(3, 2, 0, 1), **fields):
        leaf = variables["params"]
        for name in path.split("."):
            leaf = leaf[name]
        weight, bias = (torch.tensor(np.asarray(leaf[name])) for name in ("kernel", "bias"))
        return call(x, weight.permute(axes), bias, padding=edge, **fields)

    def stage(x, name):
        for number in (1, 2):
            x = functional.relu(conv(x, f"{name}.conv{number}.conv", edge=int(padding == "same")))
        return x

    first = stage(torch.tensor(np.asarray(images)).permute(0, 3, 1, 2), "stage1")
    second = stage(functional.max_pool2d(first, 2), "stage2")
    x = stage(functional.max_pool2d(second, 2), "stage3")
    for number, beside in ((2, second), (1, first)):
        x = conv(x, f"up{number}.conv", call=functional.conv_transpose2d, axes=(2, 3, 0, 1), stride=2)
        top, left = ((a - b) // 2 for a, b in zip(beside.shape[2:], x.shape[2:], strict=True))
        cut = beside[:, :, top : top + x.shape[2], left : left + x.shape[3]]
        x = stage(torch.cat([cut, x], 1), f"merge{number}")
    assert_allclose(outputs, conv(x, "logits").permute(0, 2, 3, 1), rtol=1e-4, atol=1e-5)
