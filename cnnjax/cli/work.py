"""`cnnjax work` and `cnnjax cancel`: what other processes do about a study, knowing its folder alone."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from cnnjax.cli.app import app, err
from cnnjax.cli.options import AsJson
from cnnjax.cli.printing import note
from cnnjax.cli.progress_sinks import StudyProgress
from cnnjax.errors import CnnjaxError, ConfigError
from cnnjax.progress import progress

Study = Annotated[Path, typer.Argument(metavar="DIR", help="The study's folder.", show_default=False)]


@app.command(
    epilog="Examples:  cnnjax work runs/pooling  ·  ssh node7 'cd project && cnnjax work runs/pooling --worker node7'"
)
def work(
    folder: Study,
    worker: Annotated[
        str, typer.Option(help="A name that `cnnjax status` shows. [default: machine and process]", show_default=False)
    ] = "",
    pack: Annotated[
        int | None, typer.Option(help="Trials of one program trained together. [default: as the sweep]", min=1)
    ] = None,
    side_by_side: Annotated[
        int | None, typer.Option(help="Programs trained side by side. [default: by size and cores]", min=1)
    ] = None,
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="Stay until the trials of other workers are over too.")
    ] = True,
    stop_on_failure: Annotated[
        bool, typer.Option("--stop-on-failure", help="Stop all workers once a trial failed.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Train trials of a study beside other workers; `cnnjax sweep FILE` has planned it."""
    from cnnjax.launch.units import read_work
    from cnnjax.launch.work import work as run

    folder = folder.resolve()
    started_in = read_work(folder).folder
    if os.path.isdir(started_in):
        # The study's relative paths, of data for example, start there.
        os.chdir(started_in)
    with progress(folder.name, hidden=as_json) as show:
        outcome = run(
            folder,
            sinks=[StudyProgress(show)],
            pack=pack,
            workers=side_by_side,
            name=worker,
            wait=wait,
            stop_on_failure=stop_on_failure,
        )
    for trial, reason in outcome.errors.items():
        err.print(f"trial {trial}: {reason}", style="red", markup=False, highlight=False, soft_wrap=True)
    if as_json:
        import json

        typer.echo(json.dumps(vars(outcome)))
    else:
        note(f"{len(outcome.done)} trials trained here, {len(outcome.skipped)} by others; cnnjax report {folder}")
    if outcome.errors:
        raise CnnjaxError(f"{len(outcome.errors)} trials failed; see {folder}/trials")


@app.command(epilog="Examples:  cnnjax cancel runs/pooling  ·  cnnjax cancel runs/pooling --undo")
def cancel(
    folder: Study,
    undo: Annotated[bool, typer.Option("--undo", help="Let workers begin again.")] = False,
) -> None:
    """Have all workers of a study stop after their step, all saved; its next sweep goes on."""
    from cnnjax.launch import cancel as of

    if undo:
        if of.cancelled(folder) is None:
            raise ConfigError(f"{folder} is not cancelled")
        of.go_on(folder)
        note(f"workers of {folder} may begin again: `cnnjax work {folder}`, or the sweep as before")
        return
    of.cancel(folder)
    note(f"cancelled: workers of {folder} stop after their step, with all saved; the same sweep goes on later")
