"""The panel of costs: the front by hand, and which seconds are compared."""

from __future__ import annotations

import dataclasses
import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.lines import Line2D
from scipy import stats

from cnnjax import results
from cnnjax.documents.style import styled
from cnnjax.reporting import collect
from cnnjax.reporting.costs import ENERGY, MEMORY, SECONDS, apart, front_of
from cnnjax.reporting.finding import Finding
from cnnjax.reporting.panels.cost import cost_panel
from cnnjax.reporting.picture_cost import against_cost
from cnnjax.statistics.pareto import at_cost
from tests.test_reporting import change_result, diverge, make_study, set_metrics, study_path, write_json

RESULTS = np.array(
    [[0.80, 0.81, 0.82], [0.90, 0.82, 0.91], [0.85, 0.88, 0.84], [0.95, 0.96, 0.94], [0.9499, 0.9599, 0.9399]]
)
COSTS = [100, 200, 300, 400, 500]


def study(out: Path, results: np.ndarray = RESULTS, **changes: Any) -> list[dict[str, Any]]:
    """Arms with these test results, as rows, and COSTS parameters, each with a tenth of a second a parameter."""
    seeds = tuple(range(results.shape[1]))
    trials = make_study(out, axes={"model.pool": [f"p{n}" for n in range(len(results))]}, seeds=seeds, **changes)
    trials = [trial | {"params": COSTS[int(trial["arm"]["model.pool"][1:])], "macs": 1000} for trial in trials]
    write_json(out / "plan.json", {"trials": trials, "pruned": []})
    for trial, result in zip(trials, results.ravel(), strict=True):
        kind = changes.get("kind", "accuracy")
        seconds = {"step": trial["params"] / 10 + trial["seed"], "input": 0.5}
        change_result(out, trial, params=trial["params"], macs=1000, seconds=seconds)
        set_metrics(out, trial, **{f"{part}_{kind}": float(result) for part in ("validation", "test")})
    return trials


def found_in(out: Path) -> Finding:
    found = cost_panel(collect(out))
    assert found is not None
    json.dumps(found.data, allow_nan=False)
    return found


def test_the_front_is_what_no_other_arm_beats_in_both(tmp_path: Path) -> None:
    study(tmp_path)
    table = collect(tmp_path)
    found = front_of(table, "params")
    assert found is not None
    assert found.members == (1, 2, 4)
    assert front_of(table, "macs") is None, "all cost the same"
    for limit in COSTS:
        best = at_cost(COSTS, RESULTS, limit).arm
        assert best is not None
        assert best + 1 == max(n for n in found.members if found.costs[n] <= limit)


def test_shares_are_those_of_all_draws_of_the_seeds(tmp_path: Path) -> None:
    """All 27, of which 2,000 are drawn."""
    study(tmp_path)
    found = front_of(collect(tmp_path), "params")
    assert found is not None
    on = np.zeros(5)
    for draw in itertools.product(range(3), repeat=3):
        means = RESULTS[:, draw].mean(axis=1)
        on += [all(means[n] > means[:n]) for n in range(5)]
    for number, share in found.shares.items():
        exact = on[number - 1] / 27
        assert abs(share - exact) <= 4 * stats.binom.std(2000, exact) / 2000
    assert 0 < found.shares[3] < 1
    assert (found.shares[1], found.shares[4], found.shares[5]) == (1, 1, 0)


def test_of_a_loss_less_is_better(tmp_path: Path) -> None:
    study(tmp_path, 1 - RESULTS, kind="loss")
    found = front_of(collect(tmp_path), "params")
    assert found is not None
    assert found.members == (1, 2, 4)


def test_the_table_has_the_front_and_what_each_step_gains(tmp_path: Path) -> None:
    study(tmp_path)
    [grid] = found_in(tmp_path).grids
    heads = [column.label for column in grid.columns]
    rows = [dict(zip(heads, row, strict=True)) for row in grid.cells(exact=True)]
    assert heads[:4] == ["#", "arm", "parameters", "seconds of training"], "the same front by both is one table"
    assert [row["#"] for row in rows] == ["1", "2", "3", "4"], "the last never comes onto the front"
    assert [row["on the front"] for row in rows] == ["yes", "yes", "no", "yes"]
    assert rows[1]["parameters"] == "200"
    assert rows[1]["seconds of training"] == "21.50 ± 1.00"
    gains = [row["beside the one before"] for row in rows]
    assert gains[0] == gains[2] == "–"
    d = 100 * (RESULTS[3] - RESULTS[1])
    assert gains[3] == f"+{d.mean():.2f} ± {d.std(ddof=1):.2f}"
    low, high = stats.t.interval(0.95, 2, d.mean(), stats.sem(d))
    # The first of the two intervals is over seeds alone, the second over examples too.
    first, second = ([float(end) for end in cell.strip("[]").split(", ")] for cell in grid.cells(exact=True)[3][-2:])
    assert first == pytest.approx([low, high], abs=0.006)
    assert second[0] < first[0] - 0.1
    assert heads[-2:] == ["95% interval over seeds", "also over examples"]


def test_an_arm_with_a_diverged_seed_is_not_on_the_front(tmp_path: Path) -> None:
    trials = study(tmp_path)
    diverge(tmp_path, trials[9])
    found = front_of(collect(tmp_path), "params")
    assert found is not None
    assert found.members == (1, 2, 5)
    assert 4 not in found.costs


def test_the_picture_has_the_front_as_steps_and_shares_under_the_pointer(tmp_path: Path) -> None:
    study(tmp_path)
    with styled():
        drawing = against_cost(collect(tmp_path), cost="params")
    assert drawing is not None
    [line] = [own for own in drawing.figure.axes[0].lines if own.get_drawstyle() == "steps-post"]
    assert isinstance(line, Line2D)
    means = 100 * RESULTS.mean(axis=1)
    assert list(np.asarray(line.get_xdata()))[:3] == [100, 200, 400]
    assert list(np.asarray(line.get_ydata())) == pytest.approx([means[0], means[1], means[3], means[3]])
    assert any(mark.text.endswith("mean, on the front in 100% of resamples") for mark in drawing.marks.values())
    assert "dashed line is the front" in drawing.caption


@pytest.mark.parametrize("seeds", [1, 2])
def test_of_few_seeds_there_is_a_front_without_shares(tmp_path: Path, seeds: int) -> None:
    study(tmp_path, RESULTS[:, [0, 2][:seeds]])
    found = front_of(collect(tmp_path), "params")
    assert found is not None
    assert found.members == (1, 2, 4)
    assert (dict(found.shares), found.why) == ({}, f"{seeds} of 3 seeds that resampling needs")
    assert f"There are no resamples: {found.why}." in found_in(tmp_path).blocks[-2].lines[0]  # type: ignore[union-attr]


def test_of_folds_seeds_are_not_resampled(tmp_path: Path) -> None:
    make_study(tmp_path, axes={"model.features": [8, 16, 32], "fold": [0, 1, 2]})
    found = front_of(collect(tmp_path), "params")
    assert found is not None
    assert (dict(found.shares), found.why) == ({}, "folds and seeds vary, and only seeds are resampled")
    assert found.members == (1, 2, 3)


def test_a_cost_that_was_made_equal_has_no_front(tmp_path: Path) -> None:
    study(tmp_path)
    table = collect(tmp_path)
    assert front_of(dataclasses.replace(table, match="params"), "params") is None
    assert front_of(dataclasses.replace(table, match="macs"), "params") is not None


# --- seconds


def other_machine(out: Path, trial: dict[str, Any]) -> None:
    path = study_path(out, trial, "environment.json")
    write_json(path, json.loads(path.read_text()) | {"hardware": "another"})


def without_seconds(out: Path, trial: dict[str, Any]) -> None:
    change_result(out, trial, seconds={})


def packed(out: Path, trial: dict[str, Any]) -> None:
    change_result(out, trial, packed=4)


def without_environment(out: Path, trial: dict[str, Any]) -> None:
    study_path(out, trial, "environment.json").unlink()


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (other_machine, "not all trials were trained on the same hardware"),
        (without_seconds, "not all trials recorded it"),
        (packed, "trials that were trained together share it"),
        (without_environment, "not all trials recorded what they were trained on"),
    ],
)
def test_seconds_are_compared_only_where_all_were_measured_alike(tmp_path: Path, change: Any, why: str) -> None:
    trials = study(tmp_path)
    assert front_of(collect(tmp_path), SECONDS) is not None
    change(tmp_path, trials[0])
    table = collect(tmp_path)
    assert apart(table, SECONDS) == why
    assert front_of(table, SECONDS) is None
    assert against_cost(table, cost=SECONDS) is None
    found = found_in(tmp_path)
    assert f"Not compared as a cost: seconds of training: {why}." in found.blocks[-1].lines[0]  # type: ignore[union-attr]
    assert list(found.data["costs"]) == ["params"]  # type: ignore[index]


def test_memory_is_a_cost_where_all_steps_were_planned_alike(tmp_path: Path) -> None:
    trials = study(tmp_path)
    assert front_of(collect(tmp_path), MEMORY) is None
    for trial in trials:
        change_result(tmp_path, trial, memory=10**6 - trial["params"])
    found = front_of(collect(tmp_path), MEMORY)
    assert found is not None
    assert found.members == (5, 4)
    assert found.costs == {n: 10**6 - paid for n, paid in enumerate(COSTS, 1)}
    change_result(tmp_path, trials[0], memory=None)
    assert apart(collect(tmp_path), MEMORY) == "not all trials recorded it"
    assert front_of(collect(tmp_path), MEMORY) is None


def test_energy_is_a_cost_where_the_same_counters_told_it(tmp_path: Path) -> None:
    """Of 30 of 60 steps that were measured, for all."""
    trials = study(tmp_path)
    assert front_of(collect(tmp_path), ENERGY) is None
    told = {"steps": 30, "of": ["intel-rapl:0 package-0"]}
    for trial in trials:
        change_result(tmp_path, trial, steps=60, energy={"joules": 1000.0 - trial["params"] + trial["seed"], **told})
    found = front_of(collect(tmp_path), ENERGY)
    assert found is not None
    assert found.members == (5, 4)
    assert found.costs == {n: 2 * (1001 - paid) for n, paid in enumerate(COSTS, 1)}
    assert results(tmp_path)["energy"].tolist()[:3] == [1800, 1802, 1804]
    words = [line for block in found_in(tmp_path).blocks for line in getattr(block, "lines", ())]
    assert any("as intel-rapl:0 package-0 tell" in line for line in words)
    change_result(tmp_path, trials[0], energy={"joules": 1.0, "steps": 30, "of": ["gpu 0"]})
    assert apart(collect(tmp_path), ENERGY) == "it was measured by other counters from one trial to the next"
    change_result(tmp_path, trials[0], energy=None)
    assert apart(collect(tmp_path), ENERGY) == "not all trials recorded it"


def test_where_no_seconds_of_steps_were_recorded_nothing_is_said_of_them(tmp_path: Path) -> None:
    make_study(tmp_path, axes={"model.features": [8, 16]})
    assert apart(collect(tmp_path), SECONDS) == ""
    assert front_of(collect(tmp_path), SECONDS) is None


def test_seconds_of_the_same_seed_are_resampled_with_its_result(tmp_path: Path) -> None:
    """The cheaper arm is worse with every seed, but the dearer one is as fast in one: no draw turns the front round."""
    trials = study(tmp_path, RESULTS[[0, 3]])
    for trial, seconds in zip(trials, [1.0, 2.0, 3.0, 1.5, 2.5, 0.1], strict=True):
        change_result(tmp_path, trial, seconds={"step": seconds, "input": 0.0})
    found = front_of(collect(tmp_path), SECONDS)
    assert found is not None
    assert found.costs == {1: 2.0, 2: pytest.approx(4.1 / 3)}
    assert found.members == (2,)
    paid = np.array([[1.0, 2.0, 3.0], [1.5, 2.5, 0.1]])
    exact = np.mean(
        [paid[0, draw].mean() < paid[1, draw].mean() for draw in map(list, itertools.product(range(3), repeat=3))]
    )
    assert abs(found.shares[1] - exact) <= 4 * stats.binom.std(2000, exact) / 2000
