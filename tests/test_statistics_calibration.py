"""benchmarks/calibration.py in small: what the statistics promise, held in simulated studies without effect."""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path

import numpy as np
import pytest

SPEC = importlib.util.spec_from_file_location(
    "calibration", Path(__file__).parents[1] / "benchmarks" / "calibration.py"
)
assert SPEC is not None
assert SPEC.loader is not None
calibration = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(calibration)


def three_errors(share: float, studies: int) -> float:
    return 3 * math.sqrt(share * (1 - share) / studies)


def test_differences_are_covered_by_what_is_offered() -> None:
    """Skewed means are not: Student's t holds some 88% of them, as docs/statistics.md says."""
    rows = list(calibration.means(300, np.random.default_rng(1)))
    assert len(rows) == 2 * 4 * 4
    for what, results, n, held, studies in rows:
        if (what, results) != ("t interval of a mean", "skewed"):
            assert held >= 0.95 - three_errors(0.95, studies) - 0.01, (what, results, n)


def test_families_and_outperforming_seldom_find_what_is_not_there() -> None:
    """Holm's t over ten pairs of five arms, at three seeds; the smallest p of signs cannot find anything there."""
    arms = np.random.default_rng(2).normal(size=(150, 5, 3))
    wrong = np.mean([calibration._any_found(study, "t") for study in arms])
    assert wrong <= 0.05 + three_errors(0.05, 150)
    assert not any(calibration._any_found(study, "sign flip") for study in arms[:20])
    rows = list(calibration.better(120, np.random.default_rng(3)))
    for what, _, n, share, studies in rows:
        if not what.endswith("0.5") and n >= 10:
            assert share <= 0.05 + three_errors(0.05, studies), (what, n)


def test_the_page_s_intervals_over_seeds_hold_what_they_should_near_100_percent_too(monkeypatch) -> None:
    """With one error a seed and more; below that a few counts are all that can happen, and intervals are wider."""
    monkeypatch.setattr(calibration, "NEAR", ((144, 0.99), (359, 0.90)))
    rows = list(calibration.over_seeds(250, np.random.default_rng(4)))
    assert len(rows) == 2 * 3 * 2 * 2
    for what, results, n, held, studies in rows:
        assert studies == 250
        assert 0.93 - three_errors(0.05, 250) <= held <= (0.99 if n == 3 else 0.985), (what, results, n)


@pytest.mark.benchmark
def test_every_part_of_the_calibration_runs(capsys, monkeypatch) -> None:
    monkeypatch.setattr("sys.argv", ["calibration.py", "--studies", "8"])
    calibration.main()
    printed = capsys.readouterr().out
    assert printed.count("| statistic | results |") == len(calibration.PARTS)
    assert "| t, Holm over 10 pairs | normal |" in printed
