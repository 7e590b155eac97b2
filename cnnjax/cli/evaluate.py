"""`cnnjax evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cnnjax.cli.app import WIDE, app, out
from cnnjax.cli.options import (
    AsJson,
    Checkpoint,
    Classes,
    Devices,
    KeepPredictions,
    Overrides,
    Resident,
    Workers,
    hardware_of,
    load_file,
    values,
)
from cnnjax.cli.printing import note, print_json


@app.command(
    epilog="Examples:  cnnjax evaluate runs/baseline --json  ·  cnnjax evaluate runs/mnist --data fashion_mnist  ·  "
    "cnnjax evaluate runs/resnet50 --data folder data.root=pets data.size=224"
)
def evaluate(
    run: Annotated[Path, typer.Argument(help="A run's folder (of a study: trials/ID).", show_default=False)],
    overrides: Overrides = None,
    data: Annotated[str | None, typer.Option(help="Another data set to evaluate on, by name.")] = None,
    file: Classes = None,
    devices: Devices = None,
    resident: Resident = 0.25,
    workers: Workers = 0,
    stale: Annotated[
        str,
        typer.Option(
            "--stale",
            metavar="stop|keep",
            help="Where its code or data changed since: stop, or keep and use those of now.",
        ),
    ] = "stop",
    keep_predictions: KeepPredictions = False,
    step: Checkpoint = None,
    as_json: AsJson = False,
) -> None:
    """Evaluate a run's newest checkpoint on its validation and test parts. Its step is said."""
    from cnnjax.progress.parts import classes_tables, parts_table
    from cnnjax.records.resolved import compared_first
    from cnnjax.run.directory import directory_in
    from cnnjax.run.evaluate import evaluate as run_evaluate
    from cnnjax.run.resolve import recorded, recorded_task

    if file is not None:
        load_file(file)
    hardware = hardware_of(devices, "jit", resident, workers)
    said: list[str] = []
    how = {"data": data, "overrides": values(overrides), "hardware": hardware, "stale": stale}
    parts = run_evaluate(run, **how, keep_predictions=keep_predictions, step=step, told=said.append)
    if as_json:
        for line in said:
            note(line)
        print_json(parts)
        return
    out.print(said[0], markup=False, highlight=False, soft_wrap=True)
    for line in said[1:]:
        note(line)
    directory = directory_in(run)
    WIDE.print(parts_table(parts, compared_first(directory.path)))
    if (resolved := recorded(directory)) is not None:
        task = recorded_task(directory.experiment(), resolved)
        for table in classes_tables(parts, task.by_class, resolved.class_names):
            WIDE.print(table)
