"""The training loop: the only one. It trains the trials of one program, one or several at a time, each in its own run
directory, and can be killed at any moment: the same call continues from the last checkpoint, bitwise as if it had not.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from cnnjax.energy import working
from cnnjax.errors import Interrupted, RunError
from cnnjax.events import EpochEnded, Failed, Finished, Paused, Sink, StepTaken
from cnnjax.experiment import Experiment
from cnnjax.hosts import Cues, from_first, processes
from cnnjax.machine import resident_memory
from cnnjax.records.result_json import EvaluationRecord
from cnnjax.run.claim import check_alike, claim
from cnnjax.run.directory import RunDirectory
from cnnjax.run.due import Due
from cnnjax.run.epoch import epoch_at
from cnnjax.run.hardware import memory_in_use
from cnnjax.run.kept_predictions import keep_predictions
from cnnjax.run.options import Options
from cnnjax.run.pace import Pace
from cnnjax.run.pack import Measured, Pack
from cnnjax.run.program import Program
from cnnjax.run.queue import Queue, refills
from cnnjax.run.result import finite, named
from cnnjax.run.taken import Taken
from cnnjax.run.together import losses_explained, written_by_first
from cnnjax.run.trial import StudyOfTrials, Trial, opened
from cnnjax.run.unmoved import looked
from cnnjax.training.state import TrainState

DIVERGED = ": the training diverged (try a lower optim.learning_rate, warm-up or clip_norm)"


def run_trials(
    program: Program,
    experiments: Sequence[Experiment],
    directories: Sequence[RunDirectory],
    *,
    stop: threading.Event,
    options: Options = Options(),
    sinks: Sequence[Sink] = (),
    study: StudyOfTrials | None = None,
    queue: Queue | None = None,
) -> dict[int, RunError]:
    """Train the experiments, all of `program`, to the end or to a pause (`Options.until_epoch`).

    The directory of each that ended gets its result.json.

    The directories are claimed by the caller and hold checkpoints of any steps, or none; of one step where not
    `refills`. Fewer experiments than the program packs are padded, so that a continued trial runs in the very program
    it was begun in. queue: asked for another trial where a lane is free, while others train on; told of each that left.
    Once `stop` is set no further call is made, and those that were (each of a tenth of a second or one step) end:
    everything is saved, and Interrupted raised. A trial whose checkpoint is damaged is left alone: its error is
    returned by its position.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(losses_explained())
        mine = stack.enter_context(written_by_first(directories))

        def opening(experiment: Experiment, directory: RunDirectory) -> Trial:
            held = stack.enter_context(contextlib.ExitStack())
            held.enter_context(directory.takeover_explained())
            trial = held.enter_context(opened(experiment, directory, options=options, sinks=sinks, study=study))
            trial.held = held
            return trial

        def waiting() -> Iterator[Trial]:
            while queue is not None and refills(program.experiment, program.hardware):
                found = queue.next()
                if found is None:
                    return
                yield opening(*found)

        trials = [opening(*each) for each in zip(experiments, mine, strict=True)]
        with contextlib.closing(program), working():
            for trial in _train(Pack(program, trials), options, stop, waiting):
                trial.held.close()
                if queue is not None:
                    queue.ended(trial)
    return {position: trial.damage for position, trial in enumerate(trials) if trial.damage}


def _train(
    pack: Pack, options: Options, stop: threading.Event, waiting: Callable[[], Iterator[Trial]]
) -> Iterator[Trial]:
    """Train; each trial comes once it has left its lane. waiting: gives others that may enter."""
    check_alike(pack, options)
    for trial in pack.trials:
        claim(trial, pack, options)
    pack.follow()
    program, cues, due = pack.program, Cues(stop), Due(options)
    # Processes that train together would not measure the same pace, so they take single steps.
    most = program.chunk if program.chunk and processes() == 1 else 1
    pace = Pace(most, pack.seconds.clock, program.pace)
    state, validations = pack.begin(), {}
    _start(pack, pack.alive)
    pack.seconds.clock.start()
    while not cues.stopped:
        _conclude(pack, state, validations, options)
        yield from pack.leave()
        if not pack.alive:
            break
        state = _refilled(pack, state, waiting, options)
        if _at_goal(pack, options) or any(trial.over for trial in pack.trials):
            continue
        with pack.joules.of(pack.moving):
            state, due_now = _take_epoch(pack, state, cues, due, pace)
        if not pack.moving:
            state, validations = _end_epochs(pack, state)
        _save(pack, state, [trial for trial in due_now if trial.step < program.steps], due)
    program.pace = pace.wanted
    pack.seconds.clock.stop()
    yield from pack.leave()
    if pack.alive:
        pack.save(state, pack.alive)
        where = from_first(str(pack.alive[0].directory.path), what="where all is saved")
        raise Interrupted(f"stopped at step {pack.alive[0].step} of {program.steps}; all saved in {where}")


def _start(pack: Pack, trials: Sequence[Trial]) -> None:
    """Let the trials that are in the pack now begin, each in its epoch."""
    costs = tuple((row.steps, float(row.macs)) for row in pack.program.analysis.sizes)
    for trial in trials:
        trial.emit(trial.started(trial.step, pack.program.steps, costs))
        _next_epoch(pack, trial)


def _next_epoch(pack: Pack, trial: Trial) -> None:
    # What an epoch has added up is there until its row is written.
    still, began = bool(trial.epoch_sums), pack.seconds.clock.seconds
    trial.epoch = epoch_at(trial.step, pack.program.length, number=trial.epoch.number, still=still, began=began)


def _refilled(pack: Pack, state: TrainState, waiting: Callable[[], Iterator[Trial]], options: Options) -> TrainState:
    """The state with other trials in the slots that are free, as far as there are any."""
    with pack.seconds.clock.stopped():
        for trial in itertools.islice(waiting(), pack.slots.count(None)):
            claim(trial, pack, options)
            state = pack.enter(state, trial)
            if not trial.over:
                _start(pack, [trial])
    return state


def _goal(pack: Pack, options: Options) -> int:
    """The steps after which this call has no more to do."""
    until = options.until_epoch
    return pack.program.steps if until is None else pack.program.length.end_of_epoch(until)


def _at_goal(pack: Pack, options: Options) -> list[Trial]:
    """The trials that are to be trained no further by this call, and have all that the end of an epoch gives."""
    return [trial for trial in pack.alive if trial.step >= _goal(pack, options) and not trial.epoch_sums]


def _take_epoch(pack: Pack, state: TrainState, cues: Cues, due: Due, pace: Pace) -> tuple[TrainState, list[Trial]]:
    """Train each trial to the end of its epoch, where it waits for the others, or until it is to stop.

    Returns the state, and the trials of which a checkpoint is due now.
    """
    program, pending, due_now = pack.program, None, []
    while (moving := pack.moving) and not cues.stops(moving[0].step):
        left = [min(trial.epoch.last_step, program.span_at(trial.step).last + 1) - trial.step for trial in moving]
        cut = min(*left, *(due.left(trial.step) for trial in moving))
        with pack.seconds.spending("step"):
            state, taken = pack.take(state, pace.count(cut))
        # These steps run while the numbers of those before are looked at.
        if pending is not None:
            _look_at(pack, pending, pace)
        pending = taken
        every = cues.saves(moving[0].step, due=due.by_time())
        due_now = [trial for trial in pack.alive if every or (trial in moving and due.after(trial.step))]
        if due_now or not pack.moving:
            _look_at(pack, pending, pace)
            pending = None
        if pack.moving:
            _save(pack, state, due_now, due)
            due_now = []
            pack.joules.turn()
    if pending is not None:
        _look_at(pack, pending, pace)
    return state, due_now


def _save(pack: Pack, state: TrainState, trials: Sequence[Trial], due: Due) -> None:
    if trials:
        with pack.seconds.clock.stopped():
            pack.save(state, trials)
        due.saved()


def _look_at(pack: Pack, taken: Taken, pace: Pace) -> None:
    """Count the sums of each step, once the devices have them."""
    summarize = pack.program.functions.summarize
    with pack.seconds.spending("step"):
        each = list(taken.each())
    for numbers, sums in each:
        for slot, trial, own in pack.own(sums):
            step = numbers.get(slot)
            if step is None:
                continue
            if math.isfinite(own["loss"]):
                trial.add(own)
                trial.emit(StepTaken(trial=trial.id, step=step, sums=own, summarize=summarize))
            else:
                _fail(pack, trial, f"the training loss is {own['loss']} at step {step}{DIVERGED}", step)
    pace.done(taken.count)


def _end_epochs(pack: Pack, state: TrainState) -> tuple[TrainState, Measured]:
    """Evaluate on the validation part and give each trial its row; returns the state and what was measured."""
    program = pack.program
    if pack.alive and (program.sizes["validation"] or any(trial.step == program.steps for trial in pack.alive)):
        with pack.seconds.spending("evaluation"):
            state = program.estimated(state, pack.experiments)
    validations = pack.evaluate(state, "validation") if pack.alive else {}
    for trial in pack.alive:
        _end_epoch(pack, trial, validations.get(trial.id, {}))
    with pack.seconds.clock.stopped():
        _look_whether_they_move(pack, state)
    for trial in pack.alive:
        _next_epoch(pack, trial)
    return state, validations


def _look_whether_they_move(pack: Pack, state: TrainState) -> None:
    """Say of each trial, after its first epoch with a learning rate, if no parameter moved."""
    due = [trial for trial in pack.alive if trial.beginning is not None and looked(trial.last_row)]
    for trial in pack.still(state, due):
        trial.unmoved = trial.step
        trial.report(
            f"after {trial.step} steps every parameter is what it was before the first: optim.learning_rate = "
            f"{trial.experiment.optim.learning_rate:g} is too small for float32 to add its steps to them, or no "
            "gradient reaches any; what comes is of the weights it began with"
        )
    for trial in due:
        trial.beginning = None


def _end_epoch(pack: Pack, trial: Trial, parts: Mapping[str, Mapping[str, Any]]) -> None:
    """Give a trial its row. parts: what was measured on the validation part."""
    row = {
        "step": trial.step,
        "epoch": trial.epoch.number,
        "learning_rate": _learning_rate(pack.program, trial.experiment, trial.step - 1),
        **named("train", pack.program.functions.summarize(trial.epoch_sums)),
        **_named(parts),
    }
    if not finite(row):
        _fail(pack, trial, _not_finite(row, "validation", f"after step {trial.step}"), trial.step)
        return
    trial.last_row, trial.epoch_sums = row, {}
    trial.emit(
        EpochEnded(
            trial=trial.id,
            step=trial.step,
            epoch=trial.epoch.number,
            row=row,
            validation_count=parts.get("validation", {}).get("count", 0),
            figures=_figures(pack, trial),
        )
    )


def _named(parts: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """The numbers of the parts' summaries by their names in rows and results."""
    return {name: value for part, summary in parts.items() for name, value in named(part, summary).items()}


def _learning_rate(program: Program, experiment: Experiment, step: int) -> float:
    length, optim = program.length, experiment.optim.for_batch(experiment.batch_size)
    return float(optim.learning_rate_at(step, steps=length.steps, steps_per_epoch=length.steps_per_epoch))


def _figures(pack: Pack, trial: Trial) -> dict[str, float]:
    """What the machine did in an epoch: see `EpochEnded`."""
    seconds = pack.seconds.clock.seconds - trial.epoch.began
    examples = (trial.step - trial.epoch.first_step) * pack.program.experiment.batch_size
    figures = {
        "epoch_seconds": seconds,
        "examples_per_second": examples / seconds,
        "host_memory_bytes": resident_memory(),
        "device_memory_bytes": memory_in_use(pack.program.mesh),
    }
    return {name: value for name, value in figures.items() if value is not None}


def _conclude(pack: Pack, state: TrainState, validations: Measured, options: Options) -> None:
    """Give each trial that is at its goal a checkpoint, and its result or a pause.

    validations: what the last epoch measured; a trial that ended it in an earlier call is evaluated anew.
    """
    ended = _at_goal(pack, options)
    if not ended:
        return
    with pack.seconds.clock.stopped():
        pack.save(state, ended)
    finished, tests = [trial for trial in ended if trial.step == pack.program.steps], {}
    if finished:
        pack.check_data()
        tests = pack.evaluate(state, "test")
        if pack.program.sizes["validation"] and any(trial.id not in validations for trial in finished):
            validations = validations | pack.evaluate(state, "validation")
    with pack.seconds.clock.stopped():
        if finished and options.keep_predictions:
            keep_predictions(pack, state, finished)
        # They were written meanwhile. A trial with a result has a checkpoint.
        for trial in ended:
            trial.checkpoints.wait()
        for trial in finished:
            _finish(pack, trial, validations.get(trial.id, {}) | tests[trial.id])
        for trial in ended:
            if trial not in finished:
                trial.emit(Paused(trial=trial.id, step=trial.step))
            trial.ended = True


def _finish(pack: Pack, trial: Trial, parts: Mapping[str, Mapping[str, Any]]) -> None:
    """Write the result of a trial whose parts were evaluated."""
    metrics = {name: value for name, value in trial.last_row.items() if name.startswith("train_")} | _named(parts)
    if not finite(metrics):
        _fail(pack, trial, _not_finite(metrics, "test", f"after step {trial.step}"), trial.step)
        return
    EvaluationRecord.of(parts).write(trial.directory.evaluation)
    pack.write_result(trial, trial.step, {"status": "done", "metrics": metrics})
    trial.emit(Finished(trial=trial.id, step=trial.step, metrics=metrics))


def _not_finite(numbers: Mapping[str, Any], part: str, when: str) -> str:
    """What is wrong with `numbers` by their names in rows and results, of which one is infinite or NaN."""
    names = [name for name, value in numbers.items() if not finite({name: value})]
    if any(name.endswith("loss") for name in names):
        return f"the {part} loss is not finite {when}{DIVERGED}"
    return (
        f"{', '.join(names)} {'is' if len(names) == 1 else 'are'} not finite {when}, though the losses are: of a part "
        "of the data nothing was counted (where they have masks: are all of its pixels of the class that is ignored?)"
    )


def _fail(pack: Pack, trial: Trial, reason: str, step: int) -> None:
    """Give a trial whose numbers are not finite its result."""
    pack.write_result(trial, step, {"status": "failed", "metrics": {}, "error": reason, "cause": "diverged"})
    trial.failure = reason
    trial.emit(Failed(trial=trial.id, step=step, cause="diverged", reason=reason))
