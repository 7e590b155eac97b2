"""Do the statistics hold what they say? Simulated studies without effect, by number of seeds.

python benchmarks/calibration.py                     # all, some minutes
python benchmarks/calibration.py --studies 200 --only bootstrap

Errors: the share of studies without any effect in which something is found at 0.05; at most 5% is right. Coverage: the
share of 95% intervals that hold the true value. Results are normal, skewed (minus a log-normal, as accuracies near
their ceiling are), or shares of right answers among 144 or 359 examples, binomial around probabilities that vary by
seed; what a page says is of answers to the same examples. Every number is by the functions that a study calls. NaN: no
p-value or interval is offered.
"""

from __future__ import annotations

import argparse
import itertools
import math
from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd
from scipy import stats

from cnnjax.reporting.intervals import Quantity, judged, paired, spread
from cnnjax.statistics import bootstrap, outperforming
from cnnjax.statistics.agreement import agreement
from cnnjax.statistics.factorial import Factorial, factorial
from cnnjax.statistics.families import TESTS, compared
from cnnjax.statistics.pairs import effect_size, mean_interval
from cnnjax.statistics.selection import selected
from cnnjax.statistics.trimmed import interquartile

SEEDS = (3, 5, 10, 20)
ALPHA = 0.05
Row = tuple[str, str, int, float, int]
"""What, results, seeds, share of studies, studies that it is a share of."""


def normal(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return rng.normal(0.0, 1.0, shape)


def skewed(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return -rng.lognormal(0.0, 0.8, shape)


def long_tails(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return rng.standard_t(3, shape)


def share(examples: int, right: float) -> Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]:
    """Shares of right answers around `right`, each of its own examples; the seeds' own spread is a third of theirs."""

    def draw(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        own = math.sqrt(right * (1 - right) / examples) / 3
        concentration = right * (1 - right) / own**2 - 1
        p = rng.beta(right * concentration, (1 - right) * concentration, shape)
        return rng.binomial(examples, p) / examples

    return draw


DRAWS = {
    "normal": (normal, 0.0),
    "skewed": (skewed, -math.exp(0.32)),
    "97% of 144": (share(144, 0.97), 0.97),
    "90% of 359": (share(359, 0.90), 0.90),
}


def errors(studies: int, rng: np.random.Generator) -> Iterator[Row]:
    """Five arms, all ten pairs, Holm: any finding is a false one. A test whose smallest adjusted p is above 0.05 finds
    nothing in any study, and is not run."""
    for results, (draw, _) in DRAWS.items():
        for n in SEEDS[:3]:
            arms = draw(rng, (studies, 5, n))
            for test in TESTS:
                # 1,024 flips for each of ten pairs take a while.
                few = len(arms) // 10 + 1 if test == "sign flip" else len(arms)
                able = compared({str(i): np.arange(float(n)) * i for i in range(5)}, test=test).smallest <= ALPHA
                found = [able and _any_found(study, test) for study in arms[:few]]
                yield f"{test}, Holm over 10 pairs", results, n, float(np.mean(found)), len(found)
    # Holm finds something where the smallest of the p-values times their number does.
    for n in SEEDS[:3]:
        arms, pairs = normal(rng, (40 * studies, 5, n)), itertools.combinations(range(5), 2)
        p = np.min([stats.ttest_rel(arms[:, i], arms[:, j], axis=1).pvalue for i, j in pairs], axis=0)
        yield "t by SciPy, 40 times the studies", "normal", n, float(np.mean(10 * p <= ALPHA)), len(p)


def _any_found(study: np.ndarray, test: str) -> bool:
    family = compared({str(i): values for i, values in enumerate(study)}, test=test)
    return any(each.adjusted <= ALPHA for each in family.comparisons)


def means(studies: int, rng: np.random.Generator) -> Iterator[Row]:
    """Student's t interval of a mean, and of a paired difference."""
    for results, (draw, mean) in DRAWS.items():
        for n in SEEDS:
            ours = [mean_interval(values) for values in draw(rng, (studies, n))]
            yield "t interval of a mean", results, n, *_covered([(e.low, e.high) for e in ours], mean)
            gaps = draw(rng, (studies, n)) - draw(rng, (studies, n))
            of_gaps = [mean_interval(values) for values in gaps]
            yield "t interval of a difference", results, n, *_covered([(e.low, e.high) for e in of_gaps], 0.0)


def interquartiles(studies: int, rng: np.random.Generator) -> Iterator[Row]:
    """The interval of an arm's interquartile mean, which is to hold that of all seeds there could be."""
    for results, (draw, _) in {**DRAWS, "long tails": (long_tails, 0.0)}.items():
        true = float(stats.trim_mean(draw(rng, (400_000,)), 0.25))
        for n in SEEDS:
            ours = [interquartile(values) for values in draw(rng, (studies, n))]
            yield "interval of an interquartile mean", results, n, *_covered([(e.low, e.high) for e in ours], true)


def effects(studies: int, rng: np.random.Generator) -> Iterator[Row]:
    for n in SEEDS[:3]:
        for true in (0.0, 1.0):
            found = [effect_size(values) for values in rng.normal(true, 1, (max(studies // 10, 1), n))]
            yield f"d_z interval, true {true:g}", "normal", n, *_covered([(e.low, e.high) for e in found], true)


def bootstraps(studies: int, rng: np.random.Generator) -> Iterator[Row]:
    """What the intervals cover at every n, also where `mean_interval` refuses them."""
    for method in bootstrap.SOURCES:
        for results, (draw, mean) in DRAWS.items():
            for n in (*SEEDS, 40, 80):
                for what in ("mean", "difference"):
                    values = draw(rng, (studies, n)) - (draw(rng, (studies, n)) if what == "difference" else 0)
                    kept = values[np.ptp(values, axis=1) > 0]
                    ends = np.hstack(
                        [
                            bootstrap.intervals(part, method=method, level=0.95, resamples=2000, seed=int(n))
                            for part in np.array_split(kept, max(len(kept) // 200, 1))
                        ]
                    )
                    true = mean if what == "mean" else 0.0
                    yield f"{method} of a {what}", results, n, *_covered(ends.T.tolist(), true)


def settings(studies: int, rng: np.random.Generator) -> Iterator[Row]:
    """Interquartile mean and probability of improvement over settings that differ more than seeds do."""
    few = max(studies // 2, 1)
    for count, n in ((10, 3), (20, 3), (40, 3), (5, 5), (10, 5), (20, 5), (3, 10), (5, 10), (10, 10)):
        shift = np.linspace(0, 5, count)
        truth = float(bootstrap.interquartile_mean((normal(rng, (20_000, count)) + shift).ravel()))
        wide = (normal(rng, (20_000, n, count)) + shift).reshape(20_000, -1)
        expected = float(bootstrap.interquartile_mean(wide).mean())
        for kind, true in (("mean", float(shift.mean())), ("interquartile mean", expected)):
            found = [_settings(normal(rng, (n, count)) + shift, kind, i) for i in range(few)]
            yield f"{kind} over {count} settings", f"normal ({truth - true:+.3f})", n, *_covered(found, true)
        pairs = [_improvement(normal(rng, (n, count)), normal(rng, (n, count)), i) for i in range(few)]
        yield f"probability of improvement over {count} settings", "normal", n, *_covered(pairs, 0.5)


def _settings(scores: np.ndarray, kind, seed: int) -> tuple[float, float]:
    found = bootstrap.aggregate(scores, kind=kind, resamples=500, seed=seed)
    return found.low, found.high


def _improvement(left: np.ndarray, right: np.ndarray, seed: int) -> tuple[float, float]:
    found = bootstrap.probability_of_improvement(left, right, resamples=500, seed=seed)
    return found.low, found.high


def better(studies: int, rng: np.random.Generator) -> Iterator[Row]:
    """One comparison of two arms that do not differ: either is found better."""
    for n in (*SEEDS, 40):
        left, right = normal(rng, (2, studies, n))
        found = [outperforming.outperforming(*pair).decision for pair in zip(left, right, strict=True)]
        wrong = np.mean([each.startswith("significant") for each in found])
        yield "probability of outperforming, significant", "normal", n, float(wrong), studies
        few = max(studies // 4, 1)
        for threshold in (0.5, outperforming.MOST):
            wrong = np.mean([_dominates(left[i], right[i], threshold, i) for i in range(few)])
            yield f"stochastic order below {threshold}", "normal", n, float(wrong), few


def _dominates(left: np.ndarray, right: np.ndarray, threshold: float, seed: int) -> bool:
    """Whether left is found larger, with the resamples of `stochastic_order`, also where it refuses."""
    rng = np.random.default_rng(seed)
    n = len(left)
    rows = rng.integers(n, size=(2, 500, n))
    spread = np.nanstd(outperforming.violation_ratios(left[rows[0]], right[rows[1]]))
    return outperforming.violation_ratio(left, right) + 1.6449 * spread < threshold


def chosen(studies: int, rng: np.random.Generator) -> Iterator[Row]:
    """The best of twelve arms that do not differ, or do: optimism left in, in seeds' standard deviations; coverage."""
    few = max(studies // 2, 1)
    for n in SEEDS[:3]:
        for name, shift in (("no effect", np.zeros(12)), ("effects of one sd", rng.normal(0, 1, 12))):
            own = normal(rng, (few, 12, n)) + shift[:, None]
            test = own + 0.5 * normal(rng, own.shape)
            found = [selected(own[i], test[i], resamples=500) for i in range(few)]
            true = np.array([shift[each.chosen] for each in found])
            yield f"best of 12, {name}: bias as quoted", "normal", n, _mean([e.quoted for e in found] - true), few
            values = np.array([e.corrected.value for e in found])
            yield f"best of 12, {name}: bias corrected", "normal", n, _mean(values - true), few
            inside = [e.corrected.low <= t <= e.corrected.high for e, t in zip(found, true, strict=True)]
            yield f"best of 12, {name}: coverage", "normal", n, float(np.mean(inside)), few


NEAR = ((144, 0.97), (144, 0.99), (359, 0.90), (1_000, 0.995), (1_000, 0.9993), (10_000, 0.99))
"""Test sets, and the share of them that is right: 0.7 to 100 errors a seed."""


def over_seeds(studies: int, rng: np.random.Generator) -> Iterator[Row]:
    """The page's intervals over seeds, on these examples: of an arm, and of the difference of two arms that are one.

    The truth is what so many seeds as one likes would give on the same examples. Examples are of their own difficulty,
    as for `page`; "own errors": all are equally difficult, and seeds err where they do by chance.
    """
    for examples, right in NEAR:
        of, few = Quantity(0.0, 1.0, proportion=True, examples=examples), studies // (4 if examples > 1000 else 1)
        for n, own in itertools.product(SEEDS[:3], (False, True)):
            arms, paired_ends = [], []
            for _ in range(max(few, 1)):
                p = np.full(examples, right) if own else difficulties(rng, examples=examples, right=right)
                left, other = (rng.random((2, n, examples), np.float32) < p).mean(axis=2)
                found, gap = spread(left, of), paired(left - other, of)
                truth = float(p.mean())
                arms.append((found.seeds_low - truth, found.seeds_high - truth))
                paired_ends.append((gap.seeds_low, gap.seeds_high))
            results = f"{100 * right:.4g}% of {examples:,}{', own errors' if own else ''}"
            yield "interval of an arm over seeds, coverage", results, n, *_covered(arms, 0.0)
            yield "interval of a difference over seeds, coverage", results, n, *_covered(paired_ends, 0.0)


def page(studies: int, rng: np.random.Generator) -> Iterator[Row]:
    """What a report's page says of arms that do not differ, measured on the same examples, each of its own difficulty.

    Coverage of an arm's interval (over seeds and examples) is of the accuracy on all examples there could be; errors
    are of whole tables, corrected as they are there: five arms beside the first, the terms of an analysis of variance
    of 3 x 2 x 2 arms, McNemar's tests of four arms, the recall of ten classes.
    """
    for examples, right in ((144, 0.97), (359, 0.90), (10_000, 0.99)):
        of = Quantity(0.0, 1.0, proportion=True, examples=examples)
        results = f"{right:.0%} of {examples:,}"
        for n in SEEDS[:3]:
            few = max(studies // (4 if examples > 1000 else 1), 1)
            rows = [answers(rng, arms=5, seeds=n, examples=examples, right=right) for _ in range(few)]
            arms = [each.mean(axis=2) for each in rows]
            found = [spread(each[0], of) for each in arms]
            yield (
                "interval of an arm over seeds and examples, coverage",
                results,
                n,
                *_covered([(e.low, e.high) for e in found], right),
            )
            beside = [_smallest([judged(each[k] - each[0], of).p for k in range(1, 5)]) for each in arms]
            yield "arms beside the first, found", results, n, _share_below(beside), few
            flips = [_smallest([agreement(each[k], each[0]).p for k in range(1, 5)]) for each in rows]
            yield "the same examples (McNemar), found", results, n, _share_below(flips), few
    for n in SEEDS[:3]:
        few = max(studies // 4, 1)
        analysed = [_analysed(answers(rng, arms=12, seeds=n, examples=359, right=0.9).mean(axis=2)) for _ in range(few)]
        terms = [_smallest([term.p for term in each.terms if term.factors not in ((), ("seed",))]) for each in analysed]
        yield "terms of 3 x 2 x 2 arms, found", "90% of 359", n, _share_below(terms), few
        ends = [(each.difference.low, each.difference.high) for own in analysed for each in own.interactions]
        yield "intervals of interactions, coverage", "90% of 359", n, *_covered(ends, 0.0)
        of = Quantity(0.0, 1.0, proportion=True, examples=36)
        by_class = []
        for _ in range(few):
            left, other = answers(rng, arms=2, seeds=n, examples=360, right=0.9).reshape(2, n, 10, 36).mean(axis=3)
            by_class.append(_smallest([judged(left[:, k] - other[:, k], of).p for k in range(10)]))
        yield "recall of ten classes, found", "90% of 360", n, _share_below(by_class), few


def answers(rng: np.random.Generator, *, arms: int, seeds: int, examples: int, right: float) -> np.ndarray:
    """Whether each network is right [arms, seeds, examples]."""
    return rng.random((arms, seeds, examples)) < difficulties(rng, examples=examples, right=right)


def difficulties(rng: np.random.Generator, *, examples: int, right: float) -> np.ndarray:
    """With which probability a network is right on each example: Beta with a concentration of 1, so that most examples
    are read by all networks or by none, as in what is measured."""
    return rng.beta(right, 1 - right, examples)


def _analysed(results: np.ndarray) -> Factorial:
    """The analysis of variance of 3 x 2 x 2 arms [12, seeds]."""
    settings = list(itertools.product("abc", "xy", "uv"))
    rows = [
        (*setting, seed, value)
        for setting, own in zip(settings, results, strict=True)
        for seed, value in enumerate(own)
    ]
    frame = pd.DataFrame(rows, columns=["first", "second", "third", "seed", "result"])
    return factorial(frame, factors=["first", "second", "third"], response="result", seed="seed")


def _smallest(p: list[float]) -> float:
    """The smallest after Holm's correction; 1 where nothing is tested."""
    known = [each for each in p if not math.isnan(each)]
    return min(1.0, len(known) * min(known)) if known else 1.0


def _share_below(p: list[float]) -> float:
    return float(np.mean(np.array(p) <= ALPHA))


def _mean(values: np.ndarray) -> float:
    return float(np.mean(values))


def _covered(ends: list, true: float) -> tuple[float, int]:
    """The share of intervals that hold `true`, of those that there are."""
    known = [(low, high) for low, high in ends if not math.isnan(low)]
    held = [low <= true <= high for low, high in known]
    return (float(np.mean(held)) if held else math.nan), len(known)


PARTS: dict[str, Callable[[int, np.random.Generator], Iterator[Row]]] = {
    "errors": errors,
    "means": means,
    "interquartile": interquartiles,
    "effects": effects,
    "bootstrap": bootstraps,
    "settings": settings,
    "better": better,
    "selection": chosen,
    "over_seeds": over_seeds,
    "page": page,
}


def table(rows: list[Row]) -> str:
    """The rows as a table of Markdown: a line for each statistic and kind of results, a column for each n."""
    counts = sorted({n for _, _, n, _, _ in rows})
    lines: dict[tuple[str, str], dict[int, str]] = {}
    for what, results, n, value, studies in rows:
        text = "none" if not studies or math.isnan(value) else f"{100 * value:.1f}"
        lines.setdefault((what, results), {})[n] = text
    head = f"| statistic | results | {' | '.join(f'n = {n}' for n in counts)} |"
    body = [f"| {a} | {b} | {' | '.join(cells.get(n, '') for n in counts)} |" for (a, b), cells in lines.items()]
    return "\n".join([head, "|---|---|" + "---|" * len(counts), *body])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=2000)
    parser.add_argument("--only", choices=PARTS, nargs="*", default=list(PARTS))
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    for name in options.only:
        rows = list(PARTS[name](options.studies, np.random.default_rng(options.seed)))
        print(f"\n{name}, in percent of {options.studies} studies\n\n{table(rows)}", flush=True)


if __name__ == "__main__":
    main()
