"""The panels of a report: what each says is shown by page, Markdown, LaTeX and JSON alike."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from cnnjax.documents.document import Column, Grid, paragraph
from cnnjax.records.specification import BEFORE
from cnnjax.reporting import Finding, collect, find, findings, report
from cnnjax.reporting.at_chance import at_chance
from cnnjax.reporting.compared import compared
from cnnjax.reporting.headline import foremost, headline
from cnnjax.reporting.intervals import Quantity, judged, paired
from cnnjax.reporting.panels import PANELS
from cnnjax.reporting.panels.networks import networks_panel
from cnnjax.reporting.panels.stability import stability_panel
from cnnjax.reporting.panels.time_to_target import time_to_target_panel
from cnnjax.reporting.picture_curves import _means
from cnnjax.reporting.provenance import run_again
from cnnjax.reporting.statistics import chosen, reference
from cnnjax.reporting.study_table import Table
from cnnjax.reporting.tidy import trials_frame
from cnnjax.statistics.power import detectable
from tests.test_reporting import BASE, change_result, diverge, make_study, set_metrics, study_path, write_json

ROWS = Grid("Of planted numbers", (Column("what"), Column("number", "number")), [("planted", "0.12345")])


def planted(table: Table) -> Finding:
    blocks = [ROWS, paragraph("A remark about the planted.")]
    return Finding("planted", "Planted", blocks, answers=("The planted is 0.12345.",), data={"planted": 0.12345})


def silent(table: Table) -> None:
    return None


def test_a_panel_is_shown_everywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_study(tmp_path)
    monkeypatch.setattr(findings, "PANELS", [planted, silent, *PANELS])
    summary = report(tmp_path)
    for name in ("index.html", "report.md"):
        text = (summary.folder / name).read_text()
        arms = "<h2>Arms<" if name == "index.html" else "## Arms"
        places = [text.index(said) for said in ("The planted is 0.12345.", "A remark about the planted.", arms)]
        assert places == sorted(places)
        assert "Of planted numbers" in text
    assert r"planted & 0.12345 \\" in (summary.folder / "tables" / "planted.tex").read_text()
    assert json.loads(summary.json)["findings"]["planted"] == {"planted": 0.12345}


def test_every_finding_has_a_name_and_an_anchor_of_its_own(tmp_path: Path) -> None:
    make_study(tmp_path)
    found = find(collect(tmp_path), draw=False)
    names = [finding.name for finding in found.every]
    assert len(set(names)) == len(names) > 5
    assert all(name.isidentifier() for name in names)
    assert not found.pictures
    json.dumps(found.data, allow_nan=False)


def cells(finding: Finding) -> list[list[str]]:
    return next(finding.grids).cells(exact=True)


def curve(folder: Path, trial: dict, values: list[float]) -> None:
    """Writes the validation accuracy of each epoch of ten steps."""
    rows = [{"step": 10 * n, "epoch": n, "validation_accuracy": value} for n, value in enumerate(values, start=1)]
    (folder / "trials" / trial["id"] / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_time_to_a_target_by_hand(tmp_path: Path) -> None:
    trials = make_study(tmp_path, axes={"model.pool": ["max", "average"]})
    for trial, end in zip(trials, [0.5] * 3 + [0.9] * 3, strict=True):
        set_metrics(tmp_path, trial, validation_accuracy=end)
        change_result(tmp_path, trial, steps=40, seconds={"step": 7.0, "input": 1.0})
    # The median over arms of their means is 0.7.
    curves = [[0.1, 0.7, 0.6, 0.5], [0.1, 0.2, 0.3, 0.5], [0.7, 0.2, 0.3, 0.5]]
    curves += [[0.1, 0.2, 0.3, 0.9], [0.1, 0.8, 0.2, 0.9], [0.1, 0.2, 0.71, 0.9]]
    for trial, values in zip(trials, curves, strict=True):
        curve(tmp_path, trial, values)
    found = time_to_target_panel(collect(tmp_path))
    assert found is not None
    assert cells(found) == [
        ["1", "max", "2 of 3", "2 (1 to ∞)", "20 (10 to ∞)", "4 (2 to ∞)"],
        ["2", "average", "3 of 3", "3 (2 to 4)", "30 (20 to 40)", "6 (4 to 8)"],
    ]
    assert "at least 70.00%" in found.blocks[1].lines[0]  # type: ignore[union-attr]
    change_result(tmp_path, trials[0], packed=2)
    assert cells(time_to_target_panel(collect(tmp_path)))[0][-1] == "–"  # type: ignore[arg-type]


def test_a_loss_meets_its_target_from_above(tmp_path: Path) -> None:
    trials = make_study(tmp_path, axes={"model.pool": ["max", "average"]}, seeds=(0,), kind="loss")
    for trial, end in zip(trials, (0.2, 0.6), strict=True):
        set_metrics(tmp_path, trial, validation_loss=end)
        rows = [{"step": n, "epoch": n, "validation_loss": value} for n, value in enumerate((0.9, 0.39, end), start=1)]
        path = tmp_path / "trials" / trial["id"] / "metrics.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = time_to_target_panel(collect(tmp_path))
    assert found is not None
    assert found.data is not None
    assert found.data["target"] == 0.4
    assert [row[2:4] for row in cells(found)] == [["1 of 1", "2"], ["1 of 1", "2"]]


def test_what_differs_between_arms_is_what_their_configs_record(tmp_path: Path) -> None:
    trials = make_study(tmp_path, axes={"model.pool": ["max", "average"]}, base={**BASE, "epochs": 9})
    path = tmp_path / "trials" / trials[3]["id"] / "config.json"
    config = json.loads(path.read_text())
    # What an axis changes beside itself, as where widths are rescaled, and seeds, which tell no arms apart.
    path.write_text(json.dumps({**config, "model": {**config["model"], "features": 24, "extra": [1]}, "seed": 99}))
    for trial in trials[3:]:
        trial["params"] *= 3
        change_result(tmp_path, trial, params=trial["params"])
    write_json(tmp_path / "plan.json", {"trials": trials, "pruned": []})
    for trial in trials[:3]:
        set_metrics(tmp_path, trial, validation_accuracy=0.99)
    found = networks_panel(collect(tmp_path))
    assert found is not None
    assert found.data is not None
    assert found.data["reference"] == 1
    assert found.data["arms"][1]["differences"] == {
        "model.features": [16, 24],
        "model.pool": ["max", "average"],
        "model.extra": ["unset", [1]],
    }
    first, second = cells(found)
    assert first[1] == "the same"
    assert second[1] == "model.features: 16 → 24; model.pool: max → average; model.extra: unset → 1"
    assert (first[3], second[3]) == ("×1", "×3")
    path.unlink()
    assert cells(networks_panel(collect(tmp_path)))[1][1] == "model.pool: max → average"  # type: ignore[arg-type]


def test_stability_counts_what_diverged_and_failed_and_such_an_arm_is_not_starred(tmp_path: Path) -> None:
    trials = make_study(tmp_path, axes={"model.pool": ["max", "average", "stride"]})
    for trial in trials[:3]:
        set_metrics(tmp_path, trial, validation_accuracy=0.99)
    diverge(tmp_path, trials[0])
    diverge(tmp_path, trials[3], "crashed")
    (tmp_path / "trials" / trials[4]["id"] / "result.json").unlink()
    table = collect(tmp_path)
    found = stability_panel(table)
    assert cells(found) == [
        ["1", "pool=max", "3", "2", "1", "0", "0", "not ranked"],
        ["2", "pool=average", "3", "1", "0", "1", "1", "not ranked"],
    ]
    assert "All trials of 1 of 3 arms finished; 1 trial diverged." in found.blocks[1].lines[0]  # type: ignore[union-attr]
    assert chosen(table) == 3, "the best of those that survived is not the best"


@pytest.mark.parametrize("kept", [9, 4])
def test_trials_that_are_no_better_than_the_most_frequent_class_are_told_of(tmp_path: Path, kept: int) -> None:
    trials = make_study(tmp_path, axes={"model.pool": ["max", "average", "stride"]})
    at = {0: 0.4, 1: 0.3, 4: 0.4, 5: 0.4 + 1 / 50}
    for number, accuracy in at.items():
        set_metrics(tmp_path, trials[number], test_accuracy=accuracy)
    change_result(tmp_path, trials[8], data_fingerprint=None)
    content = {"test": {"count": 50, "per_class_count": [15, 20, 15]}, "validation": {"count": 9}}
    for trial in trials[1 : 1 + kept]:
        write_json(study_path(tmp_path, trial, "evaluation.json"), content)
    table = collect(tmp_path)
    known = "9 finished trials" if kept == 9 else "8 of 9 finished trials whose counts of classes were recorded"
    said = (
        f"3 of {known} are no better than always answering the most frequent class (40.0% of the test part): arms 1, 2"
    )
    said += "."
    assert said in foremost(table)
    assert said in headline(table)
    found = stability_panel(table)
    assert [row[-2:] for row in cells(found)] == [["2", "ranked"], ["1", "ranked"]]
    assert said in found.blocks[1].lines[0]  # type: ignore[union-attr]
    assert "All trials of 3 of 3 arms finished" in found.blocks[1].lines[0]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "content",
    [None, {"test": {"count": 50}}, {"test": {"count": 50, "per_class_count": [900, 700]}}, {"test": {"count": "x"}}],
)
def test_what_chance_would_be_is_not_guessed(tmp_path: Path, content: dict[str, Any] | None) -> None:
    trials = make_study(tmp_path, axes={"model.pool": ["max", "average"]})
    for trial in trials:
        set_metrics(tmp_path, trial, test_accuracy=0.1)
        if content:
            write_json(study_path(tmp_path, trial, "evaluation.json"), content)
    assert at_chance(collect(tmp_path)) is None


def test_the_command_to_run_it_again(tmp_path: Path) -> None:
    trials = make_study(tmp_path, axes={"model.pool": ["max", "average"]})
    commands = [("/opt/cnnjax/__main__.py sweep a.py --seeds 3", "0123abc")] * 3 + [
        ("mine.py 3", "0123abc+changes")
    ] * 2
    for trial, (command, commit) in zip(trials, commands, strict=False):
        path = tmp_path / "trials" / trial["id"] / "environment.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "command": command, "commit": commit}))
    assert run_again(collect(tmp_path)) == [
        "git checkout 0123abc && cnnjax sweep a.py --seeds 3  # 3 trials",
        "git checkout 0123abc && python mine.py 3  # 2 trials, from a tree with changes that the commit lacks",
    ]
    assert "cnnjax sweep a.py --seeds 3" in (report(tmp_path).folder / "report.md").read_text()


def test_the_median_curve_has_a_band_of_all_seeds(tmp_path: Path) -> None:
    trials = make_study(tmp_path, axes={}, chosen=[{}])
    for trial, values in zip(trials, ([0.1, 0.2], [0.4, 0.9], [0.2, 0.8]), strict=True):
        curve(tmp_path, trial, values)
    table = collect(tmp_path)
    of = {each.name: each for each in BEFORE}["accuracy"]
    means = _means(table.curves, "validation_accuracy", of, "median").round(9)
    assert means.loc[1].to_dict("list") == {"middle": [20, 80], "low": [10, 20], "high": [40, 90]}


# --- beside one arm


def test_comparisons_are_paired_t_tests_corrected_after_holm(tmp_path: Path) -> None:
    """Of a metric without counted examples: against SciPy and Holm's steps by hand."""
    trials = make_study(tmp_path, axes={"model.pool": ["max", "average", "stride"]}, seeds=(0, 1, 2, 3))
    numbers = iter([0.31, 0.29, 0.33, 0.30, 0.41, 0.44, 0.40, 0.46, 0.32, 0.27, 0.35, 0.31])
    for trial in trials:
        set_metrics(tmp_path, trial, test_loss=next(numbers))
    table = collect(tmp_path)
    found = compared(table, 1, metric="test_loss")
    losses = trials_frame(table).pivot(index="seed", columns="number", values="test_loss")
    tests = {number: stats.ttest_rel(losses[number], losses[1]) for number in (2, 3)}
    assert [own.arm for own in found] == [2, 3]
    for own in found:
        test = tests[own.arm]
        assert own.p == pytest.approx(test.pvalue, rel=1e-9)
        assert own.within == pytest.approx(max(map(abs, test.confidence_interval(0.9))))
    small, large = sorted(found, key=lambda own: own.p)
    assert (small.holm, large.holm) == pytest.approx((2 * small.p, large.p))
    assert (small.arm, small.differs, large.differs) == (2, True, False)
    said = detectable(sd=small.difference.sd, n=4, comparisons=2).effect
    assert small.detectable == pytest.approx(said)


def test_what_could_be_found_counts_examples_too(tmp_path: Path) -> None:
    """Where seeds almost tie, the examples decide."""
    trials = make_study(tmp_path, axes={"model.pool": ["max", "average"]})
    for trial, level in zip(trials, [0.9, 0.9, 0.9, 0.91, 0.910001, 0.910002], strict=True):
        set_metrics(tmp_path, trial, test_accuracy=level)
    [own] = compared(collect(tmp_path), 1, metric="test_accuracy")
    few = (0.01 * 0.99 + 1 / 359) / 359
    assert own.detectable == pytest.approx((1.959964 + 0.841621) * few**0.5, rel=1e-3)


def test_p_is_below_a_twentieth_where_the_interval_leaves_0_out() -> None:
    """Of shares of counted examples, of folds and seeds too."""
    generator, of = np.random.default_rng(0), Quantity(0.0, 1.0, proportion=True, examples=359)
    for shape in ((3,), (5,), (4, 3)):
        for shift in (0.0, 0.005, 0.01, 0.02, 0.04):
            values = generator.normal(shift, 0.004, shape)
            for kind in (of, Quantity()):
                own, test = paired(values, kind), judged(values, kind)
                assert (test.p < 0.05) == (own.low > 0 or own.high < 0)


@pytest.mark.parametrize("seeds", [1, 2])
def test_below_three_seeds_nothing_is_tested(tmp_path: Path, seeds: int) -> None:
    make_study(tmp_path, axes={"model.pool": ["max", "average"]}, seeds=tuple(range(seeds)))
    found = {finding.name: finding for finding in find(collect(tmp_path), draw=False).every}["comparisons"]
    assert not found.answers
    assert found.data is not None
    [own] = found.data["comparisons"]
    assert own["p"] is own["holm"] is own["within"] is None


def test_arms_stand_beside_the_base_experiment_s(tmp_path: Path) -> None:
    make_study(tmp_path)
    table = collect(tmp_path)
    number = reference(table)
    assert number is not None
    assert all(table.arms[number - 1].values[axis.path] == axis.base for axis in table.axes)
    assert number != chosen(table)
    networks = networks_panel(table)
    assert networks is not None
    assert networks.data is not None
    assert networks.data["reference"] == number, "settings stand beside the same arm as results"
