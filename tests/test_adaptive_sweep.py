"""Adaptive studies trained: propose, run, observe; killed, they go on as if they had not been."""

from __future__ import annotations

import json
import shutil
import threading

import pytest

from cnnjax import (
    ASHA,
    SGD,
    Experiment,
    Hardware,
    Options,
    OptunaSampler,
    SequentialSeeds,
    SmallCNN,
    Study,
    SuccessiveHalving,
    Synthetic,
    plan,
    report,
    sweep,
)
from cnnjax.config import replace
from cnnjax.errors import ConfigError, Interrupted, RunError
from cnnjax.events import Finished, Paused, StepTaken
from cnnjax.launch.arms import PlannedArms
from cnnjax.launch.search import Search
from cnnjax.records.adaptive_json import AdaptiveRecord
from cnnjax.records.metrics_jsonl import EpochRow, read_rows
from cnnjax.study.candidates import plan_of_candidates
from cnnjax.study.designs import Grid, LogUniform, Product, Random, Zip

BASE = Experiment(
    model=SmallCNN(features=2, dense=0),
    data=Synthetic(height=4, width=4, channels=1, classes=2, examples=40, test_examples=8),
    optim=SGD(learning_rate=0.1),
    batch_size=16,
    validation=0.25,
    epochs=4,
)
RATES = {"optim.learning_rate": [0.001, 0.01, 0.1, 0.5]}
HALVING = Study(BASE, axes=RATES, seeds=2, adaptive=SuccessiveHalving(first=1, factor=2, metric="loss"))
OPTIONS = Options(Hardware(devices=1))
"""An epoch is 30 examples: two steps of 16, so that epochs end after steps 2, 4, 6 and 8."""


def trained(study, out, **more):
    return sweep(study, out, options=OPTIONS, workers=1, pack=1, **more)


def record(out):
    return AdaptiveRecord.read(AdaptiveRecord.at(out), remedy="")


def loss_at(out, entry):
    rows = read_rows(EpochRow.at(out / "trials" / entry.trial))
    return next(row.numbers["validation_loss"] for row in rows if row.epoch == (entry.until or 4))


@pytest.fixture(scope="module")
def halved(tmp_path_factory):
    out, seen = tmp_path_factory.mktemp("halving") / "study", []
    return out, trained(HALVING, out, sinks=[seen.append]), seen


def test_halving_trains_the_better_half_further(halved):
    out, outcome, seen = halved
    entries = record(out).proposals
    rates = {rung: [entry.arm["optim.learning_rate"] for entry in entries if entry.rung == rung] for rung in (0, 1, 2)}
    assert [len(rates[rung]) for rung in (0, 1, 2)] == [8, 4, 2]
    first = {
        rate: sum(loss_at(out, entry) for entry in entries[:8] if entry.arm["optim.learning_rate"] == rate) / 2
        for rate in rates[0]
    }
    assert list(dict.fromkeys(rates[1])) == sorted(first, key=lambda rate: first[rate])[:2]
    assert [entry.until for entry in entries] == [1] * 8 + [2] * 4 + [None] * 2
    # 8 trials of 2 steps, 4 of 2 more, 2 of 4 more: 32 of 64.
    assert sum(isinstance(event, StepTaken) for event in seen) == 32
    assert sum(isinstance(event, Paused) for event in seen) == 12
    assert {event.trial for event in seen if isinstance(event, Finished)} == set(outcome.done)
    assert outcome.complete
    assert len(outcome.done) == 2
    assert len(outcome.plan.trials) == 8


def test_it_decides_by_validation_and_never_by_test(halved):
    out, _, _ = halved
    assert record(out).metric == "validation_loss"
    assert not record(out).higher_is_better
    assert json.loads((out / "study.json").read_text())["adaptive"]["adaptive"] == "halving"


def test_once_more_it_trains_nothing(halved):
    out, first, _ = halved
    seen = []
    again = trained(HALVING, out, sinks=[seen.append])
    assert not [event for event in seen if isinstance(event, StepTaken)]
    assert again.skipped == first.done


def stopped_after(steps, stop):
    taken = []

    def sink(event):
        taken.extend([event] if isinstance(event, StepTaken) else [])
        if len(taken) == steps:
            stop.set()

    return sink


@pytest.mark.parametrize("steps", [5, 21])
def test_a_search_that_is_stopped_goes_on_as_if_it_had_not_been(halved, tmp_path, steps):
    stop = threading.Event()
    with pytest.raises(Interrupted):
        trained(HALVING, tmp_path, sinks=[stopped_after(steps, stop)], stop=stop)
    trained(HALVING, tmp_path)
    assert record(tmp_path) == record(halved[0])
    for entry in record(tmp_path).proposals:
        one, other = (folder / "trials" / entry.trial / "metrics.jsonl" for folder in (tmp_path, halved[0]))
        assert one.read_bytes() == other.read_bytes()


def test_asha_trains_one_arm_to_its_end_at_least(tmp_path):
    outcome = trained(replace_design(HALVING, ASHA(first=1, factor=2, metric="loss")), tmp_path)
    entries = record(tmp_path).proposals
    assert outcome.complete
    assert {entry.trial for entry in entries if entry.until is None} == set(outcome.done)
    assert len(outcome.done) >= 2


def replace_design(study, design, **fields):
    return study.model_copy(update={"adaptive": design, **fields})


def test_seeds_are_added_and_what_is_found_is_written(tmp_path):
    study = Study(
        replace(BASE, {"epochs": 1}), axes=RATES, seeds=2, adaptive=SequentialSeeds(most_seeds=4, metric="loss")
    )
    outcome = trained(study, tmp_path)
    held = record(tmp_path)
    seeds = {(entry.arm["optim.learning_rate"], entry.seed) for entry in held.proposals}
    assert len(seeds) == len(held.proposals) == len(outcome.done)
    assert max(seed for _, seed in seeds) == 3, "seeds that the study does not name"
    assert len(held.findings) == 3, "all but the best"
    assert {finding.verdict for finding in held.findings} <= {"worse", "not told apart"}
    said = json.loads(report(tmp_path).json)
    assert said["chosen"] is not None, "though arms have different numbers of seeds"
    assert "By always-valid intervals" in said["headline"][2]


def test_optuna_proposes_from_axes_and_goes_on(tmp_path):
    pytest.importorskip("optuna")
    axes = {"optim.learning_rate": [0.01, 0.1], "model.kernel_size": [3, 9]}
    base = replace(BASE, {"epochs": 1, "model.padding": "valid", "model.blocks": 1})
    study = Study(base, axes=axes, seeds=1, adaptive=OptunaSampler(trials=6, metric="loss"))
    outcome = trained(study, tmp_path / "whole")
    held = record(tmp_path / "whole")
    assert len(held.proposals) == 6
    pruned = [entry for entry in held.proposals if entry.trial is None]
    assert pruned, "a kernel of 9 does not fit images of 4"
    assert {entry.arm["model.kernel_size"] for entry in pruned} == {9}
    assert len(outcome.plan.pruned) == len({json.dumps(entry.arm) for entry in pruned})
    assert len(outcome.done) == len({entry.trial for entry in held.proposals} - {None})
    # As if it had been killed after its second proposal.
    shutil.copytree(tmp_path / "whole", tmp_path / "cut")
    held.model_copy(update={"proposals": held.proposals[:2], "over": False}).write(AdaptiveRecord.at(tmp_path / "cut"))
    trained(study, tmp_path / "cut")
    assert record(tmp_path / "cut") == held


def test_optuna_samples_a_distribution_and_goes_on(tmp_path):
    pytest.importorskip("optuna")
    base = replace(BASE, {"epochs": 1})
    design = Random(axes={"optim.learning_rate": LogUniform(low=1e-3, high=1.0)}, points=3)
    study = Study(base, design=design, seeds=1, adaptive=OptunaSampler(trials=3, metric="loss"))
    trained(study, tmp_path / "whole")
    held = record(tmp_path / "whole")
    rates = [entry.arm["optim.learning_rate"] for entry in held.proposals]
    assert len(set(rates)) == 3
    assert all(1e-3 <= rate <= 1.0 for rate in rates)
    shutil.copytree(tmp_path / "whole", tmp_path / "cut")
    held.model_copy(update={"proposals": held.proposals[:1], "over": False}).write(AdaptiveRecord.at(tmp_path / "cut"))
    trained(study, tmp_path / "cut")
    assert record(tmp_path / "cut") == held


def test_optuna_takes_axes_whose_values_all_combine(tmp_path):
    pytest.importorskip("optuna")
    design = Zip(axes={"optim.learning_rate": (0.01, 0.1), "model.kernel_size": (1, 3)})
    study = Study(BASE, design=design, seeds=1, adaptive=OptunaSampler(trials=2))
    with pytest.raises(ConfigError, match="the study's zip design takes only some of the combinations"):
        trained(study, tmp_path)
    combined = Product(designs=(Grid(axes=RATES), Random(axes={"model.kernel_size": (1, 3)}, points=2)))
    assert plan_of_candidates(Study(BASE, design=combined, seeds=1, adaptive=OptunaSampler(trials=2)))
    left_out = ({"optim.learning_rate": 0.1},)
    axes = {"optim.learning_rate": [0.01, 0.1]}
    study = Study(replace(BASE, {"epochs": 1}), axes=axes, seeds=1, exclude=left_out, adaptive=OptunaSampler(trials=4))
    outcome = trained(study, tmp_path)
    assert len(outcome.done) == 1
    assert "the study excludes it" in {entry.failure for entry in record(tmp_path).proposals if not entry.trial}.pop()


@pytest.mark.parametrize(
    ("changes", "design", "said"),
    [
        ({"validation": 0.0}, SuccessiveHalving(), "has no validation part"),
        ({}, SuccessiveHalving(first=4), "the training has 4"),
        ({}, SuccessiveHalving(metric="iou"), "'iou': no such metric is measured; there are accuracy"),
    ],
)
def test_what_cannot_be_decided_is_refused_before_anything_runs(changes, design, said, tmp_path):
    with pytest.raises(ConfigError, match=said):
        trained(Study(replace(BASE, changes), axes=RATES, adaptive=design), tmp_path)
    assert not list(tmp_path.glob("*.json"))


def test_arms_that_all_diverge_end_the_search(tmp_path):
    study = Study(replace(BASE, {"optim.learning_rate": 1e30}), axes={"optim.momentum": [0.8, 0.9]}, seeds=1)
    outcome = trained(replace_design(study, SuccessiveHalving(factor=2)), tmp_path)
    assert len(outcome.failed) == 2
    assert not outcome.complete
    assert len(record(tmp_path).proposals) == 2


def test_a_folder_holds_one_way_to_decide(halved, tmp_path):
    shutil.copytree(halved[0], tmp_path / "study")
    for other in (None, SuccessiveHalving(first=2)):
        with pytest.raises(RunError, match="decides what to train by adaptive = halving"):
            trained(replace_design(HALVING, other), tmp_path / "study")
    outcome = trained(replace_design(HALVING, None), tmp_path / "study", replace=True)
    assert len(outcome.done) == 6
    assert record(tmp_path / "study") is None
    with pytest.raises(RunError, match="trains all of its trials"):
        trained(HALVING, tmp_path / "study")


def test_a_report_says_that_the_study_is_adaptive(halved):
    summary = report(halved[0])
    said = json.loads(summary.json)
    assert "2 of 8 planned trials finished, 6 stopped early" in said["headline"][0]
    assert said["headline"][1].startswith("Adaptive study (successive halving): what was trained was decided by")
    assert "flatter" in said["headline"][1]
    assert said["trials"] == {"planned": 8, "done": 2, "failed": 0, "unfinished": 0, "stopped early": 6}
    assert "Adaptive study" in (halved[0] / "report" / "report.md").read_text()


def test_what_it_was_at_a_rung_stays_whatever_became_of_it(halved):
    out, _, _ = halved
    search = Search(PlannedArms(plan(HALVING)), out)
    assert all(each.score is not None for each in search.seen())
    assert not search.pending()
    assert [each.proposal.until for each in search.seen()[-2:]] == [None, None]


FILE = """
from cnnjax import SGD, Experiment, SmallCNN, Study, Synthetic
experiment = Experiment(
    model=SmallCNN(features=2, dense=0),
    data=Synthetic(height=4, width=4, channels=1, classes=2, examples=40, test_examples=8),
    optim=SGD(learning_rate=0.1), batch_size=16, validation=0.25, epochs=4)
study = Study(experiment, axes={"optim.learning_rate": [0.001, 0.01, 0.1, 0.5]}, seeds=2)
"""


def test_the_command_line(run, tmp_path):
    file = tmp_path / "rates.py"
    file.write_text(FILE)
    code, said, _ = run("sweep", file, "--halving", "1:2", "--dry-run")
    assert code == 0
    assert "successive halving by validation_accuracy: 4 arms to epoch 1, then 2 arms to epoch 2, then 1 arm" in said
    code, said, _ = run("sweep", file, "--sequential-seeds", "6:0.01", "--dry-run", "--json")
    assert "4 arms with 2 seeds each (8 trials)" in json.loads(said)["adaptive"]
    for words, message in (
        (("--halving", "two"), "must be as in --halving 2:3 (first = 'two': must be a valid integer)"),
        (
            ("--asha", "0:1"),
            "(first = 0: must be greater than or equal to 1; factor = 1: must be greater than or equal",
        ),
        (("--sequential-seeds", "20:0"), "20:0.005 (precision = 0: must be greater than 0)"),
        (("--halving", "4"), "the training has 4"),
        (("--optuna", "best:3"), "must be as in --optuna tpe:30"),
        (("--halving", "1", "--asha", "1"), "a study decides in one way"),
    ):
        code, _, complaint = run("sweep", file, *words, "--dry-run")
        assert code == 1
        assert message in " ".join(complaint.split())
    code, said, _ = run("sweep", file, "--asha", "1:2", "--json")
    assert code == 0
    assert (tmp_path / "runs" / "rates-asha" / "adaptive.json").exists()
