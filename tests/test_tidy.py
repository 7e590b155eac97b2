"""Trials and learning curves as tidy tables."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import cnnjax
from cnnjax.errors import CnnjaxError, RunError
from cnnjax.reporting.tidy import plain
from tests.test_reporting import change_result, make_study, study_path

AXES = {"model.pool": ["max", "average"], "model.kernel_size": [3, 5]}


@pytest.fixture
def study(tmp_path: Path) -> Path:
    trials = make_study(tmp_path, axes=AXES)
    change_result(tmp_path, trials[0], status="failed", cause="diverged", error="loss is NaN", metrics={})
    study_path(tmp_path, trials[1], "result.json").unlink()
    return tmp_path


def test_a_row_a_planned_trial_with_its_numbers(study: Path) -> None:
    frame = cnnjax.results(study)
    assert isinstance(frame, pd.DataFrame)
    assert len(frame) == 12
    assert list(frame.columns[:5]) == ["number", *AXES, "seed", "status"]
    assert frame["status"].tolist() == ["failed", "unfinished", *["done"] * 10]
    assert frame.loc[:1, "test_accuracy"].isna().all()
    assert frame.loc[0, "error"] == "loss is NaN"
    for row in frame[frame["status"] == "done"].to_dict("records"):
        recorded = json.loads((study / "trials" / row["id"] / "result.json").read_text())
        assert row["test_accuracy"] == recorded["metrics"]["test_accuracy"]
        assert (row["seed"], row["params"], row["macs"]) == (recorded["seed"], recorded["params"], recorded["macs"])


def test_a_row_an_epoch_of_each_finished_trial(study: Path) -> None:
    frame, trials = cnnjax.curves(study), cnnjax.results(study)
    assert list(frame.columns[:5]) == ["number", *AXES, "seed", "id"]
    assert set(frame["id"]) == set(trials.loc[trials["status"] == "done", "id"])
    for trial, rows in frame.groupby("id"):
        recorded = [
            json.loads(line) for line in (study / "trials" / str(trial) / "metrics.jsonl").read_text().splitlines()
        ]
        np.testing.assert_array_equal(rows["epoch"], [row["epoch"] for row in recorded])
        np.testing.assert_array_equal(rows["train_loss"], [row["train_loss"] for row in recorded])


def test_both_are_written_as_parquet_and_csv_unchanged(study: Path, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    for name, frame in (("trials", cnnjax.results(study)), ("curves", cnnjax.curves(study))):
        frame.to_parquet(tmp_path / "frame.parquet")
        pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "frame.parquet"), frame)
        written = pd.read_csv(cnnjax.report(study).folder / f"{name}.csv")
        assert list(written.columns) == list(frame.columns)
        np.testing.assert_array_equal(written["train_loss"], frame["train_loss"])


def test_what_is_no_study_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="neither a study"):
        cnnjax.results(tmp_path)
    with pytest.raises(CnnjaxError, match="folder of a study"):
        cnnjax.curves(3)  # type: ignore[arg-type]


def test_a_column_is_of_one_kind() -> None:
    """So that it can be grouped, and written as Parquet."""
    columns = {
        "lists": [3, [3, 5], None],
        "kinds": ["same", 3, 0.5],
        "configs": [{"name": "max"}, "average", None],
        "texts": ["same", "valid", None],
        "numbers": [1, 0.5, 2],
    }
    frame: Any = plain(pd.DataFrame({name: pd.Series(values, dtype=object) for name, values in columns.items()}))
    assert frame["lists"].tolist()[:2] == ["3", "[3, 5]"]
    assert frame["kinds"].tolist() == ["same", "3", "0.5"]
    assert frame["configs"].tolist()[:2] == ['{"name": "max"}', "average"]
    assert frame["texts"].tolist() == columns["texts"]
    assert frame["numbers"].tolist() == columns["numbers"]
