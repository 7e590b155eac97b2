"""Intervals over seeds, and over folds and seeds: against SciPy and analyses of variance done another way where they
must agree, and how often they hold the truth where they need not."""

from __future__ import annotations

import itertools
import math
import re
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from cnnjax.records.specification import BEFORE, Specification
from cnnjax.reporting.intervals import Quantity, Spread, by_seeds, paired, quantity, spread, sums_of_squares

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


@pytest.mark.parametrize("wrong", [(3, 3, 3), (1, 1, 1), (0, 0, 0), (2, 2, 3), (1, 4, 9), (-1, 0, 2)])
def test_p_over_seeds_is_that_of_the_interval_over_seeds(wrong):
    differences = np.array(wrong) / 360
    found, p = paired(differences, accuracy(360)), by_seeds(differences, accuracy(360)).p
    assert (p < 0.05) == (found.seeds_low > 0 or found.seeds_high < 0)
    # Of a standard deviation of a quarter of an example at least.
    sd = max(differences.std(ddof=1), 0.25 / 360)
    np.testing.assert_allclose(p, 2 * stats.t.sf(abs(differences.mean()) / (sd / 3**0.5), 2), rtol=1e-6)


@pytest.mark.parametrize(("correct", "examples"), [(139, 144), (144, 144), (0, 144), (1, 359), (99_999, 100_000)])
def test_seeds_that_tie_have_scipys_exact_binomial_interval(correct: int, examples: int) -> None:
    found = spread([correct / examples] * 3, accuracy(examples))
    expected = stats.binomtest(correct, examples).proportion_ci(method="exact")
    assert (found.mean, found.sd) == (correct / examples, 0)
    np.testing.assert_allclose((found.low, found.high), (expected.low, expected.high), rtol=1e-9, atol=1e-12)


def test_an_accuracy_over_seeds_has_jeffreys_interval_at_the_effective_number_of_examples() -> None:
    """By SciPy's Beta law: n* = p (1 - p) / (t s / z)², s of the mean, p moved half an example off the ends."""
    values = np.array([139, 141, 140, 144, 138]) / 144
    mean, error = values.mean(), stats.sem(values)
    inside = (144 * values.sum() + 0.5) / (5 * 144 + 1)
    effective = inside * (1 - inside) / (stats.t.ppf(0.975, 4) * error / stats.norm.ppf(0.975)) ** 2
    expected = stats.beta(effective * mean + 0.5, effective * (1 - mean) + 0.5).interval(0.95)
    found = spread(values, accuracy(144))
    np.testing.assert_allclose((found.seeds_low, found.seeds_high), expected, rtol=1e-9)
    assert (found.over_seeds.low, found.over_seeds.high) == (found.seeds_low, found.seeds_high)
    assert found.low < found.seeds_low < found.seeds_high < found.high


def test_the_interval_that_docs_compute_by_hand_is_the_reports() -> None:
    page = (Path(__file__).parents[1] / "docs/reports.md").read_text()
    found = re.search(r"right on\s+(\d+), (\d+) and (\d+) of (\d+) images: .* interval \[([\d.]+), ([\d.]+)\]", page)
    assert found is not None
    *right, images = map(int, found.groups()[:4])
    spread_of = spread([count / images for count in right], accuracy(images))
    assert found.groups()[4:] == (f"{100 * spread_of.seeds_low:.2f}", f"{100 * spread_of.seeds_high:.2f}")


def test_seeds_that_tie_are_taken_to_differ_by_a_quarter_of_an_example() -> None:
    half = stats.t.ppf(0.975, 2) * 0.25 / 144 / math.sqrt(3)
    gap = paired([1 / 144] * 3, accuracy(144))
    np.testing.assert_allclose((gap.seeds_low, gap.seeds_high), (1 / 144 - half, 1 / 144 + half), rtol=1e-9)
    assert gap.low < 0 < gap.seeds_low
    for right in (0, 139, 144):
        found = spread([right / 144] * 3, accuracy(144))
        assert found.low <= found.seeds_low <= right / 144 <= found.seeds_high <= found.high
        assert found.seeds_low < found.seeds_high


def test_where_no_examples_are_counted_both_intervals_are_one() -> None:
    for of in (accuracy(None), LOSS):
        found = spread([0.91, 0.93, 0.92], of)
        assert (found.low, found.high, found.method) == (found.seeds_low, found.seeds_high, found.seeds_method)
        gap = paired([0.01, 0.03, 0.02], of)
        expected = stats.ttest_1samp([0.01, 0.03, 0.02], 0).confidence_interval(0.95)
        np.testing.assert_allclose((gap.low, gap.high, gap.seeds_low, gap.seeds_high), [*expected] * 2, rtol=1e-9)


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


PENICILLIN = [[89, 88, 97, 94], [84, 77, 92, 79], [81, 87, 87, 85], [87, 92, 89, 84], [79, 81, 80, 88]]
"""Yields of five blends (rows) by four processes: Box, Hunter and Hunter 2005, table 4.4."""


def test_an_analysis_of_variance_is_the_textbooks() -> None:
    squares, free = sums_of_squares(np.array(PENICILLIN, float))
    np.testing.assert_allclose(squares, [264, 70, 226])
    assert list(free) == [4, 3, 12]


def margin_by_least_squares(values: np.ndarray) -> float:
    """Half the interval, from what the models with and without folds, and seeds, leave of the squares."""
    folds, seeds = values.shape
    fold, seed = np.repeat(np.eye(folds), seeds, axis=0), np.tile(np.eye(seeds), (folds, 1))

    def left(*columns: np.ndarray) -> float:
        design = np.hstack([np.ones((values.size, 1)), *columns])
        fitted = design @ np.linalg.lstsq(design, values.ravel(), rcond=None)[0]
        return float(((values.ravel() - fitted) ** 2).sum())

    rest = left(fold, seed)
    squares = {folds - 1: left(seed) - rest, seeds - 1: left(fold) - rest}
    of_fold, of_seed = (stats.t.ppf(0.975, free) ** 2 * square / free for free, square in squares.items())
    free = (folds - 1) * (seeds - 1)
    of_rest = stats.t.ppf(0.975, free) ** 2 * rest / free
    return math.sqrt(max(of_fold + of_seed - of_rest, of_fold, of_seed, of_rest) / values.size)


@pytest.mark.parametrize(("folds", "seeds"), [(3, 4), (5, 3), (10, 5)])
@pytest.mark.parametrize("of_fold", [0.0, 1.0, 3.0])
def test_an_interval_over_folds_and_seeds_is_of_the_two_way_analysis(folds: int, seeds: int, of_fold: float) -> None:
    values = crossed((folds, seeds), (of_fold, 1, 1), np.random.default_rng(folds))
    found, half = spread(values), margin_by_least_squares(values)
    assert (found.n, found.method) == (folds, "Student t: seeds")
    np.testing.assert_allclose((found.mean, found.sd), (values.mean(), values.mean(axis=1).std(ddof=1)))
    np.testing.assert_allclose((found.low, found.high), (values.mean() - half, values.mean() + half))
    gap, turned = paired(values), spread(values.T)
    np.testing.assert_allclose((gap.low, gap.high, turned.low, turned.high), [found.low, found.high] * 2)


def test_where_seeds_change_nothing_the_interval_is_that_of_the_folds() -> None:
    values = np.array([0.91, 0.93, 0.92, 0.97])
    found, expected = spread(np.repeat(values[:, None], 3, axis=1)), spread(values)
    np.testing.assert_allclose((found.low, found.high), (expected.low, expected.high))


def test_what_neither_folds_nor_seeds_do_is_in_the_interval() -> None:
    """Folds tie and seeds tie, and single trainings do not."""
    found = spread(np.array([[1.0, 2.0, 3.0], [2.0, 3.0, 1.0], [3.0, 1.0, 2.0]]))
    # A mean square of 6 / 4, and t = 2.776 of four degrees of freedom.
    assert found.high - found.mean == pytest.approx(2.776445 * math.sqrt(6 / 4 / 9), rel=1e-6)
    assert (found.sd, found.mean) == (0, 2)


@pytest.mark.parametrize("of", [accuracy(144), accuracy(None), Quantity(), LOSS])
@pytest.mark.parametrize("shape", [(0, 0), (1, 5), (2, 5), (5, 1), (5, 2)])
def test_two_folds_or_two_seeds_carry_no_interval(of: Quantity, shape: tuple[int, int]) -> None:
    values = np.random.default_rng(0).uniform(0.4, 0.6, shape)
    for found in (spread(values, of), paired(values, of)):
        assert (found.n, found.has_interval, found.method) == (shape[0], False, "")


def test_a_fold_that_misses_a_seed_is_left_out() -> None:
    values = np.random.default_rng(0).uniform(0.4, 0.6, (5, 3))
    missing = values.copy()
    missing[2, 1] = math.nan
    assert spread(missing, accuracy(144)) == spread(np.delete(values, 2, axis=0), accuracy(144))
    missing[[0, 4], 2] = math.nan
    assert (spread(missing).n, spread(missing).has_interval) == (2, False)
    assert spread(np.full((3, 3), math.nan)).n == 0


def test_folds_and_seeds_that_tie_have_the_interval_of_the_examples_or_none() -> None:
    values, rounded = np.full((4, 3), 139 / 144), np.full((4, 3), 0.3)
    rounded[1, 1] = 0.1 + 0.2
    found, expected = spread(values, accuracy(144)), spread([139 / 144] * 3, accuracy(144))
    assert (found.low, found.high, found.sd) == (expected.low, expected.high, 0)
    assert not spread(rounded).has_interval
    assert spread(rounded).sd == 0
    of_both, of_seeds = paired(np.zeros((4, 3)), accuracy(144)), paired([0.0] * 4, accuracy(144))
    assert (of_both.low, of_both.high, of_both.method) == (of_seeds.low, of_seeds.high, of_seeds.method)


@pytest.mark.parametrize("examples", [None, 144])
def test_an_accuracy_of_folds_and_seeds_stays_within_0_and_1(examples: int | None) -> None:
    found = spread([[1.0, 1.0, 1.0], [1.0, 0.3, 1.0], [1.0, 1.0, 0.97]], accuracy(examples))
    assert 0 <= found.low < found.mean < found.high <= 1
    gap = paired([[1.0, 1.0, 1.0], [1.0, -0.9, 1.0], [1.0, 1.0, 0.97]], accuracy(examples))
    assert -1 <= gap.low < gap.mean < gap.high <= 1


def test_scaled_to_percent() -> None:
    found = Spread(3, 0.5, 0.125, 0.375, 0.625, "t", 0.4375, 0.5625, "u").scaled(100)
    assert found == Spread(3, 50, 12.5, 37.5, 62.5, "t", 43.75, 56.25, "u")


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


Shape = tuple[int, int]
Ratio = tuple[float, float, float]
SHAPES: list[Shape] = [(3, 3), (5, 3), (5, 5), (10, 3), (10, 10)]
RATIOS: list[Ratio] = [(1, 1, 1), (4, 1, 1), (1, 4, 1), (0, 0, 1), (1, 4, 0)]
"""Variances of the fold, the seed and what is left."""


def crossed(shape: Shape, ratio: Ratio, rng: np.random.Generator) -> np.ndarray:
    """What folds (rows) and seeds do to a result whose mean is 0."""
    fold, seed, rest = (rng.normal(0, share**0.5, size) for share, size in zip(ratio, sizes(shape), strict=True))
    return fold + seed + rest


def sizes(shape: Shape) -> list[Shape]:
    return [(shape[0], 1), (1, shape[1]), shape]


def false_verdicts(shape: Shape, ratio: Ratio, *, studies: int) -> tuple[float, float]:
    """In which share of the studies two arms that are one are told apart; and would be by the means of the folds."""
    rng = np.random.default_rng(11)
    pairs = [crossed(shape, ratio, rng) - crossed(shape, ratio, rng) for _ in range(studies)]

    def apart(found: Spread) -> bool:
        return found.low > 0 or found.high < 0

    both = np.mean([apart(paired(values)) for values in pairs])
    return float(both), float(np.mean([apart(paired(values.mean(axis=1))) for values in pairs]))


@pytest.mark.parametrize("shape", SHAPES[:-1])
@pytest.mark.parametrize("ratio", RATIOS)
def test_arms_that_are_one_are_told_apart_in_5_of_100_studies_at_most(shape: Shape, ratio: Ratio) -> None:
    """1,000 studies tell a share of 5% to 1.4 points (two standard errors)."""
    both, by_folds = false_verdicts(shape, ratio, studies=1000)
    assert both <= 0.064
    assert ratio[1] < 4 or by_folds > 0.13, "the simulation finds intervals that are too narrow"


@pytest.mark.parametrize("shape", SHAPES[:3])
@pytest.mark.parametrize("ratio", RATIOS)
def test_an_interval_over_folds_and_seeds_holds_the_mean_in_95_of_100_studies(shape: Shape, ratio: Ratio) -> None:
    """Of an accuracy of 90%, of how many examples is not known."""
    rng, scale = np.random.default_rng(5), 0.02 / sum(ratio) ** 0.5
    found = [spread(0.9 + scale * crossed(shape, ratio, rng), accuracy(None)) for _ in range(1000)]
    assert np.mean([one.low <= 0.9 <= one.high for one in found]) >= 0.936


def main() -> None:
    """Print the tables of docs/reports.md: how often intervals hold the mean, and how often arms that are one are told
    apart."""
    print("| mean ± sd of seeds, % | examples | n | own errors | same errors | t interval: own | same |")
    print("|---|---|---|---|---|---|---|")
    for (mean, sd, examples), n in itertools.product(CASES, (3, 5)):
        pairs = [shares_held(mean, sd, n=n, examples=examples, alike=alike, studies=10_000) for alike in (False, True)]
        cells = [f"{100 * pair[kind]:.1f}" for kind in (0, 1) for pair in pairs]
        print(f"| {100 * mean:.1f} ± {100 * sd:.1f} | {examples:,} | {n} | {' | '.join(cells)} |")
    print(f"\n| folds x seeds | {' | '.join(' : '.join(map(str, ratio)) for ratio in RATIOS)} |")
    print(f"|---|{'---|' * len(RATIOS)}")
    for shape in SHAPES:
        pairs = [false_verdicts(shape, ratio, studies=10_000) for ratio in RATIOS]
        cells = [f"{100 * both:.1f} ({100 * by_folds:.1f})" for both, by_folds in pairs]
        print(f"| {shape[0]} x {shape[1]} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
