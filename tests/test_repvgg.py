"""A RepVGG's branches as one convolution: equal outputs, from Python and as an export of a run."""

from __future__ import annotations

import json

import jax
import numpy as np
import pytest
from typer.testing import CliRunner

import cnnjax
from cnnjax import Experiment, NFNet, RepVGG, Synthetic, convert, models
from cnnjax.cli import app
from cnnjax.errors import ConfigError
from cnnjax.models.nfnet import GAINS
from cnnjax.nn import activation

SMALL = RepVGG(stage_sizes=(2, 1), features=(8, 12), stem_features=4, num_classes=3)


def drawn(config, seed=0):
    """Variables away from their initial values, running statistics too."""
    generator = np.random.default_rng(seed)
    made = jax.eval_shape(config.build().init, jax.random.key(0), np.zeros((1, 16, 16, 3), np.float32))
    return jax.tree.map(lambda leaf: generator.uniform(0.3, 1.0, leaf.shape).astype(np.float32), made)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"groups": 2},
        {"pointwise": False},
        {"identity": False},
        {"kernel_size": (3, 5), "strides": (1, 2)},
        {"norm": cnnjax.BatchNorm(scale=False, epsilon=0.1)},
    ],
    ids=str,
)
def test_the_fused_network_computes_the_same(fields):
    config = models.config("repvgg", **{**dict(SMALL), **fields})
    variables = drawn(config)
    fused, weights = config.fuse(variables)
    assert set(weights["params"]["stage1_block2"]) == {"fused"}
    assert not weights["batch_stats"]
    x = np.random.default_rng(1).normal(size=(2, 16, 16, 3)).astype(np.float32)
    for options in ({}, {"endpoints": True}):
        before = config.build().apply(variables, x, **options)
        after = fused.build().apply(weights, x, **options)
        # Sums in another order; 1e-5 of the largest number.
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=1e-5 * np.abs(b).max()), after, before)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (SMALL.model_copy(update={"fused": True}), "no branches any more"),
        (SMALL.model_copy(update={"norm": cnnjax.GroupNorm(groups=2)}), "norm = group: only a batch norm.*norm=batch"),
        (models.config("resnet18"), "resnet has no branches"),
    ],
)
def test_what_cannot_be_fused_is_refused(config, words):
    with pytest.raises(ConfigError, match=words):
        config.fuse({"params": {}, "batch_stats": {}})


def test_an_even_kernel_has_no_middle():
    with pytest.raises(ConfigError, match="is even"):
        RepVGG(kernel_size=(3, 4))


@pytest.mark.slow
def test_a_run_is_exported_fused(tmp_path):
    data = Synthetic(height=16, width=16, channels=3, classes=3, examples=16, test_examples=8)
    model = SMALL.model_copy(update={"num_classes": None})
    cnnjax.train(Experiment(model=model, data=data, steps=2, batch_size=8), tmp_path / "run")
    trained = cnnjax.load(tmp_path / "run")
    fused = trained.fused()
    images = np.random.default_rng(0).integers(0, 256, (5, 16, 16, 3), np.uint8)
    np.testing.assert_allclose(fused.predict(images).probabilities, trained.predict(images).probabilities, atol=1e-5)
    assert fused.described() == trained.described()
    out = tmp_path / "fused.safetensors"
    result = CliRunner().invoke(app, ["export", str(tmp_path / "run"), str(out), "--fused", "--json"])
    assert result.exit_code == 0, result.output
    assert json.loads(out.with_suffix(".safetensors.json").read_text())["experiment"]["model"]["fused"] is True
    held = convert.read_weights(out)
    np.testing.assert_array_equal(held["params.stem.fused.kernel"], fused.params["stem"]["fused"]["kernel"])


# --- NFNet


def test_gains_of_activations_are_1_over_the_deviation_of_activated_normal_numbers():
    """The authors drew a sample: equal to a thousandth."""
    z, step = np.linspace(-12, 12, 100_001, retstep=True)
    density = np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi) * step
    for name, gain in GAINS.items():
        y = np.asarray(activation(name)(z.astype(np.float32)), np.float64)
        variance = (y**2 * density).sum() - (y * density).sum() ** 2
        assert gain == pytest.approx(variance**-0.5, rel=2e-3), name


def test_nfnet_expects_each_block_to_add_to_the_variance():
    """Section 2: a stage's first block has a shortcut of its own, and begins at variance 1."""
    betas = NFNet(stage_sizes=(1, 2, 6, 3), alpha=0.2).betas
    variances = [1, 1.04, 1.04, 1.08, *(1 + 0.04 * block for block in range(1, 6)), 1.24, 1.04, 1.08]
    np.testing.assert_allclose(np.square(betas), variances, rtol=1e-12)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"activation": "hard_swish"}, "the gain of hard_swish is not known"),
        ({"group_width": 100}, "do not divide into groups of 100"),
        ({"strides": (1, 2)}, "2 entries for 4 stages"),
    ],
)
def test_nfnets_that_cannot_be_are_refused(fields, words):
    with pytest.raises(ConfigError, match=words):
        NFNet(**fields)
