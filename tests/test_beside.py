"""Two studies beside each other, over fabricated run directories: arms matched by value, numbers against SciPy."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats
from typer.testing import CliRunner

from cnnjax.cli import app
from cnnjax.errors import CnnjaxError, ConfigError
from cnnjax.reporting import collect, report
from cnnjax.reporting.beside.pair import Pair, pair
from cnnjax.reporting.beside.replication import AGREES, NEITHER, ONLY, OPPOSITE, UNTESTED, Replicated
from cnnjax.reporting.beside.results import ranks
from cnnjax.reporting.beside.writing import find_beside, side_by_side
from cnnjax.reporting.intervals import Quantity, Spread, unpaired
from cnnjax.statistics.ranks import rank_agreement
from tests.test_reporting import BASE, change_result, make_study, set_metrics, study_path, write_json

POOLS: dict[str, list[Any]] = {"model.pool": ["max", "average", "stride"]}
RUN = CliRunner()


def study(
    out: Path, losses: dict[str, list[float]], *, data: str = "d1g1t5", seeds: tuple[int, ...] = (), **more: Any
) -> Path:
    """A study of one axis, whose metric is a loss: by value, one for each seed."""
    seeds = seeds or tuple(range(len(next(iter(losses.values())))))
    trials = make_study(out, axes={"model.pool": list(losses)}, seeds=seeds, kind="loss", **more)
    for trial in trials:
        loss = losses[trial["arm"]["model.pool"]][seeds.index(trial["seed"])]
        set_metrics(out, trial, test_loss=loss, validation_loss=loss)
        change_result(out, trial, data_fingerprint=data)
    return out


A = {"max": [0.31, 0.29, 0.33, 0.30], "average": [0.41, 0.44, 0.40, 0.46], "stride": [0.32, 0.27, 0.35, 0.31]}
B = {"stride": [0.52, 0.47, 0.50, 0.54], "max": [0.36, 0.33, 0.39, 0.37], "none": [0.9, 0.8, 0.7, 0.6]}


def test_arms_are_matched_by_their_values_and_paired_where_data_and_seeds_are_the_same(tmp_path: Path) -> None:
    both = pair(study(tmp_path / "a", A), study(tmp_path / "b", B))
    assert [(arm.label, [own.number for own in arm.own]) for arm in both.matched] == [
        ("pool=max", [1, 2]),
        ("pool=stride", [3, 1]),
    ]
    assert [[arm.label for arm in alone] for alone in both.alone] == [["pool=average"], ["pool=none"]]
    for arm, name in zip(both.matched, ("max", "stride"), strict=True):
        gap, test = both.gap(arm), stats.ttest_rel(B[name], A[name])
        low, high = test.confidence_interval(0.95)
        assert gap.paired
        assert gap.test.p == pytest.approx(test.pvalue)
        np.testing.assert_allclose(
            [gap.difference.mean, gap.difference.low, gap.difference.high],
            [np.mean(B[name]) - np.mean(A[name]), low, high],
        )


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"data": "0ther"}, "not known to have measured on the same examples"),
        ({"seeds": (4, 5, 6, 7)}, "not paired by seed: the two were planned with different seeds"),
    ],
)
def test_other_data_or_other_seeds_are_not_paired(tmp_path: Path, more: dict[str, Any], said: str) -> None:
    both = pair(study(tmp_path / "a", A), study(tmp_path / "b", B, **more))
    gap = both.gap(both.matched[0])
    test = stats.ttest_ind(B["max"], A["max"], equal_var=False)
    (_, p), (low, high) = test, test.confidence_interval(0.95)
    assert not gap.paired
    assert gap.test.p == pytest.approx(p)
    np.testing.assert_allclose([gap.difference.low, gap.difference.high], [low, high])
    assert said in " ".join(find_beside(both, draw=False).first)


def test_shares_of_other_examples_count_both_sets_of_them() -> None:
    """The margin worked by hand: Welch's, and 1.96 standard errors of two shares with one right and one wrong more."""
    one, other = [0.90, 0.91, 0.93], [0.80, 0.84, 0.81]
    of = Quantity(0.0, 1.0, proportion=True, examples=98), Quantity(0.0, 1.0, proportion=True, examples=198)
    found, test = unpaired(one, other, of)
    shares = (98 * np.mean(one) + 1) / 100, (198 * np.mean(other) + 1) / 200
    examples = shares[0] * (1 - shares[0]) / 100 + shares[1] * (1 - shares[1]) / 200
    welch = stats.ttest_ind(other, one, equal_var=False).confidence_interval(0.95)
    half = np.hypot((welch.high - welch.low) / 2, stats.norm.ppf(0.975) * np.sqrt(examples))
    gap = np.mean(other) - np.mean(one)
    np.testing.assert_allclose([found.mean, found.low, found.high], [gap, gap - half, gap + half])
    assert (test.p < 0.05) == (found.high < 0)
    alike, _ = unpaired(one, other, (of[0], of[0]), same_examples=True)
    least = (abs(gap) * (1 - abs(gap)) + 1 / 98) / 98
    half = np.hypot((welch.high - welch.low) / 2, stats.norm.ppf(0.975) * np.sqrt(least))
    assert alike.high == pytest.approx(gap + half)


@pytest.mark.parametrize(
    ("left", "right"),
    [([0.1, 0.2], [0.1, 0.2, 0.3]), ([0.1] * 3, [0.2] * 3), ([[0.1] * 3] * 3, [[0.2, 0.1, 0.3]] * 3)],
)
def test_two_seeds_ties_and_folds_have_a_difference_without_an_interval(left: Any, right: Any) -> None:
    found, test = unpaired(left, right, (Quantity(), Quantity()))
    assert found.mean == pytest.approx(np.mean(right) - np.mean(left))
    assert not found.has_interval
    assert np.isnan(test.p)


def spread(mean: float) -> Spread:
    return Spread(3, mean, 0.1, mean - 0.1, mean + 0.1)


@pytest.mark.parametrize(
    ("means", "apart", "verdict"),
    [
        ((1, 2), (True, True), AGREES),
        ((-1, 2), (True, True), OPPOSITE),
        ((1, 2), (True, False), ONLY[0]),
        ((1, -2), (False, True), ONLY[1]),
        ((1, -2), (False, False), NEITHER),
        ((1, 2), (True, None), UNTESTED),
    ],
)
def test_verdicts(means: tuple[float, float], apart: tuple[bool | None, bool | None], verdict: str) -> None:
    assert Replicated(("x",), (spread(means[0]), spread(means[1])), apart).verdict == verdict


def test_what_replicates_is_told_of_comparisons_and_of_effects(tmp_path: Path) -> None:
    """Average is worse in both; stride differs in B only."""
    other = {"max": [0.36, 0.33, 0.39, 0.37], "average": [0.47, 0.46, 0.49, 0.49], "stride": [0.52, 0.47, 0.55, 0.51]}
    both = pair(study(tmp_path / "a", A), study(tmp_path / "b", other, data="0ther"))
    found = find_beside(both, draw=False)
    data = found.data["replication"]
    assert data["against"] == "pool=max"
    assert {each["of"][0]: each["verdict"] for each in data["comparisons"]} == {
        "pool=average": AGREES,
        "pool=stride": ONLY[1],
    }
    for each, name in zip(data["comparisons"], ("average", "stride"), strict=True):
        for side, losses in (("A", A), ("B", other)):
            low, high = stats.ttest_rel(losses[name], losses["max"]).confidence_interval(0.95)
            np.testing.assert_allclose([each[side]["seeds_low"], each[side]["seeds_high"]], [low, high])
            np.testing.assert_allclose([each[side]["low"], each[side]["high"]], [low, high])
    assert [each["verdict"] for each in found.data["effects"]["effects"]] == [AGREES, ONLY[1]]
    assert "1 agrees, 1 told apart in B only" in " ".join(found.first)


def test_kendalls_tau_by_hand() -> None:
    """Of 6 pairs of things 4 are in the same order and 2 are not: 2/6; of 4! orders 18 differ from 0 as much."""
    found = rank_agreement([1, 2, 3, 4], [2, 1, 4, 3])
    assert (found.n, found.statistic) == (4, pytest.approx(1 / 3))
    assert found.p == pytest.approx(18 / 24)
    assert found.smallest == pytest.approx(2 / 24)
    assert rank_agreement([1, 2, 3], [3, 2, 1]).statistic == pytest.approx(-1)
    tied = rank_agreement([1, 1, 2, 3], [1, 2, 2, 3])
    assert tied.statistic == pytest.approx(4 / 5)  # 4 in order, of 5 that do not tie on either side
    assert rank_agreement([1, 2, np.nan, 3], [1, 2, 3, 3]).n == 3
    assert "fewer than three" in rank_agreement([1, 2], [1, 2]).why
    assert rank_agreement([1, 1, 1], [1, 2, 3]).why == "all tie"


def test_the_order_of_the_arms_in_both(tmp_path: Path) -> None:
    one, other = tmp_path / "a", tmp_path / "b"
    study(one, A)
    study(other, {"max": A["max"], "stride": A["average"], "average": A["stride"]}, data="0ther")
    order = ranks(pair(one, other))
    assert (order.n, order.statistic) == (3, pytest.approx(1 / 3))


def test_an_axis_of_one_study_is_matched_by_what_the_other_had_throughout(tmp_path: Path) -> None:
    axes = {"model.pool": ["max", "average"], "model.features": [8, 16]}
    make_study(tmp_path / "a", axes=axes)
    make_study(
        tmp_path / "b",
        axes={"model.pool": ["max", "average"]},
        base={**BASE, "model": {**BASE["model"], "features": 8}},
    )
    both = pair(tmp_path / "a", tmp_path / "b")
    assert [arm.own[0].label for arm in both.matched] == ["pool=max, features=8", "pool=average, features=8"]
    assert len(both.alone[0]) == 2
    assert not both.alone[1]


def test_what_differs_is_listed(tmp_path: Path) -> None:
    study(tmp_path / "a", A)
    study(tmp_path / "b", A, base={**BASE, "epochs": 30, "data": {"name": "mnist"}}, data="0ther")
    path = next((tmp_path / "b" / "trials").iterdir()) / "environment.json"
    write_json(path, {**json.loads(path.read_text()), "versions": {"jax": "0.11.0"}})
    found = find_beside(pair(tmp_path / "a", tmp_path / "b"), draw=False).data["differing"]
    assert found["epochs"] == ["8", "30"]
    assert found["data.name"] == ["unset", "mnist"]
    assert found["data fingerprint"] == ["d1g1t5", "0ther"]
    assert found["versions.jax"] == ["0.10.2", "0.10.2; 0.11.0"]
    assert not {"seeds", "hardware", "model.pool"} & set(found)


def test_the_files_and_the_terminal_say_the_same(tmp_path: Path) -> None:
    one = study(tmp_path / "a", {"<script>": A["max"], "max": A["average"], "x_{": A["stride"]})
    other = study(tmp_path / "b & c", {"<script>": B["max"], "max": B["stride"], "x_{": A["average"]})
    before = {path for path in tmp_path.rglob("*") if path.is_file()}
    shown = RUN.invoke(app, ["report", str(one), str(other)])
    assert shown.exit_code == 0, shown.output
    assert {path for path in tmp_path.rglob("*") if path.is_file()} == before, "without --out nothing is written"
    assert "Kendall's tau" in shown.output
    written = RUN.invoke(app, ["report", str(one), str(other), "--out", str(tmp_path / "out"), "--json"])
    assert written.exit_code == 0, written.output
    data = json.loads(written.output)
    assert data == json.loads((tmp_path / "out" / "studies.json").read_text())
    assert all((tmp_path / "out" / name).is_file() for name in data["files"])
    page = (tmp_path / "out" / "index.html").read_text()
    assert "<script>alert" not in page
    assert "pool=&lt;script&gt;" in page
    assert data["first"][-1] in (tmp_path / "out" / "report.md").read_text().replace("\\", "")
    assert set(data["files"]) >= {"index.html", "report.md", "arms.csv", "figures/beside.pdf", "tables/results.tex"}
    report(one, to=tmp_path / "out")
    left = {str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert "studies.json" not in left, "a report takes the place of another one, whole"


def folder(tmp_path: Path, name: str) -> Path:
    """Studies and what is none, by name."""
    out = tmp_path / name
    if name == "empty":
        out.mkdir()
    elif name == "accuracy":
        make_study(out, axes=POOLS)
    elif name == "other arms":
        study(out, {"x": A["max"], "y": A["average"]})
    elif name != "absent":
        study(out, A)
    return out


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("a", "a"), "are the same folder"),
        (("a", "a/../a"), "are the same folder"),
        (("a", "empty"), "neither a study"),
        (("a", "absent"), "there is no such directory"),
        (("a", "accuracy"), "compared by different metrics"),
        (("a", "other arms"), "have no arm in common"),
        (("a", "b", "c"), "3 are given"),
    ],
)
def test_what_cannot_be_set_side_by_side(tmp_path: Path, names: tuple[str, ...], said: str) -> None:
    made = [folder(tmp_path, name) if "/" not in name else tmp_path / name for name in names]
    shown = RUN.invoke(app, ["report", *map(str, made)])
    assert shown.exit_code != 0
    assert said in " ".join(str(shown.exception or shown.output).split())


def test_a_study_is_not_written_into(tmp_path: Path) -> None:
    one, other = study(tmp_path / "a", A), study(tmp_path / "b", B)
    with pytest.raises(CnnjaxError, match="holds a study: choose another folder"):
        side_by_side(one, other, to=one)


def test_a_copy_is_told_and_one_link_is_one_folder(tmp_path: Path) -> None:
    one = study(tmp_path / "a", A)
    shutil.copytree(one, tmp_path / "copy")
    (tmp_path / "link").symlink_to(one)
    both = pair(one, tmp_path / "copy")
    assert "the same results, byte for byte" in " ".join(find_beside(both, draw=False).first)
    with pytest.raises(ConfigError, match="same folder"):
        pair(one, tmp_path / "link")


@pytest.mark.parametrize("seeds", [(0,), (0, 1)])
def test_one_seed_or_two_are_not_tested(tmp_path: Path, seeds: tuple[int, ...]) -> None:
    losses = {name: values[: len(seeds)] for name, values in A.items()}
    found = find_beside(pair(study(tmp_path / "a", losses), study(tmp_path / "b", losses, data="0ther")), draw=False)
    assert all(arm["p"] is None for arm in found.data["results"]["arms"])
    assert {each["verdict"] for each in found.data["replication"]["comparisons"]} == {UNTESTED}
    assert not any("differ between A and B" in sentence for sentence in found.first)


def test_an_arm_without_results_in_one_of_them_has_no_difference(tmp_path: Path) -> None:
    one, other = study(tmp_path / "a", A), study(tmp_path / "b", A, data="0ther")
    for trial in json.loads((other / "plan.json").read_text())["trials"]:
        if trial["arm"]["model.pool"] == "average":
            study_path(other, trial, "result.json").unlink()
    both: Pair = pair(one, other)
    found = find_beside(both)
    assert found.data["results"]["arms"][1]["difference"]["mean"] is None
    assert [each["of"] for each in found.data["replication"]["comparisons"]] == [["pool=stride"]]
    assert collect(other).arms[1].label == "pool=average"
