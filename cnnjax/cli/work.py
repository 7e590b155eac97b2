"""`cnnjax work` and `cnnjax cancel`: what other processes do about a study, knowing its folder alone."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from cnnjax.cli import paths
from cnnjax.cli.app import app, err
from cnnjax.cli.hosts_options import Coordinator, HostsOption, Meeting, Process, Processes, together
from cnnjax.cli.options import LONGEST, MANY, SHORTEST, AsJson
from cnnjax.cli.printing import note, print_json
from cnnjax.errors import CnnjaxError, ConfigError
from cnnjax.progress import StudyProgress, progress

Study = Annotated[
    Path, typer.Argument(metavar="DIR", parser=paths.study, help="The study's folder.", show_default=False)
]
AS_SWEPT = "[default: as the sweep]"


@app.command(
    epilog="Examples:  cnnjax work runs/pooling  ·  ssh node7 'cd project && cnnjax work runs/pooling --worker node7'"
)
def work(
    folder: Study,
    worker: Annotated[
        str, typer.Option(help="A name that `cnnjax status` shows. [default: machine and process]", show_default=False)
    ] = "",
    side_by_side: Annotated[
        int | None, typer.Option(help="Programs trained side by side. [default: by size and cores]", min=1, max=MANY)
    ] = None,
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="Stay until the trials of other workers are over too.")
    ] = True,
    stop_on_failure: Annotated[
        bool, typer.Option("--stop-on-failure", help="Stop all workers once a trial failed.")
    ] = False,
    only: Annotated[
        str,
        typer.Option(help="Train one program or trial alone: its digest or id, as in plan.json.", show_default=False),
    ] = "",
    pack: Annotated[int | None, typer.Option(help=f"Trials of one program trained together. {AS_SWEPT}", min=1)] = None,
    devices: Annotated[int | None, typer.Option(help=f"How many devices to use. {AS_SWEPT}", min=1)] = None,
    device_memory: Annotated[
        str | None, typer.Option(help=f"The memory of each, such as 80GB. {AS_SWEPT}", show_default=False)
    ] = None,
    parallel: Annotated[
        str | None,
        typer.Option(metavar="jit|shard_map|pmap", help=f"How a step is spread over devices. {AS_SWEPT}"),
    ] = None,
    resident: Annotated[
        float | None,
        typer.Option(help=f"Data up to this share of a device's memory live there. {AS_SWEPT}", min=0, max=1),
    ] = None,
    workers: Annotated[int | None, typer.Option(help=f"Processes that read data. {AS_SWEPT}", min=0, max=MANY)] = None,
    checkpoint_seconds: Annotated[
        float | None, typer.Option(help=f"Time between checkpoints. {AS_SWEPT}", min=SHORTEST, max=LONGEST)
    ] = None,
    checkpoint_steps: Annotated[int | None, typer.Option(help=f"Steps between checkpoints. {AS_SWEPT}", min=1)] = None,
    stale: Annotated[
        str, typer.Option(metavar="stop|keep", help="Where code is other than planned: stop, or keep and use it.")
    ] = "stop",
    log: Annotated[
        list[str] | None,
        typer.Option(metavar="tensorboard|wandb|mlflow", help=f"Loggers. {AS_SWEPT}", show_default=False),
    ] = None,
    log_every: Annotated[int | None, typer.Option(help=f"Steps between their losses. {AS_SWEPT}", min=1)] = None,
    hosts: HostsOption = "one",
    coordinator: Coordinator = None,
    processes: Processes = None,
    process: Process = None,
    meeting_seconds: Meeting = 300.0,
    as_json: AsJson = False,
) -> None:
    """Train trials of a study beside other workers; `cnnjax sweep FILE` has planned it.

    Ends with 0 when nothing is left to do: why a trial failed is in its result.json and in `cnnjax status`.
    """
    from cnnjax.hosts import is_first
    from cnnjax.launch.made import read_work
    from cnnjax.launch.work import options_from
    from cnnjax.launch.work import work as run
    from cnnjax.run.devices import memory_of

    if stale not in ("stop", "keep"):
        raise ConfigError(f"--stale {stale}: must be stop or keep; its sweep can rerun or separate what is stale")
    folder = folder.resolve()
    planned = read_work(folder)
    if os.path.isdir(planned.folder):
        # The study's relative paths, of data for example, start there.
        os.chdir(planned.folder)
    asked: dict[str, Any] = {
        "devices": devices,
        "memory": None if device_memory is None else memory_of(device_memory),
        "parallel": parallel,
        "resident": resident,
        "workers": workers,
        "checkpoint_seconds": checkpoint_seconds,
        "checkpoint_steps": checkpoint_steps,
        "log": log,
        "log_every": log_every,
    }
    given = {name: value for name, value in asked.items() if value is not None}
    options = options_from(planned.options | given | {"stale": stale})
    with together(hosts, coordinator, processes, process, meeting_seconds):
        with progress(folder.name, hidden=as_json or not is_first()) as show:
            outcome = run(
                folder,
                options=options,
                sinks=[StudyProgress(show)],
                pack=pack,
                workers=side_by_side,
                name=worker,
                wait=wait,
                stop_on_failure=stop_on_failure,
                only=only,
            )
        if not is_first():
            return
    for trial, reason in outcome.errors.items():
        err.print(f"trial {trial}: {reason}", style="red", markup=False, highlight=False, soft_wrap=True)
    if as_json:
        print_json(vars(outcome))
    else:
        note(f"{len(outcome.done)} trials trained here, {len(outcome.skipped)} by others; cnnjax report {folder}")
    unrecorded = len(outcome.errors.keys() - set(outcome.failed))
    if unrecorded:
        raise CnnjaxError(f"{unrecorded} trials could not be trained here; see {folder}/trials")


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
