"""Writes the tables of experiments/README.md that stand between markers, from the records beside the recipes.

    python docs/verdict_tables.py

A record is what `cnnjax reproduce NAME --record` writes, so no number of the tables is typed. The first table has the
recipes that a band is of, the second the claims of studies; both have every record there is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from cnnjax.cards import Band, Published
from cnnjax.recipes.figures import band, measured, published
from cnnjax.records.reproduction_json import ReproductionRecord

FOLDER = Path(__file__).parents[1] / "experiments"
PAGE = FOLDER / "README.md"
MARKERS = {name: (f"<!-- {name} -->\n", f"<!-- end of {name} -->\n") for name in ("bands", "claims")}
REMEDY = "reproduce the recipe again with --record"


def records(folder: Path = FOLDER) -> list[ReproductionRecord]:
    """Those beside the recipes, in the order of their names."""
    found = []
    for path in sorted(folder.rglob("*.py")):
        record = ReproductionRecord.read(path.with_suffix(".json"), remedy=REMEDY)
        found += [] if record is None else [record]
    return found


def bands_table(found: Sequence[ReproductionRecord]) -> str:
    """What was measured of each recipe that a band is of."""
    rows = []
    for record in found:
        if record.band is None or record.result is None:
            continue
        figures = "; ".join(published(Published(**figure), named=True) for figure in record.published) or "-"
        judged = (band(Band(**record.band)), measured(record.result), record.verdict or "no verdict")
        rows.append((f"`{record.recipe}`", figures, *judged, *_made(record)))
    head = ("recipe", "published", "reproduced if", "measured, 95% interval", "verdict", "minutes", "commit")
    return _table(head, rows)


def claims_table(found: Sequence[ReproductionRecord]) -> str:
    """Every claim with its verdict."""
    rows = []
    for record in found:
        for claim in record.claims:
            difference, _, n = claim.said.partition(", n = ")
            remarks = f" ({'; '.join(claim.remarks)})" if claim.remarks else ""
            what = (claim.claim["text"], f"{claim.verdict}{remarks}", difference or "-", n.partition(" ")[0])
            rows.append((*what, f"`{record.recipe}`", *_made(record)))
    head = ("claim", "verdict", "difference [95% interval]", "seeds", "recipe", "minutes", "commit")
    return _table(head, rows)


def page(text: str, found: Sequence[ReproductionRecord]) -> str:
    """`text` with the tables between their markers."""
    for name, table in {"bands": bands_table(found), "claims": claims_table(found)}.items():
        start, end = MARKERS[name]
        before, _, rest = text.partition(start)
        _, _, after = rest.partition(end)
        text = f"{before}{start}\n{table}\n{end}{after}"
    return text


def _made(record: ReproductionRecord) -> Iterator[str]:
    """The minutes of training and compiling, all trials together, and the commits that trained them."""
    yield "-" if record.minutes is None else f"{record.minutes:.1f}"
    yield ", ".join(sorted({str(own.get("cnnjax_commit"))[:12] for own in record.environments}))


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |\n" for line in lines)


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(), records()))
