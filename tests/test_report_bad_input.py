"""What a report says of studies that are unfinished, damaged, edited by hand or out of reach: the right message, and
nothing lost."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cnnjax.cli import app
from cnnjax.errors import CnnjaxError, DiskFull, RunError
from cnnjax.reporting import collect, find, report
from cnnjax.reporting.findings import Findings
from cnnjax.reporting.writing import files_of
from tests.test_reporting import change_result, make_study, set_metrics, study_path, write_json

POOLS: dict[str, list[Any]] = {"model.pool": ["max", "average"]}
Trials = list[dict[str, Any]]
Change = Callable[[Path, Trials], Any]
SECOND = "000000000001"
"""The trial that the changes are of: the second seed of the first arm."""


def result(**changes: Any) -> Change:
    return lambda out, trials: change_result(out, trials[1], **changes)


def metrics(**changes: Any) -> Change:
    return lambda out, trials: set_metrics(out, trials[1], **changes)


def everywhere(**changes: Any) -> Change:
    return lambda out, trials: [set_metrics(out, trial, **changes) for trial in trials]


def text(name: str, content: str) -> Change:
    return lambda out, trials: study_path(out, trials[1], name).write_text(content, encoding="latin-1")


def without(name: str) -> Change:
    return lambda out, trials: study_path(out, trials[1], name).unlink()


def in_study(name: str, content: str | None) -> Change:
    return lambda out, trials: (out / name).unlink() if content is None else (out / name).write_text(content)


def planned(change: Callable[[dict[str, Any]], Any]) -> Change:
    def edited(out: Path, trials: Trials) -> None:
        plan = json.loads((out / "plan.json").read_text())
        change(plan)
        write_json(out / "plan.json", plan)

    return edited


def half(out: Path, trials: Trials) -> None:
    for trial in trials[1::2]:
        shutil.rmtree(out / "trials" / trial["id"])


def other_code(out: Path, trials: Trials) -> None:
    path = study_path(out, trials[1], "environment.json")
    write_json(path, {**json.loads(path.read_text()), "commit": "fedc321", "cnnjax": "0.2.0"})


def said_of(out: Path) -> Findings:
    """What is found, and that it can be drawn in every form; no warning is let through."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = find(collect(out), draw=False)
        files_of(found)
    return found


ALL_OTHERS = {
    f"{part}_{name}": float("nan") for part in ("train", "validation", "test") for name in ("accuracy", "loss")
}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        pytest.param(result(colour="red"), "6 of 6 planned trials finished", id="an extra key"),
        pytest.param(metrics(test_accuracy=1.7), f"accuracy of 1 trial is no share.*{SECOND} \\(1.7\\)", id="1.7"),
        pytest.param(metrics(validation_accuracy=-0.2), f"no share.*{SECOND} \\(-0.2\\)", id="-0.2"),
        pytest.param(everywhere(test_accuracy=1.7), "accuracy of 6 trials is no share", id="1.7 throughout"),
        pytest.param(metrics(test_accuracy=float("nan")), f"no finite number: {SECOND}", id="NaN"),
        pytest.param(metrics(test_accuracy=float("-inf")), f"no finite number: {SECOND}", id="infinity"),
        pytest.param(metrics(test_accuracy=10**400), f"no finite number: {SECOND}", id="a huge number"),
        pytest.param(metrics(test_accuracy="0.9"), f"no finite number: {SECOND}", id="a text"),
        pytest.param(metrics(test_accuracy=True), f"no finite number: {SECOND}", id="true"),
        pytest.param(result(metrics={}), f"test accuracy of 1 of 6 .* {SECOND}", id="no metrics"),
        pytest.param(everywhere(test_accuracy=0.9, validation_accuracy=0.9), "", id="constant"),
        pytest.param(everywhere(test_accuracy=1.0, validation_accuracy=1.0), "", id="constant, all right"),
        pytest.param(everywhere(test_accuracy=0.0, validation_accuracy=0.0), "", id="constant, none right"),
        pytest.param(everywhere(validation_accuracy=float("nan")), "No validation results were recorded", id="all NaN"),
        pytest.param(result(train_seconds=float("nan"), seconds={"step": float("inf"), "input": 1}), "", id="seconds"),
        pytest.param(other_code, "do not share the same cnnjax, commit", id="two versions of the code"),
        pytest.param(half, "3 of 6 planned trials finished, 3 unfinished", id="half-finished"),
        *(
            pytest.param(without(name), said, id=f"no {name}")
            for name, said in [
                ("config.json", ""),
                ("environment.json", ""),
                ("result.json", "5 of 6 planned trials finished, 1 unfinished"),
                ("metrics.jsonl", f"lack epochs of 1 of 6 .* {SECOND}"),
            ]
        ),
        *(
            pytest.param(
                text("metrics.jsonl", content), f"lack epochs of 1 of 6 .* {SECOND}", id=f"curves {content[:20]}"
            )
            for content in [
                '{"step": 1, "epoch": 1000000000, "train_loss": 1}\n',
                '{"step": -1, "epoch": -5, "train_loss": 1}\n',
                '{"step": 1, "epoch": 1, "train_loss": "a", "validation_accuracy": Infinity}\n',
            ]
        ),
    ],
)
def test_a_report_says_what_is_amiss(tmp_path: Path, change: Change, said: str) -> None:
    change(tmp_path, make_study(tmp_path, axes=POOLS))
    assert_said(said, " ".join(said_of(tmp_path).first))


def assert_said(said: str, text: str) -> None:
    assert re.search(said, " ".join(text.split())), text


DAMAGE = ["[1, 2]", "null", "", "[" * 100_000]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (result(params="many"), "params = 'many'"),
        (result(params=-5), "params = -5: must be greater than or equal to 0"),
        (result(steps=-5), "steps = -5"),
        (result(packed=0), "packed = 0"),
        (result(examples={"test": -3}), "examples.test = -3"),
        (result(macs=10**30), "macs"),
        (result(metrics=[1, 2]), "metrics = "),
        (result(params=7), "is the result of a network with 7 params"),
        (text("result.json", "[" * 100_000), "is damaged"),
        (text("result.json", "null"), "holds null, not an object"),
        (text("result.json", ""), "is damaged"),
        (text("result.json", "\x00\xff"), "is damaged"),
        *((text("environment.json", content), "environment.json is damaged.*or delete it: what") for content in DAMAGE),
        *(
            (text("resolved.json", content), "resolved.json is damaged.*from a copy, or delete it")
            for content in DAMAGE
        ),
        (text("metrics.jsonl", "[" * 100_000 + "\n"), "metrics.jsonl line 1 is damaged"),
    ],
)
def test_a_trial_of_which_a_file_cannot_be_is_a_failed_trial(tmp_path: Path, change: Change, said: str) -> None:
    change(tmp_path, make_study(tmp_path, axes=POOLS))
    found, table = said_of(tmp_path), collect(tmp_path)
    failed = table.trials[table.trials["status"] == "failed"]
    assert failed["id"].tolist() == [SECOND]
    assert_said(said, failed["error"].iloc[0])
    assert "5 of 6 planned trials finished, 1 failed" in " ".join(found.first)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        *(
            (in_study(name, text), f"{name} is damaged.*run the study again")
            for name in ("study.json", "plan.json")
            for text in DAMAGE
        ),
        *((in_study(name, None), f"{name}: there is no such file; run the") for name in ("study.json", "plan.json")),
        (planned(lambda plan: plan.update(trials=[])), "its plan has no trials"),
        (planned(lambda plan: plan["trials"].append(plan["trials"][0])), "are one arm and seed"),
        (
            planned(lambda plan: plan["trials"].append({**plan["trials"][0], "id": "abc"})),
            "and abc are one arm and seed",
        ),
        (everywhere(**ALL_OTHERS), "no finished trial recorded a metric"),
        (lambda out, trials: [study_path(out, t, "result.json").unlink() for t in trials], "none of 6 planned trials"),
        (lambda out, trials: shutil.rmtree(out / "trials"), "none of 6 planned trials has finished"),
    ],
)
def test_a_study_that_cannot_be_reported_says_why_and_its_report_stays(
    tmp_path: Path, change: Change, said: str
) -> None:
    trials = make_study(tmp_path, axes=POOLS)
    write_json(tmp_path / "report" / "arms.json", {"files": ["index.html"]})
    (tmp_path / "report" / "index.html").write_text("the earlier one")
    change(tmp_path, trials)
    with pytest.raises(CnnjaxError) as caught:
        report(tmp_path)
    assert_said(said, str(caught.value))
    assert (tmp_path / "report" / "index.html").read_text() == "the earlier one"


@pytest.mark.parametrize(
    ("axes", "seeds"),
    [(POOLS, (0,)), ({"model.pool": ["max"]}, (0, 1, 2)), ({"model.pool": ["max"]}, (0,))],
    ids=["one seed", "one arm", "one trial"],
)
def test_the_smallest_studies(tmp_path: Path, axes: dict[str, list[Any]], seeds: tuple[int, ...]) -> None:
    make_study(tmp_path, axes=axes, seeds=seeds)
    found = said_of(tmp_path)
    assert f"{len(axes['model.pool']) * len(seeds)} of" in " ".join(found.first)
    if len(seeds) == 1:
        assert " ± " not in "".join(str(grid.rows) for finding in found.every for grid in finding.grids)


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (None, "there is no such directory"),
        ("file", "is a file; give the folder"),
        ("empty", "neither a study"),
        ("link to nothing", "is a symbolic link to what is not there; give the --out"),
    ],
)
def test_what_is_no_study(tmp_path: Path, made: str | None, said: str) -> None:
    out = tmp_path / "out"
    if made == "file":
        out.write_text("{}")
    elif made == "empty":
        out.mkdir()
    elif made:
        out.symlink_to(tmp_path / "nothing")
    shown = CliRunner().invoke(app, ["report", str(out)])
    assert shown.exit_code
    assert_said(said, str(shown.exception or shown.output))


def within_permissions(*words: str) -> str:
    """What `python -m cnnjax` says to who may do no more than permissions say: the user of the tests, or root without
    the right to ignore them."""
    kept = "-dac_override,-dac_read_search"
    bound = ["setpriv", f"--bounding-set={kept}", f"--inh-caps={kept}"] if os.geteuid() == 0 else []
    command = [*bound, sys.executable, "-m", "cnnjax", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return "".join((done.stdout + done.stderr).splitlines())


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() == 0 and shutil.which("setpriv") is None, reason="root without setpriv may do all")
def test_a_study_out_of_reach(tmp_path: Path) -> None:
    """One that may only be read is reported elsewhere; one that may not be read is named."""
    out = tmp_path / "study"
    make_study(out, axes=POOLS, seeds=(0,))
    for folder in [out, *(path for path in out.rglob("*") if path.is_dir())]:
        folder.chmod(0o555)
    said = within_permissions("report", str(out))
    assert "cannot write" in said
    assert "Permission denied" in said
    assert "cnnjax report STUDY --out FOLDER" in said
    elsewhere = tmp_path / "elsewhere"
    assert f"report: {elsewhere}/index.html" in within_permissions("report", str(out), "--out", str(elsewhere))
    assert (elsewhere / "index.html").is_file()
    out.chmod(0o000)
    assert "is not readable" in within_permissions("report", str(out))
    out.chmod(0o755)


def test_a_folder_that_may_not_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(folder: Path) -> list[str]:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("cnnjax.reporting.reading.os.listdir", refused)
    with pytest.raises(RunError, match="cannot read .*: Permission denied"):
        report(tmp_path)


def test_a_full_disk_leaves_the_earlier_report_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trials = make_study(tmp_path, axes=POOLS, seeds=(0,))
    before = {path: path.read_bytes() for path in report(tmp_path).files}
    set_metrics(tmp_path, trials[0], test_accuracy=0.5, validation_accuracy=0.5)
    calls = iter(range(100))

    def full(descriptor: int) -> None:
        if next(calls) == 8:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DiskFull, match="make room and run the same command again"):
        report(tmp_path)
    after = {path: path.read_bytes() for path in (tmp_path / "report").rglob("*") if path.is_file()}
    assert after == before
    monkeypatch.undo()
    report(tmp_path)
    assert (tmp_path / "report" / "report.md").read_bytes() != before[tmp_path / "report" / "report.md"]


def test_a_path_may_have_any_name(tmp_path: Path) -> None:
    out = tmp_path / "eine Studie, é 中 <script>alert(1)<" / "100% & $x"
    make_study(out, axes=POOLS, seeds=(0, 1, 2))
    shown = CliRunner().invoke(app, ["report", str(out)])
    assert shown.exit_code == 0, shown.output
    page = (out / "report" / "index.html").read_text(encoding="utf-8")
    assert "<script>alert" not in page
