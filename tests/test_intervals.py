"""Intervals over seeds: against SciPy where they must agree, and how often they hold the truth where they need not."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from cnnjax.records.specification import BEFORE, Specification
from cnnjax.reporting.intervals import Quantity, Spread, paired, quantity, spread

LOSS = Quantity(low=0.0)
BEFORE_NAMED = {each.name: each for each in BEFORE}
MEAN_IOU = Specification(name="mean_iou", total="iou", unit="share", higher_is_better=True, printed=".2%")


def accuracy(examples: int | None) -> Quantity:
    return Quantity(0.0, 1.0, proportion=True, examples=examples)


@pytest.mark.parametrize("values", [[0.91, 0.93, 0.92], [3.0, 3.0, 3.0, 3.1], [0.1, float("nan"), 0.3, 0.2]])
def test_a_mean_of_numbers_has_scipys_t_interval(values: list[float]) -> None:
    known = np.array([value for value in values if value == value])
    found, expected = spread(values), stats.ttest_1samp(known, 0).confidence_interval(0.95)
    assert found.n == known.size
    np.testing.assert_allclose((found.mean, found.sd), (known.mean(), stats.tstd(known)), rtol=1e-12)
    np.testing.assert_allclose((found.low, found.high), expected, rtol=1e-9)


@pytest.mark.parametrize(("correct", "examples"), [(139, 144), (144, 144), (0, 144), (1, 359), (99_999, 100_000)])
def test_seeds_that_tie_have_scipys_exact_binomial_interval(correct: int, examples: int) -> None:
    found = spread([correct / examples] * 3, accuracy(examples))
    expected = stats.binomtest(correct, examples).proportion_ci(method="exact")
    assert (found.mean, found.sd) == (correct / examples, 0)
    np.testing.assert_allclose((found.low, found.high), (expected.low, expected.high), rtol=1e-9, atol=1e-12)


def test_with_many_examples_and_close_seeds_an_accuracy_has_the_t_interval() -> None:
    values = [0.7012, 0.7003, 0.6995, 0.7021, 0.6999]
    found, expected = spread(values, accuracy(10**9)), stats.ttest_1samp(values, 0).confidence_interval(0.95)
    np.testing.assert_allclose((found.low, found.high), expected, atol=3e-5)


@pytest.mark.parametrize("of", [accuracy(144), accuracy(None), Quantity(), LOSS])
@pytest.mark.parametrize("values", [[], [0.5], [0.5, 0.5], [0.5, 0.7]])
def test_fewer_than_three_seeds_carry_no_interval(of: Quantity, values: list[float]) -> None:
    for found in (spread(values, of), paired(values, of)):
        assert found.n == len(values)
        assert math.isnan(found.low)
        assert math.isnan(found.high)
        assert (found.has_interval, found.method) == (False, "")
    assert math.isnan(spread(values, of).sd) == (len(values) < 2)


@pytest.mark.parametrize("of", [accuracy(None), Quantity(), LOSS])
def test_ties_of_which_nothing_else_is_known_have_no_interval(of: Quantity) -> None:
    assert not spread([0.1 + 0.2, 0.3, 0.3], of).has_interval
    assert spread([0.1 + 0.2, 0.3, 0.3], of).sd == 0


@pytest.mark.parametrize(
    "values", [[1.0, 1.0, 0.97], [0.01, 0.0, 0.0], [1.0, 0.0, 0.0], [0.1, 0.99, 0.98], [1.0, 1.0, 1.0]]
)
@pytest.mark.parametrize("examples", [None, 3, 144, 50_000])
def test_an_accuracy_stays_within_0_and_1_and_a_difference_within_1(values: list[float], examples: int | None) -> None:
    found = spread(values, accuracy(examples))
    if found.has_interval:
        assert 0 <= found.low < found.high <= 1
        assert found.low <= found.mean <= found.high
    for sign in (1, -1):
        gap = paired([sign * value for value in values], accuracy(examples))
        assert not gap.has_interval or -1 <= gap.low < gap.high <= 1


def test_a_loss_does_not_go_below_0_unless_it_did() -> None:
    values = [0.01, 0.3, 0.02]
    for metric in (BEFORE_NAMED["loss"], None):
        assert spread(values, quantity(metric, values=values, examples=9)).low == 0
        assert spread(values, quantity(metric, values=[*values, -0.1], examples=9)).low < 0


@pytest.mark.parametrize("metric", [BEFORE_NAMED["expected_calibration_error"], MEAN_IOU])
def test_a_share_of_no_counted_examples_has_the_t_interval_within_0_and_1(metric: Specification) -> None:
    of = quantity(metric, values=[], examples=9)
    assert (of.proportion, of.examples) == (False, None)
    found = spread([0.1, 0.9, 0.2], of)
    assert (found.low, found.high, found.method) == (0, 1, "Student t: seeds")
    values = [0.71, 0.73, 0.70]
    narrow, expected = spread(values, of), stats.ttest_1samp(values, 0).confidence_interval(0.95)
    np.testing.assert_allclose((narrow.low, narrow.high), expected, rtol=1e-9)
    assert paired([1 / 144] * 3, of).method == "", "no examples are counted"


def test_one_example_more_does_not_tell_two_arms_apart() -> None:
    """One of 144 in every seed: without spread, but another 144 images might as well have said the opposite."""
    gap = paired([1 / 144] * 3, accuracy(144))
    assert gap.low < 0 < gap.high
    tie = paired([0.0] * 3, accuracy(144))
    assert tie.low == -tie.high < 0
    many = paired([30 / 144] * 3, accuracy(144))
    assert many.low > 0


def test_scaled_to_percent() -> None:
    found = Spread(3, 0.5, 0.1, 0.4, 0.6, "t").scaled(100)
    assert found == Spread(3, 50, 10, 40, 60, "t")


def measured(p: np.ndarray, *, examples: int, alike: bool, rng: np.random.Generator) -> np.ndarray:
    """Accuracies of networks that are right with probability `p` [R, n] on `examples` images.

    alike: an image of difficulty u is read by every network with p > u, so seeds err on the same images; else each errs
    on its own.
    """
    if not alike:
        return rng.binomial(examples, p) / examples
    correct, before, so_far = np.zeros(p.shape), np.zeros(len(p)), np.zeros(len(p), int)
    for rank in np.argsort(p, axis=1).T:
        here = np.take_along_axis(p, rank[:, None], axis=1)[:, 0]
        so_far = so_far + rng.binomial(examples - so_far, np.clip((here - before) / (1 - before), 0, 1))
        np.put_along_axis(correct, rank[:, None], so_far[:, None], axis=1)
        before = here
    return correct / examples


CASES = [
    (0.965, 0.0, 144),
    (0.965, 0.01, 144),
    (0.99, 0.004, 359),
    (0.998, 0.001, 1_000),
    (0.75, 0.004, 10_000),
    (0.013, 0.004, 1_000),
]


def shares_held(mean: float, sd: float, *, n: int, examples: int, alike: bool, studies: int) -> tuple[float, float]:
    """In which share of the studies the interval holds the mean, and a t interval over the seeds does. Accuracies of
    seeds have a Beta law."""
    rng, size = np.random.default_rng(7), mean * (1 - mean) / sd**2 - 1 if sd else math.inf
    p = rng.beta(mean * size, (1 - mean) * size, (studies, n)) if sd else np.full((studies, n), mean)
    rows = measured(p, examples=examples, alike=alike, rng=rng)
    found = [spread(row, accuracy(examples)) for row in rows]
    assert all(0 <= one.low <= one.high <= 1 for one in found)
    half = stats.t.ppf(0.975, n - 1) * rows.std(axis=1, ddof=1) / n**0.5
    by_t = np.abs(rows.mean(axis=1) - mean) <= half
    return float(np.mean([one.low <= mean <= one.high for one in found])), float(by_t.mean())


@pytest.mark.parametrize("alike", [False, True], ids=["own-errors", "same-errors"])
@pytest.mark.parametrize(("mean", "sd", "examples"), CASES)
def test_an_interval_holds_the_mean_in_95_of_100_studies(mean: float, sd: float, examples: int, alike: bool) -> None:
    """1,000 studies tell a share of 95% to 1.4 points (two standard errors)."""
    held, _ = shares_held(mean, sd, n=3, examples=examples, alike=alike, studies=1000)
    assert held >= 0.936


def main() -> None:
    """Print the table of docs/reports.md: how often intervals hold the mean."""
    print("| mean ± sd of seeds, % | examples | n | own errors | same errors | t interval: own | same |")
    print("|---|---|---|---|---|---|---|")
    for (mean, sd, examples), n in itertools.product(CASES, (3, 5)):
        pairs = [shares_held(mean, sd, n=n, examples=examples, alike=alike, studies=10_000) for alike in (False, True)]
        cells = [f"{100 * pair[kind]:.1f}" for kind in (0, 1) for pair in pairs]
        print(f"| {100 * mean:.1f} ± {100 * sd:.1f} | {examples:,} | {n} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
