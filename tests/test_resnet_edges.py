"""Where residual networks of other frameworks differ: blurs before strides, "same" padding, and how logits start."""

from __future__ import annotations

from functools import partial

import flax.linen as linen
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.signal import correlate2d

from cnnjax import BatchNorm, ImageNetStem, ResNet
from cnnjax.errors import ConfigError
from cnnjax.models.blocks import ConvNorm
from cnnjax.models.norm import NoNorm

BINOMIAL = np.outer([1, 2, 1], [1, 2, 1]) / 16


def narrow(**fields):
    fields = {"stage_sizes": (1, 1), "features": 4, "num_classes": 3, **fields}
    return ResNet(**fields)


def test_a_blur_before_a_stride_is_a_convolution_of_the_blurred_map_with_zeros_around_it():
    generator = np.random.default_rng(0)
    image = generator.normal(size=(6, 7)).astype(np.float32)
    layer = ConvNorm(1, 3, 2, norm=NoNorm(), activation="identity", bias=False, blur=True, blur_place="before")
    variables = layer.init(jax.random.key(0), image[None, ..., None], train=False)
    kernel = np.asarray(variables["params"]["conv"]["kernel"])[..., 0, 0]
    blurred = correlate2d(image, BINOMIAL, mode="same")
    expected = correlate2d(blurred, kernel, mode="same")[::2, ::2]
    found = layer.apply(variables, image[None, ..., None], train=False)
    assert_allclose(np.asarray(found)[0, ..., 0], expected, rtol=1e-5, atol=1e-5)


def blurred_at(model):
    """Where blurs stand, and in which steps."""
    found = []

    def note(call, args, kwargs, context):
        if context.method_name == "__call__" and getattr(context.module, "kind", "") == "blur":
            found.append(("/".join(context.module.path), context.module.strides))
        return call(*args, **kwargs)

    with linen.intercept_methods(note):
        jax.eval_shape(lambda: model.build().init(jax.random.key(0), jnp.zeros((1, 16, 16, 3)), train=False))
    return found


def test_blurs_stand_before_the_convolutions_that_step_but_not_in_the_stem():
    stages = [("stage2_block1/shortcut/blur", 1), ("stage2_block1/conv1/blur", 1)]
    assert blurred_at(narrow(blur=True, blur_place="before", blur_pool=False)) == stages
    assert blurred_at(narrow(blur=True, blur_place="before")) == [("stem/blur", 2), *stages]
    after = blurred_at(narrow(blur=True))
    assert after == [("stem/conv1/blur", 2), ("stem/blur", 2), *((path, 2) for path, _ in stages)]


class FlaxLike(linen.Module):
    """The stem and the first block of the second stage of a basic network, as they are written with Flax's layers."""

    @linen.compact
    def __call__(self, x):
        x = linen.Conv(4, (7, 7), (2, 2), padding=[(3, 3), (3, 3)], use_bias=False, name="stem")(x)
        x = linen.max_pool(linen.relu(x), (3, 3), strides=(2, 2), padding="SAME")
        y = linen.Conv(8, (3, 3), (2, 2), use_bias=False, name="conv1")(x)
        y = linen.Conv(8, (3, 3), use_bias=False, name="conv2")(linen.relu(y))
        x = linen.Conv(8, (1, 1), (2, 2), use_bias=False, name="shortcut")(x)
        return linen.Dense(3, name="logits")(linen.relu(x + y).mean((1, 2)))


def test_same_padding_is_flax_s():
    # Without normalization, so that what differs at the edges is not divided out; biases stay 0.
    stem = ImageNetStem(padding="centred")
    model = ResNet(
        stage_sizes=(1,), features=8, num_classes=3, strides=(2,), norm=NoNorm(), padding="same",
        stem=stem.model_copy(update={"features": 4}),
    )  # fmt: skip
    images = jax.random.normal(jax.random.key(1), (2, 16, 16, 3))
    network = model.build()
    ours = jax.jit(lambda: network.init(jax.random.key(0), images, train=False))()["params"]
    theirs = {
        "stem": ours["stem"]["conv1"]["conv"],
        **{name: ours["stage1_block1"][name]["conv"] for name in ("conv1", "conv2", "shortcut")},
    }
    theirs = {name: {"kernel": layer["kernel"]} for name, layer in theirs.items()} | {"logits": ours["logits"]}
    # As arguments: what is constant the compiler works out by other code than what runs.
    found, other = (
        jax.jit(partial(net.apply, train=False))({"params": ours}, images)
        for net in (network, model.model_copy(update={"padding": "centred"}).build())
    )
    expected = jax.jit(FlaxLike().apply)({"params": theirs}, images)
    assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    assert np.abs(np.asarray(other) - np.asarray(expected)).max() > 1e-3


def test_logits_start_as_asked():
    def logits(**fields):
        network = narrow(stage_sizes=(1,), **fields).build()
        variables = jax.jit(lambda: network.init(jax.random.key(0), jnp.zeros((1, 16, 16, 3)), train=False))()
        return jax.tree.map(np.asarray, variables["params"]["logits"])

    assert not logits(logits_start="zero")["kernel"].any()
    assert_allclose(logits(logits_bias=-6.9)["bias"], -6.9)
    wide = logits(logits_start="pytorch", num_classes=4000)
    edge = 4**-0.5
    for values in (wide["kernel"], wide["bias"]):
        assert np.abs(values).max() <= edge
        assert_allclose(values.std(), edge / 3**0.5, rtol=0.05)


def test_batch_normalization_s_scale_starts_as_asked():
    model = narrow(stage_sizes=(1,), norm=BatchNorm(scale_start="uniform"), zero_init=True)
    network = model.build()
    params = jax.jit(lambda: network.init(jax.random.key(0), jnp.zeros((1, 16, 16, 3)), train=False))()["params"]
    scale = np.asarray(params["stem"]["conv1"]["norm"]["scale"])
    assert 0 <= scale.min() < scale.max() <= 1
    assert not np.asarray(params["stage1_block1"]["conv2"]["norm"]["scale"]).any()  # zero_init comes first
    with pytest.raises(ConfigError, match="there is no scale"):
        BatchNorm(scale_start="uniform", scale=False)


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"blur_place": "before"}, "nothing is blurred"),
        ({"blur_pool": False}, "nothing is blurred"),
        ({"padding": "same", "stem": ImageNetStem(pool_zeros=True)}, "pool_zeros"),
        ({"logits_start": "pytorch", "logits_bias": 1.0}, "starts at random"),
    ],
)
def test_what_would_have_no_effect_is_refused(fields, why):
    with pytest.raises(ConfigError, match=why):
        narrow(**fields)
