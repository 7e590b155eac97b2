"""The table of README's study is what its command prints: all that is counted, and what is measured as far as it can be
the same on this processor."""

from __future__ import annotations

import itertools
import math
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from cnnjax import Hardware, Options, Study, plan, results, sweep
from cnnjax.config import replace
from cnnjax.documents.counts import short_count
from cnnjax.run import compiling
from cnnjax.study.file import load

ROOT = Path(__file__).parents[1]
STUDY = ROOT / "experiments/digits/study.py"
MADE_ON = "7dd4980035e4"
"""The kind of processor and the version of JAX of the table (`compiling._processor`): numbers are promised to be the
same bits there. On others sums are rounded otherwise, and a few examples of 360 are taken for another class."""
ELSEWHERE = 1.0
"""Percentage points by which a mean of three seeds may differ there: some four of 360 examples, of each seed."""
PERCENT = r"(\d+\.\d\d) ± (\d+\.\d\d) \[(\d+\.\d\d),(\d+\.\d\d)\]"
ROW = re.compile(rf"^ *(\d+)(\*?) +(\d+ · \d+ · \w+) +(\d+)  {PERCENT}  {PERCENT} +(\S+) +(\S+) +\S+ ± \S+$", re.M)


@dataclass(frozen=True)
class Row:
    number: int
    chosen: bool
    arm: str
    n: int
    validation: tuple[float, ...]
    test: tuple[float, ...]
    params: str
    macs: str


def rows() -> list[Row]:
    found = ROW.findall((ROOT / "README.md").read_text())
    return [
        Row(int(f[0]), f[1] == "*", f[2], int(f[3]), tuple(map(float, f[4:8])), tuple(map(float, f[8:12])), *f[12:])
        for f in found
    ]


@pytest.fixture(scope="module")
def planned():
    return plan(load(STUDY).study)


def test_arms_seeds_parameters_and_macs_are_the_plans(planned):
    first = [trial for trial in planned.trials if trial.experiment.seed == 0]
    told = [(row.number, row.arm, row.n, row.params, row.macs) for row in rows()]
    assert told == [
        (
            number,
            " · ".join(map(str, trial.arm.values())),
            load(STUDY).study.seeds,
            short_count(trial.params),
            short_count(trial.macs),
        )
        for number, trial in enumerate(first, 1)
    ]


def possible(mean: float, sd: float, examples: int) -> bool:
    """Whether three shares of so many examples have this mean and standard deviation, to two decimals of percent."""
    near = range(max(0, math.floor((mean / 100 - 0.04) * examples)), examples + 1)
    for counts in itertools.combinations_with_replacement(near, 3):
        shares = 100 * np.array(counts) / examples
        if f"{shares.mean():.2f}" == f"{mean:.2f}" and f"{shares.std(ddof=1):.2f}" == f"{sd:.2f}":
            return True
    return False


def test_accuracies_are_of_so_many_examples(planned):
    """A digit that was changed, or a row of another study, is no mean of three shares of these parts."""
    data = planned.study.experiment.data.load()
    test = len(data.test)
    validation = round(planned.study.experiment.validation * len(data.train))
    for row in rows():
        assert possible(*row.validation[:2], validation), row
        assert possible(*row.test[:2], test), row
        for mean, _, low, high in (row.validation, row.test):
            assert low <= mean <= high
    assert not possible(98.98, 0.17, test)


def test_the_chosen_arm_is_the_best_by_validation():
    [chosen] = [row for row in rows() if row.chosen]
    assert chosen.validation[0] == max(row.validation[0] for row in rows())


@pytest.mark.slow
def test_two_arms_trained_are_as_the_table_says(tmp_path):
    base = replace(load(STUDY).study.experiment, {"model.pool": "average"})
    sweep(Study(base, axes={"model.features": [8, 16]}, seeds=3), tmp_path, options=Options(Hardware(devices=1)))
    told = {row.arm: row for row in rows()}
    for features, trials in results(tmp_path).groupby("model.features"):
        row = told[f"{features} · 3 · average"]
        for part, said in (("validation", row.validation), ("test", row.test)):
            shares = 100 * trials[f"{part}_accuracy"]
            if compiling._processor() == MADE_ON:
                assert f"{shares.mean():.2f} ± {shares.std():.2f}" == f"{said[0]:.2f} ± {said[1]:.2f}"
            assert abs(shares.mean() - said[0]) <= ELSEWHERE
