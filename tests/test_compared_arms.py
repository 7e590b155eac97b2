"""Panels of arms beside each other: every pair of them, against SciPy and NumPy."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import special, stats

from cnnjax.documents.colours import contrast, on_dark
from cnnjax.documents.html import escape
from cnnjax.documents.style import styled
from cnnjax.reporting import collect
from cnnjax.reporting.finding import Finding
from cnnjax.reporting.findings import find
from cnnjax.reporting.marks import Drawing
from cnnjax.reporting.pages import render_html
from cnnjax.reporting.panels.comparisons import comparisons_panel
from cnnjax.reporting.panels.pairs import LIMIT, pairs_panel
from cnnjax.reporting.picture_pairs import _colours
from tests.test_reporting import diverge, make_study, set_metrics

POOLS = ["max", "average", "stride"]
LOSSES = np.array([[0.31, 0.29, 0.33, 0.30], [0.41, 0.44, 0.40, 0.46], [0.32, 0.27, 0.35, 0.31]])


def losses_study(out: Path, losses: np.ndarray = LOSSES) -> list[dict[str, Any]]:
    """Arms compared by loss, [arms, seeds] of the test part, the same of validation; NaN is a trial that diverged."""
    pools = [*POOLS, *(f"p{n}" for n in range(3, len(losses)))][: len(losses)]
    trials = make_study(out, axes={"model.pool": pools}, seeds=tuple(range(losses.shape[1])), kind="loss")
    for trial, loss in zip(trials, losses.ravel(), strict=True):
        if math.isnan(loss):
            diverge(out, trial)
        else:
            set_metrics(out, trial, test_loss=float(loss), validation_loss=float(loss))
    return trials


def pairs_of(out: Path) -> Finding:
    found = pairs_panel(collect(out))
    assert found is not None
    assert found.data is not None
    json.dumps(found.data, allow_nan=False)
    return found


def cells(finding: Finding, number: int = 0) -> list[list[str]]:
    return list(finding.grids)[number].cells(exact=True)


def drawn(finding: Finding) -> Drawing:
    with styled():
        made = next(finding.sketches).make()
    assert isinstance(made, Drawing)
    return made


def texts(drawing: Drawing) -> list[str]:
    return [text.get_text() for ax in drawing.figure.axes for text in ax.texts]


def test_every_pair_is_a_paired_t_test_corrected_for_all_pairs(tmp_path: Path) -> None:
    losses_study(tmp_path)
    found = pairs_of(tmp_path).data["pairs"]  # type: ignore[index]
    # The better one, of the smaller loss, first.
    assert [(own["arm"], own["against"]) for own in found] == [(1, 2), (1, 3), (3, 2)]
    p = [stats.ttest_rel(LOSSES[own["arm"] - 1], LOSSES[own["against"] - 1]).pvalue for own in found]
    assert [own["p"] for own in found] == pytest.approx(p, rel=1e-8)
    order = np.argsort(p)
    steps = np.maximum.accumulate(np.sort(p) * [3, 2, 1])
    assert [found[n]["holm"] for n in order] == pytest.approx(np.minimum(steps, 1))
    assert [own["benjamini_hochberg"] for own in found] == pytest.approx(stats.false_discovery_control(p))


def test_effect_size_and_how_often_it_is_better_by_hand(tmp_path: Path) -> None:
    losses_study(tmp_path)
    for own in pairs_of(tmp_path).data["pairs"]:  # type: ignore[index]
        d = LOSSES[own["arm"] - 1] - LOSSES[own["against"] - 1]
        factor = special.gamma(1.5) / (np.sqrt(1.5) * special.gamma(1))
        assert own["g_z"][0] == pytest.approx(factor * d.mean() / d.std(ddof=1))
        wins = int((d < -1e-9).sum())
        interval = stats.binomtest(wins, 4).proportion_ci()
        assert own["better"] == pytest.approx([wins / 4, *interval])
        assert own["tests"]["sign"]["p"] == pytest.approx(stats.binomtest(wins, 4).pvalue)
        assert own["tests"]["wilcoxon"]["smallest"] == 0.125


@pytest.mark.parametrize(("seeds", "shown"), [(5, False), (6, True)])
def test_tests_of_signs_stand_in_the_table_where_they_can_find_anything(
    tmp_path: Path, seeds: int, shown: bool
) -> None:
    losses = 0.5 + np.array([0.0, 0.1, 0.3])[:, None] + np.random.default_rng(0).normal(0, 0.001, (3, seeds))
    losses_study(tmp_path, losses)
    grid = list(pairs_of(tmp_path).grids)[1]
    heads = [column.label for column in grid.columns]
    assert ("Wilcoxon" in heads) == shown
    if shown:
        assert {row[heads.index("sign test")] for row in grid.cells(exact=True)} == {"0.031"}


def test_counts_and_the_table_are_of_the_pairs_that_differ(tmp_path: Path) -> None:
    losses_study(tmp_path)
    found = pairs_of(tmp_path)
    # Only 1 beats 2, after the correction.
    assert [row[2:] for row in cells(found)] == [["1", "0", "1"], ["0", "1", "1"], ["0", "0", "2"]]
    assert [row[:2] for row in cells(found, 1)] == [["1 (pool=max)", "2 (pool=average)"]]
    assert cells(found, 1)[0][3].startswith("-0.1200 ±")
    assert "3 pairs, of which 1 differs after Holm's correction and 2 after" in found.blocks[1].lines[0]  # type: ignore[union-attr]


def test_the_matrix_says_differences_below_and_margins_above(tmp_path: Path) -> None:
    losses_study(tmp_path)
    found = pairs_of(tmp_path)
    drawing = drawn(found)
    means = LOSSES.mean(axis=1)
    said = texts(drawing)
    assert {f"{means[1] - means[0]:+.3f}*", f"{means[2] - means[0]:+.3f}", f"{means[2] - means[1]:+.3f}"} <= set(said)
    within = {f"≤{own['within']:.3f}" for own in found.data["pairs"] if not own["holm"] < 0.05}  # type: ignore[index]
    assert {text for text in said if text.startswith("≤")} == within
    # A loss that is less is better: the lower row, of the larger loss, is worse.
    assert said[-2:] == ["row better", "row worse"]
    ends = {mark.text.split(":")[0] for mark in drawing.marks.values()}
    assert "arm 1 (pool=max)" in ends


@pytest.mark.parametrize("value", [-1.0, -0.6, -0.3, 0.0, 0.3, 0.6, 1.0])
def test_numbers_of_the_matrix_can_be_read_in_both_themes(value: float) -> None:
    ground, ink = _colours(value, 1.0, higher_is_better=True)
    assert contrast(ground, ink) >= 4.5
    assert contrast(on_dark(ground), on_dark(ink)) >= 4.5


def test_blue_is_better_whatever_the_metric() -> None:
    assert _colours(0.9, 1.0, higher_is_better=True) == _colours(-0.9, 1.0, higher_is_better=False)
    assert _colours(0.9, 1.0, higher_is_better=True) != _colours(-0.9, 1.0, higher_is_better=True)


def test_arms_that_share_too_few_seeds_are_not_tested(tmp_path: Path) -> None:
    """One arm has none of the first two seeds, another none of the last two."""
    losses = np.vstack([LOSSES, LOSSES[0] + 0.001])
    losses[1, :2] = losses[3, 2:] = math.nan
    losses_study(tmp_path, losses)
    found = pairs_of(tmp_path)
    by_pair = {frozenset((own["arm"], own["against"])): own for own in found.data["pairs"]}  # type: ignore[index]
    apart = by_pair[frozenset((2, 4))]
    assert (apart["difference"]["n"], apart["p"], apart["better"]) == (0, None, [None, None, None])
    assert by_pair[frozenset((1, 3))]["p"] is not None
    assert "5 could not be tested." in found.blocks[1].lines[0]  # type: ignore[union-attr]
    assert "flatters" in found.blocks[1].lines[0]  # type: ignore[union-attr]
    assert "–" in texts(drawn(found))


@pytest.mark.parametrize(
    ("axes", "seeds", "kind"),
    [
        (POOLS, (0, 1), "accuracy"),
        (POOLS, (0,), "accuracy"),
        (POOLS[:2], (0, 1, 2), "accuracy"),
        (POOLS[:1], (0, 1, 2), "accuracy"),
    ],
)
def test_without_seeds_or_arms_there_is_no_panel(tmp_path: Path, axes: list[str], seeds: tuple[int], kind: str) -> None:
    make_study(tmp_path, axes={"model.pool": axes}, seeds=seeds, kind=kind)
    assert pairs_panel(collect(tmp_path)) is None


def test_of_many_arms_the_best_by_validation_are_compared(tmp_path: Path) -> None:
    count = LIMIT + 4
    trials = make_study(tmp_path, axes={"model.pool": [f"p{n}" for n in range(count)]})
    for place, trial in enumerate(trials):
        set_metrics(tmp_path, trial, validation_accuracy=0.5 + place / 1000)
    found = pairs_of(tmp_path)
    assert found.data["arms"] == list(range(5, count + 1))  # type: ignore[index]
    assert len(found.data["pairs"]) == math.comb(LIMIT, 2)  # type: ignore[index]
    assert f"Of {count} arms only the {LIMIT} best by validation" in found.blocks[1].lines[0]  # type: ignore[union-attr]
    assert found.answers == () or "next to it" in found.answers[0]


def test_the_chosen_arm_is_said_to_be_better_than_those_it_is_better_than(tmp_path: Path) -> None:
    losses = 0.5 + np.array([0.0, -0.1, -0.1, 0.1])[:, None] + np.random.default_rng(1).normal(0, 0.002, (4, 5))
    losses_study(tmp_path, losses)
    best, other = (2, 3) if losses[1].mean() < losses[2].mean() else (3, 2)
    assert pairs_of(tmp_path).answers == (
        f"Arm {best}, chosen by validation, is better than arms 1 and 4 and not told apart from arm {other} by test "
        "loss, corrected for 6 pairs.",
    )
    losses_study(tmp_path, np.vstack([losses[0], losses[best - 1], losses[3]]))
    [said] = pairs_of(tmp_path).answers
    assert "is better than the others by test loss" in said
    losses_study(tmp_path, np.random.default_rng(3).normal(0.5, 0.01, (3, 5)) - np.array([[0.0], [0.01], [0.0]]))
    [said] = pairs_of(tmp_path).answers
    assert "Arm 2, chosen by validation, is not told apart from any of the others by" in said


def test_of_folds_and_seeds_what_is_of_seeds_alone_is_left_out(tmp_path: Path) -> None:
    values = np.random.default_rng(2).normal(0.8, 0.01, (3, 4, 3)) + np.array([0.0, 0.05, 0.1])[:, None, None]
    axes = {"model.features": [8, 16, 32], "fold": [0, 1, 2, 3]}
    trials = make_study(tmp_path, axes=axes)
    for trial, value in zip(trials, values.ravel(), strict=True):
        metrics = {"validation_accuracy": float(value), "test_accuracy": float(value)}
        set_metrics(tmp_path, trial, **metrics)
    found = pairs_of(tmp_path)
    for own in found.data["pairs"]:  # type: ignore[index]
        assert own["difference"]["n"] == 4
        assert own["p"] is not None
        assert own["detectable"] is None
        assert not {"g_z", "better", "tests"} & set(own)
    assert "not given of folds and seeds" in found.blocks[-1].lines[0]  # type: ignore[union-attr]
    drawn(found)


def test_arms_that_are_the_same_in_every_seed_are_not_tested(tmp_path: Path) -> None:
    losses = np.vstack([LOSSES, LOSSES[0]])
    losses_study(tmp_path, losses)
    by_pair = {(own["arm"], own["against"]): own for own in pairs_of(tmp_path).data["pairs"]}  # type: ignore[index]
    assert by_pair[1, 4]["p"] is None
    assert by_pair[1, 4]["better"][0] == 0.5


def test_names_are_shown_as_they_are(tmp_path: Path) -> None:
    make_study(tmp_path, axes={"model.pool": ["max", "<script>alert(1)</script>", "$x_1$"]})
    assert any("<script>" in text for text in texts(drawn(pairs_of(tmp_path))))


RIGHT = np.array([[350, 352, 349, 351], [345, 346, 344, 347], [350, 351, 350, 352]])
"""Of 359 examples of the test part, by arm and seed."""


def accuracies_study(out: Path, right: np.ndarray = RIGHT) -> list[dict[str, Any]]:
    trials = make_study(out, axes={"model.pool": POOLS}, seeds=tuple(range(right.shape[1])))
    for trial, own in zip(trials, right.ravel(), strict=True):
        set_metrics(out, trial, test_accuracy=own / 359, validation_accuracy=own / 359)
    return trials


def test_seeds_alone_tell_arms_apart_where_examples_are_too_few(tmp_path: Path) -> None:
    """Five of 359 examples in every seed: SciPy's paired t test finds them, and other examples might not."""
    accuracies_study(tmp_path)
    finding = comparisons_panel(collect(tmp_path))
    assert finding is not None
    assert finding.data is not None
    found, against = finding.data["comparisons"], finding.data["reference"]
    gaps = [(RIGHT[own["arm"] - 1] - RIGHT[against - 1]) / 359 for own in found]
    p = [stats.ttest_1samp(gap, 0).pvalue for gap in gaps]
    assert [own["p_of_seeds"] for own in found] == pytest.approx(p, rel=1e-6)
    assert [own["holm_of_seeds"] for own in found] == pytest.approx(np.minimum(np.array(p) * [2, 1], 1), rel=1e-6)
    low, high = stats.ttest_1samp(gaps[0], 0).confidence_interval(0.95)
    assert (found[0]["difference"]["seeds_low"], found[0]["difference"]["seeds_high"]) == pytest.approx((low, high))
    assert p[0] * 2 < 0.05 < found[0]["holm"]
    assert f"Over seeds alone, on these examples: arm {found[0]['arm']} differs by" in finding.answers[0]
    heads = [column.heading for column in next(finding.grids).columns]
    assert heads[4:9] == [
        "95% interval over seeds",
        "p over seeds, corrected",
        "also over examples",
        "p over examples too",
        "p over examples too, corrected",
    ]


def test_a_page_begins_with_four_sentences_at_most_and_has_the_others_below(tmp_path: Path) -> None:
    trials = accuracies_study(tmp_path)
    found = find(collect(tmp_path), draw=False)
    assert found.head[0].startswith("Chosen by validation")
    assert len(found.head) <= 4
    assert sorted(found.first) == sorted([*found.opening, *found.answers, *found.closing])
    before, after = render_html(found).split('<details class="more">')
    assert all(escape(said) in before for said in found.head)
    assert all(escape(said) in after.split("</details>")[0] for said in found.more)
    assert not any(said in found.head for said in found.closing)
    diverge(tmp_path, trials[0])
    failed = find(collect(tmp_path), draw=False).head
    assert any("11 of 12 planned trials finished, 1 failed" in said for said in failed), "what is missing is said first"
