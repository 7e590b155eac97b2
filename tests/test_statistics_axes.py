"""Effects of several axes: against statsmodels, published analyses, and functions whose variance is known."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy.stats import qmc

from cnnjax.statistics.factorial import factorial
from cnnjax.statistics.importance import Continuous, Levels, importance, tree_shares

TEETH = {
    ("VC", 0.5): [4.2, 11.5, 7.3, 5.8, 6.4, 10, 11.2, 11.2, 5.2, 7],
    ("VC", 1.0): [16.5, 16.5, 15.2, 17.3, 22.5, 17.3, 13.6, 14.5, 18.8, 15.5],
    ("VC", 2.0): [23.6, 18.5, 33.9, 25.5, 26.4, 32.5, 26.7, 21.5, 23.3, 29.5],
    ("OJ", 0.5): [15.2, 21.5, 17.6, 9.7, 14.5, 10, 8.2, 9.4, 16.5, 9.7],
    ("OJ", 1.0): [19.7, 23.3, 23.6, 26.4, 20, 25.2, 25.8, 21.2, 14.5, 27.3],
    ("OJ", 2.0): [25.5, 26.4, 22.4, 24.5, 24.8, 30.9, 26.4, 27.3, 29.4, 23],
}
"""Crampton 1947, "The growth of the odontoblasts of the incisor tooth": by supplement and dose (in R: ToothGrowth)."""


def teeth() -> pd.DataFrame:
    rows = [(*cell, length) for cell, lengths in TEETH.items() for length in lengths]
    return pd.DataFrame(rows, columns=["supp", "dose", "len"])


def test_a_published_two_way_analysis() -> None:
    """The table of R's `summary(aov(len ~ supp * factor(dose)))`, as its documentation prints it."""
    found = factorial(teeth(), factors=["supp", "dose"], response="len")
    published = {
        ("supp",): (1, 205.4, 15.572, 0.000231),
        ("dose",): (2, 2426.4, 92.000, 2e-16),
        ("supp", "dose"): (2, 108.3, 4.107, 0.021860),
    }
    for factors, (freedom, squares, f, p) in published.items():
        term = found.term(*factors)
        assert (term.freedom, round(term.sum_of_squares, 1), round(term.f, 3)) == (freedom, squares, f)
        assert term.p == pytest.approx(p, rel=5e-3) or term.p < p
    assert (found.term().freedom, round(found.term().sum_of_squares, 1)) == (54, 712.1)
    assert found.term("supp").partial_eta_squared == pytest.approx(205.35 / (205.35 + 712.106), rel=1e-4)
    assert (found.balanced, found.cells, found.notes) == (True, (10, 10), ())
    means = {level.level: level.mean.value for level in found.levels if level.factor == "dose"}
    assert {dose: round(mean, 3) for dose, mean in means.items()} == {0.5: 10.605, 1.0: 19.735, 2.0: 26.100}


def unbalanced(*, seeds: bool) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    shift = rng.normal(0, 0.7, 6)
    rows = [
        (a, b, c, s, 1.0 * (a == "y") + 0.4 * b * (a == "x") + 0.2 * c + shift[s] + rng.normal(0, 0.3))
        for a in "xyz"
        for b in (0, 1)
        for c in (0, 1)
        for s in range(6)
    ]
    frame = pd.DataFrame(rows, columns=["a", "b", "c", "s", "r"])
    return frame if seeds else frame.drop(index=[0, 1, 2, 9, 33, 34, 60]).reset_index(drop=True)


@pytest.mark.parametrize("seed", [None, "s"])
@pytest.mark.parametrize("whole", [True, False])
def test_type_two_and_effects_are_statsmodels(seed: str | None, whole: bool) -> None:
    formulas = pytest.importorskip("statsmodels.formula.api")
    from statsmodels.stats.anova import anova_lm

    frame = unbalanced(seeds=whole)
    block = " + C(s)" if seed else ""
    fit = formulas.ols(f"r ~ (C(a) + C(b) + C(c)) ** 2{block}", frame).fit()
    expected = anova_lm(fit, typ=2)
    found = factorial(frame, factors=["a", "b", "c"], response="r", seed=seed)
    for term in found.terms:
        name = ":".join(f"C({factor})" for factor in term.factors) or "Residual"
        row = expected.loc[name]
        assert (term.freedom, term.sum_of_squares) == (row["df"], pytest.approx(row["sum_sq"], rel=1e-8))
        if term.factors:
            assert (term.f, term.p) == (pytest.approx(row["F"], rel=1e-8), pytest.approx(row["PR(>F)"], rel=1e-6))
    # Marginal means are the mean of the predictions of all cells (and seeds).
    grid = pd.MultiIndex.from_product([list("xyz"), (0, 1), (0, 1), range(6)], names=["a", "b", "c", "s"]).to_frame()
    grid["mean"] = fit.predict(grid.reset_index(drop=True)).to_numpy()
    for level in found.levels:
        assert level.mean.value == pytest.approx(grid.loc[grid[level.factor] == level.level, "mean"].mean())
    [both] = [each for each in found.interactions if each.levels == ("y", 1) and each.factors == ("a", "b")]
    test = fit.t_test("C(a)[T.y]:C(b)[T.1] = 0")
    assert both.difference.value == pytest.approx(test.effect[0])
    assert (both.difference.low, both.difference.high) == pytest.approx(tuple(test.conf_int()[0]))
    assert found.balanced == whole
    assert bool(found.notes) != whole


def test_seeds_as_a_random_effect_are_statsmodels_mixed_model() -> None:
    formulas = pytest.importorskip("statsmodels.formula.api")
    frame = unbalanced(seeds=True)
    mixed = formulas.mixedlm("r ~ (C(a) + C(b) + C(c)) ** 2", frame, groups=frame["s"]).fit(reml=True)
    found = factorial(frame, factors=["a", "b", "c"], response="r", seed="s")
    # REML by iteration: four digits.
    assert found.seed_sd**2 == pytest.approx(float(mixed.cov_re.iloc[0, 0]), rel=1e-3)
    assert found.term().sum_of_squares / found.term().freedom == pytest.approx(mixed.scale, rel=1e-3)
    [both] = [each for each in found.interactions if each.levels == ("z", 1) and each.factors == ("a", "b")]
    assert both.difference.value == pytest.approx(mixed.fe_params["C(a)[T.z]:C(b)[T.1]"])
    level = next(each for each in found.levels if (each.factor, each.level) == ("a", "y"))
    seeds = frame[frame["a"] == "y"].groupby("s")["r"].mean()
    assert level.mean.value == pytest.approx(seeds.mean())
    assert level.mean.n == 6


def test_what_cells_without_results_leave_open() -> None:
    frame = unbalanced(seeds=True)
    frame = frame[~((frame["a"] == "y") & (frame["b"] == 1))]
    found = factorial(frame, factors=["a", "b"], response="r")
    assert found.cells == (0, 12)
    assert "1 of 6 cells have no result: (y, 1)" in found.notes[0]
    assert found.term("a", "b").freedom == 1
    [open_] = [each for each in found.interactions if each.levels == ("y", 1)]
    assert (math.isnan(open_.difference.value), bool(open_.difference.why)) == (True, True)


def test_one_result_a_cell_one_level_and_gaps() -> None:
    frame = pd.DataFrame({"a": [0, 0, 1, 1], "b": [0, 1, 0, 1], "r": [1.0, 2.0, 3.0, 5.0]})
    found = factorial(frame, factors=["a", "b"], response="r")
    assert math.isnan(found.term("a").p)
    assert "nothing to judge" in found.notes[0]
    assert next(each for each in found.levels if each.difference).difference.value == pytest.approx(2.5)
    gap = pd.concat([frame, frame.assign(r=[1.5, 2.5, math.nan, 5.5])])
    assert (factorial(gap, factors=["a", "b"], response="r").left_out, found.left_out) == (1, 0)
    one = factorial(gap, factors=["a"], response="r")
    assert one.term("a").freedom == 1
    with pytest.raises(ValueError, match="b has one level"):
        factorial(frame[frame["b"] == 0], factors=["a", "b"], response="r")
    with pytest.raises(ValueError, match="no column c"):
        factorial(frame, factors=["c"], response="r")


def ishigami(x: np.ndarray) -> np.ndarray:
    return np.sin(x[:, 0]) + 7 * np.sin(x[:, 1]) ** 2 + 0.1 * x[:, 2] ** 4 * np.sin(x[:, 0])


def test_ishigamis_known_shares() -> None:
    """Ishigami and Homma 1990, a = 7, b = 0.1: shares 0.3139, 0.4424, 0 and, of axes 1 and 3 together, 0.2437."""
    from sklearn.ensemble import RandomForestRegressor

    u, axes = qmc.Sobol(3, rng=0).random(2**15), {name: Continuous(-math.pi, math.pi) for name in "abc"}
    forest = RandomForestRegressor(6, min_samples_leaf=2, max_leaf_nodes=800, random_state=0)
    forest.fit(u, ishigami(math.pi * (2 * u - 1)))
    shares = np.array([tree_shares(tree.tree_, axes) for tree in forest.estimators_])
    # Trees of 32,768 points smooth the sine by some hundredths.
    np.testing.assert_allclose(shares.mean(0), [0.3139, 0.4424, 0, 0, 0.2437, 0], atol=0.03)


def test_ishigamis_order_from_few_trials() -> None:
    x = math.pi * (2 * qmc.Sobol(3, rng=0).random(512) - 1)
    frame = pd.DataFrame(x, columns=list("abc")).assign(r=ishigami(x))
    found = importance(frame, axes={name: Continuous(-math.pi, math.pi) for name in "abc"}, response="r", resamples=2)
    assert found.share("b") > found.share("a") > found.share("a", "c") > 0.2 > 0.1 > found.share("a", "b")
    assert (found.explained > 0.7, found.why) == (True, "")
    assert sum(each.share for each in (*found.single, *found.pairs)) + found.rest == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("design", ["random", "grid"])
def test_an_additive_function_of_mixed_axes_has_no_pairs(design: str) -> None:
    """2 u, u uniform, has the variance 4/12, and the levels 0, 0.5 and 1 have 1/6."""
    axes = {
        "rate": Continuous(1e-4, 1e-1, log=True),
        "pool": Levels(("max", "average", "stride")),
        "idle": Continuous(0, 1),
    }
    if design == "random":
        rng = np.random.default_rng(0)
        u, idle, pool = rng.random(1500), rng.random(1500), rng.choice(axes["pool"].values, 1500)
    else:
        places = np.linspace(0.02, 0.98, 25)
        u, idle, code = (each.ravel() for each in np.meshgrid(places, places[::6], range(3), indexing="ij"))
        pool = np.array(axes["pool"].values)[code]
    worth = {"max": 0.0, "average": 0.5, "stride": 1.0}
    r = 2 * u + np.array([worth[each] for each in pool])
    frame = pd.DataFrame({"rate": 1e-4 * 1000**u, "pool": pool, "idle": idle, "r": r})
    found = importance(frame, axes=axes, response="r", trees=40, resamples=5)
    whole = 4 / 12 + 1 / 6
    assert found.share("rate") == pytest.approx(4 / 12 / whole, abs=0.03)
    assert found.share("pool") == pytest.approx(1 / 6 / whole, abs=0.03)
    assert max(found.share("idle"), *(each.share for each in found.pairs)) < 0.01
    first = found.single[0]
    assert first.axes == ("rate",)
    assert first.low <= first.high


def test_marginals_of_a_tree_are_those_of_a_grid() -> None:
    """A tree of three axes against the mean over a fine grid of its own predictions."""
    from sklearn.tree import DecisionTreeRegressor

    rng = np.random.default_rng(2)
    x = np.column_stack([rng.random(200), rng.integers(0, 4, 200), rng.random(200)])
    tree = DecisionTreeRegressor(max_leaf_nodes=12, random_state=0).fit(x, x[:, 0] * x[:, 1] + np.sin(5 * x[:, 2]))
    axes = {"a": Continuous(0, 1), "b": Levels((0, 1, 2, 3)), "c": Continuous(0, 1)}
    places = (np.arange(400) + 0.5) / 400
    grid = np.stack(np.meshgrid(places, range(4), places, indexing="ij"), -1)
    f = tree.predict(grid.reshape(-1, 3)).reshape(400, 4, 400)
    f -= f.mean()
    alone = [(f.mean(axis) ** 2).mean() for axis in ((1, 2), (0, 2), (0, 1))]
    pairs = [(f.mean(axis) ** 2).mean() for axis in (2, 1, 0)]
    pairs = [pairs[0] - alone[0] - alone[1], pairs[1] - alone[0] - alone[2], pairs[2] - alone[1] - alone[2]]
    # Cuts fall between points of the grid.
    np.testing.assert_allclose(tree_shares(tree.tree_, axes), np.array([*alone, *pairs]) / f.var(), atol=0.01)


def test_importance_says_what_it_cannot() -> None:
    rng = np.random.default_rng(1)
    frame = pd.DataFrame({"a": rng.random(40), "r": rng.normal(size=40)})
    axes = {"a": Continuous(0, 1)}
    assert "noise" in importance(frame, axes=axes, response="r", trees=40, resamples=2).why
    few = importance(frame[:19], axes=axes, response="r")
    assert (few.single, few.why) == ((), "a forest needs 20")
    frame.loc[3, "r"] = math.nan
    gap = importance(frame, axes=axes, response="r", trees=40, resamples=2)
    assert (gap.n, gap.left_out) == (39, 1)
    assert importance(frame.assign(r=1.0), axes=axes, response="r").why == "all results are the same"
    with pytest.raises(ValueError, match="is not in"):
        importance(frame.assign(a=2.0), axes=axes, response="r")
    with pytest.raises(ValueError, match="not among"):
        importance(frame, axes={"a": Levels((1, 2))}, response="r")
