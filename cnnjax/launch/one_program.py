"""The trials of one program: a worker claims them one after the other and trains them, compiling once."""

from __future__ import annotations

import contextlib
import math
import re
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from cnnjax.errors import CnnjaxError, DataError, DiskFull, HostLost, Interrupted, surviving
from cnnjax.hosts import processes
from cnnjax.interrupts import AnyOf
from cnnjax.launch.claims import Claimed, Claims, write_failure
from cnnjax.launch.held import Held, Lanes
from cnnjax.launch.how import How
from cnnjax.launch.packing import packing_of
from cnnjax.launch.together import check_all_go_on, tell_next
from cnnjax.lease import Lost
from cnnjax.run.loop import run_trials
from cnnjax.run.measured_packing import is_out_of_memory
from cnnjax.run.options import Options
from cnnjax.run.packing import ALONE, Packing
from cnnjax.run.program import Program
from cnnjax.study.plan import PlannedTrial

_FRAME = re.compile(r'^ *File "(.+)", line (\d+), in (.+)$', re.MULTILINE)
"""A frame of a traceback in what an error says."""
_LIBRARIES = (sys.prefix, sys.base_prefix, str(Path(__file__).parents[1]))


def run_program(name: str, first: Claimed, claims: Claims, how: How) -> None:
    """Train the trials of a program, `first` being claimed already, until no other can be claimed.

    A trial that fails does not stop the others, but where that is asked for: then RunError is raised. Raises DiskFull,
    and Interrupted once `how.stop` is set.
    """
    held, programs = Held(name, first, claims, how), {}
    trials = math.ceil(len(claims.units.programs[name]) / how.sharing)
    with contextlib.ExitStack() as stack:
        most = packing_of(first.trial, trials, how.pack, how.options.hardware)
        if most is not None:
            held.claim(most.width)
            if not how.stop.is_set() and processes() == 1:
                _compile_ahead(*held.together(most), programs, how.options)
        stack.enter_context(_slot(how.slot, how.stop))
        if most is None:
            # It times steps, so it takes the place of a training.
            with _ONE_MEASURES:
                most = packing_of(first.trial, trials, None, how.options.hardware, programs) or ALONE
            _keep(programs, most)
            held.claim(most.width)
        while held.claimed:
            if how.stop.is_set():
                raise Interrupted(f"stopped; all saved in {how.out}")
            training, packing = held.together(most)
            lanes = Lanes(held, training, packing, refilled=packing == most)
            if _run_together(lanes, programs, how):
                held.stop_on_failure()
            else:
                most = replace(packing, width=packing.width // 2, gain=None)
                held.fewer(lanes.training, most)
            held.claim(most.width)


_ONE_MEASURES = threading.Lock()
"""What one thread has measured, the others find remembered."""


def _keep(programs: dict[Packing, Program], packing: Packing) -> None:
    """Let go of the programs that were only timed; the chosen one has its gain."""
    for other in [each for each in programs if each != packing]:
        del programs[other]
    if packing in programs:
        programs[packing].packing = packing


def _compile_ahead(
    trials: Sequence[Claimed], packing: Packing, programs: dict[Packing, Program], options: Options
) -> None:
    # Errors are ignored here: training raises them again.
    with contextlib.suppress(Exception):
        program = Program(trials[0].trial.experiment, packed=packing, hardware=options.hardware)
        program.prepare()
        programs[packing] = program


@contextlib.contextmanager
def _slot(slot: threading.Semaphore, stop: threading.Event) -> Iterator[None]:
    """Hold a slot once one is free; go on without one where `stop` is set."""
    taken = False
    while not taken and not stop.is_set():
        taken = slot.acquire(timeout=0.2)
    try:
        yield
    finally:
        if taken:
            slot.release()


def _run_together(lanes: Lanes, programs: dict[Packing, Program], how: How) -> bool:
    """Train trials together. False where that takes more memory than there is, and fewer may be tried together."""
    errors: dict[str, str] = {}
    failure: BaseException | None = None
    training, packing = lanes.training, lanes.packing
    try:
        with surviving(at_once=False):
            _train(lanes, programs, how)
    except (DiskFull, HostLost):
        raise
    except Interrupted:
        # Without being asked, it stops where another worker has taken a trial over.
        if how.stop.is_set() or processes() > 1 or not any(each.lost for each in training):
            raise
    except Lost as error:
        failure = error
    except DataError as error:
        failure = error
        _record(training, "data", str(error))
    except CnnjaxError as error:
        failure = error
        errors = {each.id: str(error) for each in training}
    except Exception as error:
        failure = error
        programs.pop(packing, None)
        if not is_out_of_memory(error):
            _record_crash(training, error)
        elif packing.width > 1 and processes() == 1:
            return False
        else:
            _record(training, "out_of_memory", _out_of_memory(training[0].trial, packing.width, error))
    for each in list(training):
        lanes.free(each, errors.get(each.id))
    check_all_go_on(failure)
    return True


def _train(lanes: Lanes, programs: dict[Packing, Program], how: How) -> None:
    training, packing = lanes.training, lanes.packing
    tell_next([each.id for each in training], packing.width, anew=packing not in programs)
    if packing not in programs:
        programs[packing] = Program(training[0].trial.experiment, packed=packing, hardware=how.options.hardware)
    run_trials(
        programs[packing],
        [each.trial.experiment for each in training],
        [each.directory for each in training],
        stop=AnyOf(how.stop, lanes.lost),
        options=how.options,
        sinks=[*how.sinks, lanes.tell_step],
        study=how.study,
        queue=lanes,
    )


# --- trials that fail without a result of their own


def _out_of_memory(trial: PlannedTrial, packed: int, error: BaseException) -> str:
    experiment, text = trial.experiment, _one_line(error)
    parts = experiment.accumulate * 2
    together = f" ({packed} trials together)" if packed > 1 else ""
    way = f"accumulate={parts} computes a batch of {experiment.batch_size} in {parts} parts, each with less memory"
    if experiment.batch_size % parts:
        way = "a smaller batch_size takes less memory, and accumulate=N computes a batch in N parts"
    return f"out of memory{together}: {way} ({text})"


def _record_crash(claimed: Sequence[Claimed], error: BaseException) -> None:
    trace = "".join(traceback.format_exception(error))
    for each in claimed:
        each.directory.log(f"crashed:\n{trace}")
    text = f"{type(error).__name__}: {_one_line(error)}"
    _record(claimed, "crashed", f"{text} (the whole traceback is in {{folder}}/log.txt)")


def _record(claimed: Sequence[Claimed], cause: str, error: str) -> None:
    """Give each trial that has no result one that says why."""
    for each in claimed:
        if each.lost or each.directory.finished() is not None:
            continue
        each.directory.begin(each.trial.experiment)
        write_failure(each.trial, each.directory, cause, error.replace("{folder}", str(each.directory.path)))


def _one_line(error: BaseException) -> str:
    """What an error says. Where that is a whole traceback, as XLA says it of a callback: its last line, and where."""
    text = str(error)
    before, found, trace = text.partition("Traceback (most recent call last):")
    frames = list(_FRAME.finditer(trace)) if found else []
    if frames:
        own = [each for each in frames if not each[1].startswith(_LIBRARIES)]
        file, line, name = (own or frames)[-1].groups()
        text = f"{before} {trace[frames[-1].end() :]} (in {name}, {file} line {line})"
    return " ".join(text.split())[:500]
