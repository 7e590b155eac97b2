"""The panels on what axes do, by the design of the study."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from scipy import stats

from cnnjax.reporting import collect
from cnnjax.reporting.finding import Finding
from cnnjax.reporting.marks import Drawing
from cnnjax.reporting.panels.effects import effects_panel
from cnnjax.reporting.panels.importance import importance_panel
from cnnjax.reporting.panels.interactions import interactions_panel
from cnnjax.reporting.panels.response import response_panel
from cnnjax.reporting.panels.tornado import tornado_panel
from cnnjax.reporting.statistics import difference, effects
from tests.test_reporting import AXES, BASE, configured, diverge, make_study, set_metrics, star, write_json

POOLS = {"model.pool": ["max", "average", None], "model.features": [16, 8]}


def planted(
    out: Path, levels: dict[Any, float], *, axes: dict[str, list[Any]], metric: str, **changes: Any
) -> list[Any]:
    """A study whose `metric` is the sum of an arm's `levels` and noise of the seed and of the trial."""
    trials, generator = make_study(out, axes=axes, **changes), np.random.default_rng(1)
    for trial in trials:
        value = 0.5 + sum(levels.get(own, 0.0) for own in trial["arm"].values()) + 0.002 * trial["seed"]
        set_metrics(out, trial, **{metric: value + generator.normal(0, 0.0004)})
    return trials


def said(finding: Finding, place: int) -> str:
    """A paragraph of a finding."""
    block: Any = finding.blocks[place]
    return block.lines[0]


def panel(made: Drawing) -> Any:
    """The first axes of a drawing; their artists are not typed."""
    return made.figure.axes[0]


def drawing(finding: Finding | None) -> Drawing:
    assert finding is not None
    [sketch] = finding.sketches
    made = sketch.make()
    assert isinstance(made, Drawing)
    return made


# --- one axis at a time


def bars(made: Drawing) -> tuple[list[str], list[float], list[bool]]:
    ax = panel(made)
    filled = [bar.get_facecolor()[:3] != (1, 1, 1) for bar in ax.patches]
    return [tick.get_text() for tick in ax.get_yticklabels()], [bar.get_width() for bar in ax.patches], filled


def test_a_tornado_has_the_largest_difference_to_the_base_first(tmp_path: Path) -> None:
    base = {path: values[0] for path, values in POOLS.items()}
    levels = {"average": -0.0003, None: 0.03, 8: -0.05}
    trials = planted(
        tmp_path,
        levels,
        axes=POOLS,
        metric="test_loss",
        kind="loss",
        chosen=star(POOLS, base),
        combine="one_at_a_time",
        base=configured(BASE, base),
    )
    made = drawing(tornado_panel(collect(tmp_path)))
    names, widths, filled = bars(made)
    assert names == ["features: 16 → 8", "pool: max → none", "pool: max → average"]
    assert filled == [True, True, False]
    table = collect(tmp_path)
    expected = [difference(table, arm, 1, metric="test_loss").mean for arm in (4, 3, 2)]
    np.testing.assert_allclose(widths, expected)
    lines = {line.get_linewidth() for line in panel(made).lines if line.get_linestyle() == "-"}
    assert 0.6 not in lines, "of a loss there is one interval"
    better, worse = (bar.get_facecolor() for bar in panel(made).patches[:2])
    assert better != worse, "less of a loss is better"
    assert next(mark.key for mark in made.marks.values() if "n=3" in mark.text) == "4"
    diverge(tmp_path, trials[0])
    assert tornado_panel(collect(tmp_path)) is None, "there is nothing to compare with"


def test_a_tornado_of_one_seed_has_no_interval(tmp_path: Path) -> None:
    base = {path: values[0] for path, values in POOLS.items()}
    make_study(
        tmp_path,
        axes=POOLS,
        chosen=star(POOLS, base),
        combine="one_at_a_time",
        base=configured(BASE, base),
        seeds=(0,),
    )
    made = drawing(tornado_panel(collect(tmp_path)))
    assert not any(bars(made)[2])
    assert len(panel(made).lines) == 1, "the line at 0 alone"


def test_a_grid_has_no_tornado(tmp_path: Path) -> None:
    make_study(tmp_path)
    assert tornado_panel(collect(tmp_path)) is None


# --- axes that are varied together

PAIR = {"model.pool": ["max", None, {"name": "blur", "size": 3}], "model.features": [8, 16]}


def crossed(out: Path, extra: float, *, noise: float = 0.001, metric: str = "test_loss", **changes: Any) -> np.ndarray:
    """A study of 3 x 2 arms and 4 seeds with an interaction of size `extra`; its results by pool, width and seed."""
    values = np.random.default_rng(5).normal(0, noise, (3, 2, 4)) + np.array([0.0, 0.01, -0.02, 0.01])
    values += np.array([0.3, 0.32, 0.31])[:, None, None] + np.array([0.0, 0.05])[:, None]
    values[1, 1] += extra
    trials = make_study(out, **{"axes": PAIR, "seeds": (0, 1, 2, 3), "kind": "loss", **changes})
    for trial, value in zip(trials, values.ravel(), strict=True):
        set_metrics(out, trial, **{metric: float(value)})
    return values


def by_hand(values: np.ndarray) -> dict[str, tuple[int, float]]:
    """Degrees of freedom and sums of squares of a balanced analysis, from means of means."""
    mean, n = values.mean(), values.size
    pool, width, seed = (values.mean(axis=axes) - mean for axes in ((1, 2), (0, 2), (0, 1)))
    both = values.mean(axis=2) - mean - pool[:, None] - width
    sums = {
        name: n / own.size * float((own**2).sum()) for name, own in zip("pwsb", (pool, width, seed, both), strict=True)
    }
    rest = float(((values - mean) ** 2).sum()) - sum(sums.values())
    return {"p": (2, sums["p"]), "w": (1, sums["w"]), "b": (2, sums["b"]), "s": (3, sums["s"]), "r": (15, rest)}


def test_the_analysis_of_variance_is_that_of_means_of_means(tmp_path: Path) -> None:
    values = crossed(tmp_path, 0.004)
    found = interactions_panel(collect(tmp_path))
    assert found is not None
    assert found.data is not None
    expected, terms = by_hand(values), found.data["terms"]
    rest = expected["r"][1] / expected["r"][0]
    total = sum(squares for _, squares in expected.values())
    p = []
    for (freedom, squares), term in zip(expected.values(), terms, strict=True):
        assert (term["df"], term["sum_of_squares"]) == (freedom, pytest.approx(squares, rel=1e-6))
        assert term["share"] == pytest.approx(squares / total)
        if term["term"] != "rest":
            assert term["f"] == pytest.approx(squares / freedom / rest, rel=1e-6)
            p.append(stats.f.sf(term["f"], freedom, 15))
            assert term["p"] == pytest.approx(p[-1], rel=1e-6)
    order, corrected = np.argsort(p[:3]), np.empty(3)
    corrected[order] = np.maximum.accumulate(np.array(p[:3])[order] * [3, 2, 1])
    assert [term["holm"] for term in terms[:3]] == pytest.approx(corrected, rel=1e-6)
    assert terms[3]["holm"] is terms[4]["holm"] is None, "seeds are no question"
    names = [row[0] for row in next(found.grids).cells(exact=True)]
    assert names == ["pool", "features", "pool × features", "seed", "rest"]


def test_an_interaction_that_is_found_is_said_first_and_drawn(tmp_path: Path) -> None:
    values = crossed(tmp_path, 0.02)
    found = interactions_panel(collect(tmp_path))
    assert found is not None
    [answer] = found.answers
    change = (values[1, 0] - values[0, 0] - values[1, 1] + values[0, 1]).mean()
    assert change < 0
    assert answer.startswith("pool and features act together (p<0.0001, corrected for 3 terms, partial")
    assert f"from pool=max to none, test loss changes by {abs(change):.4f}" in answer
    assert "less at features=8 than at 16" in answer, "differences are to the base's value, 16, of each"
    made = drawing(found)
    ax = panel(made)
    lines = [line for line in ax.lines if len(line.get_xdata()) == 3]
    np.testing.assert_allclose([line.get_ydata() for line in lines], values.mean(axis=2).T)
    assert [text.get_text() for text in ax.get_xticklabels()] == ["max", "none", "blur"]
    assert {mark.key for mark in made.marks.values()} == {"1", "2", "3", "4", "5", "6"}


def test_where_no_interaction_is_found_it_says_no_more_than_that(tmp_path: Path) -> None:
    crossed(tmp_path, 0.0)
    found = interactions_panel(collect(tmp_path))
    assert found is not None
    assert not found.answers
    assert [sketch.make() for sketch in found.sketches] == [None]
    assert said(found, 1).startswith("No interaction is found (the smallest corrected p is 0.")


def test_few_examples_do_not_make_an_interaction(tmp_path: Path) -> None:
    """2 in 359 examples, which seeds alike say."""
    crossed(tmp_path, 0.0056, noise=0.0001, metric="test_accuracy", kind="accuracy")
    found = interactions_panel(collect(tmp_path))
    assert found is not None
    assert found.data is not None
    assert found.data["terms"][2]["holm"] < 1e-6
    assert not found.answers
    assert not found.data["pairs"][0]["found"]
    assert "so few examples may have made it" in said(found, 1)
    crossed(tmp_path, 0.06, noise=0.0001, metric="test_accuracy", kind="accuracy")
    again = interactions_panel(collect(tmp_path))
    assert again is not None
    assert "percentage points" in again.answers[0]


def test_combinations_without_results_are_said(tmp_path: Path) -> None:
    trials = make_study(tmp_path, axes=AXES)
    for trial in trials[:3]:
        diverge(tmp_path, trial)
    found = interactions_panel(collect(tmp_path))
    assert found is not None
    note = said(found, 1)
    assert "1 of 12 cells have no result: (8, 3, max)." in note
    assert "need not add up" in note
    assert "which flatters" in note
    assert found.data is not None
    json.dumps(found.data, allow_nan=False)


def test_interactions_are_withheld_where_results_are_no_sample_of_seeds(tmp_path: Path) -> None:
    crossed(tmp_path / "adaptive", 0.02)
    table = replace(collect(tmp_path / "adaptive"), adaptive=cast(Any, object()))
    make_study(tmp_path / "folds", axes={**AXES, "fold": [0, 1, 2]})
    for own, word in ((table, "Validation results decided"), (collect(tmp_path / "folds"), "folds share theirs")):
        found = interactions_panel(own)
        assert found is not None
        assert (found.answers, found.data, list(found.sketches)) == ((), None, [])
        assert word in said(found, 0)


BASE_STAR = {path: values[0] for path, values in AXES.items()}
NOT_TOGETHER: dict[str, dict[str, Any]] = {
    "one axis": {"axes": {"model.features": [8, 16, 32]}},
    "one at a time": {"chosen": star(AXES, BASE_STAR), "combine": "one_at_a_time"},
    "two axes of two values, one at a time": {
        "axes": {"model.kernel_size": [3, 5], "model.pool": ["max", "average"]},
        "chosen": star({"model.kernel_size": [3, 5], "model.pool": ["max", "average"]}, BASE_STAR)[:3],
    },
    "two seeds": {"seeds": (0, 1)},
    "a zip": {"chosen": [{"model.features": n, "model.kernel_size": 3 + n, "model.pool": n} for n in (1, 2, 3)]},
}


@pytest.mark.parametrize("changes", NOT_TOGETHER.values(), ids=NOT_TOGETHER)
def test_what_axes_do_together_is_not_asked_of(tmp_path: Path, changes: dict[str, Any]) -> None:
    make_study(tmp_path, **changes)
    assert interactions_panel(collect(tmp_path)) is None


def test_results_that_tie_are_not_tested(tmp_path: Path) -> None:
    trials = make_study(tmp_path, axes=PAIR, kind="loss")
    for trial in trials:
        set_metrics(tmp_path, trial, test_loss=0.5)
    found = interactions_panel(collect(tmp_path))
    assert found is not None
    assert found.data is not None
    assert all(term["p"] is None for term in found.data["terms"])
    assert "Not tested, for no residual is left to judge it by: pool, features, pool × features." in said(found, 1)


# --- sampled axes

DISTRIBUTIONS: dict[str, Any] = {
    "optim.learning_rate": {"distribution": "log_uniform", "low": 1e-3, "high": 1.0},
    "model.features": {"distribution": "integers", "low": 4, "high": 19},
    "model.pool": ["max", None],
}


def sampled(out: Path, slopes: tuple[float, float], *, noise: float = 0.0, **changes: Any) -> list[dict[str, Any]]:
    """60 arms of a random study: the loss goes with the logarithm of the rate and with the width, each from 0 to 1 over
    its range."""
    rng = np.random.default_rng(2)
    rates, widths = 10 ** rng.uniform(-3, 0, 60), rng.integers(4, 20, 60)
    arms = [
        {"optim.learning_rate": float(f"{rate:.6g}"), "model.features": int(width), "model.pool": pool}
        for rate, width, pool in zip(rates, widths, ["max", None] * 30, strict=True)
    ]
    axes = {path: list({str(arm[path]): arm[path] for arm in arms}.values()) for path in DISTRIBUTIONS}
    trials = make_study(out, **{"axes": axes, "chosen": arms, "kind": "loss", "combine": "random", **changes})
    design = {"design": "random", "axes": DISTRIBUTIONS, "points": 60, "seed": 0}
    write_json(out / "study.json", json.loads((out / "study.json").read_text()) | {"design": design, "arms": 60})
    for trial in trials:
        rate, width = trial["arm"]["optim.learning_rate"], trial["arm"]["model.features"]
        value = 0.5 + slopes[0] * (np.log10(rate) + 3) / 3 + slopes[1] * (width - 4) / 15
        set_metrics(out, trial, test_loss=float(value + 0.01 * trial["seed"] + rng.normal(0, noise)))
    return trials


def test_importance_is_the_share_of_a_known_function_s_variance(tmp_path: Path) -> None:
    """Of two straight lines over even ranges, the shares of the variance go with the squares of their slopes."""
    trials = sampled(tmp_path, (1.0, 0.5))
    diverge(tmp_path, trials[4])
    found = importance_panel(collect(tmp_path))
    assert found is not None
    assert found.data is not None
    known = {tuple(each["axes"]): each["share"] for each in found.data["shares"]}
    assert known["optim.learning_rate",] == pytest.approx(0.8, abs=0.1)
    assert known["model.features",] == pytest.approx(0.2, abs=0.1)
    assert known["model.pool",] < 0.02
    assert found.data["n"] == 59, "arms, not trials: seeds of an arm foresee each other"
    rows = next(found.grids).cells(exact=True)
    assert [row[0] for row in rows[:3]] == ["learning_rate", "features", "pool"]
    assert [row[3] for row in rows[:3]] == ["0.001 to 1, by its logarithm", "4 to 19", "2 values, all alike"]
    assert sum(float(row[1]) for row in rows) == pytest.approx(100, abs=0.3)
    assert "learning_rate moves test loss most" in found.answers[0]
    assert "1 arm without a result of every seed is not in it" in said(found, 2)
    widths = [bar.get_width() for bar in panel(drawing(found)).patches]
    assert widths == sorted(widths, reverse=True)
    assert widths[0] == pytest.approx(100 * known["optim.learning_rate",])


def test_shares_of_noise_are_not_shown(tmp_path: Path) -> None:
    sampled(tmp_path, (0.0, 0.0), noise=0.1, seeds=(0,))
    found = importance_panel(collect(tmp_path))
    assert found is not None
    assert (found.answers, list(found.sketches), list(found.grids)) == ((), [], [])
    assert "shares of noise (R²" in said(found, 0)


def test_importance_is_of_samples_and_of_grids_that_nothing_else_is_said_of(tmp_path: Path) -> None:
    many = {"model.features": [4, 8, 16, 32, 64], "model.kernel_size": [3, 5], "model.pool": ["max", "average"]}
    for name, axes, seeds in (("one", many, (0,)), ("three", many, (0, 1, 2)), ("few", AXES, (0,))):
        make_study(tmp_path / name, axes=axes, seeds=seeds)
        found = importance_panel(collect(tmp_path / name))
        assert (found is not None) == (name == "one")
    sampled(tmp_path / "adaptive", (1.0, 0.5), seeds=(0,))
    table = replace(collect(tmp_path / "adaptive"), adaptive=cast(Any, object()))
    withheld = importance_panel(table)
    assert withheld is not None
    assert "Validation results decided" in said(withheld, 0)


def test_an_extended_study_s_values_widen_the_range(tmp_path: Path) -> None:
    sampled(tmp_path, (1.0, 0.5), seeds=(0,))
    study = json.loads((tmp_path / "study.json").read_text())
    study["design"]["axes"]["model.features"] |= {"low": 6, "high": 12}
    write_json(tmp_path / "study.json", study)
    found = importance_panel(collect(tmp_path))
    assert found is not None
    assert next(found.grids).cells(exact=True)[1][3] == "4 to 19"


# --- response curves

LADDER: dict[str, list[Any]] = {"optim.learning_rate": [0.001, 0.01, 0.1, 0.3, 1.0], "model.pool": ["max", None]}


def ladder(out: Path, **changes: Any) -> np.ndarray:
    """A grid with a ladder of five rates, two pools and 4 seeds; its losses by rate, pool and seed."""
    trials = make_study(out, **{"axes": LADDER, "seeds": (0, 1, 2, 3), "kind": "loss", **changes})
    values = 0.4 + np.random.default_rng(8).normal(0, 0.02, (5, 2, 4)) + np.array([0.0, 0.1, -0.1, 0.05])
    for trial, value in zip(trials, values.ravel(), strict=False):
        set_metrics(out, trial, test_loss=float(value))
    return values


def test_a_curve_of_a_grid_is_the_mean_of_its_seeds_curves(tmp_path: Path) -> None:
    values = ladder(tmp_path).mean(axis=1)
    table = collect(tmp_path)
    found = response_panel(table)
    assert found is not None
    assert found.data is not None
    [curve] = found.data["curves"]
    assert (curve["axis"], curve["log"], curve["n"]) == ("optim.learning_rate", True, 4)
    rates = np.log(LADDER["optim.learning_rate"])
    for place in (0, 17, 49):
        own = [np.polyval(np.polyfit(rates, values[:, seed], 3), np.log(curve["at"][place])) for seed in range(4)]
        interval = stats.ttest_1samp(own, 0).confidence_interval(0.95)
        expected = (np.mean(own), interval.low, interval.high)
        assert [curve[part][place] for part in ("mean", "low", "high")] == pytest.approx(expected, rel=1e-6)
    ax = panel(drawing(found))
    diamonds = [line.get_ydata()[0] for line in ax.lines if line.get_marker() == "D"]
    known = effects(table, metric="test_loss").query("axis == 'optim.learning_rate'")
    np.testing.assert_allclose(diamonds, known["mean"])
    assert [text.get_text() for text in ax.get_xticklabels()] == ["0.001", "0.01", "0.1", "0.3", "1"]


def test_a_curve_of_a_sample_is_of_its_arms(tmp_path: Path) -> None:
    trials = sampled(tmp_path, (1.0, 0.0), noise=0.01)
    diverge(tmp_path, trials[0])
    found = response_panel(collect(tmp_path))
    assert found is not None
    assert found.data is not None
    rate, width = found.data["curves"]
    assert (rate["log"], width["log"], rate["n"], width["n"]) == (True, False, 59, 59)
    rates = np.log([trial["arm"]["optim.learning_rate"] for trial in trials[3::3]])
    means = [
        np.mean([json.loads(path.read_text())["metrics"]["test_loss"] for path in paths])
        for paths in np.reshape([tmp_path / "trials" / trial["id"] / "result.json" for trial in trials[3:]], (-1, 3))
    ]
    np.testing.assert_allclose(rate["mean"], np.polyval(np.polyfit(rates, means, 3), np.log(rate["at"])), atol=1e-9)
    made = drawing(found)
    assert {mark.key for mark in made.marks.values()} == {str(number) for number in range(1, 61)} - {
        str(arm.number) for arm in collect(tmp_path).arms if arm.values == trials[0]["arm"]
    }
    assert "1 arm without a result of every seed is not in it." in made.caption


def test_a_curve_over_folds_and_seeds(tmp_path: Path) -> None:
    make_study(tmp_path, axes={"model.features": [8, 16, 32, 64], "fold": [0, 1, 2]})
    found = response_panel(collect(tmp_path))
    assert found is not None
    assert found.data is not None
    [curve] = found.data["curves"]
    known = effects(collect(tmp_path), metric="test_accuracy")
    # Of four values a cubic goes through all means, and there its interval is theirs.
    for place, row in ((0, known.iloc[0]), (-1, known.iloc[-1])):
        expected = [row[part] for part in ("mean", "seeds_low", "seeds_high")]
        assert [curve[part][place] for part in ("mean", "low", "high")] == pytest.approx(expected)


NO_CURVE: dict[str, dict[str, Any]] = {
    "two seeds": {"axes": LADDER, "seeds": (0, 1)},
    "three values": {},
    "values that are no numbers": {"axes": {"model.dropout": [0.1, 0.2, 0.3, None, True]}},
    "axes that change together": {"chosen": [dict.fromkeys(AXES, n) for n in range(5)]},
}


@pytest.mark.parametrize("changes", NO_CURVE.values(), ids=NO_CURVE)
def test_there_is_no_curve_of(tmp_path: Path, changes: dict[str, Any]) -> None:
    make_study(tmp_path, **changes)
    assert response_panel(collect(tmp_path)) is None


def test_where_results_decided_what_was_trained_there_is_no_curve(tmp_path: Path) -> None:
    ladder(tmp_path)
    assert response_panel(replace(collect(tmp_path), adaptive=cast(Any, object()))) is None


# --- with folds, which multiply a design and are no arms


def test_a_star_with_folds_has_a_tornado(tmp_path: Path) -> None:
    axes = {"model.pool": ["max", "average"], "model.features": [16, 8], "fold": [0, 1, 2]}
    base = {"model.pool": "max", "model.features": 16}
    arms = [{**arm, "fold": fold} for arm in star({path: axes[path] for path in base}, base) for fold in axes["fold"]]
    make_study(tmp_path, axes=axes, chosen=arms, combine="product", base=configured(BASE, base))
    made = drawing(tornado_panel(collect(tmp_path)))
    assert bars(made)[0] == ["features: 16 → 8", "pool: max → average"]
    assert "n=3 common folds" in made.caption


def test_a_sample_with_folds_is_one(tmp_path: Path) -> None:
    sampled(tmp_path / "plain", (1.0, 0.5), seeds=(0,))
    study = json.loads((tmp_path / "plain" / "study.json").read_text())
    arms = [{**trial["arm"], "fold": fold} for trial in json_trials(tmp_path / "plain") for fold in (0, 1)]
    axes = {**study["axes"], "fold": [0, 1]}
    make_study(tmp_path / "folds", axes=axes, chosen=arms, combine="product", seeds=(0,), kind="loss")
    folds = {"design": "grid", "axes": {"fold": [0, 1]}}
    design = {"design": "product", "designs": [study["design"], folds]}
    path = tmp_path / "folds" / "study.json"
    write_json(path, json.loads(path.read_text()) | {"design": design})
    table = collect(tmp_path / "folds")
    found = response_panel(table)
    assert found is not None
    assert found.data is not None
    assert [(curve["log"], curve["n"]) for curve in found.data["curves"]] == [(True, 60), (False, 60)]
    importance = importance_panel(table)
    assert importance is not None
    assert importance.data is not None
    assert importance.data["n"] == 60


def json_trials(out: Path) -> list[dict[str, Any]]:
    return json.loads((out / "plan.json").read_text())["trials"]


def test_the_first_sentences_say_which_values_differ(tmp_path: Path) -> None:
    """p and its correction are those of SciPy's paired t test over the seeds' means, where no examples are counted."""
    shifts = {("max", 8): 0.0, ("max", 16): 0.001, ("average", 8): 0.2, ("average", 16): 0.201}
    noise = [[0.010, -0.004, 0.002, 0.007], [0.001, 0.004, -0.003, 0.0], [0.003, 0.0, 0.001, -0.002], [0.0] * 4]
    trials = make_study(
        tmp_path, axes={"model.pool": ["max", "average"], "model.features": [8, 16]}, seeds=(0, 1, 2, 3), kind="loss"
    )
    results: dict[tuple[str, int], list[float]] = {}
    for trial in trials:
        values = trial["arm"]["model.pool"], trial["arm"]["model.features"]
        own = 0.5 + shifts[values] + noise[list(shifts).index(values)][trial["seed"]]
        results.setdefault(values, []).append(own)
        set_metrics(tmp_path, trial, validation_loss=own, test_loss=own)
    table = collect(tmp_path)
    found = effects(table, metric="test_loss").query("reference != text").set_index("axis")
    means = {values: np.array(own) for values, own in results.items()}
    pool = (means["average", 8] + means["average", 16] - means["max", 8] - means["max", 16]) / 2
    features = (means["max", 16] + means["average", 16] - means["max", 8] - means["average", 8]) / 2
    p = [stats.ttest_1samp(pool, 0).pvalue, stats.ttest_1samp(features, 0).pvalue]
    assert found.loc[["model.pool", "model.features"], "p"].tolist() == pytest.approx(p, rel=1e-4)
    assert found.loc[["model.pool", "model.features"], "holm"].tolist() == pytest.approx([2 * p[0], p[1]], rel=1e-4)
    panel = effects_panel(table)
    assert panel is not None
    [said] = panel.answers
    assert said.startswith("By test loss, over matched settings of the other axes, corrected for 2 comparisons: ")
    assert f"pool=average differs from max by +{pool.mean():.4f} [" in said
    assert "n=4 seeds, 2 settings, p" in said
    assert said.endswith(" 1 other value is not told apart.")


def test_values_of_one_setting_are_arms_and_said_of_arms(tmp_path: Path) -> None:
    make_study(tmp_path, axes={"model.pool": ["max", "average"]}, seeds=(0, 1, 2))
    panel = effects_panel(collect(tmp_path))
    assert panel is not None
    assert panel.answers == ()


def test_a_tornado_of_shares_has_the_interval_over_seeds_and_a_thin_one_over_examples_too(tmp_path: Path) -> None:
    base = {path: values[0] for path, values in POOLS.items()}
    changes = {"chosen": star(POOLS, base), "combine": "one_at_a_time", "base": configured(BASE, base)}
    planted(tmp_path, {"average": -0.03, None: 0.03, 8: -0.05}, axes=POOLS, metric="test_accuracy", **changes)
    table = collect(tmp_path)
    made = drawing(tornado_panel(table))
    largest = difference(table, 4, 1, metric="test_accuracy").scaled(100)
    ends = {}
    for line in panel(made).lines:
        (x, y), look = map(np.asarray, line.get_data()), line.get_linestyle()
        if len(x) == 2 and y[0] == 0 and look == "-":
            ends[line.get_linewidth()] = x
    assert ends[1.8] == pytest.approx([largest.seeds_low, largest.seeds_high])
    assert ends[0.6] == pytest.approx([largest.low, largest.high])
    assert "interval over seeds, the thin one that over examples too" in made.caption
