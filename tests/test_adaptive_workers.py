"""Adaptive studies in several processes: each proposes and trains, and what is decided is what one alone decides."""

from __future__ import annotations

import os
import random
import threading
import time
from pathlib import Path

import pytest

from cnnjax import (
    ASHA,
    SGD,
    Experiment,
    Hardware,
    Options,
    OptunaSampler,
    SmallCNN,
    Study,
    SuccessiveHalving,
    Synthetic,
    sweep,
)
from cnnjax.config import Named, replace
from cnnjax.errors import RunError
from cnnjax.events import Finished, Paused, StepTaken
from cnnjax.launch import one_program
from cnnjax.launch.arms import FiledArms, PlannedArms
from cnnjax.launch.begin_search import begun, plan_so_far
from cnnjax.launch.elsewhere import FollowedTrials
from cnnjax.launch.launcher import Launch
from cnnjax.launch.search import Search
from cnnjax.launch.status import status
from cnnjax.launch.study_files import write_plan
from cnnjax.launch.work import plain_options, work
from cnnjax.lease import Lease
from cnnjax.records.adaptive_json import AdaptiveRecord
from cnnjax.records.plan_json import PlanRecord
from cnnjax.run.trial import StudyOfTrials
from cnnjax.study.candidates import plan_of_candidates
from cnnjax.study.file import load
from tests.forking import shared

BASE = Experiment(
    model=SmallCNN(features=2, dense=0),
    data=Synthetic(height=4, width=4, channels=1, classes=2, examples=40, test_examples=8),
    optim=SGD(learning_rate=0.1),
    batch_size=16,
    validation=0.25,
    epochs=3,
)
RATES = {"optim.learning_rate": [0.001, 0.01, 0.1, 0.5]}
HALVING = Study(BASE, axes=RATES, seeds=2, adaptive=SuccessiveHalving(first=1, factor=2, metric="loss"))
OPTIONS = Options(Hardware(devices=1))


def begin(study: Study, out: Path) -> Search:
    """What a sweep writes before anything is proposed."""
    planned = plan_of_candidates(study, hardware=OPTIONS.hardware)
    search = begun(PlannedArms(planned, hardware=OPTIONS.hardware), out)
    write_plan(plan_so_far(planned, search), out, options=plain_options(OPTIONS, 1))
    return search


def with_design(design, study=HALVING):
    return study.model_copy(update={"adaptive": design})


def record(out) -> AdaptiveRecord:
    found = AdaptiveRecord.read(AdaptiveRecord.at(out), remedy="")
    assert found is not None
    return found


def rows(out):
    """metrics.jsonl of each trial."""
    return {path.parent.name: path.read_bytes() for path in out.glob("trials/*/metrics.jsonl")}


@pytest.fixture(scope="module")
def halved(tmp_path_factory):
    """The study, trained by one sweep."""
    out = tmp_path_factory.mktemp("halving") / "study"
    assert sweep(HALVING, out, options=OPTIONS, workers=1, pack=1).complete
    return out


def side_by_side(out, count=2):
    """Workers in threads, that know the folder alone; the events of each, and what it says became of the trials."""
    events, outcomes = [[] for _ in range(count)], {}

    def run(number):
        sinks = [events[number].append]
        outcomes[number] = work(out, options=OPTIONS, name=f"w{number}", workers=1, sinks=sinks)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    return events, [outcomes[number] for number in range(count)]


def test_workers_propose_from_the_folder_alone_what_a_sweep_does(halved, tmp_path):
    begin(HALVING, tmp_path)
    events, outcomes = side_by_side(tmp_path)
    assert record(tmp_path) == record(halved)
    assert PlanRecord.at(tmp_path).read_bytes() == PlanRecord.at(halved).read_bytes()
    assert rows(tmp_path) == rows(halved)
    # 8 trials of 2 steps, 4 of 2 more, 2 of 2 more: none was taken twice.
    taken = [(event.trial, event.step) for own in events for event in own if isinstance(event, StepTaken)]
    assert len(set(taken)) == len(taken) == 28
    done = [trial for outcome in outcomes for trial in outcome.done]
    assert sorted(done) == sorted(entry.trial for entry in record(halved).proposals if entry.until is None)
    assert not list(tmp_path.glob("**/lease.*"))


def test_a_second_sweep_joins(halved, tmp_path):
    gate, outcomes = threading.Event(), []

    def run(sinks):
        outcomes.append(sweep(HALVING, tmp_path, options=OPTIONS, workers=1, pack=1, sinks=sinks))

    first = threading.Thread(target=run, args=([lambda _: gate.set()],))
    first.start()
    gate.wait()
    run([])
    first.join()
    assert record(tmp_path) == record(halved)
    assert rows(tmp_path) == rows(halved)
    assert all(outcome.complete for outcome in outcomes)
    assert len(outcomes[0].done) + len(outcomes[1].done) == 2


def test_asha_with_two_workers_trains_each_trial_once_and_by_its_rule(tmp_path):
    design = ASHA(first=1, factor=2, metric="loss")
    begin(with_design(design, HALVING.model_copy(update={"seeds": 1})), tmp_path)
    events, _ = side_by_side(tmp_path)
    over = [(each.trial, each.step) for own in events for each in own if isinstance(each, Paused | Finished)]
    entries = record(tmp_path).proposals
    assert len(over) == len(set(over)) == len(entries)
    assert record(tmp_path).over
    for rung in (1, 2):
        for entry in (entry for entry in entries if entry.rung == rung):
            place = entries.index(entry)
            below = [other for other in entries[:place] if (other.arm, other.seed) == (entry.arm, entry.seed)]
            assert [other.rung for other in below] == list(range(rung)), "each rung after the one before"


def test_a_trial_of_a_lost_worker_is_continued(halved, tmp_path):
    search = begin(HALVING, tmp_path)
    search.grow()
    [first, *_] = record(tmp_path).proposals
    lost = Lease.take(tmp_path / "trials" / str(first.trial), worker="lost")
    # No process has that number.
    lost.path.write_text(lost.path.read_text().replace(f'"pid": {os.getpid()}', f'"pid": {2**22 + 1}'))
    work(tmp_path, options=OPTIONS)
    lost.release()
    assert record(tmp_path) == record(halved)
    assert rows(tmp_path) == rows(halved)


def test_status_knows_what_was_stopped_early_and_when_it_is_over(halved, tmp_path):
    found = status(halved)
    assert (found.trials, found.done, found.stopped, found.begun, found.waiting) == (8, 2, 6, 0, 0)
    assert found.over
    search = begin(HALVING, tmp_path)
    assert (status(tmp_path).trials, status(tmp_path).over) == (0, False)
    search.grow()
    assert (status(tmp_path).waiting, status(tmp_path).over) == (8, False)


def test_ray_misses_no_trial_that_was_stopped_early(halved, tmp_path):
    """What its launcher says of a study, from files alone."""
    planned = plan_of_candidates(HALVING, hardware=OPTIONS.hardware)

    def followed(out):
        return FollowedTrials(Launch(planned, StudyOfTrials("study", out, {}), OPTIONS))

    over = followed(halved)
    assert over.missing == 0
    outcomes = over.outcomes("")
    assert (len(outcomes.skipped), outcomes.errors) == (2, {})
    begin(HALVING, tmp_path).grow()
    begun = followed(tmp_path)
    assert begun.missing == 8
    assert len(begun.outcomes("a worker was lost").errors) == 8


def test_nothing_is_proposed_while_something_is_free_or_somebody_decides(tmp_path):
    search = begin(with_design(ASHA(first=1, factor=2, metric="loss")), tmp_path)
    lease = Lease.take(tmp_path)
    assert not search.grow(), "somebody else decides"
    lease.release()
    assert search.grow() == 2, "one arm, two seeds"
    assert not search.grow(), "they are free to be trained"
    assert search.grow(leaving=[str(entry.trial) for entry in record(tmp_path).proposals]) == 2


def test_who_cannot_propose_trains_what_is_pending_and_says_so(tmp_path):
    pytest.importorskip("optuna")
    study = Study(replace(BASE, {"epochs": 1}), axes=RATES, seeds=1, adaptive=OptunaSampler(trials=2, metric="loss"))
    search = begin(study, tmp_path)
    search.grow()
    assert len(work(tmp_path, options=OPTIONS, wait=False).done) == 1
    assert len(record(tmp_path).proposals) == 1
    threading.Timer(1.0, lambda: sweep(study, tmp_path, options=OPTIONS)).start()
    with pytest.warns(UserWarning, match="optuna. proposes in its sweep alone"):
        work(tmp_path, options=OPTIONS)
    assert record(tmp_path).over
    assert len(record(tmp_path).proposals) == 2


def broken(monkeypatch, rate):
    """Have trials of a learning rate crash, until what is returned is cleared."""
    run, rates = one_program.run_trials, {rate}

    def failing(program, experiments, *args, **words):
        if any(experiment.optim.learning_rate in rates for experiment in experiments):
            raise RuntimeError("broken")
        return run(program, experiments, *args, **words)

    monkeypatch.setattr(one_program, "run_trials", failing)
    return rates


def test_a_trial_that_fails_is_worst_and_tried_again_only_where_that_is_asked_for(halved, tmp_path, monkeypatch):
    best = next(entry.arm for entry in record(halved).proposals if entry.until is None)["optim.learning_rate"]
    rates, steps = broken(monkeypatch, best), []

    def swept(**more):
        return sweep(HALVING, tmp_path, options=OPTIONS, workers=1, pack=1, **more)

    first = swept()
    assert len(first.failed) == 2
    assert all("broken" in first.errors[trial] for trial in first.failed)
    without = record(tmp_path)
    assert best not in {entry.arm["optim.learning_rate"] for entry in without.proposals if entry.rung}
    rates.clear()
    again = swept(sinks=[lambda event: steps.extend([event] if isinstance(event, StepTaken) else [])])
    assert not steps
    assert again.failed == first.failed
    assert record(tmp_path) == without, "what was decided stays"
    mended = swept(retry_failed=True)
    assert mended.complete
    assert record(tmp_path) == record(halved), "decided anew, as if nothing had failed"
    ended = [[entry.trial for entry in held.proposals if entry.until is None] for held in (without, record(halved))]
    assert {trial: rows(tmp_path)[trial] for trial in ended[1]} == {trial: rows(halved)[trial] for trial in ended[1]}
    planned = PlanRecord.read(PlanRecord.at(tmp_path), remedy="")
    assert planned is not None
    assert {trial.id for trial in planned.trials} >= {*ended[0], *ended[1]}, "what is finished stays in the plan"


def test_what_diverged_is_trained_anew_from_the_start(tmp_path):
    study = Study(BASE, axes={"optim.learning_rate": [0.1, 0.01, 1e30]}, seeds=1, adaptive=HALVING.adaptive)

    def swept(**more):
        return sweep(study, tmp_path, options=OPTIONS, workers=1, pack=1, **more)

    first = swept()
    [failed] = first.failed
    held = record(tmp_path)
    assert swept().failed == [failed]
    assert not (tmp_path / "trials" / failed / "stale").exists()
    assert swept(retry_failed=True).failed == [failed]
    assert (tmp_path / "trials" / failed / "stale" / "1" / "result.json").exists()
    assert record(tmp_path) == held


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"seeds": 3}, "other seeds"),
        ({"axes": Named({"optim.learning_rate": (0.001, 0.01)})}, "other arms"),
        ({"experiment": replace(BASE, {"epochs": 4})}, "another base experiment"),
    ],
)
def test_two_adaptive_studies_exclude_each_other(halved, changes, said):
    with pytest.raises(RunError, match=f"holds an adaptive study with .*{said}.*--replace"):
        sweep(HALVING.model_copy(update=changes), halved, options=OPTIONS)


def test_a_folder_without_its_candidates_says_what_to_do(halved, tmp_path):
    begin(HALVING, tmp_path)
    (tmp_path / "candidates.json").unlink()
    with pytest.raises(RunError, match=r"without candidates\.json: run its sweep once more"):
        FiledArms(tmp_path)


OWN = """
from cnnjax import SGD, Adaptive, Experiment, Proposal, SmallCNN, Study, Synthetic

class Once(Adaptive, tag="once"):
    def propose(self, candidates, seen):
        return [] if seen else [Proposal(candidates.arms[0], 7, UNTIL)]

    def cost(self, candidates):
        return "one trial"

data = Synthetic(height=4, width=4, channels=1, classes=2, examples=40, test_examples=8)
experiment = Experiment(model=SmallCNN(features=2, dense=0), data=data, batch_size=16, validation=0.25, epochs=2)
study = Study(experiment, axes={"optim.learning_rate": [0.01, 0.1]}, seeds=1, adaptive=Once())
"""


def test_a_design_of_ones_own_is_read_from_the_file_and_must_be_as_it_was(tmp_path):
    file, out = tmp_path / "once.py", tmp_path / "out"
    file.write_text(OWN.replace("UNTIL", "1"))
    planned = plan_of_candidates(load(file).study, hardware=OPTIONS.hardware)
    search = begun(PlannedArms(planned, hardware=OPTIONS.hardware), out)
    write_plan(plan_so_far(planned, search), out, file=file)
    other = Search(FiledArms(out), out)
    assert other.grow() == 1
    assert [(entry.seed, entry.until) for entry in record(out).proposals] == [(7, 1)]
    file.write_text(OWN.replace("UNTIL", "2"))
    with pytest.raises(RunError, match="the adaptive design was planned with other code.*Once in once.py changed"):
        FiledArms(out)


FILE = """
from cnnjax import SGD, Digits, Experiment, SmallCNN, Study, SuccessiveHalving

experiment = Experiment(
    model=SmallCNN(features=2, dense=0), data=Digits(), optim=SGD(learning_rate=0.05), batch_size=128, validation=0.2,
    epochs=6,
)
axes = {"optim.learning_rate": [0.001, 0.01, 0.1, 0.2]}
study = Study(experiment, axes=axes, seeds=2, adaptive=SuccessiveHalving(first=1, factor=2))
"""


@pytest.mark.slow
def test_workers_that_are_killed_again_and_again_change_nothing(tmp_path):
    """Two processes, of which one is killed three times: a worker's process, or the sweep's own."""
    file = tmp_path / "rates.py"
    file.write_text(FILE)
    whole, out = tmp_path / "whole", tmp_path / "killed"
    assert sweep(load(file).study, whole, options=Options(OPTIONS.hardware, checkpoint_steps=4)).complete
    swept = ["sweep", str(file), "--devices", "1", "--checkpoint-steps", "4", "--json", "--out", str(out)]
    worked = ["work", str(out), "--side-by-side", "1", "--json"]

    def start(words):
        return shared().start(*words, cwd=tmp_path, said=tmp_path / "said")

    draw, kills = random.Random(0), 0
    processes = [start(swept)]
    until = time.monotonic() + 300
    try:
        while not PlanRecord.at(out).exists() and time.monotonic() < until:
            time.sleep(0.02)
        processes.append(start(worked))
        while not record(out).over and time.monotonic() < until:
            time.sleep(draw.uniform(0.02, 0.3))
            running = status(out).running
            if kills < 3 and running:
                victim = draw.choice(running).pid
                position = next((i for i, each in enumerate(processes) if each.pid == victim), 0)
                processes[position].end()
                processes[position], kills = start(worked), kills + 1
        assert [each.wait(60) for each in processes] == [0, 0]
    finally:
        for each in processes:
            each.end()
    assert kills == 3, "it was over too soon"
    assert record(out) == record(whole)
    assert rows(out) == rows(whole)
