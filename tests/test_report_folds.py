"""A study that varies its fold: folds repeat an arm and are no arms, each with the mean over its seeds."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from cnnjax.cards import Claim
from cnnjax.recipes.judging import measured
from cnnjax.reporting import collect, report
from cnnjax.reporting.folds import moved_by
from cnnjax.reporting.headline import headline
from cnnjax.reporting.notes import arms_note, terminal_note
from cnnjax.reporting.statistics import arms, chosen, complete, difference, effects
from cnnjax.reporting.tables import failed_grid, finished
from cnnjax.reporting.verdicts import verdict
from tests.test_reporting import BASE, change_result, make_study, set_metrics

FOLDS, SEEDS, WIDTHS = (0, 1, 2, 3), (0, 1, 2), (8, 32)
METRIC = "validation_accuracy"
AS = {"expects": "more", "margin": 0.01, "metric": METRIC}
WIDER = Claim("Wider reads better", of={"model.features": 32}, against={"model.features": 8}, **AS)
# By width, fold and seed.
VALUES = 0.9 + np.random.default_rng(7).normal(0, 0.01, (2, 4, 3)) + np.array([0.0, 0.02])[:, None, None]
VALUES += np.array([0.0, 0.03, -0.02, 0.01])[None, :, None]


def study(out: Path, values=VALUES, **changes):
    axes = {"model.features": list(WIDTHS), "fold": list(FOLDS)}
    trials = make_study(out, **{"axes": axes, "seeds": SEEDS, **changes})
    for trial in trials:
        width, fold = WIDTHS.index(trial["arm"].get("model.features", 8)), trial["arm"].get("fold", 0)
        set_metrics(out, trial, **{METRIC: float(values[width, fold, SEEDS.index(trial["seed"])])})
    return trials


def margin(values: np.ndarray) -> float:
    """Half the 95% interval of a mean over folds (rows) and seeds, by the textbook's analysis of variance."""
    folds, seeds = values.shape
    mean, total, squares, free = values.mean(), 0.0, [], (folds - 1, seeds - 1, (folds - 1) * (seeds - 1))
    for fold in range(folds):
        for seed in range(seeds):
            total += (values[fold, seed] - mean) ** 2
    squares = [seeds * sum((row.mean() - mean) ** 2 for row in values)]
    squares += [folds * sum((column.mean() - mean) ** 2 for column in values.T)]
    squares += [total - sum(squares)]
    by_fold, by_seed, rest = (
        stats.t.ppf(0.975, own) ** 2 * square / own / values.size for own, square in zip(free, squares, strict=True)
    )
    return math.sqrt(max(by_fold + by_seed - rest, by_fold, by_seed, rest))


def widened(values: np.ndarray, examples: int) -> float:
    """That margin, with the fewest of the examples that can make the difference."""
    share = abs(values.mean())
    return math.hypot(
        margin(values), stats.norm.ppf(0.975) * math.sqrt((share * (1 - share) + 1 / examples) / examples)
    )


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


def test_differences_are_paired_by_fold_and_seed(tmp_path):
    study(tmp_path)
    table = collect(tmp_path)
    cells, half = VALUES[1] - VALUES[0], widened(VALUES[1] - VALUES[0], 576)
    found = difference(table, 2, 1, metric=METRIC)
    assert (found.n, found.mean) == (4, pytest.approx(cells.mean()))
    assert found.sd == pytest.approx(cells.mean(axis=1).std(ddof=1))
    assert found.method.startswith("Student t, paired by fold and seed: folds, seeds, and the fewest examples")
    assert (found.low, found.high) == pytest.approx((cells.mean() - half, cells.mean() + half))
    effect = effects(table, metric=METRIC).iloc[1]
    assert (effect["difference_n"], effect["difference_mean"]) == (4, pytest.approx(cells.mean()))
    assert (effect["difference_low"], effect["difference_high"]) == pytest.approx((found.low, found.high))
    [next_best] = [said for said in headline(table) if said.startswith("Next by validation")]
    assert "paired by fold and seed" in next_best
    assert "n=4 common folds" in next_best


def test_an_effect_is_averaged_over_settings_in_each_fold_and_seed(tmp_path):
    values = np.random.default_rng(3).uniform(0.6, 0.9, (2, 2, 4, 3))
    axes = {"model.features": list(WIDTHS), "model.pool": ["max", "average"], "fold": list(FOLDS)}
    for trial in make_study(tmp_path, axes=axes, seeds=SEEDS):
        place = (WIDTHS.index(trial["arm"]["model.features"]), axes["model.pool"].index(trial["arm"]["model.pool"]))
        value = values[place][trial["arm"]["fold"], trial["seed"]]
        set_metrics(tmp_path, trial, **{METRIC: float(value)})
    row = effects(collect(tmp_path), metric=METRIC).iloc[1]
    cells = values.mean(axis=1)[1] - values.mean(axis=1)[0]
    assert (row["axis"], row["settings"], row["difference_n"]) == ("model.features", 2, 4)
    expected = (cells.mean() - widened(cells, 576), cells.mean() + widened(cells, 576))
    assert (row["difference_low"], row["difference_high"]) == pytest.approx(expected)


def test_an_arms_interval_holds_what_folds_and_seeds_do(tmp_path):
    """A loss has no counted examples, so that its interval is that of the analysis of variance alone."""
    values = VALUES - 0.5
    trials = study(tmp_path)
    for trial in trials:
        place = WIDTHS.index(trial["arm"]["model.features"]), trial["arm"]["fold"], trial["seed"]
        set_metrics(tmp_path, trial, validation_loss=float(values[place]))
    row = arms(collect(tmp_path)).loc[1]
    mean, half = values[0].mean(), margin(values[0])
    assert (row["validation_loss_low"], row["validation_loss_high"]) == pytest.approx((mean - half, mean + half))
    assert row["validation_loss_method"] == "Student t: folds and seeds"
    assert row[f"{METRIC}_method"] == "exact binomial at the effective number of examples: folds, seeds and examples"


def test_what_the_seed_does_in_every_fold_is_in_the_interval(tmp_path):
    """Four folds say the same of three seeds of which one says the opposite: no verdict on other seeds."""
    values = VALUES.copy()
    values[1] = values[0] + np.array([0.04, 0.03, -0.02]) + np.random.default_rng(1).normal(0, 0.001, (4, 3))
    study(tmp_path, values=values)
    gap = difference(collect(tmp_path), 2, 1, metric=METRIC)
    folds = values[1].mean(axis=1) - values[0].mean(axis=1)
    low, _ = stats.t.interval(0.95, 3, folds.mean(), stats.sem(folds))
    assert gap.low < 0 < low, "by the folds alone the two would differ"


@pytest.mark.parametrize(("folds", "seeds", "few"), [((0, 1, 2, 3), (0, 1), "seeds"), ((0, 1), (0, 1, 2), "folds")])
def test_two_folds_or_two_seeds_carry_no_interval_and_the_report_says_so(tmp_path, folds, seeds, few):
    study(tmp_path, axes={"model.features": list(WIDTHS), "fold": list(folds)}, seeds=seeds)
    table = collect(tmp_path)
    gap = difference(table, 2, 1, metric=METRIC)
    assert (gap.n, gap.has_interval, gap.method) == (len(folds), False, "")
    assert gap.sd == pytest.approx((VALUES[1] - VALUES[0])[: len(folds), : len(seeds)].mean(axis=1).std(ddof=1))
    assert f"Two {few} cannot carry an interval" in arms_note(table)
    [next_best] = [said for said in headline(table) if said.startswith("Next by validation")]
    assert f"too few {few if few == 'seeds' else ''}".strip() + " for an interval" in next_best
    assert f"fewer than three {few} carry no interval" in terminal_note(table, starred=False)
    found = verdict(table, WIDER)
    assert found.word == "no verdict"
    assert found.remarks == (f"2 {few}: too few for an interval, which takes 3",)


def test_a_claim_is_judged_by_folds_and_seeds(tmp_path):
    study(tmp_path)
    cells = VALUES[1] - VALUES[0]
    found = verdict(collect(tmp_path), WIDER)
    assert found.values == pytest.approx(dict(enumerate(cells.mean(axis=1))))
    assert "n = 4 folds of 3 seeds" in found.measured
    half = widened(cells, 576)
    assert (found.spread.low, found.spread.high) == pytest.approx((cells.mean() - half, cells.mean() + half))
    assert (found.word, found.remarks) == ("holds" if cells.mean() > half else "not told apart", ())


def test_a_band_of_a_study_of_folds_has_its_interval(tmp_path):
    study(tmp_path, axes={"fold": list(FOLDS)})
    found = measured(collect(tmp_path), METRIC)
    assert (found.n, found.values) == (4, pytest.approx(dict(zip("0123", VALUES[0].mean(axis=1), strict=True))))
    assert found.method.endswith("folds, seeds and examples")


def test_seeds_that_only_some_folds_have_are_in_no_number(tmp_path):
    """As where a study was extended by seeds in some folds: means over other seeds in other folds are not compared."""
    study(tmp_path)
    plan = json.loads((tmp_path / "plan.json").read_text())
    plan["trials"] = [t for t in plan["trials"] if t["arm"]["fold"] < 2 or t["seed"] < 2]
    (tmp_path / "plan.json").write_text(json.dumps(plan))
    table = collect(tmp_path)
    assert arms(table).loc[1, f"{METRIC}_mean"] == pytest.approx(VALUES[0][:, :2].mean())
    assert "4 trials of seeds that not every fold of the arm has are in no number." in headline(table)
    assert verdict(table, WIDER).values == pytest.approx(dict(enumerate((VALUES[1] - VALUES[0])[:, :2].mean(axis=1))))


def test_where_no_seed_has_every_fold_there_are_no_numbers(tmp_path):
    study(tmp_path)
    plan = json.loads((tmp_path / "plan.json").read_text())
    plan["trials"] = [t for t in plan["trials"] if t["arm"]["fold"] % 3 == t["seed"]]
    (tmp_path / "plan.json").write_text(json.dumps(plan))
    table = collect(tmp_path)
    assert list(arms(table)["n"]) == [0, 0]
    assert "8 trials of seeds that not every fold of the arm has are in no number." in headline(table)
    assert verdict(table, WIDER).word == "no verdict"


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
    found = verdict(table, WIDER)
    # One of three trainings diverged, which counts as nothing right.
    assert found.values[2] == pytest.approx(VALUES[1, 2].mean() - VALUES[0, 2, [0, 2]].sum() / 3)
    assert found.diverged == ("features=8, fold 2, seed 1",)


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
    assert any("Intervals cover the choice of folds and that of seeds" in each for each in said)


def test_what_a_seed_does_in_every_fold_is_the_seeds(tmp_path):
    """A fold's part is not lost beneath a seed's that is larger: a one-way analysis by folds would find none."""
    generator = np.random.default_rng(0)
    fold, seed = generator.normal(0, 0.02, (4, 1)), np.array([[0.1, -0.1, 0.0]])
    values = 0.7 + fold + seed + generator.normal(0, 0.001, (2, 4, 3))
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
def test_a_study_without_a_whole_fold_has_a_report(tmp_path):
    for trial in study(tmp_path):
        if trial["seed"] == 2:
            (tmp_path / "trials" / trial["id"] / "result.json").unlink()
    summary = report(tmp_path)
    assert list(summary.arms["n"]) == [0, 0]
    assert "accuracy_by_arm.png" not in [path.name for path in summary.files]


@pytest.mark.slow
def test_files_say_fold_and_seed(tmp_path):
    study(tmp_path)
    summary = report(tmp_path)
    lines = (tmp_path / "report" / "trials.csv").read_text().splitlines()
    assert lines[0].startswith("number,model.features,fold,seed,status")
    assert lines[1].startswith("1,8,0,0,done")
    assert len(lines) == 1 + 24
    assert '"compared_by": "fold"' in summary.json
