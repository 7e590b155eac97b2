"""Generation: losses by hand, whom each reaches, the step as two optimizers, and the distance of two sets."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.linalg
from scipy.special import expit

import cnnjax
from cnnjax import (
    Adam,
    BatchNorm,
    Constant,
    Digits,
    Experiment,
    FlipViews,
    Generation,
    Generator,
    Group,
    Hardware,
    Options,
    SigmoidCrossEntropy,
    SmallCNN,
    SoftmaxCrossEntropy,
    UNet,
    metrics,
)
from cnnjax.config import Named, replace
from cnnjax.errors import ConfigError
from cnnjax.experiment import check, functions_of, length_of
from cnnjax.lanes import lane_values
from cnnjax.models.generator import AdversarialNetwork, GeneratorNetwork
from cnnjax.run.program import Program
from cnnjax.run.teachers import teachers_of
from cnnjax.tasks import Scores
from cnnjax.training.state import derive, example_keys, root_key, step_key
from cnnjax.training.step import init_state, train_step

ONE = Options(hardware=Hardware(devices=1))
RNG = np.random.default_rng(0)
DISCRIMINATOR = SmallCNN(features=2, pool="stride", norm=BatchNorm(), activation="leaky_relu_0.2", dense=0)
BASE: Any = Experiment(
    model=DISCRIMINATOR,
    data=Digits(),
    task=Generation(generator=Generator(code=5, features=(4, 3))),
    loss=SigmoidCrossEntropy(),
    optim=Adam(learning_rate=0.002, b1=0.5, schedule=Constant()),
    steps=2,
    batch_size=16,
    validation=0,
)
FORM = BASE.data.load()


def network(norm: str = "batch") -> AdversarialNetwork:
    generator = GeneratorNetwork(replace(BASE.task.generator, {"norm": norm}))
    return AdversarialNetwork(generator=generator, discriminator=replace(DISCRIMINATOR, {"num_classes": 1}).build())


def by_hand(rule: str, real: np.ndarray, fake: np.ndarray, fooled: np.ndarray, r: float):
    """L_D and L_G of each example, and what they are differentiated by each logit, by SciPy's logistic function."""
    if rule == "hinge":
        of_d = np.maximum(0, 1 - real) + np.maximum(0, 1 + fake)
        return of_d, -fooled, (-1.0 * (real < 1), 1.0 * (fake > -1), -np.ones_like(fooled))
    of_d = -r * np.log(expit(real)) - (1 - r) * np.log(expit(-real)) - np.log(expit(-fake))
    return of_d, -np.log(expit(fooled)), (expit(real) - r, expit(fake), expit(fooled) - 1)


@pytest.mark.parametrize(("rule", "label"), [("cross_entropy", 1.0), ("cross_entropy", 0.9), ("hinge", 1.0)])
def test_losses_and_their_slopes_by_hand(rule, label):
    real, fake, fooled = RNG.normal(size=(3, 6)) * 2
    task = Generation(rule=rule, real_label=label)
    logits = {
        name: jnp.asarray(x, jnp.float32)[:, None]
        for name, x in zip(("real", "fake", "fooled"), (real, fake, fooled), strict=True)
    }
    of_d, of_g, slopes = by_hand(rule, real, fake, fooled, label)
    found = jax.jit(task.both)(logits)
    np.testing.assert_allclose(found, [of_d, of_g], rtol=1e-5, atol=1e-6)
    losses = partial(task.losses, loss=SigmoidCrossEntropy(), form=FORM)
    slope = jax.jit(jax.grad(lambda logits: losses(logits, jnp.zeros(6)).sum()))(logits)
    np.testing.assert_allclose([slope[name][:, 0] for name in ("real", "fake", "fooled")], slopes, rtol=1e-5, atol=1e-6)
    # At 0 the first is 2 log 2 and log 2 without smoothing, the other 2 and 0.
    zero = task.both({name: jnp.zeros((1, 1)) for name in logits})
    np.testing.assert_allclose(
        np.ravel(zero), [2, 0] if rule == "hinge" else [2 * np.log(2), np.log(2)], rtol=1e-6, atol=1e-7
    )


def test_no_loss_moves_the_other_network():
    module = network()
    x = jnp.asarray(RNG.normal(size=(4, 8, 8, 2)), jnp.float32)
    variables = jax.jit(module.init)(jax.random.key(0), x)
    task = BASE.task

    def loss(params, which):
        said, _ = module.apply({**variables, "params": params}, x, train=True, mutable=["batch_stats"])
        return task.both(said)[which].sum()

    of_d, of_g = jax.jit(jax.jacrev(lambda params: [loss(params, which) for which in (0, 1)]))(variables["params"])
    for gradient, moved, still in ((of_d, "discriminator", "generator"), (of_g, "generator", "discriminator")):
        assert all(float(jnp.abs(leaf).max()) == 0 for leaf in jax.tree.leaves(gradient[still]))
        # A bias in front of a normalization has no slope; there is none of those here.
        assert all(float(jnp.abs(leaf).max()) > 0 for leaf in jax.tree.leaves(gradient[moved]))


def test_statistics_are_of_real_and_made_images_one_after_the_other():
    """The third pass, whose gradient is the generator's, leaves them alone."""
    module = network()
    x = jnp.asarray(RNG.normal(size=(8, 8, 8, 2)), jnp.float32)
    variables = jax.jit(module.init)(jax.random.key(0), x)
    said, after = jax.jit(lambda: module.apply(variables, x, train=True, mutable=["batch_stats"]))()
    discriminator = module.discriminator
    own = {"params": variables["params"]["discriminator"], "batch_stats": variables["batch_stats"]["discriminator"]}
    logits = {}
    for name, images in (("real", x[..., :1]), ("fake", said["made"])):
        logits[name], left = discriminator.apply(own, images, train=True, mutable=["batch_stats"])
        own = {**own, **left}
    for name in logits:
        np.testing.assert_allclose(said[name], logits[name], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(said["fooled"], said["fake"], rtol=1e-4, atol=1e-5)
    jax.tree.map(
        partial(np.testing.assert_allclose, rtol=1e-5), after["batch_stats"]["discriminator"], own["batch_stats"]
    )


@pytest.mark.slow
def test_one_step_is_one_of_each_by_its_own_optimizer():
    """Two Adams of optax's, each of its own loss, at two rates; images and codes made by hand."""
    rates = {"generator": 0.002, "discriminator": 0.0005}
    one = replace(
        BASE, {"optim.groups": Named({"discriminator.*": Group(learning_rate=0.25)}), "task.generator.norm": "none"}
    )
    functions = functions_of(one, length_of(one))
    number = np.arange(16, dtype=np.int32)
    batch = {"image": FORM.train.batch(number)["image"], "position": number, "index": number}
    state = jax.jit(lambda: init_state(functions, lane_values(one), (8, 8, 2)))()
    after, sums = jax.jit(lambda state, batch: train_step(functions, state, batch))(state, batch)

    module, variables = network("none"), state.variables
    keys = example_keys(derive(step_key(0, 0), "task"), number)
    codes = jax.jit(jax.vmap(lambda key: jax.random.normal(key, (8, 8, 1))))(keys)
    x = jnp.concatenate([batch["image"] / 16 * 2 - 1, codes], -1).astype(jnp.float32)

    def losses(params, which):
        said, _ = module.apply({**variables, "params": params}, x, train=True, mutable=["batch_stats"])
        return BASE.task.both(said)[which].mean()

    for which, name in enumerate(("discriminator", "generator")):

        def own(mine, name=name, which=which):
            return losses({**variables["params"], name: mine}, which)

        adam = optax.adam(rates[name], b1=0.5)

        @jax.jit
        def updated(mine, own=own, adam=adam):
            loss, gradient = jax.value_and_grad(own)(mine)
            with jax.numpy_dtype_promotion("standard"):
                updates, _ = adam.update(gradient, adam.init(mine))
            return loss, optax.apply_updates(mine, updates)

        loss, expected = updated(variables["params"][name])
        np.testing.assert_allclose(sums[f"{name}_loss"] / 16, loss, rtol=1e-4)
        # Adam's first step is nearly the sign of a gradient, whose last bits may differ where it is near 0.
        jax.tree.map(
            partial(np.testing.assert_allclose, rtol=1e-3, atol=1e-5),
            after.params[name],
            expected,
        )


@pytest.mark.parametrize("count", [40, 7])
def test_the_distance_is_that_of_scipys_root(count):
    ones, others = RNG.normal(size=(count, 6)), RNG.normal(size=(count + 5, 6)) @ RNG.normal(size=(6, 6)) + 0.5
    covariances = [np.cov(x, rowvar=False) for x in (ones, others)]
    root = scipy.linalg.sqrtm(covariances[0] @ covariances[1])
    expected = np.square(ones.mean(0) - others.mean(0)).sum() + np.trace(sum(covariances) - 2 * root.real)
    assert metrics.frechet_distance(ones, others) == pytest.approx(expected, rel=1e-6)
    assert metrics.frechet_distance(ones, ones) == pytest.approx(0, abs=1e-12)
    # Of one feature it is the difference of means and of deviations, squared.
    one, other = ones[:, :1], others[:, :1]
    by_hand = (one.mean() - other.mean()) ** 2 + (one.std(ddof=1) - other.std(ddof=1)) ** 2
    assert metrics.frechet_distance(one, other) == pytest.approx(by_hand, rel=1e-9)
    with pytest.raises(ValueError, match="takes 2 examples, and there are 1 and 7"):
        metrics.frechet_distance(ones[:1], ones[:7])


@pytest.fixture(scope="module")
def judge(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "judge"
    model = SmallCNN(features=2, head="average", dense=0)
    cnnjax.train(Experiment(model=model, data=Digits(), steps=2, batch_size=16, validation=0), folder, options=ONE)
    return str(folder)


def test_an_evaluation_measures_the_distance(judge):
    one = replace(BASE, {"task.judge": judge})
    program = Program(one, hardware=Hardware(devices=1))
    state = program.init([one])
    sums = program.evaluate(state, "test")
    found = program.functions.summarize(sums)
    test, run = FORM.test.batch(np.arange(len(FORM.test)))["image"], cnnjax.load(judge)
    keys = example_keys(derive(root_key(0), "task"), np.arange(len(test)))
    codes = jax.vmap(lambda key: jax.random.normal(key, (8, 8, 1)))(keys).reshape(len(test), -1)[:, :5]
    generate = jax.jit(partial(program.functions.network.apply, shape=(8, 8, 1), method="generate"))
    made = generate(jax.device_get(state).variables, codes)
    teacher = teachers_of(one)["task.judge"]
    of_images = jax.jit(teacher.features)
    features = [np.asarray(of_images(run.variables, jnp.asarray(x, jnp.float32))) for x in (test / 16, made / 2 + 0.5)]
    assert features[0].shape == (359, 4)
    assert found["frechet_distance"] == pytest.approx(metrics.frechet_distance(*features), rel=1e-3)
    specified = one.task.specifications(one.loss, FORM)
    assert not specified[0].higher_is_better
    assert (specified[0].name, one.task.compared_by) == ("frechet_distance", "frechet_distance")


def test_without_a_judge_nothing_is_called_quality():
    known = {each.name: each for each in BASE.task.specifications(BASE.loss, FORM)}
    assert "frechet_distance" not in known
    assert known[BASE.task.compared_by].words == "discriminator loss (says nothing of how good images are)"


@pytest.mark.slow
def test_a_run_in_use(tmp_path):
    cnnjax.train(BASE, tmp_path / "run", options=ONE)
    run: Any = cnnjax.load(tmp_path / "run")
    made = run.sample(3, seed=1)
    codes = jax.random.normal(jax.random.key(1), (3, 5))
    direct = run.network.apply(run.variables, codes, (8, 8, 1), method="generate")
    np.testing.assert_allclose(made, np.asarray(direct) / 2 + 0.5, rtol=1e-5, atol=1e-6)
    said = run.predict(FORM.test.batch(np.arange(4))["image"])
    assert isinstance(said, Scores)
    assert said.rows()[0]["real"] == pytest.approx(float(expit(said.logits[0])), rel=1e-5)


def test_both_networks_are_counted():
    """By hand. Generator: dense 5 x 16, two transposed convolutions of 4x4, two scales and shifts, a bias. The
    discriminator has convolutions of 3x3 in two blocks, likewise, and a dense layer on 2x2x4."""
    generator = 5 * 16 + 16 * 4 * 3 + (16 * 3 * 1 + 1) + 2 * (4 + 3)
    discriminator = 9 * 2 + 2 * 2 + 9 * 2 * 4 + 2 * 4 + 16 + 1
    assert check(BASE).analysis.params == generator + discriminator


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"loss": SoftmaxCrossEntropy()}, "take loss=sigmoid without fields of its own"),
        ({"loss": SigmoidCrossEntropy(label_smoothing=0.1)}, "take loss=sigmoid without fields of its own"),
        ({"model": UNet(depth=1, features=2)}, "unet says no one thing of an image"),
        ({"task.generator.features": (2, 2, 2, 2)}, "4 stages double the maps, and 8x8 does not divide by 16"),
        ({"test_time": FlipViews()}, "test_time = 'flip': views would turn codes, too"),
        ({"task.rule": "hinge", "task.real_label": 0.9}, "rule = 'hinge' has no labels to smooth"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_trained(changes, message):
    with pytest.raises(ConfigError, match=message):
        check(replace(BASE, changes))


def test_too_few_examples_for_a_covariance(judge):
    one = replace(BASE, {"task.judge": judge})
    with pytest.raises(ConfigError, match="4 features of an image, whose covariance takes at least 5 examples"):
        one.task.check_judge(4, {"test": 4})
    one.task.check_judge(4, {"test": 5, "validation": 0})
