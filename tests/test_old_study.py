"""A study that an earlier cnnjax made can be reported, extended with seeds, evaluated and continued, for ever after.

tests/data/study_1 was made with commit 655bdab, in which files had no versions: three kernel sizes, one of which does
not fit, by three seeds, with an optimizer of the user's own. The last of the six trials was killed after 36 of its 41
steps, with a checkpoint of step 32. recorded.json has what that cnnjax reported of it, and of the same study where
nothing was killed.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from cnnjax.launch.sweep import sweep
from cnnjax.reporting import report
from cnnjax.reporting.study_table import collect
from cnnjax.reporting.writing import summary_json
from cnnjax.run.evaluate import evaluate
from cnnjax.run.hardware import Hardware
from cnnjax.run.options import Options
from cnnjax.run.train import train
from cnnjax.study.file import ExperimentFile, load
from cnnjax.study.study import with_fields

KEPT = Path(__file__).parent / "data" / "study_1"
RECORDED = json.loads((KEPT / "recorded.json").read_text())
KILLED = RECORDED["killed"]
OPTIONS = Options(Hardware(devices=1))
# Other processors add in another order, and a share of 359 images moves by one image.
LOSS, SHARE = 1e-4, 1.01 / 144


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy, in which the study is extended with a seed."""
    folder = tmp_path_factory.mktemp("old") / "study_1"
    shutil.copytree(KEPT, folder)
    return folder


@pytest.fixture(scope="module")
def loaded(folder: Path) -> ExperimentFile:
    return load(folder / "experiment.py")


@pytest.fixture(scope="module")
def extended(folder: Path, loaded: ExperimentFile) -> Any:
    study = with_fields(loaded.study, seeds=4)
    return sweep(study, folder / "study", name="study_1", options=OPTIONS)


def same_metrics(found: dict[str, float], recorded: dict[str, float]) -> None:
    assert found.keys() == recorded.keys()
    for name, value in recorded.items():
        close = pytest.approx(value, rel=LOSS) if name.endswith("loss") else pytest.approx(value, abs=SHARE)
        assert found[name] == close, name


def reported(folder: Path) -> dict[str, Any]:
    """arms.json, but for what says how the numbers are to be read."""
    summary = summary_json(collect(folder))
    return {name: rounded(summary[name]) for name in ("trials", "arms", "pruned", "mixed_code", "chosen")}


def rounded(value: Any) -> Any:
    """Plain data with nine digits of each number: other versions of SciPy differ beyond."""
    if isinstance(value, dict):
        return {name: rounded(entry) for name, entry in value.items()}
    if isinstance(value, list):
        return [rounded(entry) for entry in value]
    return float(f"{value:.9g}") if isinstance(value, float) else value


def test_it_is_reported_with_the_numbers_of_then(tmp_path: Path) -> None:
    shutil.copytree(KEPT / "study", tmp_path / "study")
    found, recorded = reported(tmp_path / "study"), RECORDED["reported"]
    # What results have recorded since then.
    since = [arm.pop("memory") for arm in found["arms"]]
    assert since == [None, None]
    for arm in found["arms"]:
        for spread in (entry for entry in arm.values() if isinstance(entry, dict)):
            for part in [part for part in spread if part.startswith("seeds_")]:
                del spread[part]
    assert found == {name: rounded(recorded[name]) for name in found}
    assert report(tmp_path / "study").table.done["id"].nunique() == 5


def test_a_run_of_it_is_reported(tmp_path: Path) -> None:
    shutil.copytree(KEPT / "run", tmp_path / "run")
    result = json.loads((KEPT / "run" / "result.json").read_text())
    [arm] = reported(tmp_path / "run")["arms"]
    assert arm["test_accuracy"]["mean"] == rounded(result["metrics"]["test_accuracy"])


def test_nothing_finished_is_trained_again_where_seeds_are_added(extended: Any, folder: Path) -> None:
    finished = sorted(path.parent.name for path in KEPT.glob("study/trials/*/result.json"))
    assert sorted(extended.skipped) == finished
    assert len(finished) == 5
    for name in finished:
        for file in ("result.json", "metrics.jsonl", "config.json", "environment.json"):
            kept, now = (place / "study" / "trials" / name / file for place in (KEPT, folder))
            assert now.read_bytes() == kept.read_bytes(), f"{file} of {name}"


def test_the_killed_trial_is_continued_to_the_same_end(extended: Any, folder: Path) -> None:
    assert KILLED in extended.done
    assert len(extended.done) == 3, "the killed trial and two of the new seed"
    assert not extended.errors
    trial = folder / "study" / "trials" / KILLED
    assert "continue at step 32" in (trial / "log.txt").read_text()
    same_metrics(json.loads((trial / "result.json").read_text())["metrics"], RECORDED["metrics"])
    before = (KEPT / "study" / "trials" / KILLED / "metrics.jsonl").read_bytes()
    assert (trial / "metrics.jsonl").read_bytes().startswith(before)


def test_the_extended_study_is_reported(extended: Any, folder: Path) -> None:
    found = reported(folder / "study")
    assert found["trials"] == {"planned": 8, "done": 8, "failed": 0, "unfinished": 0}
    assert found["mixed_code"] == []


def test_a_run_of_it_is_finished(loaded: ExperimentFile, folder: Path) -> None:
    before = (folder / "run" / "result.json").read_bytes()
    result = train(loaded.experiment, folder / "run", options=OPTIONS)
    assert result["metrics"] == json.loads(before)["metrics"]
    assert (folder / "run" / "result.json").read_bytes() == before


def test_its_weights_are_evaluated(loaded: ExperimentFile, folder: Path) -> None:
    found = evaluate(folder / "run", hardware=Hardware(devices=1))
    recorded = json.loads((KEPT / "run" / "result.json").read_text())["metrics"]
    measured = {f"{part}_{name}": value for part, values in found.items() for name, value in values.items()}
    tested = {name: value for name, value in recorded.items() if not name.startswith("train_")}
    same_metrics({name: measured[name] for name in tested}, tested)
