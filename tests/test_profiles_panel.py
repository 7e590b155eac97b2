"""Results of single seeds: the interquartile mean, profiles and orders, against SciPy and by counting."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from cnnjax.documents.style import styled
from cnnjax.reporting import collect
from cnnjax.reporting.finding import Finding
from cnnjax.reporting.marks import Drawing
from cnnjax.reporting.panels.profiles import profiles_panel
from cnnjax.statistics.bootstrap import profile
from cnnjax.statistics.outperforming import stochastic_order
from cnnjax.statistics.trimmed import FEWEST, interquartile
from tests.test_compared_arms import losses_study

BASE = 0.40 + 0.01 * np.array([0, 3, 1, 4, 2, 6, 5, 9, 7, 11, 8, 30])
LOSSES = np.array([BASE, BASE - 0.15 - 0.001 * np.arange(12), BASE[::-1] + np.tile([0.004, -0.005], 6)])


def found_in(out: Path, losses: np.ndarray = LOSSES) -> Finding | None:
    losses_study(out, losses)
    return profiles_panel(collect(out))


@pytest.mark.parametrize("n", [10, 13, 20])
def test_the_interval_of_the_interquartile_mean_is_yuens(n: int) -> None:
    """SciPy's test of trimmed means beside values without spread has the same standard error and freedom."""
    values = np.random.default_rng(n).lognormal(size=n)
    found = interquartile(values)
    theirs: Any = stats.ttest_ind(values, np.zeros(n), trim=0.25, equal_var=False)  # type: ignore[arg-type]
    mean = stats.trim_mean(values, 0.25)
    half = stats.t.ppf(0.975, n - 2 * (n // 4) - 1) * mean / theirs.statistic
    assert (found.value, found.low, found.high) == pytest.approx((mean, mean - half, mean + half))


def test_few_values_and_ties_have_a_mean_and_no_interval() -> None:
    few = interquartile(np.arange(FEWEST - 1.0))
    assert few.value == 4
    assert math.isnan(few.low)
    assert str(FEWEST) in few.why
    tied = interquartile([0.0, *[0.5] * 10, 1.0])
    assert (tied.value, tied.why) == (0.5, "the middle half is one value")
    with pytest.raises(ValueError, match="NaN"):
        interquartile([math.nan] * 12)


def test_the_band_of_one_setting_is_exactly_binomial() -> None:
    found = profile(BASE[:, None], [0.0, 0.445, 0.475, 1.0])
    for share, low, high in zip(found.shares, found.low, found.high, strict=True):
        expected = stats.binomtest(round(12 * share), 12).proportion_ci(method="exact")
        assert (low, high) == pytest.approx((expected.low, expected.high))
    assert found.shares == (1.0, 7 / 12, 4 / 12, 0.0)


def test_the_panel_against_counting(tmp_path: Path) -> None:
    finding = found_in(tmp_path)
    assert finding is not None
    assert finding.data is not None
    json.dumps(finding.data, allow_nan=False)
    for own, losses in zip(finding.data["arms"], LOSSES, strict=True):
        assert own["interquartile_mean"]["value"] == pytest.approx(stats.trim_mean(losses, 0.25))
        at, shares = own["profile"]["at"], own["profile"]["share"]
        assert at == sorted(set(LOSSES.ravel().tolist()))
        assert shares == pytest.approx([(losses <= loss).mean() for loss in at]), "of losses less is better"
    better = finding.data["arms"][1]["almost_always"]["better"]
    # Two other arms in two directions each.
    alone = stochastic_order(-LOSSES[1], -LOSSES[0], confidence=1 - 0.05 / 4)
    assert better == {"violation": alone.violation, "bound": alone.bound}
    rows = next(finding.grids).cells(exact=True)
    assert [row[6] for row in rows] == ["–", "better", "neither"]
    assert rows[1][7:] == ["better: 0.00", f"{alone.bound:.2f}"]
    assert alone.bound < 0.2
    assert "n=12 an arm" in finding.blocks[1].lines[0]  # type: ignore[union-attr]


def test_a_line_is_the_share_at_every_loss(tmp_path: Path) -> None:
    finding = found_in(tmp_path)
    assert finding is not None
    with styled():
        made = next(finding.sketches).make()
    assert isinstance(made, Drawing)
    for line, losses in zip(made.figure.axes[0].lines, LOSSES, strict=True):
        assert line.get_drawstyle() == "steps-post"
        x, y = (np.asarray(values) for values in line.get_data())
        for loss in (0.401, 0.445, 0.6):
            assert y[np.searchsorted(x, loss, side="right") - 1] == pytest.approx(100 * (losses <= loss).mean())


def test_arms_that_are_not_whole_and_few_seeds_take_no_part(tmp_path: Path) -> None:
    losses = LOSSES.copy()
    losses[2, 4] = math.nan
    finding = found_in(tmp_path / "diverged", losses)
    assert finding is not None
    assert finding.data is not None
    assert [own["arm"] for own in finding.data["arms"]] == [1, 2]
    assert "1 arm without a result of every seed is not in it" in finding.blocks[1].lines[0]  # type: ignore[union-attr]
    assert found_in(tmp_path / "few", LOSSES[:, :4]) is None
    assert found_in(tmp_path / "alone", LOSSES[:1]) is None
