"""Tasks: the one that data and loss are for, what each refuses, and each through a training.

One row a task, its own users' tasks among them; a registered task without a row fails. That metrics and losses are
right is checked elsewhere, against formulas.
"""

from __future__ import annotations

import functools
from typing import Any, ClassVar

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import cnnjax
from cnnjax import (
    ESPCN,
    AbsoluteError,
    AnchorFree,
    Autoencoder,
    BatchNorm,
    Binary,
    Captioning,
    Classification,
    Colorization,
    Count,
    CutMix,
    Data,
    Detection,
    Digits,
    Experiment,
    Focal,
    Generation,
    Generator,
    Hardware,
    Localization,
    Mixup,
    Model,
    MultiLabel,
    Options,
    Poisson,
    Pose,
    Reconstruction,
    Regression,
    Scenes,
    Segmentation,
    Shapes,
    ShowAndTell,
    SigmoidCrossEntropy,
    SimpleBaseline,
    SmallCNN,
    SquaredError,
    StickFigures,
    SuperResolution,
    Switch,
    Synthetic,
    Task,
    UNet,
    Variational,
    metrics,
    nn,
    train,
)
from cnnjax.config import replace
from cnnjax.data import Dataset, Examples
from cnnjax.errors import ConfigError
from cnnjax.events import StepTaken
from cnnjax.experiment import check, functions_of, length_of, task_of
from cnnjax.lanes import lane_values
from cnnjax.run.program import Program
from cnnjax.tasks.task import Outputs
from cnnjax.training.step import eval_step, init_state, train_step

ONE = Options(hardware=Hardware(devices=1), checkpoint_seconds=1e9)
SMALL = SmallCNN(features=2, pool="average")


class TaskNumbers(Data, tag="task_numbers"):
    """Images with a label of each kind, of which every number is a function of the image."""

    kind: str = "continuous"

    def read(self) -> Dataset:
        generator = np.random.default_rng(0)
        images = generator.integers(0, 256, (24, 8, 8, 1), dtype=np.uint8)
        means = images.mean((1, 2, 3)) / 255
        labels = {
            "continuous": means[:, None],
            "count": np.floor(means * 9)[:, None],
            "questions": np.stack([means > 0.5, means > 0.4], 1),
        }[self.kind]
        parts = (
            Examples(images[:16], labels[:16].astype(np.float32)),
            Examples(images[16:], labels[16:].astype(np.float32)),
        )
        return Dataset("numbers", *parts)


class QuarterTurn(Task, tag="quarter_turn"):
    """Which quarter turn an image was given (Gidaris et al. 2018): input and target are made of the image."""

    chosen_by: ClassVar[str] = "accuracy"

    def image(self, image, key):
        return (
            image
            if key is None
            else jax.lax.switch(self._turns(key), [lambda x, k=k: jnp.rot90(x, k) for k in range(4)], image)
        )

    def target(self, entries, key):
        return self._turns(key)

    def _turns(self, key):
        return jax.random.randint(key, (), 0, 4)

    def check(self, loss, form):
        pass

    def outputs(self, loss, form):
        return Outputs(4)

    def measure(self, outputs, target, *, valid, losses, loss, form, detail):
        return metrics.measure(outputs, labels=target, mask=valid, losses=losses, classes=4, detail=detail)

    def summarize(self, sums, form):
        return metrics.summarize(sums)

    def specifications(self, loss, form):
        return metrics.specifications(4, loss_unit=loss.unit)


class TwoMaps(Model, tag="two_maps"):
    """One convolution to `num_classes` maps of the image's size."""

    def network(self):
        return nn.Convolution(self.num_classes, 3, name="logits")


class Colours(Task, tag="colours"):
    """Two colour differences of each pixel from its brightness, by the squared error."""

    def input_shape(self, form):
        return (*form.image_shape[:2], 1)

    def scale(self, form):
        return (0.5,), (0.25,)

    def image(self, image, key):
        return image.mean(-1, keepdims=True)

    def target(self, entries, key):
        image = entries["image"]
        return image[..., :2] - image.mean(-1, keepdims=True)

    def check(self, loss, form):
        if form.image_shape[-1] != 3:
            raise ConfigError(f"task = {self.tag!r}: images of {form.image_shape[-1]} channels have no colours")

    def outputs(self, loss, form):
        return Outputs(2)

    def read(self, model, returned, *, batch, loss, form):
        return returned

    def losses(self, outputs, target, *, loss, form):
        return loss(outputs.reshape(len(outputs), -1), target.reshape(len(target), -1))

    def measure(self, outputs, target, *, valid, losses, loss, form, detail):
        flat = outputs.reshape(len(outputs), -1)
        return metrics.measure(
            flat, labels=target.reshape(flat.shape), mask=valid, losses=losses, classes=None, detail=detail
        )

    def summarize(self, sums, form):
        return metrics.summarize(sums)

    def specifications(self, loss, form):
        return metrics.specifications(None, loss_unit=loss.unit)


MASKS = Shapes(size=16, radius=(3.0, 6.0), examples=16, test_examples=8)
TWO = Synthetic(height=8, width=8, classes=2, examples=16, test_examples=8, noise=0.2)


def experiment(**fields: Any) -> Experiment:
    return Experiment(**{"model": SMALL, "data": TWO, "batch_size": 8, "epochs": 2, "validation": 0} | fields)


# name: (an experiment that names the task, the same without it, where data and loss say it)
TASKS = {
    "classification": (experiment(task=Classification()), experiment()),
    "binary": (experiment(task=Binary(), loss=SigmoidCrossEntropy()), experiment(loss=SigmoidCrossEntropy())),
    "regression": (
        experiment(task=Regression(), loss=SquaredError(), data=TaskNumbers()),
        experiment(loss=SquaredError(), data=TaskNumbers()),
    ),
    "count": (
        experiment(task=Count(), loss=Poisson(), data=TaskNumbers(kind="count")),
        experiment(loss=Poisson(), data=TaskNumbers(kind="count")),
    ),
    "multi_label": (
        experiment(task=MultiLabel(), loss=SigmoidCrossEntropy(), data=TaskNumbers(kind="questions")),
        experiment(loss=SigmoidCrossEntropy(), data=TaskNumbers(kind="questions")),
    ),
    "segmentation": (
        experiment(task=Segmentation(), data=MASKS, model=UNet(depth=1, features=2)),
        experiment(data=MASKS, model=UNet(depth=1, features=2)),
    ),
    "colorization": (
        experiment(task=Colorization(), model=UNet(depth=1, features=2), loss=SquaredError()),
        None,
    ),
    "super_resolution": (
        experiment(task=SuperResolution(), model=ESPCN(features=(2,), kernel_sizes=(3, 1)), loss=AbsoluteError()),
        None,
    ),
    "reconstruction": (
        experiment(
            task=Reconstruction(noise=0.1), model=Autoencoder(features=(2,), code=3), loss=SigmoidCrossEntropy()
        ),
        None,
    ),
    "vae": (
        experiment(
            task=Variational(kl_weight=0.5),
            model=Autoencoder(features=(2,), code=3, variational=True),
            loss=SigmoidCrossEntropy(),
        ),
        None,
    ),
    "generation": (
        experiment(
            model=SmallCNN(features=2, pool="stride", norm=BatchNorm(), dense=0),
            task=Generation(generator=Generator(code=3, features=(3,))),
            loss=SigmoidCrossEntropy(),
        ),
        None,
    ),
    "localization": (
        experiment(
            task=Localization(), data=Shapes(size=16, objects=1, radius=(3.0, 6.0), examples=16, test_examples=8)
        ),
        None,
    ),
    "detection": (
        experiment(
            task=Detection(head=AnchorFree(stride=4, features=8, depth=1), most=9, candidates=9),
            data=MASKS,
            loss=Focal(),
        ),
        None,
    ),
    "pose": (
        experiment(
            task=Pose(head=SimpleBaseline(layers=1, features=4)),
            data=StickFigures(size=16, examples=16, test_examples=8),
            loss=SquaredError(),
        ),
        None,
    ),
    "captioning": (
        experiment(
            task=Captioning(captioner=ShowAndTell(features=8, embedding=8, beam=2, longest=8)),
            data=Scenes(size=16, radius=(2.0, 2.5), references=2, examples=16, test_examples=8),
        ),
        None,
    ),
    "quarter_turn": (experiment(task=QuarterTurn()), None),
    "colours": (experiment(task=Colours(), model=TwoMaps(), loss=SquaredError()), None),
}


# By task, why two of its examples cannot be mixed; None where they can.
MIXED = {
    "classification": None,
    "binary": None,
    "regression": None,
    "multi_label": None,
    "segmentation": None,
    "localization": "is of boxes, which of two images mixed belong to one or the other",
    "detection": "is of boxes, which of two images mixed belong to one or the other",
    "pose": "is of joints, which of two images mixed belong to one or the other",
    "captioning": "is of sentences, and none is of two images mixed",
    "count": "counts things, and of two images mixed all are there",
    "colorization": "makes its target of each image",
    "super_resolution": "makes its target of each image",
    "reconstruction": "makes its target of each image",
    "vae": "makes its target of each image",
    "generation": "makes its target of each image",
    "quarter_turn": "makes its target of each image",
    "colours": "makes its target of each image",
}


@pytest.mark.parametrize("mixing", [Mixup(), CutMix(), Switch()], ids=lambda mixing: mixing.tag)
@pytest.mark.parametrize("name", MIXED)
def test_examples_are_mixed_or_that_is_refused(name, mixing):
    one, why = replace(TASKS[name][0], {"mixing": mixing}), MIXED[name]
    if why is None:
        check(one)
    else:
        with pytest.raises(ConfigError, match=f"mixing = '{mixing.tag}': task '{name}' {why}"):
            check(one)


def test_every_task_has_a_row():
    assert set(MIXED) == set(TASKS)
    ours = {name for name, member in Task.members.items() if member.__module__.startswith(("cnnjax.", __name__))}
    assert set(TASKS) == ours


@pytest.mark.parametrize("name", [name for name, (_, without) in TASKS.items() if without is not None])
def test_data_and_loss_say_the_task(name):
    named, without = TASKS[name]
    assert task_of(without) == named.task
    assert named.id != without.id
    _, numbers = stepped(named)
    _, same = stepped(without)
    chex.assert_trees_all_equal(numbers, same)


def stepped(one: Experiment, mapped: Any = jax.jit) -> tuple[Any, Any]:
    """The state after a step of the first examples, and the sums of their evaluation."""
    dataset = one.data.load()
    functions = functions_of(one, length_of(one))
    number = np.arange(one.batch_size, dtype=np.int32)
    entries = dataset.train.batch(number)
    batch = {**entries, "position": number, "index": number}
    state = init_state(functions, lane_values(one), task_of(one).input_shape(dataset))
    state, _ = mapped(lambda state, batch: train_step(functions, state, batch))(state, batch)
    evaluated = {name: array for name, array in batch.items() if name != "index"} | {"valid": number < 6}
    return state, mapped(lambda state, batch: eval_step(functions, state, batch))(state, evaluated)


@functools.cache
def exact_step(name):
    one, _ = TASKS[name]
    return stepped(one)


# Without jit each operation is compiled by itself, and runs once: a task of labels, one of maps, and one that draws.
EAGER = ["regression", "segmentation", "quarter_turn"]


@pytest.mark.parametrize("name", EAGER)
def test_a_step_under_jit_is_the_step(name):
    one, _ = TASKS[name]
    chex.assert_trees_all_close(stepped(one, mapped=lambda step: step), exact_step(name), rtol=1e-5, atol=1e-6)


# Of those that only name another loss or other numbers of the same step, one.
STEPS = [name for name in TASKS if name not in ("binary", "multi_label", "count", "colours")]


@pytest.mark.parametrize("name", STEPS)
def test_a_step_in_bfloat16_is_near(name):
    one, _ = TASKS[name]
    _, exact = exact_step(name)
    _, near = stepped(one.model_copy(update={"precision": "bfloat16"}))
    np.testing.assert_allclose(near["loss"], exact["loss"], rtol=0.05)
    assert near["loss"].dtype == jnp.float32
    assert near["count"] == exact["count"] == 6


@pytest.mark.parametrize("name", STEPS)
def test_training_packed_is_training_alone(name):
    one, _ = TASKS[name]
    trials = [one.model_copy(update={"seed": seed}) for seed in (0, 1)]
    packed = trained(Program(one, packed=2, hardware=ONE.hardware), trials)
    program = Program(one, hardware=ONE.hardware)
    for place, trial in enumerate(trials):
        alone = trained(program, [trial])
        chex.assert_trees_all_close(jax.tree.map(lambda x, place=place: x[place], packed), alone, rtol=2e-4, atol=2e-5)


def trained(program: Program, trials: list[Experiment]) -> Any:
    """The sums of the test part after two steps."""
    state = program.init(trials)
    for step in range(2):
        state, _ = program.train(state, program.rows(trials, step))
    return {name: x for name, x in program.evaluate(state, "test").items() if x.dtype != np.int32}


class Killed(Exception):
    pass


# Those that draw numbers, have two optimizers, a head of their own or words.
RESUMED = ["vae", "generation", "detection", "captioning"]


@pytest.mark.parametrize("name", RESUMED)
def test_a_resumed_training_is_an_uninterrupted_one(name, tmp_path):
    one, _ = TASKS[name]
    whole = train(one, tmp_path / "whole", options=ONE)

    def stop(event):
        if isinstance(event, StepTaken) and event.step == 1:
            raise Killed

    one_step = Options(hardware=Hardware(devices=1), checkpoint_steps=1)
    with pytest.raises(Killed):
        train(one, tmp_path / "stopped", options=one_step, sinks=[stop])
    resumed = train(one, tmp_path / "stopped", options=one_step)
    assert resumed["metrics"] == whole["metrics"]
    rows = [(tmp_path / run / "metrics.jsonl").read_bytes() for run in ("whole", "stopped")]
    assert rows[0] == rows[1]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"task": Classification(), "data": TaskNumbers()}, "targets, not classes"),
        ({"task": Classification(), "loss": SigmoidCrossEntropy()}, "take task=binary"),
        ({"task": Binary()}, "take loss=sigmoid"),
        ({"task": Binary(), "data": Digits(), "loss": SigmoidCrossEntropy()}, "takes two classes, and digits has 10"),
        ({"task": Regression(), "loss": SquaredError()}, "ids of 2 classes, not numbers"),
        ({"task": Count(), "data": TaskNumbers(kind="count"), "loss": SquaredError()}, "take loss=poisson"),
        ({"data": TaskNumbers()}, "use loss=squared, poisson or sigmoid"),
        ({"task": Colours(), "data": Digits(), "model": TwoMaps(), "loss": SquaredError()}, "no colours"),
        ({"task": QuarterTurn(), "mixing": Mixup()}, "makes its target of each image"),
    ],
)
def test_what_does_not_fit_is_refused_before_training(fields, message, tmp_path):
    with pytest.raises(ConfigError, match=message):
        train(experiment(**fields), tmp_path / "run", options=ONE)
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_a_target_that_the_data_lack(tmp_path):
    class Depth(Regression, tag="depth_of_a_test"):
        entry: ClassVar[str] = "depth"

    try:
        with pytest.raises(ConfigError, match="its target is 'depth', and the examples of numbers have image, label"):
            train(experiment(task=Depth(), loss=SquaredError(), data=TaskNumbers()), tmp_path / "run", options=ONE)
    finally:
        del Task.members["depth_of_a_test"]


def test_a_users_task_is_meant_where_it_says_so():
    class Finer(Classification, tag="finer_of_a_test"):
        pass

    class Coarser(Classification, tag="coarser_of_a_test"):
        @classmethod
        def suits(cls, loss, form):
            return True

    try:
        with pytest.raises(ConfigError, match="classification and coarser_of_a_test could be meant"):
            task_of(experiment())
        del Task.members["coarser_of_a_test"]
        assert task_of(experiment()) == Classification()
        assert task_of(experiment(task=Finer())) == Finer()
    finally:
        Task.members.pop("coarser_of_a_test", None)
        del Task.members["finer_of_a_test"]


def test_a_target_made_of_the_image_is_the_same_in_every_evaluation(tmp_path):
    """Its key is of the example's place in its part, on any number of devices and whatever the batch."""
    one, _ = TASKS["quarter_turn"]
    few, many = (one.model_copy(update={"batch_size": size}) for size in (2, 8))
    counts = []
    for trial in (few, many):
        program = Program(trial, hardware=Hardware(devices=1))
        counts.append(program.evaluate(program.init([trial]), "test")["class_count"])
    np.testing.assert_array_equal(*counts)
    assert counts[0].sum() == 8
    assert (counts[0] > 0).sum() > 1


def test_in_use_the_network_sees_what_the_task_shows_it(tmp_path):
    one, _ = TASKS["quarter_turn"]
    train(one, tmp_path / "run", options=ONE)
    net = cnnjax.load(tmp_path / "run")
    images = one.data.load().test.images
    module, variables = net.network, net.variables
    mean, std = net.resolved.mean, net.resolved.std
    expected = module.apply(variables, ((images / 255 - mean) / std).astype(np.float32), train=False)
    answers = net.answer(variables, images)
    np.testing.assert_allclose(answers["logits"], expected, rtol=1e-4, atol=1e-5)
