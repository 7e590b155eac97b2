"""`cnnjax status`."""

from __future__ import annotations

import time
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cnnjax.cli.app import WIDE, app
from cnnjax.cli.options import LONGEST, AsJson
from cnnjax.cli.printing import print_json
from cnnjax.cli.work import Study
from cnnjax.console import rich_text
from cnnjax.errors import CnnjaxError

if TYPE_CHECKING:
    from rich.console import Group

    from cnnjax.launch.status import StudyStatus

MOST_ERRORS = 10


@app.command(
    epilog="Examples:  cnnjax status runs/pooling  ·  cnnjax status runs/pooling --watch  ·  "
    "cnnjax status runs/pooling --json"
)
def status(
    folder: Study,
    watch: Annotated[bool, typer.Option("--watch", help="Show it again and again, until all trials are over.")] = False,
    every: Annotated[float, typer.Option("--every", help="Seconds between, with --watch.", min=0.1, max=LONGEST)] = 2.0,
    as_json: AsJson = False,
) -> None:
    """How far a study is and who works on it, from its folder alone; of jobs in SLURM's queue, what SLURM says too."""
    from rich.live import Live

    from cnnjax.launch.status import status as read

    found = read(folder)
    if not watch:
        _print(found, folder, as_json=as_json)
        return
    if as_json or not WIDE.is_terminal:
        while True:
            _print(found, folder, as_json=as_json)
            if found.over:
                return
            time.sleep(every)
            found = read(folder)
    with Live(_shown(found, folder), console=WIDE, auto_refresh=False) as live:
        while not found.over:
            time.sleep(every)
            found = read(folder)
            live.update(_shown(found, folder), refresh=True)


def _print(found: StudyStatus, folder: Path, *, as_json: bool) -> None:
    if as_json:
        print_json(found.to_json() | {"jobs": _jobs(folder)})
    else:
        WIDE.print(_shown(found, folder))


def _jobs(folder: Path) -> list[str]:
    """What a cluster says of the study's jobs. It is asked at most every 15 seconds."""
    return _jobs_at(folder, int(time.monotonic() / 15))


@lru_cache(maxsize=1)
def _jobs_at(folder: Path, quarter_of_a_minute: int) -> list[str]:
    from cnnjax.launch.launcher import jobs_said

    try:
        return jobs_said(folder)
    except CnnjaxError as error:
        return [f"of the cluster's jobs nothing is known: {error}"]


def _shown(found: StudyStatus, folder: Path) -> Group:
    from rich.console import Group
    from rich.table import Table

    from cnnjax.progress import hours

    live = [each for each in found.running if not each.lost]
    lost = len(found.running) - len(live)
    parts = [f"{found.done} of {found.trials} trials done"]
    counts = {
        "failed": found.failed + len(found.damaged),
        "running": len(live),
        "stopped midway": found.begun + lost,
        "stopped early" if found.over else "waiting for a decision": found.stopped,
        "waiting": found.waiting,
    }
    parts += [f"{count} {what}" for what, count in counts.items() if count]
    parts += [f"{found.pruned} arms pruned"] if found.pruned else []
    if found.seconds_left is not None:
        parts.append(f"about {hours(found.seconds_left)} left (as {found.measured} finished trials took)")
    lines = [rich_text(f"{found.name}: {', '.join(parts)}")]
    if found.cancelled is not None:
        lines.append(rich_text(f"{found.cancelled}: workers stop; the study's sweep goes on", style="yellow"))
    if found.outdated:
        now = f"; there are {found.done} now" if found.reported != found.done else ", not as they are now"
        of = f"report/ is of {found.reported} finished trials{now}: cnnjax report {folder}"
        lines.append(rich_text(of, style="yellow"))
    lines += [rich_text(said) for said in _jobs(folder)]
    table = Table(box=None, pad_edge=False)
    for name in ("trial", "arm", "seed", "step", "worker", "process", "since", "heard of"):
        table.add_column(name)
    for each in found.running:
        arm = ", ".join(f"{path.rpartition('.')[2]} {value}" for path, value in each.arm.items()) or "base"
        table.add_row(
            *(each.trial, arm, f"{each.seed}", f"{each.step}/{each.steps}", each.worker, f"{each.pid} on {each.host}"),
            each.since[:19].replace("T", " "),
            f"lost, {each.heard:.0f} s ago" if each.lost else f"{each.heard:.0f} s ago",
            style="yellow" if each.lost else "",
        )
    failures = [*found.errors.items(), *found.damaged.items()]
    said = [rich_text(f"trial {trial} failed: {error[:300]}", style="red") for trial, error in failures[:MOST_ERRORS]]
    more = len(failures) - len(said)
    said += [rich_text(f"and {more} more", style="red")] if more else []
    return Group(*lines, *([table] if found.running else []), *said)
