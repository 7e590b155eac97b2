"""The way from the base to the chosen arm, all arms as lines, and what seeds vary."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.lines import Line2D

from cnnjax.documents.style import styled
from cnnjax.reporting import collect
from cnnjax.reporting.finding import Finding
from cnnjax.reporting.panels.arms import arms_panel
from cnnjax.reporting.panels.parallel import parallel_panel
from cnnjax.reporting.panels.path import path_panel
from cnnjax.reporting.picture_parallel import Scale
from tests.test_axis_panels import drawing, sampled
from tests.test_reporting import diverge, make_study, set_metrics, write_json

AXES = {"model.pool": ["max", "average"], "model.features": [16, 32], "model.kernel_size": [3, 5]}
VALIDATION = {
    # Alone, average pooling gains most; with it, the filters; the kernel costs, but for all three together.
    ("max", 16, 3): 0.80,
    ("average", 16, 3): 0.84,
    ("max", 32, 3): 0.82,
    ("max", 16, 5): 0.78,
    ("average", 32, 3): 0.86,
    ("average", 16, 5): 0.83,
    ("max", 32, 5): 0.81,
    ("average", 32, 5): 0.90,
}


def study(out: Path, *, base: tuple[str, int, int] = ("max", 16, 3), **changes: Any) -> list[dict[str, Any]]:
    model = dict(zip(["pool", "features", "kernel_size"], base, strict=True))
    trials = make_study(out, axes=AXES, **changes)
    held = json.loads((out / "study.json").read_text())
    write_json(out / "study.json", held | {"base": held["base"] | {"model": held["base"]["model"] | model}})
    for trial in trials:
        value = VALIDATION[tuple(trial["arm"][path] for path in AXES)]
        test = value + 0.01 + 0.001 * trial["seed"] * (trial["arm"]["model.pool"] == "average")
        set_metrics(out, trial, validation_accuracy=value, test_accuracy=test)
    return trials


def rows_of(finding: Finding | None) -> list[dict[str, str]]:
    assert finding is not None
    [grid] = finding.grids
    heads = [column.label for column in grid.columns]
    return [dict(zip(heads, row, strict=True)) for row in grid.cells(exact=True)]


def test_each_step_takes_the_value_whose_arm_is_best_by_validation(tmp_path: Path) -> None:
    study(tmp_path)
    found = path_panel(collect(tmp_path))
    rows = rows_of(found)
    assert [row["change"] for row in rows] == [
        "the base",
        "pool: max → average",
        "features: 16 → 32",
        "kernel_size: 3 → 5",
    ]
    assert found is not None
    assert found.data is not None
    gains = [step["gain"] for step in found.data["steps"]]
    assert [gain["mean"] for gain in gains] == pytest.approx([0.041, 0.02, 0.04])
    assert [gain["n"] for gain in gains] == [3, 3, 3]
    assert rows[0]["gain over the step before"] == "–"
    assert rows[1]["gain over the step before"].startswith("+4.10 ± 0.10")
    json.dumps(found.data, allow_nan=False)


def test_an_arm_that_failed_is_no_step(tmp_path: Path) -> None:
    trials = study(tmp_path)
    diverge(tmp_path, next(trial for trial in trials if tuple(trial["arm"].values()) == ("average", 16, 3)))
    rows = rows_of(path_panel(collect(tmp_path)))
    assert [row["change"] for row in rows[1:]] == [
        "features: 16 → 32",
        "pool: max → average",
        "kernel_size: 3 → 5",
    ]


def of_the_chosen(out: Path) -> None:
    study(out, base=("average", 32, 5))


def beside_the_chosen(out: Path) -> None:
    study(out, base=("average", 32, 3))


def of_no_arm(out: Path) -> None:
    study(out, base=("blur", 32, 3))


def without_ways(out: Path) -> None:
    around = [dict(zip(AXES, own, strict=True)) for own in (("max", 16, 3), ("average", 32, 5), ("max", 16, 5))]
    study(out, chosen=around)


@pytest.mark.parametrize("make", [of_the_chosen, beside_the_chosen, of_no_arm, without_ways])
def test_where_there_is_no_way_there_is_no_panel(tmp_path: Path, make: Any) -> None:
    make(tmp_path)
    assert path_panel(collect(tmp_path)) is None


def test_lines_have_the_places_of_their_values_and_the_best_is_the_darkest(tmp_path: Path) -> None:
    """A rate by its logarithm, a width by itself, a kind of pooling by its place; a loss is better where it is less."""
    trials = sampled(tmp_path, (1.0, 0.5))
    with styled():
        made = drawing(parallel_panel(collect(tmp_path)))
    ax = made.figure.axes[0]
    lines = [line for line in ax.lines if isinstance(line, Line2D) and line.get_gid()]
    assert len(lines) == 60
    places = {str(line.get_gid()).split("-")[0]: list(np.asarray(line.get_ydata(), float)) for line in lines}
    table = collect(tmp_path)
    rates = [arm.values["optim.learning_rate"] for arm in table.arms]
    widths = [arm.values["model.features"] for arm in table.arms]
    for arm in table.arms:
        rate, width, pool, result = places[f"arm{arm.number}"]
        own = arm.values["optim.learning_rate"]
        assert rate == pytest.approx(np.log(own / min(rates)) / np.log(max(rates) / min(rates)))
        assert width == pytest.approx((arm.values["model.features"] - min(widths)) / (max(widths) - min(widths)))
        assert pool in (0.0, 1.0)
        assert 0 <= result <= 1
    by_result = sorted(lines, key=lambda line: np.asarray(line.get_ydata(), float)[-1])
    light = [sum(matplotlib_rgb(line)) for line in by_result]
    assert light == sorted(light), "the lowest loss is the darkest"
    assert sum(line.get_linewidth() > 2 for line in lines) == 1
    assert len(trials) == 180
    assert "n=60 arms" in made.caption
    assert [text for _, text in Scale("width", 4, 19, whole=True).ticks] == ["4", "8", "12", "15", "19"]
    assert [text for _, text in Scale("width", 4, 6, whole=True).ticks] == ["4", "5", "6"]


def matplotlib_rgb(line: Line2D) -> tuple[float, float, float]:
    from matplotlib.colors import to_rgb

    return to_rgb(line.get_color())  # type: ignore[arg-type]


def test_a_grid_has_no_lines(tmp_path: Path) -> None:
    study(tmp_path)
    assert parallel_panel(collect(tmp_path)) is None


def test_a_report_says_what_seeds_and_folds_vary(tmp_path: Path) -> None:
    make_study(tmp_path / "seeds", axes={"model.pool": ["max", "average"]})
    make_study(tmp_path / "folds", axes={"model.pool": ["max", "average"], "fold": [0, 1, 2]})
    for name, words in (("seeds", "other splits are not seen"), ("folds", "Folds vary which examples are held out")):
        said = [line for block in arms_panel(collect(tmp_path / name)).blocks for line in getattr(block, "lines", ())]
        assert any(words in line and "Seeds vary together" in line for line in said)
