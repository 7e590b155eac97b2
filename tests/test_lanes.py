"""Lanes: an arm in a program that it shares with others trains as it would alone, and not as its neighbour."""

from __future__ import annotations

import inspect
import re
from functools import cached_property, lru_cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from pydantic import Field, PrivateAttr, field_validator

from cnnjax import (
    EMA,
    SAM,
    SGD,
    AbsoluteError,
    AdamW,
    AnchorFree,
    Augmentation,
    Autoencoder,
    BatchNorm,
    Colorization,
    ColorJitter,
    Config,
    Constant,
    Conv,
    ConvNet,
    Cosine,
    Data,
    Dense,
    Detection,
    Dice,
    Distillation,
    Experiment,
    FasterRCNN,
    Fit,
    Flatten,
    Focal,
    Generation,
    Layer,
    Localization,
    Lookahead,
    Loss,
    Mixing,
    Mixup,
    Model,
    OneCycle,
    Optim,
    Options,
    Pose,
    Reconstruction,
    Schedule,
    Shapes,
    SigmoidCrossEntropy,
    SimpleBaseline,
    SmallCNN,
    SmoothL1,
    SoftmaxCrossEntropy,
    SoftmaxDice,
    SquaredError,
    Step,
    StickFigures,
    Study,
    Switch,
    Synthetic,
    TenCrop,
    TestTime,
    UNet,
    Variational,
    lane,
    plan,
    sweep,
)
from cnnjax.config import bind, lane_fields, lanes, read, replace
from cnnjax.errors import ConfigError
from cnnjax.experiment import check
from cnnjax.lanes import is_built_in, lane_values
from cnnjax.models.norm import Norm
from cnnjax.run.evaluate import evaluate
from cnnjax.run.hardware import Hardware
from cnnjax.run.program import Program
from cnnjax.run.train import train
from cnnjax.study.plan_table import plan_table
from tests.teachers import DATA as TAUGHT_DATA
from tests.teachers import TEACHER, taught
from tests.test_initialization import LANES as INITIALIZATIONS_ALONE
from tests.test_optim import LANES as OPTIMIZERS_ALONE

ONE = Hardware(devices=1)
# As in test_training: sums over a pack are taken in another order.
PACKED = {"rtol": 2e-4, "atol": 2e-6}
BASE = Experiment(
    model=SmallCNN(features=2, dense=4),
    data=Synthetic(height=8, width=8, examples=24, test_examples=8),
    optim=SGD(learning_rate=0.05, schedule=Constant()),
    batch_size=8,
    steps=3,
)


def trained(program, experiments):
    """The state (host arrays) after the training, and the sums over the test part."""
    state = program.init(experiments)
    for step in range(program.steps):
        state, _ = program.train(state, program.rows(experiments, step))
    sums = program.evaluate(state, "test")
    return jax.device_get(state), sums


def alone(experiment):
    return trained(Program(experiment, hardware=ONE), [experiment])


def members_of_the_package(base=Config):
    for member in base.__subclasses__():
        yield from members_of_the_package(member)
        union = member.union
        # One that is abstract is no member: those that have its fields are.
        if is_built_in(member) and (union in (None, member) or member in union.members.values()):
            yield member


@pytest.fixture(autouse=True)
def registry():
    """Classes made in a test are forgotten after it."""
    unions = [union for union in members_of_the_package() if union.__dict__.get("union") is union]
    before = [dict(union.members) for union in unions]
    yield
    for union, members in zip(unions, before, strict=True):
        union.members.clear()
        union.members.update(members)


# --- the package's own

MASKS = {
    "data": Shapes(size=16, radius=(3.0, 6.0), examples=24, test_examples=8),
    "model": UNet(depth=1, features=2),
}
JOINTS = {
    "data": StickFigures(size=16, examples=24, test_examples=8),
    "task": Pose(head=SimpleBaseline(layers=1, features=4)),
    "loss": SquaredError(),
}
BOXES = {"data": Shapes(size=16, objects=1, radius=(3.0, 6.0), examples=24, test_examples=8)}
CLIPS = ("clip_norm", "adaptive_clip")
PROGRAMS = {
    "sgd, methods, initialization": (
        {
            "optim": SGD(learning_rate=0.1, clip_norm=1.0, schedule=Step(at=(0.4,))),
            "methods": (
                SAM(rho=0.05),
                EMA(decay=0.6, warmup=False),
                Lookahead(every=2, final_share=0.3),
            ),
            "initialization": "he_fan_in",
        },
        {
            "optim.learning_rate": 0.3,
            "optim.weight_decay": 0.5,
            "optim.momentum": 0.1,
            "optim.clip_norm": 0.01,
            "optim.schedule.factor": 0.9,
            "loss.label_smoothing": 0.5,
            "seed": 7,
            "methods.0.rho": 0.5,
            "methods.1.decay": 0.3,
            "methods.2.share": 0.9,
            "methods.2.final_share": 0.8,
            "initialization.gain": 3.0,
        },
    ),
    "adamw": (
        {"optim": AdamW(adaptive_clip=0.01, schedule=OneCycle(peak_at=0.3)), "loss": SigmoidCrossEntropy()},
        {
            "optim.learning_rate": 0.1,
            "optim.weight_decay": 0.9,
            "optim.b1": 0.1,
            "optim.b2": 0.1,
            "optim.eps": 1.0,
            "optim.adaptive_clip": 0.5,
            "optim.schedule.start": 0.9,
            "optim.schedule.final": 0.9,
            "loss.label_smoothing": 0.5,
        },
    ),
    "mixed targets": (
        {"mixing": Mixup(), "loss": SigmoidCrossEntropy(target_threshold=0.1)},
        {"loss.target_threshold": 0.9},
    ),
    "distillation": (
        {"data": TAUGHT_DATA, "methods": (Distillation(teacher=str(TEACHER)),)},
        {"methods.0.temperature": 1.0, "methods.0.alpha": 0.1},
    ),
    "noise": (
        {**MASKS, "task": Reconstruction(noise=0.1), "loss": AbsoluteError()},
        {"task.noise": 0.5},
    ),
    "vae": (
        {
            **MASKS,
            "model": Autoencoder(features=(2,), code=2, variational=True),
            "task": Variational(noise=0.1),
            "loss": SquaredError(),
        },
        {"task.noise": 0.5, "task.kl_weight": 3.0},
    ),
    "generation": (
        {**MASKS, "model": SmallCNN(features=2, dense=4), "task": Generation(), "loss": SigmoidCrossEntropy()},
        {"task.real_label": 0.7},
    ),
    "dice": ({**MASKS, "loss": Dice()}, {"loss.smoothing": 9.0}),
    "pose": (JOINTS, {"task.sigma": 0.5}),
    "localization": (
        {**BOXES, "task": Localization(box_loss=SmoothL1())},
        {"task.box_weight": 4.0, "task.box_loss.beta": 0.1},
    ),
    "detection": (
        {
            **BOXES,
            "task": Detection(head=AnchorFree(stride=4, features=8, depth=1), most=9, candidates=9),
            "loss": Focal(),
        },
        {"task.box_weight": 4.0, "task.quality_weight": 9.0, "loss.gamma": 0.5, "loss.alpha": 0.9},
    ),
    "two stages": (
        {
            **BOXES,
            "task": Detection(
                head=FasterRCNN(
                    stride=4, features=4, ratios=(1.0,), proposals=4, proposals_drawn=4, pooled=2, hidden=4
                ),
                box_loss=SmoothL1(),
                most=3,
                candidates=9,
            ),
        },
        {"task.box_weight": 4.0, "task.quality_weight": 9.0},
    ),
    "softmax and dice": (
        {**MASKS, "loss": SoftmaxDice()},
        {"loss.smoothing": 9.0, "loss.dice_weight": 5.0, "loss.cross_entropy.label_smoothing": 0.5},
    ),
}


def split(path):
    parent, _, name = path.rpartition(".")
    return parent, name


EVALUATED_ALONE = [
    (
        replace(BASE, {**MASKS, "task": Colorization(grid=40.0), "loss": SoftmaxCrossEntropy()}),
        "temperature",
        3.0,
        "psnr",
    ),
    (replace(BASE, JOINTS), "shift", 0.0, "away"),
]


def test_every_lane_of_the_package_is_tried():
    tried = set()
    for changes, values in PROGRAMS.values():
        experiment = replace(BASE, changes)
        tried |= {
            (type(read(experiment, parent) if parent else experiment), name) for parent, name in map(split, values)
        }
    # A step uses every optimizer and every schedule alike, so that the others are tried by themselves.
    for optim, values in OPTIMIZERS_ALONE.values():
        tried |= {(type(read(optim, parent) if parent else optim), name) for parent, name in map(split, values)}
    tried |= {(type(experiment.task), name) for experiment, name, *_ in EVALUATED_ALONE}
    # So are initializations, which no step uses.
    tried |= {(type(initialization), name) for initialization, name, _ in INITIALIZATIONS_ALONE}
    there = {(member, name) for member in members_of_the_package() for name in lane_fields(member)}
    # The base of all optimizers only has fields that every one inherits, and clips before any of them: tried for one.
    inherited = {(member, name) for member, name in there if member is Optim}
    inherited |= {(member, name) for member, name in there if issubclass(member, Optim) and name in CLIPS}
    assert there - tried <= inherited
    assert {(SGD, "clip_norm"), (AdamW, "adaptive_clip")} <= tried


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_shared_program_trains_each_arm_as_alone_and_not_as_its_neighbour(name):
    changes, values = PROGRAMS[name]
    base = taught(replace(BASE, changes))
    shared = Program(base, hardware=ONE)
    (first, _), every = trained(shared, [base]), replace(base, values)
    chex.assert_trees_all_equal(trained(shared, [every]), alone(every))
    for path, value in values.items():
        arm = replace(base, {path: value})
        assert (arm.program, arm.id) != (base.program, base.id) == (arm.program, base.id)
        state, _ = trained(shared, [arm])
        with pytest.raises(AssertionError):
            chex.assert_trees_all_equal((state.params, state.methods), (first.params, first.methods))


@pytest.mark.parametrize(("base", "name", "value", "measured"), EVALUATED_ALONE)
def test_what_evaluation_alone_uses_is_shared_too(base, name, value, measured):
    shared, arm = Program(base, hardware=ONE), replace(base, {f"task.{name}": value})
    assert arm.program == base.program
    (first, of_first), (state, of_arm) = trained(shared, [base]), trained(shared, [arm])
    chex.assert_trees_all_equal(state.params, first.params)
    assert float(abs(of_arm[measured] - of_first[measured])) > 1e-3


# --- a user's own


def own_classes():
    class Noise(Augmentation):
        sigma: float = lane(0.0, ge=0)
        seed: int = lane(0, ge=0, lt=2**32)

        def apply(self, image, key):
            key = jax.random.fold_in(jax.random.key(self.seed), jax.random.bits(key))
            return image + self.sigma * jax.random.normal(key, image.shape)

    class Fade(Mixing):
        share: float = lane(1.0, ge=0, le=1)

        def mix(self, first, second, key):
            return self.share * first + (1 - self.share) * second, jnp.float32(self.share)

    class Dimmed(TestTime):
        by: float = lane(1.0)

        def views(self, image):
            return jnp.stack([image, self.by * image])

    class Heated(Loss):
        temperature: float = lane(1.0, gt=0)

        def per_example(self, logits, targets):
            return optax.softmax_cross_entropy(logits / self.temperature, targets)

    class Slope(Schedule):
        slope: float = lane(0.0)

        def curve(self, *, steps, warmup):
            return lambda step: 1 + self.slope * jnp.asarray(step, jnp.float32)

    class Signs(Optim):
        learning_rate: float = lane(0.01, gt=0)
        gain: float = lane(1.0)

        def direction(self):
            return optax.stateless(lambda updates, params: jax.tree.map(lambda g: self.gain * jnp.sign(g), updates))

    class Gain(Layer):
        factor: float = lane(1.0)

        @cached_property
        def squared(self):
            return self.factor**2

        def __call__(self, x, *, name, train, outputs):
            return x * self.squared

    class Tilted(nn.Module):
        config: Any

        @nn.compact
        def __call__(self, images, *, train=False):
            x = nn.remat(nn.Dense)(3)(images.reshape(len(images), -1))
            return nn.Dense(self.config.num_classes, name="logits")(x * self.config.tilt)

    class Tilt(Model):
        tilt: float = lane(1.0)

        def network(self):
            return Tilted(self)

    return SimpleNamespace(**{name: value for name, value in locals().items() if inspect.isclass(value)})


@pytest.fixture(scope="module")
def own():
    return own_classes()


OWN = {
    "augment.0.sigma": 5.0,
    "augment.0.seed": 3,
    "mixing.mixings.0.share": 0.5,
    "test_time.by": 0.1,
    "loss.temperature": 4.0,
    "optim.schedule.slope": 3.0,
    "optim.gain": 0.5,
    "model.layers.gain.factor": 0.5,
}


@pytest.fixture(scope="module")
def arms(own):
    """The base and an experiment for each of its lanes; what each gives, one after the other; their one program."""
    base = BASE.model_copy(
        update={
            "model": ConvNet(layers={"c": Conv(features=2), "gain": own.Gain(), "f": Flatten(), "logits": Dense()}),
            "augment": (own.Noise(sigma=0.5),),
            "mixing": Switch(mixings=(own.Fade(share=0.9), own.Fade())),
            "test_time": own.Dimmed(),
            "loss": own.Heated(),
            "optim": own.Signs(schedule=own.Slope()),
        }
    )
    experiments = [base, *(replace(base, {path: value}) for path, value in OWN.items())]
    shared = Program(base, hardware=ONE)
    return experiments, [trained(shared, [experiment]) for experiment in experiments], shared


@pytest.mark.parametrize("path", OWN)
def test_a_lane_anywhere_is_bound_where_it_is_used(arms, path):
    experiments, results, _ = arms
    assert set(lanes(experiments[0])) > set(OWN)
    assert len({experiment.program for experiment in experiments}) == 1
    base, arm = results[0], results[1 + list(OWN).index(path)]
    changed = (base[1], arm[1]) if path == "test_time.by" else (base[0].params, arm[0].params)
    with pytest.raises(AssertionError):
        chex.assert_trees_all_close(*changed, **PACKED)


@pytest.mark.compiled
@pytest.mark.quick
def test_an_arm_alone_and_in_a_pack_is_the_same(arms):
    (base, *_), (of_base, *_), shared = arms
    every = replace(base, OWN)
    of_every = alone(every)
    chex.assert_trees_all_equal(trained(shared, [every]), of_every)
    state, sums = trained(Program(base, packed=2, hardware=ONE), [base, every])
    for position, (alone_state, alone_sums) in enumerate((of_base, of_every)):
        own_state = jax.tree.map(lambda x, p=position: x[p], state)
        chex.assert_trees_all_close(own_state.params, alone_state.params, **PACKED)
        np.testing.assert_allclose(sums["loss"][position], alone_sums["loss"], rtol=1e-4)


def test_a_network_of_ones_own_has_lanes(own):
    base, arm = (replace(BASE, {"model": own.Tilt(tilt=tilt)}) for tilt in (1.0, 3.0))
    assert base.program == arm.program
    shared = Program(base, hardware=ONE)
    results = [trained(shared, [experiment]) for experiment in (base, arm)]
    chex.assert_trees_all_equal(results[1], alone(arm))
    assert results[0][1]["loss"] != results[1][1]["loss"]


def test_a_study_of_noise_has_results_of_their_own(own, tmp_path):
    study = Study(replace(BASE, {"augment": (own.Noise(),)}), axes={"augment.0.sigma": [0.0, 5.0]}, seeds=1)
    trials = sweep(study, tmp_path / "study", options=Options(ONE)).plan.trials
    assert len({trial.program for trial in trials}) == 1
    rows = [(tmp_path / "study/trials" / trial.id / "metrics.jsonl").read_text() for trial in trials]
    train(trials[1].experiment, tmp_path / "alone", options=Options(ONE))
    assert rows[0] != rows[1] == (tmp_path / "alone/metrics.jsonl").read_text()


def test_the_documented_example_is_true():
    text = (Path(__file__).parents[1] / "docs/lanes.md").read_text()
    namespace: dict[str, Any] = {"__name__": "documented"}
    exec(text.split("```python\n")[1].split("```")[0], namespace)
    assert lanes(namespace["Noise"]()) == {"sigma": 0.1}


def test_none_and_a_number_are_two_programs():
    unclipped = replace(BASE, {"optim.clip_norm": None})
    numbers = [replace(BASE, {"optim.clip_norm": norm}) for norm in (0.1, 1.0)]
    assert unclipped.program != numbers[0].program == numbers[1].program


def test_a_seed_that_a_step_cannot_hold_is_refused(own):
    with pytest.raises(ConfigError, match=r"augment.0.seed = 8589934592: a seed is at least 0 and below"):
        lane_values(BASE.model_copy(update={"augment": (own.Noise().model_copy(update={"seed": 2**33}),)}))


@pytest.mark.parametrize(("value", "shown"), [(1e-50, "0.0"), (1e40, "inf")])
def test_a_number_that_a_step_cannot_hold_is_refused(value, shown):
    with pytest.raises(ConfigError, match=f"optim.learning_rate = {re.escape(repr(value))}: .*float32.* {shown}"):
        check(replace(BASE, {"optim.learning_rate": value}))


def test_values_that_are_one_in_float32_are_one_experiment():
    study = Study(BASE, axes={"optim.learning_rate": [0.1, 0.1 + 1e-12]}, seeds=1)
    with pytest.raises(ConfigError, match=r"two arms are the same experiment: optim.learning_rate = 0.1 and"):
        plan(study)


def test_evaluation_takes_the_values_it_is_given(own, tmp_path):
    train(replace(BASE, {"test_time": own.Dimmed()}), tmp_path, options=Options(ONE))
    losses = [
        evaluate(tmp_path, overrides=overrides, hardware=ONE)["test"]["loss"]
        for overrides in ({"test_time": "none"}, {"test_time.by": "0.1"}, {"loss.label_smoothing": "0.5"})
    ]
    assert len(set(losses)) == 3


# --- where there can be none


def with_field(base, annotation, default):
    return type("Mine", (base,), {"__annotations__": {"x": annotation}, "x": lane(default), "__module__": "mine"})


@pytest.mark.parametrize(
    ("annotation", "default", "shown"),
    [
        (int, 3, "int"),
        (bool, True, "bool"),
        (str, "a", "str"),
        (tuple[float, ...], (0.1,), "tuple"),
        (float | int, 0.1, "float | int"),
        (Schedule, Cosine(), "Schedule"),
        (Schedule | None, None, "NoneType | Schedule"),
    ],
)
@pytest.mark.parametrize("base", [Augmentation, Model, Config])
def test_what_decides_what_is_compiled_is_no_lane(base, annotation, default, shown):
    before = dict(base.members)
    with pytest.raises(ConfigError) as error:
        with_field(base, annotation, default)
    assert str(error.value).startswith(f"Mine.x cannot be a lane: it is {shown}")
    assert "Field(...) instead of lane(...)" in str(error.value)
    assert dict(base.members) == before


@pytest.mark.parametrize("annotation", [float, float | None])
def test_numbers_are_lanes(annotation):
    assert with_field(Layer, annotation, 0.5)
    assert lanes(with_field(Norm, annotation, 0.5)()) == {"x": 0.5}


@pytest.mark.parametrize(("base", "words"), [(Data, "data are read before"), (Fit, "images are read before")])
def test_what_is_used_outside_of_the_step_has_no_lanes(base, words):
    with pytest.raises(ConfigError, match=rf"Mine.x cannot be a lane: {words} .*Field\(\.\.\.\)"):
        with_field(base, float, 0.5)


def test_an_experiments_own_fields_are_no_lanes():
    with pytest.raises(ConfigError, match="Split.fraction cannot be a lane"):

        class Split(Experiment):
            fraction: float = lane(1.0, gt=0, le=1)

    with pytest.raises(ConfigError, match="Seedless.seed must be a lane"):

        class Seedless(Experiment):
            seed: int = 0


def test_what_data_hold_is_part_of_the_program(own):
    class Noisy(Synthetic):
        change: Augmentation = own.Noise()

    quiet, loud = (replace(BASE, {"data": Noisy(change=own.Noise(sigma=sigma))}) for sigma in (0.0, 5.0))
    assert quiet.program != loud.program
    assert not any(path.startswith("data") for path in lanes(quiet))


def branch(self, image, *_):
    return image if self.sigma > 0 else -image


def shape(self, image, *_):
    return image + jnp.zeros((int(self.sigma) + 1, 1, 1))


def numpy(self, image, *_):
    return image * np.sqrt(self.sigma)


@lru_cache
def _kept(sigma):
    return sigma


def cached(self, image, *_):
    return image * _kept(self.sigma)


def config(self, image, *_):
    return ColorJitter(hue=self.sigma).apply(image, *_)


@pytest.mark.parametrize("use", [branch, shape, numpy, cached, config])
def test_a_value_that_python_needs_is_refused_when_the_class_is_made(use):
    line = inspect.getsourcelines(use)[1] + 1
    for base, method in ((Augmentation, "apply"), (Mixing, "mix"), (TestTime, "views")):
        body = {"__annotations__": {"sigma": float}, "sigma": lane(0.1), method: use}
        if use is config and base is not Augmentation:
            continue
        before = dict(base.members)
        with pytest.raises(ConfigError) as error:
            type("Mine", (base,), body)
        assert str(error.value).startswith("Mine.sigma is a lane, which is traced")
        assert f"{__file__} line {line}, `{inspect.getsource(use).splitlines()[1].strip()}`" in str(error.value)
        assert dict(base.members) == before


def test_losses_schedules_and_optimizers_too():
    with pytest.raises(ConfigError, match="Mine.sigma is a lane"):

        class Mine(Loss):
            sigma: float = lane(0.1)

            def per_example(self, logits, targets):
                return logits.sum(1) if self.sigma else logits.max(1)

    with pytest.raises(ConfigError, match="Late.warmup is a lane"):

        class Late(Schedule):
            warmup: float = lane(0.0)

            def curve(self, *, steps, warmup):
                return lambda step: 1.0

    with pytest.raises(ConfigError, match=r"Jitter.hue is a lane.*color.py line"):

        class Jitter(ColorJitter):
            hue: float = lane(0.0, ge=0, le=0.5)


def test_a_built_in_field_can_be_made_a_lane():
    class Softer(Mixup):
        alpha: float = lane(0.2, gt=0)

    class Smooth(BatchNorm, tag="smooth"):
        epsilon: float = lane(1e-5, gt=0)

    experiment = replace(BASE, {"mixing": Softer()})
    check(experiment)
    assert "mixing.alpha" in lanes(experiment)
    assert lane_values(experiment)["mixing.alpha"].dtype == np.float32


class Branching(nn.Module):
    config: Any

    @nn.compact
    def __call__(self, images, *, train=False):
        x = images.reshape(len(images), -1)
        if self.config.tilt > 1:  # the branch
            x = -x
        return nn.Dense(self.config.num_classes, name="logits")(x)


def test_what_cannot_be_tried_when_it_is_made_is_refused_before_it_is_trained():
    class Branches(Model):
        tilt: float = lane(1.0)

        def network(self):
            return Branching(self)

    class Needs(Augmentation):
        strength: float = lane(gt=0)
        size: int

        def apply(self, image, key):
            return image * max(self.strength, 0.1)

    line = inspect.getsourcelines(Branching)[1] + 6
    with pytest.raises(ConfigError, match=rf"^model.tilt is a lane.*test_lanes.py line {line}, `if self.config.tilt"):
        check(replace(BASE, {"model": Branches()}))
    both = replace(BASE, {"augment": (Needs(strength=0.5, size=2),)})
    with pytest.raises(ConfigError, match="^augment.0.strength is a lane"):
        check(both)
    with pytest.raises(ConfigError, match="augment.0.strength is a lane"):
        plan(Study(both, axes={"augment.0.strength": [0.5, 1.0]}))


def test_views_of_another_size_do_not_hide_it():
    class Needs(Augmentation):
        strength: float = lane(gt=0)

        def apply(self, image, key):
            return image * max(self.strength, 0.1)

    changes = {"augment": (Needs(strength=0.5),), "test_time": TenCrop(size=4, shorter=None), "model.head": "average"}
    with pytest.raises(ConfigError, match="^augment.0.strength is a lane"):
        check(replace(BASE, changes))


def test_what_fails_without_lanes_is_not_blamed_on_them():
    class Broken(Augmentation):
        sigma: float = lane(0.1)

        def apply(self, image, key):
            raise ValueError("not written yet")

    assert Broken().sigma == 0.1


# --- what follows from a value


def test_nothing_that_was_made_of_another_value_stays():
    class Blur(Augmentation):
        sigma: float = lane(1.0)

        @cached_property
        def weight(self):
            return 2 * self.sigma

        def apply(self, image, key):
            return image * self.weight

    blur = Blur()
    assert blur.weight == 2.0
    assert bind(blur, {"sigma": 5.0}).weight == 10.0
    assert blur.model_copy(update={"sigma": 3.0}).weight == 6.0
    assert blur.model_copy() == blur

    with pytest.raises(ConfigError, match=r"Kept.sigma cannot be a lane: private attributes \(_weight\)"):

        class Kept(Blur):
            _weight: float = PrivateAttr(default=1.0)

    class Later(Blur):
        _weight: float | None = PrivateAttr(default=None)

    later = Later()
    assert bind(later, {"sigma": 5.0}).weight == 10.0
    later._weight = 2.0
    with pytest.raises(ConfigError, match=r"Later: what its private attributes hold \(_weight\)"):
        bind(later, {"sigma": 5.0})

    class Outer(Mixing):
        inner: Mixing = Mixup()
        _weight: float = PrivateAttr(default=1.0)

    class Inner(Mixing):
        share: float = lane(0.5)

    with pytest.raises(ConfigError, match="Outer: what its private attributes hold"):
        bind(Outer(inner=Inner()), {"inner.share": 0.1})


def test_the_value_is_the_validated_one():
    class Clamped(Augmentation):
        sigma: float = lane(0.0)

        @field_validator("sigma")
        @classmethod
        def _at_most_one(cls, value):
            return min(value, 1.0)

    experiment = replace(BASE, {"augment": (Clamped(sigma=5.0),)})
    assert lane_values(experiment)["augment.0.sigma"] == 1.0


# --- a lane that a subclass gives up


def test_a_plain_field_over_a_lane_is_told_of():
    class Mine(SGD):
        learning_rate: float = 1e-3

    class Kept(SGD):
        learning_rate: float = lane(1e-3, gt=0)

    study = Study(replace(BASE, {"optim": Mine()}), axes={"optim.learning_rate": [0.1, 0.2]}, seeds=1)
    planned = plan(study)
    assert len(planned.programs) == 2
    told = [warning for warning in planned.trials[0].warnings if "plain field" in warning]
    assert len(told) == 1
    assert told[0].startswith("optim.learning_rate: Mine declares a plain field where SGD has a lane")
    assert "learning_rate: float = lane(0.001)" in told[0]
    assert "(2 of 2 arms): optim.learning_rate: Mine" in "".join(map(str, plan_table(planned).renderables))
    for optim in (Kept(), SGD()):
        assert not any("plain field" in text for text in check(replace(BASE, {"optim": optim})).analysis.warnings)


def test_fields_are_whole_where_a_lane_is_required():
    class Needed(Loss):
        temperature: float = lane(gt=0)
        softmax: Loss = SoftmaxCrossEntropy(label_smoothing=0.1)
        classes: int = Field(default=3, ge=1)

    assert lanes(Needed(temperature=2.0)) == {"temperature": 2.0, "softmax.label_smoothing": 0.1}
