"""The training loop: the only one. It trains the trials of one program, one or several at a time, each in its own run
directory, and can be killed at any moment: the same call continues from the last checkpoint, bitwise as if it had not.
"""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from cnnjax.code import code_of
from cnnjax.errors import Interrupted, RunError, expect
from cnnjax.events import EpochEnded, Failed, Finished, Paused, Sink, StepTaken, Waiting
from cnnjax.experiment import Experiment
from cnnjax.hosts import Cues, from_first, is_first, processes
from cnnjax.interrupts import stopping
from cnnjax.lease import Holding
from cnnjax.machine import resident_memory
from cnnjax.records.result_json import EvaluationRecord, ResultRecord
from cnnjax.run.directory import RunDirectory
from cnnjax.run.environment import environment
from cnnjax.run.hardware import memory_in_use
from cnnjax.run.kept_predictions import keep_predictions
from cnnjax.run.options import Options
from cnnjax.run.pace import Pace
from cnnjax.run.pack import Measured, Pack
from cnnjax.run.program import Program, Taken
from cnnjax.run.resolve import record, resolve
from cnnjax.run.result import finite, named
from cnnjax.run.stale import keep as keep_code
from cnnjax.run.stale import reasons, refuse_another, refuse_in_any_case, saved, settle
from cnnjax.run.together import check_same_training, losses_explained, written_by_first
from cnnjax.run.trial import StudyOfTrials, Trial, opened
from cnnjax.run.used_runs import check_same_runs, refuse_others, refuse_own_folder
from cnnjax.training.state import TrainState

DIVERGED = ": the training diverged (try a lower optim.learning_rate, warm-up or clip_norm)"

# What process 0 tells those that train with it.
TRAINS, RESULT = "whether there is something to train", "the result"


def train(
    experiment: Experiment, out: Path | str, *, options: Options = Options(), sinks: Sequence[Sink] = ()
) -> dict[str, Any]:
    """Train one experiment in `out` and return its result.json; a finished one is returned as it is.

    sinks: called with every event of the training (`cnnjax.events`); what one raises stops it. Raises RunError or
    another CnnjaxError, where the user's own code or the data are others than those that made what is there too
    (`Options.stale`); Interrupted, with everything saved, on Ctrl-C.
    """
    return trained(experiment, out, options=options, sinks=sinks).to_json()


def trained(
    experiment: Experiment, out: Path | str, *, options: Options = Options(), sinks: Sequence[Sink] = ()
) -> ResultRecord:
    """`train`, with its result as a record. Raises Interrupted where `Options.until_epoch` pauses it."""
    expect(experiment, (Experiment,), call="train", takes="an Experiment (sweep takes a Study, `cnnjax train` a file)")
    directory = RunDirectory(Path(out))
    if not is_first():
        return _followed(experiment, directory.path, options)
    refuse_own_folder(experiment, directory.path)

    def told(held: Holding) -> None:
        for sink in sinks:
            sink(Waiting(trial=experiment.id, holder=str(held), left=held.left))

    with directory.claimed(experiment, told=told):
        elsewhere = settle(directory, experiment, options.stale)
        if elsewhere is not None:
            return trained(experiment, elsewhere, options=replace(options, stale="stop"), sinks=sinks)
        finished = directory.finished()
        if finished is not None:
            check_same_runs(experiment, finished.used_runs, directory.path)
            # Where it was lost.
            directory.begin(experiment)
            from_first(False, what=TRAINS)
        else:
            from_first(True, what=TRAINS)
            # Reading the data may take long, and leaves nothing to save: Ctrl-C ends it at once.
            program = Program(experiment, packed=1, hardware=options.hardware)
            with stopping() as stop:
                broken = run_trials(program, [experiment], [directory], stop=stop, options=options, sinks=sinks)
            if broken:
                raise broken[0]
            finished = directory.finished()
    from_first(finished and finished.to_json(), what=RESULT)
    return _ended(finished, directory.path, options)


def _followed(experiment: Experiment, path: Path, options: Options) -> ResultRecord:
    """Take part in what process 0 trains in its folder `path`, and return its result."""
    if from_first(None, what=TRAINS):
        program = Program(experiment, packed=1, hardware=options.hardware)
        with stopping() as stop:
            broken = run_trials(program, [experiment], [RunDirectory(path)], stop=stop, options=options)
        if broken:
            raise broken[0]
    result = from_first(None, what=RESULT)
    return _ended(result and ResultRecord.parse(result, "what process 0 says", remedy=""), path, options)


def _ended(result: ResultRecord | None, path: Path, options: Options) -> ResultRecord:
    if result is None and options.until_epoch is not None:
        raise Interrupted(f"paused after epoch {options.until_epoch}; all saved in {path}")
    if result is None:
        raise RunError(f"{path}: the training ended without a result")
    return result


def run_trials(
    program: Program,
    experiments: Sequence[Experiment],
    directories: Sequence[RunDirectory],
    *,
    stop: threading.Event,
    options: Options = Options(),
    sinks: Sequence[Sink] = (),
    study: StudyOfTrials | None = None,
) -> dict[int, RunError]:
    """Train the experiments, all of `program`, to the end or to a pause (`Options.until_epoch`).

    The directory of each that ended gets its result.json.

    The directories are claimed by the caller and hold checkpoints of one step, or none. Fewer experiments than the
    program packs are padded, so that a continued trial runs in the very program it was begun in. Once `stop` is set
    no further call is made, and those that were (each of a tenth of a second or one step) end: everything is saved, and
    Interrupted raised. A trial whose checkpoint is damaged is left
    alone: its error is returned by its position.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(losses_explained())
        mine = stack.enter_context(written_by_first(directories))
        for directory in mine:
            stack.enter_context(directory.takeover_explained())
        trials = [
            stack.enter_context(opened(experiment, directory, options=options, sinks=sinks, study=study))
            for experiment, directory in zip(experiments, mine, strict=True)
        ]
        _train_and_evaluate(Pack(program, trials), options, stop)
    return {position: trial.damage for position, trial in enumerate(trials) if trial.damage}


def _train_and_evaluate(pack: Pack, options: Options, stop: threading.Event) -> None:
    program = pack.program
    _check_alike(pack, options)
    for trial in pack.trials:
        _claim(trial, pack, options)
    pack.follow()
    cues = Cues(stop)
    with contextlib.closing(program):
        state, step = _begin(pack)
        validations: Measured | None = None
        if pack.alive:
            state, step, validations = _take_steps(pack, state, step, options, cues)
    if not pack.alive:
        return
    pack.save(state, step)
    if cues.stopped and step < program.steps:
        where = from_first(str(pack.trials[0].directory.path), what="where all is saved")
        raise Interrupted(f"stopped at step {step} of {program.steps}; all saved in {where}")
    if step < program.steps:
        for trial in pack.alive:
            trial.checkpoints.wait()
            trial.emit(Paused(trial=trial.id, step=step))
        return
    pack.check_data()
    _finish(pack, state, validations, keeps_predictions=options.keep_predictions)


def _check_alike(pack: Pack, options: Options) -> None:
    """Raise ConfigError where other processes would train something else."""
    code = code_of(pack.program.experiment).digest
    facts = {"experiment": [trial.id for trial in pack.trials], "your code": code, "data": pack.fingerprint}
    used = {f"weights of {name}": run.checksum for name, run in pack.program.used_runs.items()}
    check_same_training(facts | used | {"packed": pack.program.packed}, options.hardware)


def _claim(trial: Trial, pack: Pack, options: Options) -> None:
    """Note what the trial is made by and of; what is there already must be the trial's own."""
    code, where = code_of(trial.experiment), trial.directory
    keep_code(code, where.sources)
    try:
        made = saved(trial.checkpoints)
        if made is not None:
            refuse_another(made, trial.id, where.path)
            why = reasons(made, code, pack.fingerprint, where.sources)
            if why and options.stale != "keep":
                raise RunError(f"{where.path} was begun by other code or data: {'; '.join(why)}")
            refuse_in_any_case(made, where.path, data=pack.fingerprint, analysis=lambda: pack.program.analysis)
            refuse_others(made.used_runs, pack.program.used_runs, where.path)
    except RunError as error:
        trial.damage = error
        return
    before = made.codes if made is not None and made.step else ()
    trial.codes = before if before[-1:] == (code.digest,) else (*before, code.digest)
    where.begin(trial.experiment)
    examples, steps = pack.program.sizes["train"], pack.program.steps
    record(where, resolve(trial.experiment, examples=examples, steps=steps, fingerprint=pack.fingerprint))
    environment().write(where.environment)


def _begin(pack: Pack) -> tuple[TrainState, int]:
    """The state to go on from and the steps taken before it: none, or those of the newest checkpoints."""
    steps = {trial.checkpoints.latest() for trial in pack.trials}
    if len(steps) != 1:
        raise RunError(f"trials of one program are at different steps: {steps}")
    step = from_first(steps.pop(), what="the step to continue from")
    state = pack.program.init(pack.experiments) if step is None else pack.restore()
    costs = tuple((row.steps, float(row.macs)) for row in pack.program.analysis.sizes)
    for trial in pack.alive:
        trial.emit(trial.started(step or 0, pack.program.steps, costs))
    return state, step or 0


def _take_steps(
    pack: Pack, state: TrainState, step: int, options: Options, cues: Cues
) -> tuple[TrainState, int, Measured | None]:
    """Train from `step` on, to the last step or the pause, or until it is to stop or no trial is left.

    Returns the state, the steps taken, and what the last epoch measured on the validation part; None where none ended.
    """
    program, experiments, pending = pack.program, pack.experiments, None
    last = program.steps if options.until_epoch is None else program.length.end_of_epoch(options.until_epoch)
    pack.clock.start()
    # Processes that train together would not measure the same pace, so they take single steps.
    most = program.chunk if program.chunk and processes() == 1 else 1
    epoch, saved, pace = _epoch_of(pack, step), time.perf_counter(), Pace(most, pack.clock, program.pace)
    validations: Measured | None = None
    while step < last and not cues.stops(step):
        cut = min(last, epoch.last_step, program.span_at(step).last + 1, _next_save(options, step))
        with pack.spending("step"):
            state, taken = program.take(state, experiments, step, pace.count(cut - step))
        # These steps run while the numbers of those before are looked at.
        if pending is not None:
            _look_at(pack, pending, pace)
        pending, step = taken, taken.last
        ends_epoch = step >= epoch.last_step
        saves = cues.saves(step, due=_is_due(options, since=saved)) or _is_step_due(options, step)
        saves = saves and step < program.steps
        if ends_epoch or saves:
            _look_at(pack, pending, pace)
            pending = None
        if not pack.alive:
            break
        if step == program.steps or (ends_epoch and program.sizes["validation"]):
            with pack.spending("evaluation"):
                state = program.estimated(state, experiments)
        if ends_epoch:
            validations = _end_epoch(pack, state, epoch, step)
            epoch = _Epoch(pack, epoch.number + 1, step)
        if saves:
            pack.clock.stop()
            pack.save(state, step)
            pack.clock.start()
            saved = time.perf_counter()
    if pending is not None:
        _look_at(pack, pending, pace)
    program.pace = pace.wanted
    pack.clock.stop()
    return state, step, validations


class _Epoch:
    """number: counted from 1. first_step: steps taken when it began, or the training continued in its midst."""

    def __init__(self, pack: Pack, number: int, first_step: int):
        self.number, self.first_step, self.began = number, first_step, pack.clock.seconds
        self.last_step = pack.program.length.end_of_epoch(number)


def _epoch_of(pack: Pack, step: int) -> _Epoch:
    """The epoch that goes on after `step` steps."""
    epoch = _Epoch(pack, 1, step)
    while epoch.last_step <= step < pack.program.steps:
        epoch = _Epoch(pack, epoch.number + 1, step)
    return epoch


def _is_due(options: Options, *, since: float) -> bool:
    """Whether it is time for a checkpoint, the last one being of the time `since`."""
    return not options.checkpoint_steps and time.perf_counter() - since >= options.checkpoint_seconds


def _is_step_due(options: Options, step: int) -> bool:
    """Whether a checkpoint is to be written after `step` whatever the time."""
    return bool(options.checkpoint_steps) and step % options.checkpoint_steps == 0


def _next_save(options: Options, step: int) -> float:
    """The first step after `step` that a checkpoint is due after because of its number."""
    return (step // options.checkpoint_steps + 1) * options.checkpoint_steps if options.checkpoint_steps else math.inf


def _look_at(pack: Pack, taken: Taken, pace: Pace) -> None:
    """Count the sums of each step, once the devices have them."""
    summarize = pack.program.functions.summarize
    with pack.spending("step"):
        each = list(taken.each())
    for step, sums in each:
        for trial, own in pack.own(sums):
            if math.isfinite(own["loss"]):
                trial.add(own)
                trial.emit(StepTaken(trial=trial.id, step=step, sums=own, summarize=summarize))
            else:
                _fail(pack, trial, f"the training loss is {own['loss']} at step {step}{DIVERGED}", step)
    pace.done(taken.count)


def _end_epoch(pack: Pack, state: TrainState, epoch: _Epoch, step: int) -> Measured:
    """Evaluate on the validation part and give each trial its row; returns what was measured."""
    validations = pack.evaluate(state, "validation")
    figures = _figures(pack, epoch, step)
    for trial in pack.alive:
        parts = validations.get(trial.id, {})
        row = {
            "step": step,
            "epoch": epoch.number,
            "learning_rate": _learning_rate(pack.program, trial.experiment, step - 1),
            **named("train", pack.program.functions.summarize(trial.epoch_sums)),
            **_named(parts),
        }
        if not finite(row):
            _fail(pack, trial, _not_finite(row, "validation", f"after step {step}"), step)
            continue
        trial.last_row, trial.epoch_sums = row, {}
        trial.emit(
            EpochEnded(
                trial=trial.id,
                step=step,
                epoch=epoch.number,
                row=row,
                validation_count=parts.get("validation", {}).get("count", 0),
                figures=figures,
            )
        )
    return validations


def _named(parts: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """The numbers of the parts' summaries by their names in rows and results."""
    return {name: value for part, summary in parts.items() for name, value in named(part, summary).items()}


def _learning_rate(program: Program, experiment: Experiment, step: int) -> float:
    length, optim = program.length, experiment.optim.for_batch(experiment.batch_size)
    return float(optim.learning_rate_at(step, steps=length.steps, steps_per_epoch=length.steps_per_epoch))


def _figures(pack: Pack, epoch: _Epoch, step: int) -> dict[str, float]:
    """What the machine did in an epoch: see `EpochEnded`."""
    seconds = pack.clock.seconds - epoch.began
    examples = (step - epoch.first_step) * pack.program.experiment.batch_size
    figures = {
        "epoch_seconds": seconds,
        "examples_per_second": examples / seconds,
        "host_memory_bytes": resident_memory(),
        "device_memory_bytes": memory_in_use(pack.program.mesh),
    }
    return {name: value for name, value in figures.items() if value is not None}


def _finish(pack: Pack, state: TrainState, validations: Measured | None, *, keeps_predictions: bool) -> None:
    """Evaluate the trained network and write each trial's result.

    validations: what the last epoch measured; None where it ended in an earlier call.
    """
    pack.clock.start()
    tests = pack.evaluate(state, "test")
    validations = pack.evaluate(state, "validation") if validations is None else validations
    pack.clock.stop()
    if keeps_predictions:
        keep_predictions(pack, state)
    steps = pack.program.steps
    # They were written meanwhile. A trial with a result has a checkpoint.
    for trial in pack.trials:
        trial.checkpoints.wait()
    for trial in pack.alive:
        parts = validations.get(trial.id, {}) | tests[trial.id]
        metrics = {name: value for name, value in trial.last_row.items() if name.startswith("train_")} | _named(parts)
        if not finite(metrics):
            _fail(pack, trial, _not_finite(metrics, "test", f"after step {steps}"), steps)
            continue
        EvaluationRecord.of(parts).write(trial.directory.evaluation)
        pack.write_result(trial, steps, {"status": "done", "metrics": metrics})
        trial.emit(Finished(trial=trial.id, step=steps, metrics=metrics))


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
    trial.failure = reason
    pack.write_result(trial, step, {"status": "failed", "metrics": {}, "error": reason, "cause": "diverged"})
    trial.emit(Failed(trial=trial.id, step=step, cause="diverged", reason=reason))
