"""A state that is split over eight devices: the numbers of one that is whole on each, with an eighth of its memory."""

from __future__ import annotations

import json

import jax
import numpy as np
import pytest

from cnnjax import SGD, Digits, Experiment, Hardware, Options, SmallCNN, train
from cnnjax.config import replace
from cnnjax.errors import ConfigError, Interrupted
from cnnjax.events import StepTaken
from cnnjax.experiment import check
from cnnjax.launch.work import options_from, plain_options
from cnnjax.models.norm import BatchNorm
from cnnjax.optim import Adafactor, Adam, Muon, ScheduleFreeAdamW
from cnnjax.run.checkpoint import Checkpoints
from cnnjax.run.devices import Devices
from cnnjax.run.program import Program
from cnnjax.run.room import check_room, step_memory
from cnnjax.training.methods import EMA, SAM, SWA, Lookahead
from cnnjax.training.sharding import bytes_of_part, split_axis

# 8x8 images pooled twice: dense kernels of 128 x 256 and 256 x 10, of which the first is split.
WIDE = Experiment(
    model=SmallCNN(features=16, dense=256),
    data=Digits(),
    optim=SGD(learning_rate=0.05, momentum=0.9),
    methods=(EMA(decay=0.5),),
    batch_size=32,
    steps=6,
    validation=0.2,
)
SPLIT, WHOLE = Hardware(devices=8, shard_state=True), Hardware(devices=8)


@pytest.mark.parametrize(
    ("shape", "axis"),
    [
        ((128, 256), 1),
        ((256, 128), 0),
        ((256, 256), 0),
        ((3, 3, 64, 60), 2),
        # Nothing divides, or it is too small.
        ((129, 257), None),
        ((64, 64), None),
        ((), None),
    ],
)
def test_the_largest_axis_that_divides_is_split(shape, axis):
    assert split_axis(shape, 8) == axis


@pytest.fixture(scope="module")
def program():
    return Program(WIDE, hardware=SPLIT)


def test_each_device_has_its_part_and_the_plan_says_how_much(program):
    state = program.init([WIDE])
    kernel = next(leaf for leaf in jax.tree.leaves(state.params) if leaf.shape == (128, 256))
    assert kernel.addressable_shards[3].data.shape == (128, 32)
    on_first = sum(
        leaf.addressable_shards[0].data.nbytes
        for leaf in jax.tree.leaves((state.params, state.opt_state, state.statistics, state.methods))
    )
    memory, whole = (step_memory(WIDE, Devices(8, split=split), {}) for split in (True, False))
    assert memory.params + memory.optimizer + memory.state == on_first
    # The kernel, its momentum and its average: 7 of 8 parts of each are elsewhere.
    saved = 7 * 128 * 256 * 4 // 8
    assert whole.params - memory.params == saved
    assert whole.optimizer - memory.optimizer == saved
    assert whole.state - memory.state == saved
    assert memory.total == whole.total - 3 * saved + whole.params
    # So says the compiler: besides there are the step's rows and scalars.
    program.prepare()
    arguments = program.compiled("train").memory_analysis().argument_size_in_bytes
    data = sum(leaf.nbytes for leaf in jax.tree.leaves(program.feed.data))
    rows = (program.chunk or 1) * WIDE.batch_size // 8 * 4
    assert on_first <= arguments - data - rows < on_first + 100


@pytest.mark.slow
def test_the_memory_of_a_step_is_predicted_as_well_as_that_of_a_whole_state():
    """The compiler's figures are above the estimate by one copy of the gradients, which are summed over the devices."""
    wide, off = replace(WIDE, {"model.dense": 4096}), {}
    for hardware in (WHOLE, SPLIT):
        program = Program(wide, hardware=hardware)
        program.prepare()
        found = program.compiled("train").memory_analysis()
        total = found.argument_size_in_bytes + found.temp_size_in_bytes - program.feed.data["image"].nbytes
        predicted = step_memory(wide, Devices(8, split=hardware.shard_state), {})
        off[hardware.shard_state] = total - predicted.total
    gradients = predicted.gradients
    assert off[False] == pytest.approx(gradients, rel=0.15)
    assert off[True] == pytest.approx(gradients, rel=0.15)


def test_what_does_not_fit_whole_may_fit_split():
    whole, split = (step_memory(WIDE, Devices(8, split=split), {}) for split in (False, True))
    least = whole.params + whole.optimizer + whole.state + whole.batch
    checked = check(WIDE, devices=8)
    with pytest.raises(ConfigError, match="there must be"):
        check_room(WIDE, Devices(8, memory=least - 1), {}, checked)
    assert split.params + split.optimizer + split.state + split.batch < least // 2
    assert check_room(WIDE, Devices(8, memory=least - 1, split=True), {}, checked)


def stopped_after_three(hardware, path):
    def sink(event):
        if isinstance(event, StepTaken) and event.step == 3:
            raise Interrupted("enough")

    with pytest.raises(Interrupted):
        train(WIDE, path, options=Options(hardware, checkpoint_steps=2), sinks=[sink])
    assert Checkpoints(path / "checkpoints", read_only=True).latest() == 2


def saved_state(path, experiment=WIDE):
    blank = Program(experiment, hardware=WHOLE).blank()
    return Checkpoints(path / "checkpoints", read_only=True).restore(blank)[0]


def assert_alike(one, other):
    for a, b in zip(*map(jax.tree.leaves, (one, other)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_it_gives_the_numbers_of_a_whole_state_and_each_continues_the_other(tmp_path):
    whole = train(WIDE, tmp_path / "whole", options=Options(WHOLE))
    for name, begun, continued in (("split", None, SPLIT), ("to whole", SPLIT, WHOLE), ("to split", WHOLE, SPLIT)):
        if begun is not None:
            stopped_after_three(begun, tmp_path / name)
        result = train(WIDE, tmp_path / name, options=Options(continued))
        assert result["metrics"] == pytest.approx(whole["metrics"], rel=1e-5), name
        assert_alike(saved_state(tmp_path / name), saved_state(tmp_path / "whole"))


def after_four(experiment, hardware, *, cuts=(4,), packed=1):
    """The state after four steps, in calls that end at the cuts."""
    program = Program(experiment, hardware=hardware, packed=packed)
    lanes = [replace(experiment, {"seed": seed}) for seed in range(packed)]
    state, step = program.init(lanes), 0
    for cut in cuts:
        state, step = program.advance(state, lanes, step, cut), cut
    if hardware.shard_state:
        for leaf, sharding in zip(jax.tree.leaves(state), jax.tree.leaves(program._shardings), strict=True):
            assert leaf.sharding.is_equivalent_to(sharding, leaf.ndim)
    return jax.device_get(state)


def test_two_devices_give_the_numbers_of_a_whole_state_however_steps_are_cut():
    split = Hardware(devices=2, shard_state=True)
    state = after_four(WIDE, split)
    assert_alike(state, after_four(WIDE, Hardware(devices=2)))
    for one, cut in zip(*map(jax.tree.leaves, (state, after_four(WIDE, split, cuts=(1, 4)))), strict=True):
        np.testing.assert_array_equal(one, cut)


OTHERS = {
    "adafactor, accumulated": {"optim": Adafactor(learning_rate=1e-3), "accumulate": 2},
    "muon, lookahead": {"optim": Muon(learning_rate=0.01), "methods": (Lookahead(every=2),)},
    "schedule-free": {"optim": ScheduleFreeAdamW(learning_rate=1e-3)},
    "sam": {"methods": (SAM(rho=0.05),)},
    "statistics by device, bfloat16": {"model.norm": BatchNorm(group="device"), "precision": "bfloat16"},
}


@pytest.mark.slow
@pytest.mark.parametrize("name", OTHERS)
def test_other_optimizers_and_methods_give_the_same_numbers_too(name):
    experiment = replace(WIDE, {"methods": (), **OTHERS[name]})
    assert_alike(after_four(experiment, SPLIT), after_four(experiment, WHOLE))


@pytest.mark.slow
def test_averages_whose_statistics_are_estimated_are_evaluated(tmp_path):
    swa = replace(
        WIDE, {"optim": Adam(learning_rate=1e-3), "model.norm": BatchNorm(), "methods": (SWA(start=0.0, every=0.05),)}
    )
    whole, split = (train(swa, tmp_path / str(way.shard_state), options=Options(way)) for way in (WHOLE, SPLIT))
    assert "test_swa_accuracy" in whole["metrics"]
    assert split["metrics"] == pytest.approx(whole["metrics"], rel=1e-5)


@pytest.mark.slow
def test_trials_that_train_together_are_each_split():
    state = after_four(WIDE, SPLIT, packed=2)
    assert_alike(state, after_four(WIDE, WHOLE, packed=2))


def test_other_ways_to_spread_a_step_are_refused():
    with pytest.raises(ConfigError, match="shard_state with parallel = 'shard_map': only with jit"):
        Hardware(parallel="shard_map", shard_state=True)


def test_bytes_of_a_part():
    tree = [np.zeros((128, 256), np.float32), np.zeros(10, np.float32)]
    assert bytes_of_part(tree, 8) == 128 * 256 * 4 // 8 + 40


def test_the_command_line_plans_and_trains_with_it(run, tmp_path):
    file = tmp_path / "file.py"
    file.write_text(
        "from cnnjax import Digits, Experiment, SmallCNN\n"
        "experiment = Experiment(model=SmallCNN(features=16, dense=256), data=Digits(), batch_size=32, steps=1)\n"
    )
    words = ("sweep", file, "--seeds", "1", "--dry-run", "--devices", "8", "--device-memory", "0.3MB")
    assert "there must be" in "".join(map(str, run(*words)[1:]))
    code, out, _ = run(*words, "--shard-state")
    assert code == 0
    assert "which the state is split over" in " ".join(out.split())
    assert json.loads(run(*words, "--shard-state", "--json")[1])["devices"]["split"] is True
    code, _, err = run("train", file, "--parallel", "pmap", "--shard-state")
    assert code == 1
    assert "shard_state with parallel = 'pmap': only with jit" in err


def test_workers_of_a_study_split_as_its_sweep_does():
    assert options_from(plain_options(Options(SPLIT), None)).hardware == SPLIT
    assert "shard_state" not in plain_options(Options(WHOLE), None)
