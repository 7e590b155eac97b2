"""What recipes of networks on ImageNet say of their sources, worked out: VGG's dense layers, AlexNet's biases."""

from __future__ import annotations

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax.config import replace
from cnnjax.initialization import kernels_of
from cnnjax.models.vgg import vgg16
from cnnjax.study.file import load
from tests.shrinking import narrow_layers

FOLDER = Path(__file__).parents[1] / "experiments" / "imagenet"


def narrow(model):
    return replace(model, {**narrow_layers(model), "num_classes": 5})


@pytest.mark.slow
def test_vggs_dense_layers_as_convolutions_are_the_dense_layers():
    """Simonyan and Zisserman 2015, section 3.2: on 224 pixels both give the same numbers, for the same weights."""
    plain, dense = (narrow(model).build() for model in (vgg16(), load(FOLDER / "vgg16.py").experiment.model))
    images = jax.random.normal(jax.random.key(0), (1, 224, 224, 3))
    params = jax.jit(plain.init)(jax.random.key(1), images)["params"]
    shapes = jax.eval_shape(dense.init, jax.random.key(1), jax.ShapeDtypeStruct((1, 256, 256, 3), jnp.float32))
    moved = jax.tree.map(lambda leaf, shape: leaf.reshape(shape.shape), params, dict(shapes["params"]))
    logits = jax.jit(plain.apply)({"params": params}, images)
    assert float(jnp.abs(logits).max()) > 1e-3
    np.testing.assert_allclose(jax.jit(dense.apply)({"params": moved}, images), logits, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_alexnets_biases_start_at_one_where_the_paper_says():
    experiment = load(FOLDER / "alexnet.py").experiment
    network, key = narrow(experiment.model).build(), jax.random.key(0)
    images = jnp.zeros((1, 224, 224, 3))
    params = jax.jit(network.init)(key, images)["params"]
    chosen = experiment.initialization.chosen(kernels_of(network, images, lambda purpose: key))
    drawn = experiment.initialization.drawn(params, chosen, lambda path: jax.random.fold_in(key, len(path)))
    ones = {"conv2", "conv4", "conv5", "dense6", "dense7"}
    assert set(drawn) == ones | {"conv1", "conv3", "logits"}
    for name, layer in drawn.items():
        np.testing.assert_array_equal(layer["bias"], np.full(layer["bias"].shape, float(name in ones)))
        # The deviation of n normal numbers is within 4 standard errors of 0.01.
        assert abs(layer["kernel"].std() / 0.01 - 1) < 4 / np.sqrt(2 * layer["kernel"].size)
