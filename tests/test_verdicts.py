"""Verdicts on claims, from the files of made-up studies: against SciPy, and against numbers worked by hand."""

from __future__ import annotations

import itertools
import json
import math

import numpy as np
import pytest
from scipy import stats

from cnnjax import Claim, ConfigError, RunError
from cnnjax.reporting import collect
from cnnjax.reporting.intervals import Quantity, Term, contrast, paired
from cnnjax.reporting.verdicts import verdict, word_of

AXES = {"model.pool": ["max", "average"], "model.features": [8, 16]}
BASE = {"model": {"pool": "max", "features": 8}}
RIGHT = {
    ("max", 8): [0.90, 0.91, 0.93, 0.92],
    ("max", 16): [0.94, 0.95, 0.93, 0.96],
    ("average", 8): [0.88, 0.90, 0.90, 0.89],
    ("average", 16): [0.93, 0.92, 0.92, 0.93],
}


def study(out, results=RIGHT, examples=None, axes=AXES, combine="grid", rows=None):
    """A folder with a result per arm and seed: of an accuracy, of all metrics, or "diverged", "unfinished"."""
    trials = []
    for (pool, features), values in results.items():
        arm = {"model.pool": pool, "model.features": features}
        for seed, value in enumerate(values):
            name = f"{pool}{features}s{seed}"
            trials.append({"id": name, "arm": arm, "seed": seed})
            folder = out / "trials" / name
            folder.mkdir(parents=True)
            if rows is not None:
                own = [{"step": n, "epoch": n, "validation_accuracy": x} for n, x in enumerate(rows[pool, seed], 1)]
                (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in own))
            if value == "unfinished":
                continue
            ended = {"status": "done", "metrics": value if isinstance(value, dict) else {"test_accuracy": value}}
            if value == "diverged":
                ended = {"status": "failed", "cause": "diverged", "error": "diverged", "metrics": {}}
            result = {"id": name, "seed": seed, "params": 1, "macs": 1, "examples": examples or {}, **ended}
            (folder / "result.json").write_text(json.dumps(result))
    seeds = list(range(len(next(iter(results.values())))))
    (out / "study.json").write_text(json.dumps({"axes": axes, "seeds": seeds, "base": BASE, "combine": combine}))
    (out / "plan.json").write_text(json.dumps({"trials": trials}))
    return collect(out)


def claim(**changes):
    fields = {"of": {"model.pool": "max"}, "against": {"model.pool": "average"}, "expects": "more", "margin": 0.005}
    return Claim("Max pooling wins", **fields | changes)


def test_a_difference_is_scipys_over_the_means_of_the_other_axis(tmp_path):
    found = verdict(study(tmp_path), claim())
    largest, average = (np.mean([RIGHT[pool, 8], RIGHT[pool, 16]], axis=0) for pool in ("max", "average"))
    expected = stats.ttest_rel(largest, average).confidence_interval(0.95)
    np.testing.assert_allclose(list(found.values.values()), largest - average, rtol=1e-12)
    np.testing.assert_allclose((found.spread.low, found.spread.high), expected, rtol=1e-9)
    assert (found.word, found.settings, found.planned) == ("holds", 2, 4)
    assert found.largest == pytest.approx(expected.high)
    # Differences of 1.5, 2, 2 and 3 points: a mean of 2.125, a deviation of 0.629, and t = 3.182 of three degrees.
    assert found.measured == "+2.12 points [1.12, 3.13], n = 4 seeds, at most 3.13 points"


def test_an_interaction_is_a_difference_of_differences(tmp_path):
    pools = [{"model.pool": "max", "model.features": 8}, {"model.pool": "average", "model.features": 16}]
    others = [{"model.pool": "average", "model.features": 8}, {"model.pool": "max", "model.features": 16}]
    found = verdict(study(tmp_path), claim(of=pools, against=others))
    narrow, wide = (np.subtract(RIGHT["max", n], RIGHT["average", n]) for n in (8, 16))
    expected = stats.ttest_rel(narrow, wide).confidence_interval(0.95)
    np.testing.assert_allclose((found.spread.low, found.spread.high), expected, rtol=1e-9)
    assert (found.word, found.settings) == ("not told apart", 1)


def test_examples_widen_an_interval_by_the_fewest_that_can_make_the_difference(tmp_path):
    table = study(tmp_path, examples={"test": 1000})
    differences = [0.015, 0.02, 0.02, 0.03]
    mean, half = 0.02125, stats.t.ppf(0.975, 3) * np.std(differences, ddof=1) / 2
    sampling = (mean * (1 - mean) + 1 / 1000) / 1000
    wide = math.sqrt(half**2 + stats.norm.ppf(0.975) ** 2 * sampling)
    found = verdict(table, claim()).spread
    np.testing.assert_allclose((found.low, found.high), (mean - wide, mean + wide), rtol=1e-9)
    same = paired(differences, Quantity(0, 1, proportion=True, examples=1000))
    assert (same.low, same.high) == pytest.approx((found.low, found.high)), "as the effects of a report have it"


def least_variance(mean: float, arms: int, examples: int = 4) -> float:
    """The least variance of whole numbers of -arms..arms with that mean, by trying all of them."""
    found = [
        np.var(numbers)
        for numbers in itertools.combinations_with_replacement(range(-arms, arms + 1), examples)
        if math.isclose(np.mean(numbers), mean, abs_tol=1e-12)
    ]
    return float(min(found))


@pytest.mark.parametrize(("mean", "arms"), [(0.0, 1), (0.25, 1), (-0.5, 1), (1.0, 1), (1.25, 2), (-1.75, 2), (0.75, 2)])
def test_the_sampling_of_a_contrast_is_the_least_that_whole_examples_allow(mean, arms):
    term = Term(mean, Quantity(0, 1, proportion=True, examples=4), arms)
    assert term.sampling * 4 - 1 / 4 == pytest.approx(least_variance(mean, arms))
    assert term.reach == arms


def test_a_contrast_ends_where_its_sum_does():
    accuracy = Quantity(0.0, 1.0)
    values = [-2.0, 2.0, 2.0, 2.0]
    assert contrast(values, [Term(1.0, accuracy, arms=2)]).high == 2
    assert contrast(values, [Term(1.0, accuracy), Term(1.0, accuracy)]).high == 2, "a metric less another"
    assert contrast(values, [Term(1.0, accuracy)]).high == 1


def test_a_metric_less_another_is_the_gap_between_them(tmp_path):
    results = {
        (pool, 8): [{"train_accuracy": train, "test_accuracy": test} for train, test in gaps]
        for pool, gaps in {
            "max": [(0.99, 0.90), (0.98, 0.91), (0.99, 0.92)],
            "average": [(0.95, 0.91), (0.94, 0.90), (0.96, 0.91)],
        }.items()
    }
    table = study(tmp_path, results, axes={"model.pool": ["max", "average"]})
    found = verdict(table, claim(metric="train_accuracy", less="test_accuracy"))
    np.testing.assert_allclose(list(found.values.values()), [0.05, 0.03, 0.02])
    expected = stats.ttest_rel([0.09, 0.07, 0.07], [0.04, 0.04, 0.05]).confidence_interval(0.95)
    np.testing.assert_allclose((found.spread.low, found.spread.high), expected, rtol=1e-9)


EPOCHS = {
    **{("max", seed): [0.5 + seed / 100, 0.9] for seed in range(3)},
    **{("average", seed): [0.4 + seed / 50, 0.9] for seed in range(3)},
}


def two_arms(*ended, other=(0.5, 0.6, 0.7)):
    return {("max", 8): list(ended), ("average", 8): list(other)}


ONE_AXIS = {"model.pool": ["max", "average"]}


def test_a_number_of_an_epoch_is_that_of_its_end(tmp_path):
    table = study(tmp_path, two_arms(0.5, "diverged", 0.7), axes=ONE_AXIS, rows=EPOCHS)
    found = verdict(table, claim(metric="validation_accuracy", epoch=1))
    np.testing.assert_allclose(list(found.values.values()), [0.1, 0.09, 0.08])
    assert (found.word, found.diverged) == ("holds", ()), "it diverged later, and has that number"
    with pytest.raises(RunError, match="no metric of epoch 3"):
        verdict(table, claim(metric="validation_accuracy", epoch=3))


def test_a_training_that_diverged_counts_as_the_worst_share(tmp_path):
    table = study(tmp_path, two_arms(0.9, 0.91, 0.92, other=("diverged", "diverged", "diverged")), axes=ONE_AXIS)
    found = verdict(table, claim())
    np.testing.assert_allclose(list(found.values.values()), [0.9, 0.91, 0.92])
    assert found.word == "holds"
    assert found.remarks == (
        "3 diverged (pool=average, seed 0; pool=average, seed 1; pool=average, seed 2): a training that diverged "
        "counts as 0.00",
    )


def test_survivors_alone_make_no_verdict_where_what_diverged_has_no_number(tmp_path):
    results = two_arms(
        {"test_loss": 0.3}, {"test_loss": 0.31}, {"test_loss": 0.32}, "diverged", other=[{"test_loss": 0.5}] * 4
    )
    found = verdict(study(tmp_path, results, axes=ONE_AXIS), claim(metric="test_loss", expects="less"))
    assert (found.word, found.spread.n, found.planned) == ("no verdict", 3, 4)
    assert found.remarks == ("1 diverged (pool=max, seed 3): it has no such number",)


def test_there_is_no_verdict_before_every_seed_has_ended(tmp_path):
    found = verdict(study(tmp_path, two_arms(0.9, 0.91, 0.92, "unfinished", other=[0.5] * 4), axes=ONE_AXIS), claim())
    assert (found.word, found.spread.n, found.planned) == ("no verdict", 3, 4)
    assert found.remarks == ("1 without a result: pool=max, seed 3: unfinished",)
    assert "n = 3 of 4 seeds" in found.measured


def test_settings_that_one_side_lacks_are_left_out(tmp_path):
    star = {arm: RIGHT[arm] for arm in [("max", 8), ("max", 16), ("average", 8)]}
    found = verdict(study(tmp_path, star, combine="one_at_a_time"), claim())
    assert found.settings == 1
    np.testing.assert_allclose(list(found.values.values()), [0.02, 0.01, 0.03, 0.03])
    with pytest.raises(RunError, match="which no trained arm has"):
        verdict(collect(tmp_path), claim(of={"model.pool": "blur"}))
    with pytest.raises(RunError, match="'test_acuracy' is no metric. Did you mean 'test_accuracy'"):
        verdict(collect(tmp_path), claim(metric="test_acuracy"))


def test_arms_without_a_common_setting_are_refused(tmp_path):
    table = study(tmp_path, {arm: RIGHT[arm] for arm in [("max", 8), ("average", 16)]})
    with pytest.raises(RunError, match="no setting of the other axes in common"):
        verdict(table, claim())


WORDS = [
    ("more", 0.001, 0.002, "holds"),
    ("more", -0.02, -0.001, "fails"),
    ("more", -0.001, 0.002, "no difference larger than"),
    ("more", -0.001, 0.02, "not told apart"),
    ("less", -0.02, -0.001, "holds"),
    ("less", 0.001, 0.02, "fails"),
    ("less", -0.004, 0.004, "no difference larger than"),
    ("less", -0.02, 0.02, "not told apart"),
    ("same", -0.004, 0.004, "holds"),
    ("same", 0.001, 0.004, "holds"),
    ("same", 0.001, 0.02, "fails"),
    ("same", -0.02, -0.001, "fails"),
    ("same", -0.001, 0.02, "not told apart"),
]


@pytest.mark.parametrize(("expects", "low", "high", "word"), WORDS)
def test_words(expects, low, high, word):
    assert word_of(claim(expects=expects), low, high) == word


def test_a_verdict_says_its_margin(tmp_path):
    same = [0.9, 0.91, 0.92, 0.93]
    table = study(tmp_path, two_arms(*same, other=[0.9, 0.911, 0.92, 0.931]), axes=ONE_AXIS)
    assert verdict(table, claim()).verdict == "no difference larger than 0.50 points"
    assert verdict(table, claim(expects="same")).verdict == "holds (no difference larger than 0.50 points)"


def test_two_seeds_make_no_verdict(tmp_path):
    found = verdict(study(tmp_path, two_arms(0.9, 0.91, other=(0.5, 0.6)), axes=ONE_AXIS), claim())
    assert (found.word, found.measured) == ("no verdict", "+35.50 points, n = 2 seeds")


def test_sides_of_different_size_are_no_difference():
    with pytest.raises(ConfigError, match="of names 2 and against 1"):
        claim(of=[{"model.pool": "max"}, {"model.pool": "blur"}])
