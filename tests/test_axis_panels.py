"""The panels on what axes do, by the design of the study."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from cnnjax.reporting import collect
from cnnjax.reporting.finding import Finding
from cnnjax.reporting.marks import Drawing
from cnnjax.reporting.panels.tornado import tornado_panel
from cnnjax.reporting.statistics import difference
from tests.test_reporting import BASE, configured, diverge, make_study, set_metrics, star

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


def drawing(finding: Finding | None) -> Drawing:
    assert finding is not None
    [sketch] = finding.sketches
    made = sketch.make()
    assert made is not None
    return made


# --- one axis at a time


def bars(made: Drawing) -> tuple[list[str], list[float], list[bool]]:
    ax = made.figure.axes[0]
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
    better, worse = (bar.get_facecolor() for bar in made.figure.axes[0].patches[:2])
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
    assert len(made.figure.axes[0].lines) == 1, "the line at 0 alone"


def test_a_grid_has_no_tornado(tmp_path: Path) -> None:
    make_study(tmp_path)
    assert tornado_panel(collect(tmp_path)) is None
