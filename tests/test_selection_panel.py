"""The panel that corrects the chosen arm's result for the choice: against the bootstrap counted out by hand."""

from __future__ import annotations

import dataclasses
import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from cnnjax.reporting import collect
from cnnjax.reporting.finding import Finding
from cnnjax.reporting.panels.selection import selection_panel
from cnnjax.reporting.study_table import Table
from tests.test_compared_arms import losses_study
from tests.test_report_folds import study as folds_study
from tests.test_reporting import BASE, change_result, diverge, make_study, set_metrics

VALIDATION = np.array([[0.90, 0.95, 0.91], [0.93, 0.92, 0.90], [0.94, 0.89, 0.92], [0.80, 0.81, 0.79]])
TEST = np.array([[0.91, 0.93, 0.92], [0.92, 0.90, 0.89], [0.93, 0.88, 0.91], [0.80, 0.82, 0.80]])
POOLS = ["max", "average", "stride", "none"]


def study(out: Path, validation: np.ndarray = VALIDATION, test: np.ndarray = TEST) -> list[dict[str, Any]]:
    trials = make_study(out, axes={"model.pool": POOLS[: len(validation)]}, seeds=tuple(range(validation.shape[1])))
    for trial, chosen_by, quoted in zip(trials, validation.ravel(), test.ravel(), strict=True):
        set_metrics(out, trial, validation_accuracy=float(chosen_by), test_accuracy=float(quoted))
    return trials


def found_in(table: Table) -> Finding:
    found = selection_panel(table)
    assert found is not None
    json.dumps(found.data, allow_nan=False)
    return found


def by_hand(validation: np.ndarray, quoted: np.ndarray, best: Any = np.argmax) -> tuple[float, float]:
    """The mean over seeds of what all draws without that seed choose, and how often the first choice comes again."""
    n, first = validation.shape[1], best(validation.mean(axis=1))
    figures: list[list[float]] = [[] for _ in range(n)]
    again = []
    for draw in itertools.product(range(n), repeat=n):
        pick = best(validation[:, draw].mean(axis=1))
        again.append(pick == first)
        for seed in set(range(n)) - set(draw):
            figures[seed].append(quoted[pick, seed])
    return float(np.mean([np.mean(own) for own in figures])), float(np.mean(again))


def test_it_is_the_leave_one_out_bootstrap(tmp_path: Path) -> None:
    study(tmp_path)
    found = found_in(collect(tmp_path))
    assert found.data is not None
    assert (found.data["arm"], found.data["arms"]) == (1, 4)
    for name, values in (("validation_accuracy", VALIDATION), ("test_accuracy", TEST)):
        own = found.data["metrics"][name]
        value, again = by_hand(VALIDATION, values)
        assert own["n"] == 3
        assert own["quoted"] == pytest.approx(values[0].mean())
        assert own["corrected"]["mean"] == pytest.approx(value)
        assert own["optimism"] == pytest.approx(values[0].mean() - value)
        assert own["chosen_again"] == pytest.approx(again)
        sd = np.sqrt(values.var(axis=1, ddof=1).mean())
        half = stats.t.ppf(1 - 0.025 / 4, 8) * sd / np.sqrt(3)
        ends = (values[0].mean() - half, min(values[0].mean() + half, 1))
        assert (own["corrected"]["low"], own["corrected"]["high"]) == pytest.approx(ends)


def test_the_answer_has_the_figures_as_they_are_printed(tmp_path: Path) -> None:
    study(tmp_path)
    found = found_in(collect(tmp_path))
    value, again = by_hand(VALIDATION, TEST)
    [said] = found.answers
    assert said.startswith(
        "To be the best of 4 arms takes luck too: the test accuracy of arm 1 is 92.00% as quoted and "
    )
    assert f"and {100 * value:.2f}% [" in said
    assert f"(n=3 seeds; {again:.0%} of resamples choose it again)" in said
    [[_, arm, arms, n, quoted, corrected, *_]] = [
        row for row in next(found.grids).cells(exact=True) if row[0].startswith("test")
    ]
    assert (arm, arms, n, quoted, corrected) == ("1", "4", "3", "92.00", f"{100 * value:.2f}")


def test_a_loss_flatters_where_it_is_too_small(tmp_path: Path) -> None:
    losses = 1 - VALIDATION
    losses_study(tmp_path, losses)
    found = found_in(collect(tmp_path))
    assert found.data is not None
    own = found.data["metrics"]["test_loss"]
    value, _ = by_hand(losses, losses, np.argmin)
    assert own["corrected"]["mean"] == pytest.approx(value)
    assert value > losses[0].mean()
    assert "as quoted" in found.answers[0]


def test_nothing_is_said_first_where_the_choice_is_clear(tmp_path: Path) -> None:
    """One arm is the best in every seed, so that every draw chooses it."""
    study(tmp_path, np.vstack([VALIDATION[0] + 0.04, VALIDATION[3]]), np.vstack([TEST[0], TEST[3]]))
    found = found_in(collect(tmp_path))
    assert found.answers == ()
    assert next(found.grids).cells(exact=True)[1][-2:] == ["0.00", "100%"]


def test_only_ranked_arms_take_part(tmp_path: Path) -> None:
    trials = study(tmp_path)
    diverge(tmp_path, trials[5])
    found = found_in(collect(tmp_path))
    assert found.data is not None
    assert found.data["arms"] == 3
    kept = [0, 2, 3]
    assert found.data["metrics"]["test_accuracy"]["corrected"]["mean"] == pytest.approx(
        by_hand(VALIDATION[kept], TEST[kept])[0]
    )


def test_of_seeds_that_tie_there_is_no_interval(tmp_path: Path) -> None:
    study(tmp_path, np.array([[0.9] * 3, [0.8] * 3]), np.array([[0.9] * 3, [0.9] * 3]))
    assert [row[6] for row in next(found_in(collect(tmp_path)).grids).cells(exact=True)] == ["–", "–"]


@pytest.mark.parametrize("seeds", [(0,), (0, 1)])
def test_fewer_than_three_seeds_correct_nothing(tmp_path: Path, seeds: tuple[int, ...]) -> None:
    make_study(tmp_path, axes={"model.pool": POOLS}, seeds=seeds)
    assert selection_panel(collect(tmp_path)) is None


def test_without_a_choice_there_is_nothing_to_correct(tmp_path: Path) -> None:
    trials = study(tmp_path)
    for trial in trials:
        change_result(tmp_path, trial, metrics={"test_accuracy": 0.9})
    assert selection_panel(collect(tmp_path)) is None
    make_study(tmp_path / "one", axes={}, chosen=[{}], base=BASE)
    assert selection_panel(collect(tmp_path / "one")) is None


def withheld(table: Table, why: str) -> None:
    found = selection_panel(table)
    assert found is not None
    assert found.data is None
    assert not found.answers
    [block] = found.blocks
    assert why in block.lines[0]  # type: ignore[union-attr]


def test_what_it_does_not_hold_for_is_said(tmp_path: Path) -> None:
    folds_study(tmp_path / "folds")
    withheld(collect(tmp_path / "folds"), "folds and seeds vary")
    trials = study(tmp_path / "study")
    table = collect(tmp_path / "study")
    withheld(dataclasses.replace(table, adaptive=object()), "results decided what was trained")  # type: ignore[arg-type]
    change_result(tmp_path / "study", trials[0], metrics={"validation_accuracy": 0.9})
    withheld(collect(tmp_path / "study"), "the same seeds")
