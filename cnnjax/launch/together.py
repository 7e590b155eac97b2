"""A worker of several processes, which train each trial together: the first claims, the others follow."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from cnnjax.errors import Interrupted, RunError
from cnnjax.hosts import from_first, processes
from cnnjax.launch.units import Units
from cnnjax.run.loop import run_trials
from cnnjax.run.options import Options
from cnnjax.run.program import Program
from cnnjax.run.trial import StudyOfTrials

NEXT = "which trials come next"


def tell_next(ids: Sequence[str], packed: int, *, anew: bool) -> None:
    """Have the other processes train these trials too. anew: whether their program has to be made."""
    from_first({"trials": list(ids), "packed": packed, "anew": anew}, what=NEXT)


def tell_end(*, stopped: bool = False) -> None:
    """Let the other processes end: no trial is left, or the worker was asked to stop."""
    from_first({"stopped": stopped}, what=NEXT)


def check_all_go_on(error: BaseException | None) -> None:
    """Raise RunError where a trial of several processes ended with an error: the others are elsewhere in it by now."""
    if error is not None and processes() > 1:
        raise RunError(
            f"a trial failed, which is recorded: {type(error).__name__}: {error}; start the worker's processes again, "
            "and they go on with the next trial"
        ) from error


def follow(units: Units, study: StudyOfTrials, options: Options, stop: threading.Event) -> None:
    """Train what process 0 says until no trial is left. Raises Interrupted where that one was asked to stop."""
    programs: dict[int, Program] = {}
    while "trials" in (told := from_first(None, what=NEXT)):
        experiments = [units.trial(id).experiment for id in told["trials"]]
        packed = told["packed"]
        if told["anew"]:
            # One at a time, as process 0 has them.
            programs[packed] = Program(experiments[0], packed=packed, hardware=options.hardware)
        directories = [units.directory(id) for id in told["trials"]]
        run_trials(programs[packed], experiments, directories, stop=stop, options=options, study=study)
    if told["stopped"]:
        raise Interrupted(f"stopped; all saved in {units.out}")
