"""The panel of seeds still needed: against the noncentral t distribution of SciPy, and counted examples by hand."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from cnnjax.reporting import collect
from cnnjax.reporting.finding import Finding
from cnnjax.reporting.panels.seeds import ROWS, seeds_panel
from tests.test_compared_arms import LOSSES, losses_study
from tests.test_reporting import change_result, make_study, set_metrics


def found_in(out: Path) -> Finding:
    found = seeds_panel(collect(out))
    assert found is not None
    json.dumps(found.data, allow_nan=False)
    return found


def by_hand(mean: float, sd: float, comparisons: int) -> int:
    """The fewest seeds with which a two-sided paired t test finds the difference four times out of five."""
    for n in range(2, 10_000):
        critical, shift = stats.t.ppf(1 - 0.025 / comparisons, n - 1), abs(mean) / sd * math.sqrt(n)
        if stats.nct.sf(critical, n - 1, shift) + stats.nct.cdf(-critical, n - 1, shift) >= 0.8:
            return n
    raise AssertionError


def test_seeds_needed_are_those_of_the_noncentral_t(tmp_path: Path) -> None:
    losses_study(tmp_path)
    found = found_in(tmp_path)
    assert found.data is not None
    [own] = found.data["pairs"]
    d = LOSSES[2] - LOSSES[0]
    n = by_hand(d.mean(), d.std(ddof=1), 2)
    assert (own["arm"], own["against"], own["n"]) == (3, 1, 4)
    assert (own["seeds"], own["more"]) == (n, n - 4)
    low, high = (math.sqrt(3 / stats.chi2.ppf(tail, 3)) for tail in (0.975, 0.025))
    assert own["low"] == by_hand(d.mean(), low * d.std(ddof=1), 2)
    assert own["high"] == by_hand(d.mean(), high * d.std(ddof=1), 2)
    assert own["examples"] is None
    [row] = next(found.grids).cells(exact=True)
    assert row[6:] == [f"{n:,}", f"{n - 4:,}", f"{own['low']:,} to {own['high']:,}"]
    assert f"may be {low:.2g} to {high:.2g} times" in found.blocks[-1].lines[0]  # type: ignore[union-attr]
    assert found.answers == (), "so many are not few"


def test_a_few_seeds_that_would_tell_are_said(tmp_path: Path) -> None:
    base = np.array([0.50, 0.52, 0.51])
    d = np.array([0.009, 0.016, 0.023])
    losses_study(tmp_path, np.vstack([base, base + d]))
    n = by_hand(d.mean(), d.std(ddof=1), 1)
    assert 3 < n <= 6
    seeds = f"{n - 3} more seed{'s' if n > 4 else ''}"
    assert found_in(tmp_path).answers == (
        f"{seeds} would tell arm 2 from arm 1 (0.0160), with a power of 80% if the observed differences and their "
        "spread, known from 3 seeds, are the true ones.",
    )


def test_where_examples_are_too_few_their_number_is_said(tmp_path: Path) -> None:
    """Three seeds that tie at 2 of 359 examples more: no seed tells, and so many examples would."""
    trials = make_study(tmp_path, axes={"model.pool": ["max", "average"]})
    for trial, right in zip(trials, [330] * 3 + [332] * 3, strict=True):
        set_metrics(tmp_path, trial, validation_accuracy=0.9, test_accuracy=right / 359)
    found = found_in(tmp_path)
    assert found.data is not None
    [own] = found.data["pairs"]
    assert (own["seeds"], own["more"], own["low"], own["high"]) == (None, None, None, None)
    share, units = 2 / 359, stats.norm.ppf(0.975) + stats.norm.ppf(0.8)
    enough = [
        units * math.sqrt((share * (1 - share) + 1 / n) / n) <= share for n in (own["examples"] - 1, own["examples"])
    ]
    assert enough == [False, True]
    [said] = found.answers
    assert said.startswith("Arms that are not told apart from arm 1 take more examples, not more seeds: at least ")
    assert f"{own['examples']:,} where there are 359" in said


def test_arms_whose_means_are_equal_are_told_apart_by_no_number(tmp_path: Path) -> None:
    losses_study(tmp_path, np.array([[0.3, 0.4, 0.5], [0.5, 0.4, 0.3]]))
    [row] = next(found_in(tmp_path).grids).cells(exact=True)
    assert row[6:9] == ["∞", "∞", "–"]
    assert not found_in(tmp_path).answers


def test_what_rounding_leaves_of_no_difference_asks_for_no_examples(tmp_path: Path) -> None:
    """Three seeds whose differences, of whole examples, sum to 0, but not as floats."""
    trials = make_study(tmp_path, axes={"model.pool": ["max", "average"]})
    shares = np.array([350, 351, 350, 351, 349, 351]) / 359
    assert 0 < abs((shares[3:] - shares[:3]).mean()) < 1e-15
    for trial, right in zip(trials, shares.tolist(), strict=True):
        set_metrics(tmp_path, trial, validation_accuracy=0.9, test_accuracy=right)
    found = found_in(tmp_path)
    assert next(found.grids).cells(exact=True)[0][-1] == "∞"
    assert not found.answers


@pytest.mark.parametrize("seeds", [(0,), (0, 1)])
def test_of_one_or_two_seeds_nothing_is_invented(tmp_path: Path, seeds: tuple[int, ...]) -> None:
    make_study(tmp_path, axes={"model.pool": ["max", "average"]}, seeds=seeds)
    assert seeds_panel(collect(tmp_path)) is None


def test_where_all_arms_are_told_apart_there_is_no_panel(tmp_path: Path) -> None:
    losses_study(tmp_path, np.array([[0.30, 0.31, 0.32], [0.90, 0.911, 0.922]]))
    assert seeds_panel(collect(tmp_path)) is None


def test_the_chosen_arm_has_a_table_of_its_own_and_a_pair_stands_once(tmp_path: Path) -> None:
    losses = np.vstack([LOSSES[0], LOSSES[0] - [0.01, -0.02, 0.03, 0.01], LOSSES[0] + [0.02, -0.01, 0.03, 0.0]])
    losses_study(tmp_path, losses)
    found = found_in(tmp_path)
    assert found.data is not None
    assert {(own["arm"], own["against"]) for own in found.data["pairs"]} == {(2, 1), (3, 1), (3, 2)}
    assert [len(grid.rows) for grid in found.grids] == [2, 1]


def test_of_many_arms_the_nearest_are_shown_and_all_are_data(tmp_path: Path) -> None:
    trials = make_study(tmp_path, axes={"model.pool": [f"p{n}" for n in range(ROWS + 5)]})
    for trial in trials:
        change_result(tmp_path, trial, examples={})
    found = found_in(tmp_path)
    assert all(len(grid.rows) <= ROWS for grid in found.grids)
    assert found.data is not None
    assert len(found.data["pairs"]) > sum(len(grid.rows) for grid in found.grids)


def test_of_folds_and_seeds_it_is_not_computed(tmp_path: Path) -> None:
    make_study(tmp_path, axes={"model.pool": ["p0", "p1"], "fold": [0, 1, 2]})
    found = seeds_panel(collect(tmp_path))
    assert found is not None
    assert found.data is None
    assert "is not computed" in found.blocks[0].lines[0]  # type: ignore[union-attr]
