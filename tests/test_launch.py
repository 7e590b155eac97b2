"""Launchers: each trains what a plan says, skips what is finished, and says what became of every trial."""

import pytest

from cnnjax import Experiment, Hardware, Options, OptunaSampler, SmallCNN, Study, Synthetic, sweep
from cnnjax.errors import ConfigError
from cnnjax.events import Finished, Planned
from cnnjax.launch.launcher import launcher, names

DATA = Synthetic(height=4, width=4, channels=1, classes=2, examples=20, test_examples=8)
BASE = Experiment(model=SmallCNN(features=2, dense=0), data=DATA, batch_size=8, steps=2)
STUDY = Study(BASE, axes={"model.features": [2, 3]}, seeds=2)
OPTIONS = Options(Hardware(devices=1))
LAUNCHERS = {"local": "test_launch.py", "none": "test_docs_clusters.py", "ray": "test_ray.py", "slurm": "test_slurm.py"}
"""Each launcher, and the tests that train with it."""


def test_every_launcher_has_a_row():
    assert list(LAUNCHERS) == names()


def test_a_launcher_trains_what_is_missing(tmp_path):
    seen = []
    words = {"launcher": "local", "options": OPTIONS, "workers": 1}
    alone = sweep(Study(BASE, seeds=1), tmp_path, **words)
    outcome = sweep(STUDY, tmp_path, sinks=[seen.append], **words)
    assert outcome.complete
    assert outcome.skipped == alone.done
    assert len(outcome.done) == 3
    trials = {trial.id for trial in outcome.plan.trials}
    assert {event.trial for event in seen if isinstance(event, Planned)} == trials
    assert {event.trial for event in seen if isinstance(event, Finished)} == set(outcome.done)


def test_programs_side_by_side_are_told_to_workers_that_the_user_starts(tmp_path):
    detached = sweep(STUDY, tmp_path, launcher="none", options=OPTIONS, workers=2).detached
    assert detached is not None
    assert f"cnnjax work {tmp_path} --side-by-side 2 " in detached.text


def test_arms_that_are_made_while_a_study_runs_are_for_one_process(tmp_path, monkeypatch):
    pytest.importorskip("submitit")
    monkeypatch.setattr("cnnjax.launch.sweep.check_launch", lambda *_: None)
    study = Study(
        BASE, axes={"model.features": [2, 3]}, adaptive=OptunaSampler(sampler="random", trials=2, together=1, seed=0)
    )
    with pytest.raises(ConfigError, match="--launcher slurm: the arms of this adaptive study"):
        sweep(study, tmp_path, launcher="slurm", options=OPTIONS)


def test_an_unknown_launcher_names_those_there_are():
    with pytest.raises(ConfigError, match=r"'lokal' is no launcher. Did you mean 'local'"):
        launcher("lokal")
