"""The trials of one program: a worker claims them one after the other and trains them, compiling once."""

from __future__ import annotations

import contextlib
import math
import threading
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cnnjax.errors import CnnjaxError, DataError, DiskFull, HostLost, Interrupted, RunError
from cnnjax.events import EpochEnded, Event, Saved, Sink, Started
from cnnjax.hosts import processes
from cnnjax.interrupts import AnyOf
from cnnjax.launch.cancel import write_cancel
from cnnjax.launch.claims import Claimed, Claims, write_failure
from cnnjax.launch.packing import packing_of
from cnnjax.launch.together import check_all_go_on, tell_next
from cnnjax.lease import Lost
from cnnjax.run.loop import run_trials
from cnnjax.run.measured_packing import is_out_of_memory
from cnnjax.run.options import Options
from cnnjax.run.packing import ALONE, Packing
from cnnjax.run.program import Program
from cnnjax.run.trial import StudyOfTrials
from cnnjax.study.plan import PlannedTrial


@dataclass(frozen=True)
class How:
    """How a worker trains. pack: how many trials of one program together; None for what is fastest.

    slot: acquired before training; a program that waits for it is compiled meanwhile. sinks: called with every event.
    study: that of the trials, for loggers. group: of devices, for `Claims`; sharing: how many groups, those of other
    workers too, divide the trials of a program among themselves. stop: no further step is taken once it is set.
    stops_on_failure: a trial that fails cancels the study.
    """

    out: Path
    options: Options
    stop: threading.Event
    slot: threading.Semaphore
    pack: int | None = None
    sinks: Sequence[Sink] = ()
    study: StudyOfTrials | None = None
    stops_on_failure: bool = False
    group: int = 0
    sharing: int = 1


def run_program(name: str, first: Claimed, claims: Claims, how: How) -> None:
    """Train the trials of a program, `first` being claimed already, until no other can be claimed.

    A trial that fails does not stop the others, but where that is asked for: then RunError is raised. Raises DiskFull,
    and Interrupted once `how.stop` is set.
    """
    claimed, programs, trials = [first], {}, math.ceil(len(claims.units.programs[name]) / how.sharing)
    with contextlib.ExitStack() as stack:
        most = packing_of(first.trial, trials, how.pack, how.options.hardware)
        if most is not None:
            _fill(claimed, most.width, name, claims, how.group)
            if not how.stop.is_set() and processes() == 1:
                _compile_ahead(*_together(claimed, most), programs, how.options)
        stack.enter_context(_held(how.slot, how.stop))
        if most is None:
            # It times steps, so it takes the place of a training.
            with _ONE_MEASURES:
                most = packing_of(first.trial, trials, None, how.options.hardware, programs) or ALONE
            _keep(programs, most)
            _fill(claimed, most.width, name, claims, how.group)
        while claimed:
            if how.stop.is_set():
                raise Interrupted(f"stopped; all saved in {how.out}")
            together, packing = _together(claimed, most)
            if _run_together(name, together, packing, programs, claims, how):
                claimed = [each for each in claimed if each not in together]
                _stop_on_failure(together, claims, how)
            else:
                most = replace(packing, width=packing.width // 2, gain=None)
                claimed = [
                    *_fewer(name, together, most, claims, how.group),
                    *[each for each in claimed if each not in together],
                ]
            _fill(claimed, most.width, name, claims, how.group)


_ONE_MEASURES = threading.Lock()
"""What one thread has measured, the others find remembered."""


def _keep(programs: dict[Packing, Program], packing: Packing) -> None:
    """Let go of the programs that were only timed; the chosen one has its gain."""
    for other in [each for each in programs if each != packing]:
        del programs[other]
    if packing in programs:
        programs[packing].packing = packing


def _fill(claimed: list[Claimed], most: int, program: str, claims: Claims, group: int) -> None:
    """Claim more trials, up to `most`."""
    while len(claimed) < most and (more := claims.more(program, group)) is not None:
        claimed.append(more)


def _fewer(program: str, claimed: Sequence[Claimed], most: Packing, claims: Claims, group: int) -> list[Claimed]:
    """Those of the trials that go on, from their newest checkpoints, so many together, in which there may be room."""
    left = []
    for each in claimed:
        if each.lost or each.directory.finished() is not None:
            claims.trained(program, each, None, paused=False, group=group)
            continue
        step = each.directory.saved_step()
        each.begun = (step, most) if step else (0, None)
        left.append(each)
    return left


def _together(claimed: Sequence[Claimed], most: Packing) -> tuple[list[Claimed], Packing]:
    """The trials to train next, and how the program packs them: those begun continue as they were begun."""
    begun = claimed[0].begun
    alike = [each for each in claimed if each.begun == begun]
    _, packing = begun
    if packing is not None:
        return alike[: packing.width], most if packing == most else packing
    trials = alike[: most.width]
    return trials, most if len(trials) == most.width else Packing(len(trials), most.way)


def _compile_ahead(
    trials: Sequence[Claimed], packing: Packing, programs: dict[Packing, Program], options: Options
) -> None:
    # Errors are ignored here: training raises them again.
    with contextlib.suppress(Exception):
        program = Program(trials[0].trial.experiment, packed=packing, hardware=options.hardware)
        program.prepare()
        programs[packing] = program


@contextlib.contextmanager
def _held(slot: threading.Semaphore, stop: threading.Event) -> Iterator[None]:
    """Hold a slot once one is free; go on without one where `stop` is set."""
    taken = False
    while not taken and not stop.is_set():
        taken = slot.acquire(timeout=0.2)
    try:
        yield
    finally:
        if taken:
            slot.release()


def _run_together(
    name: str,
    claimed: Sequence[Claimed],
    packing: Packing,
    programs: dict[Packing, Program],
    claims: Claims,
    how: How,
) -> bool:
    """Train trials together. False where that takes more memory than there is, and fewer may be tried together."""
    errors: dict[str, str] = {}
    failure: BaseException | None = None
    try:
        errors = _train(claimed, packing, programs, how)
    except (DiskFull, HostLost):
        raise
    except Interrupted:
        # Without being asked, it stops where another worker has taken a trial over.
        if how.stop.is_set() or processes() > 1 or not any(each.lost for each in claimed):
            raise
    except Lost as error:
        failure = error
    except DataError as error:
        failure = error
        _record(claimed, "data", str(error))
    except CnnjaxError as error:
        failure = error
        errors = {each.id: str(error) for each in claimed}
    except Exception as error:
        failure = error
        programs.pop(packing, None)
        if not is_out_of_memory(error):
            _record_crash(claimed, error)
        elif packing.width > 1 and processes() == 1:
            return False
        else:
            _record(claimed, "out_of_memory", _out_of_memory(claimed[0].trial, packing.width, error))
    for each in claimed:
        claims.trained(name, each, errors.get(each.id), paused=how.options.until_epoch is not None, group=how.group)
    check_all_go_on(failure)
    return True


def _stop_on_failure(claimed: Sequence[Claimed], claims: Claims, how: How) -> None:
    """Cancel the study where one of these trials failed, if that is asked for. Raises RunError."""
    errors = {each.id: claims.outcomes.errors[each.id] for each in claimed if each.id in claims.outcomes.errors}
    if how.stops_on_failure and errors:
        trial, error = next(iter(errors.items()))
        reason = f"trial {trial} failed: {error}"
        write_cancel(how.out, f"stopped on failure: {reason}")
        raise RunError(f"{reason}\n--stop-on-failure: all else is saved in {how.out}, and the same command goes on")


def _train(claimed: Sequence[Claimed], packing: Packing, programs: dict[Packing, Program], how: How) -> dict[str, str]:
    """Why trials could not be trained, by id: those whose checkpoints are damaged."""
    tell_next([each.id for each in claimed], packing.width, anew=packing not in programs)
    if packing not in programs:
        programs[packing] = Program(claimed[0].trial.experiment, packed=packing, hardware=how.options.hardware)
    if packing.gain is not None:
        for each in claimed:
            each.directory.log(str(packing))
    directories = [each.directory for each in claimed]
    leases = [each.directory.lease for each in claimed]
    sinks = [*how.sinks, _Steps(claimed)]
    broken = run_trials(
        programs[packing],
        [each.trial.experiment for each in claimed],
        directories,
        stop=AnyOf(how.stop, *(lease.lost for lease in leases if lease is not None)),
        options=how.options,
        sinks=sinks,
        study=how.study,
    )
    return {claimed[position].id: str(error) for position, error in broken.items()}


class _Steps:
    """Tells others how far the trials are."""

    def __init__(self, claimed: Sequence[Claimed]):
        self._leases = {each.id: each.directory.lease for each in claimed}

    def __call__(self, event: Event) -> None:
        lease = self._leases.get(event.trial)
        if isinstance(event, Started | EpochEnded | Saved) and lease is not None:
            lease.step = event.step


# --- trials that fail without a result of their own


def _out_of_memory(trial: PlannedTrial, packed: int, error: Exception) -> str:
    experiment, text = trial.experiment, _one_line(error)
    parts = experiment.accumulate * 2
    together = f" ({packed} trials together)" if packed > 1 else ""
    way = f"accumulate={parts} computes a batch of {experiment.batch_size} in {parts} parts, each with less memory"
    if experiment.batch_size % parts:
        way = "a smaller batch_size takes less memory, and accumulate=N computes a batch in N parts"
    return f"out of memory{together}: {way} ({text})"


def _record_crash(claimed: Sequence[Claimed], error: Exception) -> None:
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


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:500]
