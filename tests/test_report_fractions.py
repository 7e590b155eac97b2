"""The effects of a fraction of two-level axes, against a textbook's numbers and least squares."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from cnnjax import Experiment, SmallCNN, Study, plan
from cnnjax.documents.markdown import markdown
from cnnjax.reporting import collect
from cnnjax.reporting.findings import find
from cnnjax.reporting.fraction_effects import contrasts, fraction, fraction_grid
from cnnjax.reporting.labels import key
from cnnjax.reporting.picture_effects import by_axis
from cnnjax.reporting.writing import summary_json
from cnnjax.study.designs import FractionalFactorial, Grid, Product
from cnnjax.study.pairing import comparisons_json
from cnnjax.study.plan_table import plan_table
from cnnjax.study.two_levels import planned_fraction
from tests.test_aliasing import arms
from tests.test_reporting import change_result, make_study, set_metrics

AXES = {"model.features": [8, 32], "model.kernel_size": [3, 5], "model.pool": ["max", "average"], "epochs": [5, 9]}
LETTERS = dict(zip("ABCD", AXES, strict=True))
HALF = [
    {LETTERS[a]: AXES[LETTERS[a]][(sign + 1) // 2] for a, sign in row.items()} for row in arms("ABCD", {"D": "ABC"})
]
SIGNS = np.array([[row[a] for a in "ABCD"] for row in arms("ABCD", {"D": "ABC"})])

# Montgomery (2013), table 8.3: the filtration rates of a half fraction of four factors, by the factors that are high.
RATES = {"": 45, "ad": 100, "bd": 45, "ab": 65, "cd": 75, "ac": 60, "bc": 80, "abcd": 96}
EFFECTS = {"A": 19.0, "B": 1.5, "C": 14.0, "D": 16.5, "AB": -1.0, "AC": -18.5, "AD": 19.0}
NOISE = np.random.default_rng(3).normal(0, 2, (8, 3))
NOISE -= NOISE.mean(axis=1, keepdims=True)
METRIC = "test_loss"


def rate(arm) -> int:
    return RATES["".join(a.lower() for a, path in LETTERS.items() if arm[path] == AXES[path][1])]


def study(out: Path, chosen=HALF, axes=AXES):
    """Rates for losses, with noise that every seed has of its own and whose mean is 0."""
    trials = make_study(out, axes=axes, chosen=chosen, kind="loss")
    for trial in trials:
        arm = {path: trial["arm"][path] for path in AXES}
        value = rate(arm) + NOISE[HALF.index(arm), trial["seed"]]
        set_metrics(out, trial, validation_loss=value, **{METRIC: value})
    return trials


def named(effect) -> str:
    return "".join(letter for letter, path in LETTERS.items() if path in effect)


def test_effects_are_the_textbooks(tmp_path):
    study(tmp_path)
    found = contrasts(collect(tmp_path), METRIC)
    assert {named(next(iter(own.chain))): own.spread.mean for own in found} == pytest.approx(EFFECTS)
    assert [[named(effect) for effect in own.chain] for own in found[4:]] == [["AB", "CD"], ["AC", "BD"], ["AD", "BC"]]


def test_effects_and_intervals_are_those_of_least_squares_seed_by_seed(tmp_path):
    study(tmp_path)
    columns = [SIGNS[:, ["ABCD".index(a) for a in effect]].prod(axis=1) for effect in EFFECTS]
    matrix = np.column_stack([np.ones(8), *columns])
    results = np.array([rate(arm) for arm in HALF])[:, None] + NOISE
    twice = 2 * np.linalg.lstsq(matrix, results, rcond=None)[0][1:]
    for own, expected in zip(contrasts(collect(tmp_path), METRIC), twice, strict=True):
        interval = stats.ttest_1samp(expected, 0).confidence_interval(0.95)
        assert own.spread.n == 3
        np.testing.assert_allclose([own.spread.low, own.spread.high], interval)


def test_the_report_says_resolution_generators_and_aliases(tmp_path):
    study(tmp_path)
    table = collect(tmp_path)
    [section] = [own for own in find(table, draw=False).sections if own.title == "What each axis does"]
    text = markdown(section.blocks).replace("\\", "")
    assert "2^(4-1): 8 of 16 combinations, resolution IV" in text
    assert "Generators: epochs = features x kernel_size x pool" in text
    assert "features x kernel_size, pool x epochs" in text
    assert "Nowhere has every value" not in text
    first, *_, last = fraction_grid(table, METRIC).rows
    assert first[:3] == ("features: 8 to 32", "", "3")
    assert first[3].startswith("+19.0")
    assert last[:2] == ("features x kernel_size", "pool x epochs")
    of = summary_json(table)["fraction"]
    assert (of["resolution"], of["generators"]["epochs"]["sign"]) == (4, 1)
    [pool] = [own for own in of["contrasts"] if own["effects"][0]["axes"] == ["model.pool"] and own["metric"] == METRIC]
    assert pool["mean"] == pytest.approx(14.0)


def test_a_seed_counts_once_all_arms_have_finished_with_it(tmp_path):
    trials = study(tmp_path)
    change_result(tmp_path, trials[-1], status="failed", error="loss is not finite", cause="diverged")
    assert trials[-1]["seed"] == 2
    found = contrasts(collect(tmp_path), METRIC)
    assert {own.spread.n for own in found} == {2}
    two = np.array([rate(arm) for arm in HALF])[:, None] + NOISE[:, :2]
    assert found[0].spread.mean == pytest.approx(2 * (SIGNS[:, 0] @ two / 8).mean())


def test_over_the_settings_of_other_axes_effects_are_means(tmp_path):
    rates = {**AXES, "optim.learning_rate": [0.1, 0.2, 0.3]}
    study(tmp_path, chosen=[{**arm, "optim.learning_rate": r} for arm in HALF for r in (0.1, 0.2, 0.3)], axes=rates)
    found = contrasts(collect(tmp_path), METRIC)
    assert {named(next(iter(own.chain))): own.spread.mean for own in found} == pytest.approx(EFFECTS)


def test_all_combinations_are_no_fraction(tmp_path):
    make_study(tmp_path, axes={name: AXES[name] for name in list(AXES)[:3]})
    table = collect(tmp_path)
    assert fraction(table) is None
    assert contrasts(table, "test_accuracy") == []
    assert "fraction" not in summary_json(table)


def test_a_plan_says_it_before_anything_is_trained():
    base = Experiment(model=SmallCNN(features=2, dense=0), steps=2, folds=2)
    axes = {"model.kernel_size": (3, 5), "model.pool": ("max", "average"), "epochs": (5, 9), "batch_size": (16, 32)}
    design = FractionalFactorial(axes=axes, resolution=4)
    study = Study(base, design=design, seeds=1)
    planned = plan(study)
    said = [f"{own}" for own in plan_table(planned).renderables]
    assert comparisons_json(planned)["fraction"][0].startswith("A fractional factorial, 2^(4-1)")
    assert any("resolution IV" in own and "batch_size = kernel_size x pool x epochs" in own for own in said)
    assert any("kernel_size x pool, epochs x batch_size" in own for own in said)
    folds = Product(designs=(design, Grid(axes={"fold": (0, 1)})))
    assert planned_fraction(Study(base, design=folds)) == planned_fraction(study)
    assert planned_fraction(Study(base, axes=axes)) is None


def extended(out: Path, chosen, design) -> None:
    """A study of 8 and 32 features, extended by `chosen`, as written by --extend."""
    make_study(out, axes={**AXES, "model.features": [8, 32, 64]}, chosen=chosen, kind="loss")
    path = out / "study.json"
    earlier = {"design": {"design": "fractional_factorial", "axes": AXES}, "trials": 12}
    path.write_text(json.dumps(json.loads(path.read_text()) | {"design": design, "extends": [earlier]}))


def test_effects_of_an_extended_fraction_are_those_of_its_present_design(tmp_path):
    widest = [arm | {"model.features": 64} for arm in HALF if arm["model.features"] == 32]
    present = {"design": "fractional_factorial", "axes": {**AXES, "model.features": [8, 64]}}
    extended(tmp_path / "extended", [*HALF, *widest], present)
    now = [arm for arm in HALF if arm["model.features"] == 8] + widest
    make_study(tmp_path / "apart", axes=present["axes"], chosen=now, kind="loss")
    table = collect(tmp_path / "extended")
    results = {
        key(arm.values): table.results.set_index(["arm", "seed"])[METRIC][arm.number].to_numpy() for arm in table.arms
    }
    for own in contrasts(table, METRIC):
        effect = next(iter(own.chain))
        signs = [np.prod([1 if arm[path] == present["axes"][path][1] else -1 for path in effect]) for arm in now]
        expected = np.mean([s * results[key(arm)] for s, arm in zip(signs, now, strict=True)]) * 2
        assert own.spread.mean == pytest.approx(expected)
    assert len(contrasts(table, METRIC)) == 7
    assert fraction(table) == fraction(collect(tmp_path / "apart"))
    [section] = [own for own in find(table, draw=False).sections if own.title == "What each axis does"]
    text = markdown(section.blocks).replace("\\", "")
    assert "features: 8 to 64" in text
    assert (
        "the 8 that have the values of the present design alone: 4 arms of the study that it extends are left out"
        in text
    )


def test_where_the_present_design_is_no_fraction_it_is_said_that_effects_are_not_estimated(tmp_path):
    extra = [HALF[0] | {"model.features": 64}]
    extended(tmp_path, [*HALF, *extra], {"design": "listed", "chosen": extra})
    table = collect(tmp_path)
    assert contrasts(table, METRIC) == []
    [section] = [own for own in find(table, draw=False).sections if own.title == "What each axis does"]
    assert "Effects of the fraction are not estimated: arms of an extended study" in markdown(section.blocks)
    assert "not_estimated" in summary_json(table)["fraction"]


def test_a_picture_of_effects_without_matched_arms_is_left_out(tmp_path):
    study(tmp_path)
    assert by_axis(collect(tmp_path)) is None
