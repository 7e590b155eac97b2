"""experiments/README.md has the tables that the records beside the recipes make."""

from __future__ import annotations

import runpy
from pathlib import Path

from cnnjax.cards import Band
from cnnjax.recipes.figures import band
from cnnjax.records.reproduction_json import JudgedClaim, Measured, ReproductionRecord
from cnnjax.records.specification import BEFORE, specification_of

ROOT = Path(__file__).parents[1]
SCRIPT = runpy.run_path(str(ROOT / "docs" / "verdict_tables.py"))


def record(**fields):
    made = {"recipe": "mnist/lenet5", "form": "0" * 12, "experiments": (), "seeds": 5, "minutes": 6.4}
    environments = ({"cnnjax_commit": "0123456789abcdef"},)
    return ReproductionRecord(**made, environments=environments, recorded="2026-01-01T00:00:00", **fields)


def test_the_page_has_what_the_records_say():
    page = (ROOT / "experiments" / "README.md").read_text()
    assert page == SCRIPT["page"](page, SCRIPT["records"]()), "run python docs/verdict_tables.py"


def test_a_band_is_a_row_with_its_figures():
    accuracy = specification_of("test_accuracy", BEFORE)
    result = Measured(
        metric="test_accuracy", specification=accuracy, n=5, mean=0.9915, sd=0.0004, low=0.991, high=0.992
    )
    of = record(result=result, verdict="pass", band={"low": 0.991, "n": 5}, published=({"mean": 0.99, "n": 1},))
    *_, row = SCRIPT["bands_table"]([of]).splitlines()
    assert row == (
        f"| `mnist/lenet5` | accuracy 99.00% (n = 1) | {band(Band(low=0.991, n=5))} | "
        "99.15 ± 0.04% [99.10, 99.20], n = 5 | pass | 6.4 | 0123456789ab |"
    )


def test_a_claim_is_a_row_with_its_verdict_difference_and_seeds():
    said = "+0.42 points [0.10, 0.74], n = 4 of 5 seeds, at most 0.74 points"
    about = {"metric": "test_accuracy", "n": 4, "settings": 1, "word": "holds", "verdict": "holds", "said": said}
    claim = JudgedClaim(**about, claim={"text": "More | better"}, remarks=("1 diverged",))
    *_, row = SCRIPT["claims_table"]([record(claims=(claim,))]).splitlines()
    assert row == (
        "| More / better | holds (1 diverged) | +0.42 points [0.10, 0.74] | 4 | `mnist/lenet5` | 6.4 | 0123456789ab |"
    )
