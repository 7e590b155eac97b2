"""What cannot fit: sizes are told by arithmetic before anything is allocated or traced for long, an arm that is too
large is pruned with that arithmetic, a single training is refused with the same words, and none of it takes long."""

from __future__ import annotations

import itertools
import time
from typing import Any

import flax.linen as nn
import jax
import pytest

from cnnjax import SGD, Data, Experiment, Hardware, Model, Options, SmallCNN, Study, Synthetic, describe, plan, train
from cnnjax.analysis.window_coverage import WindowAxis
from cnnjax.config import replace
from cnnjax.data.order import Order
from cnnjax.errors import CnnjaxError, ConfigError
from cnnjax.experiment.length import MOST_STEPS, Length
from cnnjax.launch.work import options_from, plain_options
from cnnjax.machine import physical_memory
from cnnjax.nn import Pooling
from cnnjax.run.devices import Devices
from tests.marks import slow

SECONDS = 8.0
"""For an answer; most take a tenth of a second, on a busy machine ten times as long."""
HUGE = 10**12
DATA = Synthetic(height=8, width=8, channels=1, classes=2, examples=40, test_examples=12)
BASE = Experiment(
    model=SmallCNN(features=2, dense=0), data=DATA, optim=SGD(learning_rate=0.05), batch_size=12, epochs=2
)
ONE = Hardware(devices=1, memory=10**9)
HERE = Devices(1, "cpu", 10**9)


class Wide(nn.Module):
    """A user's own network, whose one layer is as wide as is asked for."""

    units: int
    classes: int

    @nn.compact
    def __call__(self, images):
        return nn.Dense(self.classes)(nn.Dense(self.units)(images.reshape(len(images), -1)))


class Own(Model, tag="fits_own"):
    units: int = 4

    def network(self) -> nn.Module:
        return Wide(self.units, self.num_classes or 2)


class Unreadable(Data, tag="fits_unreadable"):
    """A user's own data, which ask for more memory than there is."""

    def read(self):
        raise MemoryError("Unable to allocate 7.28 TiB for an array")


@pytest.fixture(autouse=True)
def _within_seconds():
    # Of this process, not of the clock: others may want the processor too.
    began = time.process_time()
    yield
    assert time.process_time() - began < SECONDS


# --- arms: (path, a good value, one that is too large, what is said of it)

ARMS: list[tuple[str, Any, Any, str]] = [
    ("model.features", 4, 10**5, r"must be 1\.44 TB \(the parameters 720 GB, the optimizer's state 720 GB, 12 images"),
    ("model.features", 4, 10**9, r"must be 144 EB \(the parameters 72\.0 EB"),
    ("model.dense", 4, 10**8, r"the parameters 7\.60 GB, the optimizer's state 7\.60 GB"),
    ("model.kernel_size", 3, 10**6 + 1, r"the parameters 40\.0 TB"),
    ("model.dilation", 1, 10**6, r"about 384 TB .*the padded input of conv2 384 TB"),
    ("model.strides", 1, 10**6, r"does not fit its 1x1 input"),
    ("model.pool_window", 2, 10**6, r"does not fit its 8x8 input"),
    ("model.padding", "same", 10**6, r"must be 144 TB \(the parameters 72\.0 TB"),
    ("batch_size", 12, HUGE, r"there are only 36 training examples"),
    ("data.examples", 40, HUGE, r"1,000,000,000,012 images of 8x8x1 pixels .* take 76\.0 TB of memory to make"),
    ("data.height", 8, HUGE, r"images of 1000000000000x8x1 pixels"),
    ("data.channels", 1, HUGE, r"images of 8x8x1000000000000 pixels"),
    ("data.classes", 2, HUGE, r"in 1,000,000,000,000 classes take"),
    ("epochs", 2, 10**18, r"3,000,000,000,000,000,000 steps, and a training has at most 2,147,483,647"),
    ("steps", 6, 10**18, r"steps = 1,000,000,000,000,000,000: .* at most 2,147,483,647"),
    ("model", SmallCNN(features=2, dense=0), Own(units=10**9), r"must be 536 GB \(the parameters 268 GB"),
]
NAMES = [f"{path}={large}"[:40] for path, _, large, _ in ARMS]


@pytest.mark.parametrize(("path", "good", "large", "said"), ARMS, ids=NAMES)
def test_an_arm_that_cannot_fit_is_pruned_with_its_arithmetic_and_the_others_stay(path, good, large, said):
    study = Study(BASE, axes={path: [good, large]}, seeds=1)
    planned = plan(study, hardware=HERE)
    assert [trial.arm[path] for trial in planned.trials] == [good]
    assert [dict(arm.arm)[path] for arm in planned.pruned] == [large]
    with pytest.raises(ConfigError, match=said):
        plan(Study(replace(BASE, {path: large}), seeds=1), hardware=HERE)


@pytest.mark.parametrize(("path", "good", "large", "said"), ARMS, ids=NAMES)
def test_a_training_that_cannot_fit_is_refused_with_the_same_words(path, good, large, said, tmp_path):
    with pytest.raises(ConfigError, match=said):
        train(replace(BASE, {path: large}), tmp_path, options=Options(ONE))
    assert not list(tmp_path.glob("**/checkpoints"))


def test_the_users_word_on_memory_counts():
    few = plan(Study(BASE, axes={"model.features": [2, 64]}, seeds=1), hardware=Devices(1, "cpu", 50_000))
    assert [arm.arm["model.features"] for arm in few.pruned] == [64]
    assert "on each device, which has 50.0 kB (where it has more: --device-memory" in few.pruned[0].reason
    study = Study(BASE, axes={"model.features": [2, 10**5]}, seeds=1)
    for memory, pruned in ((10**12, 1), (10**13, 0)):
        assert len(plan(study, hardware=Hardware(devices=1, memory=memory)).pruned) == pruned
    for used in (1, 2):
        assert plan(BASE, hardware=Hardware(devices=used)).devices.memory == physical_memory() // used
    assert Hardware().device_memory == physical_memory() // jax.local_device_count()
    assert options_from(plain_options(Options(ONE), None)).hardware == ONE  # as every worker of a sweep is told
    with pytest.raises(ConfigError, match="memory = 0"):
        Hardware(memory=0)


def test_the_estimate_of_a_step_is_refused_on_a_cpu_and_a_warning_where_less_may_do():
    study = Study(replace(BASE, {"model.padding": 400, "model.head": "average"}), seeds=1)
    with pytest.raises(ConfigError, match=r"there must be about .*activations .*on each device, which has 20\.0 MB"):
        plan(study, hardware=Devices(1, "cpu", 20_000_000))
    with pytest.raises(ConfigError, match="there must be about"):
        plan(study, hardware=Devices(1, "h100", 20_000_000))
    memory = plan(study, hardware=Devices(1, "h100", 10**12))
    assert not [each for each in memory.trials[0].warnings if "takes an estimated" in each]


# --- what is refused before a plan: (call, what is said)

BEFORE: dict[str, tuple[Any, str]] = {
    "seeds": (lambda: Study(BASE, seeds=10**9), r"seeds: 1,000,000,000: a plan has at most 100,000 trials"),
    "repeats": (lambda: replace(BASE, {"repeats": 10**10}), r"repeats = 10000000000: must be less than"),
    "an integer that no array has": (
        lambda: SmallCNN(features=10**19),
        r"features = 1.*0: must be a number of at most",
    ),
    "and one of several": (lambda: SmallCNN(features=(2, 10**19)), r"must be a number of at most 64 bits"),
    "blocks": (lambda: SmallCNN(blocks=10**6), r"blocks = 1000000: must be less than or equal to 10000"),
    "a window of pooling": (
        lambda: describe(Pooling("max", window=10**7, padding="same"), (8, 8, 1)),
        r"window 10,000,000: at most 10,000 rows or columns",
    ),
    "stages": (lambda: describe_named_resnet((3, 4, 10**6, 3)), r"must be less than or equal to 10000"),
    "data that ask for more than there is": (
        lambda: Unreadable().load(),
        r"not enough memory to read Unreadable: Unab",
    ),
    "a grid of 10 million": (
        lambda: plan(
            Study(
                BASE,
                axes={
                    **dict.fromkeys(DIGITS, tuple(range(1, 11))),
                    "batch_size": (6, 12, 18, 24, 36, 9, 15, 21, 27, 33),
                },
            )
        ),
        r"10,000,000 arms x 3 seeds = 30,000,000 trials, and a plan at most 100,000",
    ),
}
DIGITS = ("model.features", "model.dense", "epochs", "model.kernel_size", "model.dilation", "model.pool_strides")


def describe_named_resnet(stages: tuple[int, ...]) -> Any:
    from cnnjax.models import config

    return replace(config("resnet50"), {"stage_sizes": stages})


@pytest.mark.parametrize(("call", "said"), BEFORE.values(), ids=list(BEFORE))
def test_what_no_plan_can_have_is_refused_at_once(call, said):
    with pytest.raises(CnnjaxError, match=said):
        call()


# --- what is described, whatever its size

SIZES = [("small_cnn", (99_999_999, 99_999_999, 3)), *slow(("resnet50", (99_999_999, 99_999_999, 3)))]


@pytest.mark.parametrize(("name", "shape"), SIZES)
def test_an_image_of_any_size_is_described_in_seconds(name, shape):
    found = describe(name, shape)
    assert found.input_shape == shape
    assert found.macs > 10**19


def test_a_plan_of_many_arms_says_how_far_it_is(caplog, monkeypatch):
    from cnnjax.data import survey

    monkeypatch.setattr(survey, "SECONDS_BETWEEN_LINES", 0.0)
    with caplog.at_level("INFO", logger="cnnjax"):
        plan(Study(BASE, axes={"optim.learning_rate": [n / 100 for n in range(1, 21)]}, seeds=1), hardware=HERE)
    assert any(line.startswith("arms planned: 10 of 20, ") for line in caplog.messages)


# --- the arithmetic


def test_taps_are_counted_without_going_through_all_windows():
    ranges = [(1, 2, 5), (1, 2, 4), (1, 2, 7), (1, 3, 8), (-1, 0, 2, 9), (-1, 0, 3)]
    for size, kernel, stride, dilation, before, after in itertools.product(*ranges):
        outputs = (size + before + after - dilation * (kernel - 1) - 1) // stride + 1
        axis = WindowAxis(size, outputs, kernel, stride, before, after, dilation, 1, 1)
        if outputs < 1 or (before <= 0 and axis.end <= size):
            continue
        places = [
            [0 <= window * stride - before + tap * dilation < size for tap in range(kernel)]
            for window in range(outputs)
        ]
        used = sum(map(any, zip(*places, strict=True)))
        assert axis.taps == (used, sum(not any(place) for place in places)), axis
    assert WindowAxis(10**9, 10**9, 3, 1, 1, 1, 1, 1, 1).taps == (3, 0)


LENGTHS = [(36, 12, 6), (10, 3, 8), (3, 10, 5), (7, 7, 1), (5, 4, 11)]


@pytest.mark.parametrize(("examples", "batch_size", "steps"), LENGTHS)
def test_the_first_steps_of_epochs_are_those_of_going_through_them(examples, batch_size, steps):
    length = Length(examples, batch_size, steps)
    firsts, end = [0], length.end_of_epoch(1)
    while end < steps:
        firsts.append(end)
        end = length.end_of_epoch(len(firsts))
    assert list(length.epochs) == firsts
    assert len(length.epochs) == len(firsts)
    assert length.epochs[-1] == firsts[-1]
    with pytest.raises(IndexError):
        length.epochs[len(firsts)]
    assert len(Length(1, 1, MOST_STEPS).epochs) == MOST_STEPS


def test_an_example_that_is_repeated_very_often_is_drawn_without_room_for_all_its_copies():
    often = Order(0, 12, 40, 2**31 - 1)
    assert set(often.indices(0)) == {often.indices(5)[0]}
    order = Order(3, 12, 40, 5)
    copies = [each for n in range(12) for each in [Order(3, 1, 40).indices(n)[0]] * 5]
    assert [int(each) for step in range(4) for each in order.indices(step)] == copies[:48]


# --- on the command line

FILE = """
from cnnjax import SGD, Experiment, SmallCNN, Study, Synthetic
experiment = Experiment(
    model=SmallCNN(features=2, dense=0), data=Synthetic(height=8, width=8, channels=1, classes=2, examples=40,
    test_examples=12), optim=SGD(learning_rate=0.05), batch_size=12, epochs=2)
study = Study(experiment, axes={"model.features": [2, 4]}, seeds=1)
"""
COMMANDS = [
    (("train", "exp.py", "--device-memory", "0.002MB"), "12 images 3.12 kB) on each device, which has 2.00 kB"),
    (("sweep", "exp.py", "--device-memory", "0.002MB"), "nothing is left to train, all 2 arms are pruned"),
    (("sweep", "exp.py", "--device-memory", "much"), "--device-memory much: must be a size"),
    (("sweep", "exp.py", "--seeds", "1000000000", "--dry-run"), "less than or equal to 1000000"),
    (("sweep", "exp.py", "--seeds", "200000", "--dry-run"), "seeds: 200,000: a plan has at most 100,000"),
    (("train", "exp.py", "model.features=1000000000"), "there must be 144 EB"),
]


@pytest.mark.parametrize(("words", "said"), COMMANDS, ids=[" ".join(words) for words, _ in COMMANDS])
def test_the_command_line_refuses_in_a_sentence(words, said, run, tmp_path):
    (tmp_path / "exp.py").write_text(FILE)
    code, _, told = run(*words, "--devices", "1")
    # A value that an option may not have is exit code 2.
    assert (code in (1, 2), "Traceback" in told) == (True, False)
    assert said in told
