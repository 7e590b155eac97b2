"""Where the seconds of a study's trainings went."""

from __future__ import annotations

from cnnjax.reporting.study_table import Table
from cnnjax.reporting.units import plural

KINDS = ("compile", "input", "step", "evaluation", "idle")
"""The kinds of `ResultRecord.seconds`."""


def shown_seconds(table: Table) -> str:
    """The column of `Table.trials` whose seconds tables show."""
    return "step_seconds" if "step_seconds" in table.spent else "train_seconds"


def seconds_are(table: Table) -> str:
    """What these are of, in words that follow "seconds"."""
    if shown_seconds(table) == "train_seconds":
        return "of training and evaluating, without compilation"
    without = sum(not seconds for seconds in table.done["seconds"])
    older = f" ({plural(without, 'older trial')} recorded them with evaluation)" if without else ""
    return f"of training steps, without compilation and evaluation{older}"


def time_spent(table: Table) -> dict[str, float | int]:
    """Seconds by kind over the finished trials that recorded them, and of how many trials ("trials"); empty for none.

    Trials that are trained side by side take the same time twice, so the sum may be more than the clock's.
    """
    recorded = [seconds for seconds in table.done["seconds"] if seconds]
    if not recorded:
        return {}
    sums: dict[str, float | int] = {kind: sum(seconds.get(kind, 0.0) for seconds in recorded) for kind in KINDS}
    return sums | {"trials": len(recorded)}


def time_spent_text(table: Table) -> str:
    """That as one line, with each kind's share; empty where nothing was recorded."""
    spent = time_spent(table)
    if not spent:
        return ""
    whole = sum(spent[kind] for kind in KINDS) or 1.0
    parts = ", ".join(f"{kind} {spent[kind]:,.1f} s ({spent[kind] / whole:.0%})" for kind in KINDS)
    return (
        f"{parts}; summed over n={plural(int(spent['trials']), 'finished trial')}, also where they trained side by side"
    )
