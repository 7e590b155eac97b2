"""A study's trials and learning curves as tidy tables, for analyses of one's own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from cnnjax.errors import expect
from cnnjax.reporting.frames import Frame
from cnnjax.reporting.study_table import Table, collect

if TYPE_CHECKING:
    import pandas as pd


def results(folder: Path | str) -> pd.DataFrame:
    """A row a planned trial of the study (or the run) in `folder`.

    Columns: `number` of its arm; each axis by its path, as JSON text where values are lists, configs or of several
    kinds; `fold` where the study varies it; `seed`; `status` ("done", "failed", "unfinished", "stopped early"); the
    metrics as recorded (a share in 0..1), NaN where there is no number; `params`, `macs` of one
    forward pass of one example, `memory` in bytes of a training step, `steps`; `train_seconds`, `step_seconds` where
    recorded, `compile_seconds`; `energy` in J of all training steps, where recorded; `packed`, how many trials were
    trained together and share the seconds; `id`, `data_fingerprint`, `cause` and `error` of a
    failure. Raises RunError where `folder` holds no study and no run, where a file of it is damaged, and where no trial
    has finished.
    """
    expect(folder, (str, Path), call="results", takes="the folder of a study or of a run")
    return cast("pd.DataFrame", trials_frame(collect(folder)))


def curves(folder: Path | str) -> pd.DataFrame:
    """A row an epoch of each finished trial of the study (or the run) in `folder`.

    Columns: `number` of its arm, each axis by its path, `fold` where the study varies it, `seed` and `id` as in
    `results`; `epoch` and `step`, how many are over; then what the epoch measured (`train_loss`, a column each). Raises
    RunError as `results` does.
    """
    expect(folder, (str, Path), call="curves", takes="the folder of a study or of a run")
    return cast("pd.DataFrame", curves_frame(collect(folder)))


def trials_frame(table: Table) -> Frame:
    """The trials of `table`, as `results` has them."""
    costs = ["params", "macs", "memory", "steps", *table.spent, "packed"]
    origin = ["id", "data_fingerprint", "cause", "error"]
    chosen = [*_named(table), "status", *table.metrics, *costs, *origin]
    return plain(table.trials[chosen]).rename(columns=_named(table))


def curves_frame(table: Table) -> Frame:
    """The learning curves of `table`, as `curves` has them."""
    whose = plain(table.trials[[*_named(table), "id"]]).rename(columns=_named(table))
    measured = table.curves.drop(columns=["arm", "seed"]).astype({"epoch": "Int64"})
    joined = whose.merge(measured, on="id", how="inner", validate="one_to_many")
    return joined.sort_values(["number", *table.repeats, "epoch"], kind="stable", ignore_index=True)


def _named(table: Table) -> dict[str, str]:
    """What says which trial a row is of: columns of `Table.trials`, and their names in a tidy table."""
    paths = [axis.path for axis in (*table.axes, *table.constants)]
    repeats = {column: name for name, column in table.repeats.items()}
    return {"arm": "number", **{path: path for path in paths}, **repeats}


def plain(frame: Frame) -> Frame:
    """`frame` with columns of one kind, which can be grouped and written as Parquet: where one holds lists, configs, or
    values of several kinds (3 and "same"), those that are no text are JSON text."""
    return frame.apply(lambda column: column.map(_text) if _is_mixed(column.dropna()) else column)


def _is_mixed(values: Any) -> bool:
    if values.dtype != object:
        return False
    kinds = {float if type(value) is int else type(value) for value in values}
    return len(kinds) > 1 or bool(kinds & {list, dict, tuple})


def _text(value: Any) -> Any:
    return value if value is None or isinstance(value, str) else json.dumps(value)
