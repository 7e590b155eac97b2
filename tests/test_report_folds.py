"""A study that varies its fold: folds repeat an arm and are no arms, each with the mean over its seeds."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from cnnjax.cards import Claim
from cnnjax.reporting import collect, report
from cnnjax.reporting.folds import moved_by
from cnnjax.reporting.headline import headline
from cnnjax.reporting.notes import arms_note
from cnnjax.reporting.statistics import arms, chosen, complete, difference, effects
from cnnjax.reporting.tables import failed_grid, finished
from cnnjax.reporting.verdicts import verdict
from tests.test_reporting import BASE, change_result, make_study, set_metrics

FOLDS, SEEDS, WIDTHS = (0, 1, 2, 3), (0, 1), (8, 32)
METRIC = "validation_accuracy"
AS = {"expects": "more", "margin": 0.01, "metric": METRIC}
# By width, fold and seed.
VALUES = 0.9 + np.random.default_rng(7).normal(0, 0.01, (2, 4, 2)) + np.array([0.0, 0.02])[:, None, None]
VALUES += np.array([0.0, 0.03, -0.02, 0.01])[None, :, None]


def study(out: Path, values=VALUES, **changes):
    axes = {"model.features": list(WIDTHS), "fold": list(FOLDS)}
    trials = make_study(out, **{"axes": axes, "seeds": SEEDS, **changes})
    for trial in trials:
        width, fold = WIDTHS.index(trial["arm"]["model.features"]), trial["arm"].get("fold", 0)
        set_metrics(out, trial, **{METRIC: float(values[width, fold, SEEDS.index(trial["seed"])])})
    return trials


def t_interval(values) -> tuple[float, float]:
    return stats.t.interval(0.95, len(values) - 1, np.mean(values), stats.sem(values))


def test_an_arm_is_repeated_by_folds(tmp_path):
    study(tmp_path)
    table = collect(tmp_path)
    frame = arms(table)
    assert [arm.label for arm in table.arms] == ["features=8", "features=32"]
    assert (table.replicate, [axis.path for axis in table.axes]) == ("fold", ["model.features"])
    assert list(frame["n"]) == list(frame["planned"]) == [4, 4]
    means = VALUES.mean(axis=2)
    np.testing.assert_allclose(frame[f"{METRIC}_mean"], means.mean(axis=1))
    np.testing.assert_allclose(frame[f"{METRIC}_sd"], means.std(axis=1, ddof=1))
    assert chosen(table) == 2
    assert "validation n=576" in arms_note(table), "each of four folds has 144 of its own"


def test_folds_that_are_left_out_are_said(tmp_path):
    for folds, left_out in ((4, False), (5, True)):
        study(tmp_path / str(folds), base=BASE | {"folds": folds})
        said = [line for line in headline(collect(tmp_path / str(folds))) if "folds (0, 1, 2, 3) were trained" in line]
        assert bool(said) == left_out
    assert said[0].startswith("4 of 5 folds")


def test_differences_are_paired_by_fold(tmp_path):
    study(tmp_path)
    table = collect(tmp_path)
    by_fold = (VALUES[1] - VALUES[0]).mean(axis=1)
    found = difference(table, 2, 1, metric=METRIC)
    assert (found.n, found.mean) == (4, pytest.approx(by_fold.mean()))
    assert found.sd == pytest.approx(by_fold.std(ddof=1))
    assert found.method.startswith("Student t, paired by fold: folds")
    # It is widened for the choice of examples beside.
    low, high = t_interval(by_fold)
    assert found.low < low < high < found.high
    effect = effects(table, metric=METRIC).iloc[1]
    assert (effect["difference_n"], effect["difference_mean"]) == (4, pytest.approx(by_fold.mean()))
    [next_best] = [said for said in headline(table) if said.startswith("Next by validation")]
    assert "paired by fold" in next_best
    assert "n=4 common folds" in next_best


def test_a_claim_is_judged_by_folds(tmp_path):
    study(tmp_path)
    claim = Claim("Wider reads better", of={"model.features": 32}, against={"model.features": 8}, **AS)
    found = verdict(collect(tmp_path), claim)
    assert found.values == pytest.approx(dict(enumerate((VALUES[1] - VALUES[0]).mean(axis=1))))
    assert "n = 4 folds" in found.measured


def test_a_fold_counts_once_all_its_seeds_have_finished(tmp_path):
    trials = study(tmp_path)
    [lost] = [t for t in trials if t["arm"] == {"model.features": 8, "fold": 2} and t["seed"] == 1]
    change_result(tmp_path, lost, status="failed", error="loss is not finite", cause="diverged")
    table = collect(tmp_path)
    assert finished(table, 1) == "3 of 4 (1 diverged)"
    assert complete(table) == {2}
    left = np.delete(VALUES.mean(axis=2), 2, axis=1)
    assert arms(table).loc[1, f"{METRIC}_mean"] == pytest.approx(left[0].mean())
    assert difference(table, 2, 1, metric=METRIC).mean == pytest.approx((left[1] - left[0]).mean())
    assert "Folds of which a seed failed are in no mean" in arms_note(table)
    [row] = failed_grid(table).rows
    assert row[:3] == ("features=8", "2", "1"), "fold and seed of the failed trial"
    claim = Claim("Wider reads better", of={"model.features": 32}, against={"model.features": 8}, **AS)
    found = verdict(table, claim)
    # One of two trainings diverged, which counts as nothing right.
    assert found.values[2] == pytest.approx(VALUES[1, 2].mean() - VALUES[0, 2, 0] / 2)
    assert found.diverged == ("features=8, fold 2",)


def test_what_folds_and_seeds_move_is_a_two_way_analysis_of_variance(tmp_path):
    study(tmp_path)
    found = moved_by(collect(tmp_path), METRIC)
    squares = np.zeros(3)
    for values in (VALUES[0], VALUES[1]):
        folds, seeds = values.shape
        # By hand: the sums of squares of the one-way analyses by row and by column, and what both leave.
        rows = sum(seeds * (row.mean() - values.mean()) ** 2 for row in values)
        columns = sum(folds * (column.mean() - values.mean()) ** 2 for column in values.T)
        left = ((values - values.mean()) ** 2).sum() - rows - columns
        squares += [rows / (folds - 1) / 2, columns / (seeds - 1) / 2, left / ((folds - 1) * (seeds - 1)) / 2]
    by_fold, by_seed, rest = squares
    assert found.fold**2 == pytest.approx(max(by_fold - rest, 0) / seeds)
    assert found.seed**2 == pytest.approx(max(by_seed - rest, 0) / folds)
    assert found.rest**2 == pytest.approx(rest)
    said = headline(collect(tmp_path))
    assert any("The fold moves the validation accuracy of an arm by" in each for each in said)
    assert any("are for these seeds" in each for each in said)


def test_what_a_seed_does_in_every_fold_is_the_seeds(tmp_path):
    """A fold's part is not lost beneath a seed's that is larger: a one-way analysis by folds would find none."""
    generator = np.random.default_rng(0)
    fold, seed = generator.normal(0, 0.02, (4, 1)), np.array([[0.1, -0.1]])
    values = 0.7 + fold + seed + generator.normal(0, 0.001, (2, 4, 2))
    study(tmp_path, values=values)
    found = moved_by(collect(tmp_path), METRIC)
    assert found.fold == pytest.approx(fold.std(ddof=1), rel=0.1)
    assert found.seed == pytest.approx(seed.std(ddof=1), rel=0.05)


def test_of_single_seeds_both_are_one(tmp_path):
    study(tmp_path, seeds=(0,))
    found = moved_by(collect(tmp_path), METRIC)
    assert found.fold == pytest.approx(np.sqrt(VALUES[:, :, 0].var(axis=1, ddof=1).mean()))
    assert math.isnan(found.seed)


def test_one_fold_is_a_setting_of_all_arms(tmp_path):
    study(tmp_path, axes={"model.features": list(WIDTHS), "fold": [1]}, seeds=(0, 1))
    table = collect(tmp_path)
    assert table.replicate == "seed"
    assert [axis.path for axis in table.constants] == ["fold"]


@pytest.mark.slow
def test_files_say_fold_and_seed(tmp_path):
    study(tmp_path)
    summary = report(tmp_path)
    lines = (tmp_path / "report" / "trials.csv").read_text().splitlines()
    assert lines[0].startswith("number,model.features,fold,seed,status")
    assert lines[1].startswith("1,8,0,0,done")
    assert len(lines) == 1 + 16
    assert '"compared_by": "fold"' in summary.json
