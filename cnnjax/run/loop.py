"""The training loop: the only one. It trains the trials of one program, one or several at a time, each in its own run
directory, and can be killed at any moment: the same call continues from the last checkpoint, bitwise as if it had not.
"""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import jax
import numpy as np

from cnnjax.code import code_of
from cnnjax.config import plain
from cnnjax.data.order import steps_until
from cnnjax.errors import Interrupted, RunError, expect
from cnnjax.experiment import Experiment
from cnnjax.files import write_json
from cnnjax.interrupts import stopping
from cnnjax.metrics import summarize
from cnnjax.records.resolved import Resolved
from cnnjax.run.checkpoint import Checkpoints
from cnnjax.run.directory import RunDirectory
from cnnjax.run.environment import environment
from cnnjax.run.feed import Streamed
from cnnjax.run.hardware import Hardware
from cnnjax.run.program import Program
from cnnjax.run.resolve import record, resolve
from cnnjax.run.stale import Policy, check_policy, reasons, refuse_another, refuse_in_any_case, saved, settle
from cnnjax.run.stale import keep as keep_code
from cnnjax.run.weights import check_same_initial
from cnnjax.training.state import TrainState

Watch = Callable[[int, int, dict[str, float]], None]
"""Called with (steps taken, steps in all, the newest numbers): after each step with its loss, and after each epoch, if
there is a validation part, with its row of metrics.jsonl and `validation_count`."""


@dataclass(frozen=True)
class Options:
    """How to run, without effect on the result.

    checkpoint_seconds: time between checkpoints; checkpoint_steps, where given, counts steps instead. keep: how many
    checkpoints stay. There is always one at the end. stale: what to do with results and checkpoints that other code or
    data made: "stop", "rerun", "keep" or "separate" (run/stale.py).
    """

    hardware: Hardware = Hardware()
    checkpoint_seconds: float = 60.0
    checkpoint_steps: int | None = None
    keep: int = 2
    stale: Policy = "stop"

    def __post_init__(self):
        check_policy(self.stale)


@dataclass
class Trial:
    """One experiment in its claimed directory, and what the loop knows of it.

    codes: digests of the user's own code that made it so far, the newest last; None where all is cnnjax's.
    """

    experiment: Experiment
    directory: RunDirectory
    checkpoints: Checkpoints
    codes: tuple[str | None, ...] = ()
    epoch_sums: dict[str, float] = field(default_factory=dict)
    last_row: dict[str, Any] = field(default_factory=dict)
    failure: str | None = None
    damage: RunError | None = None

    @property
    def over(self) -> bool:
        """Nothing more is asked of it."""
        return self.failure is not None or self.damage is not None

    def add(self, sums: dict[str, float]) -> None:
        for name, value in sums.items():
            self.epoch_sums[name] = self.epoch_sums.get(name, 0.0) + float(value)


def train(
    experiment: Experiment, out: Path | str, *, options: Options = Options(), watch: Watch | None = None
) -> dict[str, Any]:
    """Train one experiment in `out` and return its result.json; a finished one is returned as it is.

    Raises RunError or another CnnjaxError, where the user's own code or the data are others than those that made what
    is there too (`Options.stale`); Interrupted, with everything saved, on Ctrl-C.
    """
    expect(experiment, (Experiment,), call="train", takes="an Experiment (sweep takes a Study, `cnnjax train` a file)")
    directory = RunDirectory(Path(out))
    with directory.claimed(experiment):
        elsewhere = settle(directory, experiment, options.stale)
        if elsewhere is not None:
            return train(experiment, elsewhere, options=replace(options, stale="stop"), watch=watch)
        finished = directory.finished()
        if finished is not None:
            check_same_initial(experiment, finished, directory.path)
        else:
            # Reading the data may take long, and leaves nothing to save: Ctrl-C ends it at once.
            program = Program(experiment, packed=1, hardware=options.hardware)
            with stopping() as stop:
                broken = run_trials(program, [experiment], [directory], stop=stop, options=options, watch=watch)
            if broken:
                raise broken[0]
            finished = directory.finished()
    if finished is None:
        raise RunError(f"{directory.path}: the training ended without a result")
    return finished


def run_trials(
    program: Program,
    experiments: Sequence[Experiment],
    directories: Sequence[RunDirectory],
    *,
    stop: threading.Event,
    options: Options = Options(),
    watch: Watch | None = None,
) -> dict[int, RunError]:
    """Train the experiments, all of `program`, to the end; every directory gets its result.json.

    The directories are claimed by the caller and hold checkpoints of one step, or none. Fewer experiments than the
    program packs are padded, so that a continued trial runs in the very program it was begun in. Once `stop` is set the
    next step is the last: everything is saved, and Interrupted raised. A trial whose checkpoint is damaged is left
    alone: its error is returned by its position.
    """
    with contextlib.ExitStack() as stack:
        trials = []
        for experiment, directory in zip(experiments, directories, strict=True):
            checkpoints = Checkpoints(directory.checkpoints, keep=options.keep)
            stack.callback(checkpoints.close)
            trials.append(Trial(experiment, directory, checkpoints))
        _Loop(program, trials, options, watch or (lambda *_: None), stop).run()
    return {position: trial.damage for position, trial in enumerate(trials) if trial.damage}


class _Loop:
    def __init__(self, program: Program, trials: list[Trial], options: Options, watch: Watch, stop: threading.Event):
        self.program, self.trials, self.options, self.watch, self.stop = program, trials, options, watch, stop
        # Lanes beyond the trials repeat the first; nothing is read from them.
        self.lanes = [trial.experiment for trial in trials]
        self.lanes += self.lanes[:1] * (program.packed - len(trials))
        self.epochs_done = 0
        self.seconds = 0.0
        self.compile_before = program.compile_told
        # Before anything is read for training: files may change while it goes on.
        self.dataset = program.experiment.data.load()
        self.fingerprint = self.dataset.fingerprint

    def run(self) -> None:
        for trial in self.trials:
            self._own(trial)
            if trial.damage is None:
                trial.directory.begin(trial.experiment)
                record(trial.directory, self._resolved(trial.experiment))
                write_json(trial.directory.environment, environment())
        state, step = self._begin()
        with contextlib.closing(self.program):
            state, step = self._train(state, step)
        if all(trial.over for trial in self.trials):
            return
        self._save(state, step)
        if self.stop.is_set() and step < self.program.steps:
            where = self.trials[0].directory.path
            raise Interrupted(f"stopped at step {step} of {self.program.steps}; all saved in {where}")
        for trial in self.trials:
            trial.checkpoints.wait()
        self._check_data()
        self._finish(state)

    def _resolved(self, experiment: Experiment) -> Resolved:
        sizes, steps = self.program.sizes, self.program.steps
        return resolve(experiment, examples=sizes["train"], steps=steps, fingerprint=self.fingerprint)

    def _check_data(self) -> None:
        """Raise RunError where files that were read while it went on are others now."""
        if isinstance(self.program.feed, Streamed):
            now = self.program.experiment.data.read().fingerprint
            if now != self.fingerprint:
                where = self.trials[0].directory.path
                raise RunError(
                    f"{where}: its data changed while it was trained (fingerprint {self.fingerprint}, now {now}); "
                    "delete the folder to train it again"
                )

    # --- begin, and begin again

    def _own(self, trial: Trial) -> None:
        """Note what code the trial is made by; what is there already must be the trial's own."""
        code, where = code_of(trial.experiment), trial.directory
        keep_code(code, where.sources)
        try:
            made = saved(trial.checkpoints)
            if made is not None:
                refuse_another(made, trial.experiment.id, where.path)
                why = reasons(made, code, self.fingerprint, where.sources)
                if why and self.options.stale != "keep":
                    raise RunError(f"{where.path} was begun by other code or data: {'; '.join(why)}")
                refuse_in_any_case(made, where.path, data=self.fingerprint, analysis=lambda: self.program.analysis)
        except RunError as error:
            trial.damage = error
            return
        before = made.codes if made is not None and made.step else ()
        trial.codes = before if before[-1:] == (code.digest,) else (*before, code.digest)

    def _begin(self) -> tuple[TrainState, int]:
        steps = {trial.checkpoints.latest() for trial in self.trials}
        if len(steps) != 1:
            raise RunError(f"trials of one program are at different steps: {steps}")
        step = steps.pop()
        for trial in self.trials:
            if trial.damage is not None:
                continue
            trial.directory.keep_rows(step or 0)
            trial.directory.log(f"continue at step {step}" if step else f"begin {trial.experiment.id}")
        if step is None:
            return self.program.init(self.lanes), 0
        blank = self.program.blank()
        restored = [self._restore(trial, blank) for trial in self.trials]
        restored += restored[:1] * (self.program.packed - len(restored))
        while self._end_of_epoch(self.epochs_done) <= step:
            self.epochs_done += 1
        return self.program.place(restored), step

    def _restore(self, trial: Trial, like: TrainState) -> TrainState:
        if trial.damage is not None:
            return like
        try:
            state, notes = trial.checkpoints.restore(like)
        except RunError as error:
            trial.damage = error
            return like
        trial.epoch_sums, trial.last_row = notes["epoch_sums"], notes["last_row"]
        self.seconds = notes["seconds"]
        return state

    def _lane(self, host: TrainState, position: int) -> TrainState:
        return host if self.program.packed == 1 else jax.tree.map(lambda x: x[position], host)

    # --- train

    def _train(self, state: TrainState, step: int) -> tuple[TrainState, int]:
        pending: Any = None
        began, saved = self._clock(), time.perf_counter()
        while step < self.program.steps and not self.stop.is_set():
            state, sums = self.program.train(state, self.program.rows(self.lanes, step))
            # Step n runs while the numbers of step n - 1 are looked at.
            if pending is not None:
                self._take(step, pending)
            pending, step = sums, step + 1
            ends_epoch = step >= min(self._end_of_epoch(self.epochs_done), self.program.steps)
            due = self._checkpoint_due(step, saved)
            if ends_epoch or due:
                self._take(step, pending)
                pending = None
            if all(trial.over for trial in self.trials):
                break
            if ends_epoch:
                self._end_epoch(state, step)
            if due:
                self.seconds += self._clock() - began
                self._save(state, step)
                began, saved = self._clock(), time.perf_counter()
        if pending is not None:
            self._take(step, pending)
        self.seconds += self._clock() - began
        return state, step

    def _clock(self) -> float:
        """Seconds, but for those spent compiling."""
        return time.perf_counter() - self.program.compile_seconds

    def _take(self, step: int, pending: Any) -> None:
        """Look at the sums of step number `step`, counted from 1."""
        sums = jax.device_get(pending)
        newest = {}
        for position, trial in enumerate(self.trials):
            if trial.over:
                continue
            own = sums if self.program.packed == 1 else {name: x[position] for name, x in sums.items()}
            if not math.isfinite(own["loss"]):
                self._fail(trial, f"the training loss is {own['loss']} at step {step}", step)
                continue
            trial.add(own)
            newest = {"loss": float(own["loss"]) / float(own["count"])}
        self.watch(step, self.program.steps, newest)

    def _end_of_epoch(self, epoch: int) -> int:
        size = self.program.experiment.batch_size
        return steps_until(epoch + 1, batch_size=size, examples=self.program.sizes["train"])

    def _end_epoch(self, state: TrainState, step: int) -> None:
        self.epochs_done += 1
        summaries = self._evaluate(state, "validation") if self.program.sizes["validation"] else {}
        for position, trial in enumerate(self.trials):
            if trial.over:
                continue
            train = _named("train", summarize(trial.epoch_sums))
            validation = _named("validation", summaries[position]) if summaries else {}
            rate = float(self._learning_rate(trial.experiment, step - 1))
            row = {"step": step, "epoch": self.epochs_done, "learning_rate": rate, **train, **validation}
            if not _finite(row):
                self._fail(trial, f"the validation loss is not finite after step {step}", step)
                continue
            trial.directory.add_row(row)
            trial.last_row, trial.epoch_sums = row, {}
            if validation:
                count = summaries[position]["count"]
                self.watch(step, self.program.steps, row | {"loss": row["train_loss"], "validation_count": count})

    def _learning_rate(self, experiment: Experiment, step: int) -> Any:
        per_epoch = max(1, self.program.sizes["train"] // experiment.batch_size)
        return experiment.optim.learning_rate_at(step, steps=self.program.steps, steps_per_epoch=per_epoch)

    def _evaluate(self, state: TrainState, split: str) -> dict[int, dict[str, Any]]:
        sums = self.program.evaluate(state, split)
        if self.program.packed == 1:
            return {0: summarize(sums)}
        return {
            position: summarize({name: x[position] for name, x in sums.items()}) for position in range(len(self.trials))
        }

    # --- save and finish

    def _checkpoint_due(self, step: int, saved: float) -> bool:
        if step >= self.program.steps:
            return False
        if self.options.checkpoint_steps:
            return step % self.options.checkpoint_steps == 0
        return time.perf_counter() - saved >= self.options.checkpoint_seconds

    def _save(self, state: TrainState, step: int) -> None:
        # Copies: what is being written in the background must not change under the next step.
        host = jax.tree.map(np.array, jax.device_get(state))
        for position, trial in enumerate(self.trials):
            if trial.over or trial.checkpoints.latest() == step:
                continue
            notes = {
                "id": trial.experiment.id,
                "codes": list(trial.codes),
                "packed": self.program.packed,
                "epoch_sums": dict(trial.epoch_sums),
                "last_row": dict(trial.last_row),
                "seconds": self.seconds,
                "data_fingerprint": self.fingerprint,
                "scale": self.dataset.scale,
                "classes": self.dataset.classes,
            }
            trial.checkpoints.save(step, self._lane(host, position), notes)

    def _finish(self, state: TrainState) -> None:
        began = self._clock()
        tests = self._evaluate(state, "test")
        validations = self._evaluate(state, "validation") if self.program.sizes["validation"] else {}
        self.seconds += self._clock() - began
        for position, trial in enumerate(self.trials):
            if trial.over:
                continue
            parts = {"validation": validations[position]} if validations else {}
            parts["test"] = tests[position]
            metrics = {name: value for name, value in trial.last_row.items() if name.startswith("train_")}
            for part, summary in parts.items():
                metrics |= _named(part, summary)
            if not _finite(metrics):
                self._fail(trial, "the loss on the test part is not finite", self.program.steps)
                continue
            write_json(trial.directory.evaluation, parts)
            self._write_result(trial, "done", self.program.steps, {"metrics": metrics})
            trial.directory.log(f"done: {', '.join(f'{name} {value:.4f}' for name, value in metrics.items())}")

    def _fail(self, trial: Trial, reason: str, step: int) -> None:
        trial.failure = f"{reason}: the training diverged (try a lower optim.learning_rate, warm-up or clip_norm)"
        self._write_result(trial, "failed", step, {"metrics": {}, "error": trial.failure, "cause": "diverged"})
        trial.directory.log(f"failed: {trial.failure}")

    def _write_result(self, trial: Trial, status: str, step: int, more: dict[str, Any]) -> None:
        # The first result of a program has what was compiled ahead of it.
        self.program.compile_told = self.program.compile_seconds
        compiling = self.program.compile_told - self.compile_before
        result = {
            "id": trial.experiment.id,
            "codes": list(trial.codes),
            "status": status,
            "seed": trial.experiment.seed,
            "params": self.program.analysis.params,
            "macs": self.program.analysis.macs,
            "steps": step,
            "examples": {part: size for part, size in self.program.sizes.items() if size},
            "train_seconds": self.seconds / len(self.trials),
            "compile_seconds": compiling / len(self.trials),
            "packed": self.program.packed,
            **self._initial_note(),
            "data_fingerprint": self.fingerprint,
            **self._skipped_note(),
            **more,
            "config": plain(trial.experiment),
        }
        write_json(trial.directory.result, result)

    def _skipped_note(self) -> dict[str, Any]:
        """Images that could not be decoded, by part, where there were some."""
        skipped = self.dataset.skipped
        return {"skipped": dict(skipped)} if skipped else {}

    def _initial_note(self) -> dict[str, Any]:
        initial = self.program.initial
        return {} if initial is None else {"initial": {"path": initial.path, "checksum": initial.checksum}}


def _named(part: str, summary: dict[str, Any]) -> dict[str, float]:
    return {f"{part}_{name}": value for name, value in summary.items() if isinstance(value, float)}


def _finite(row: dict[str, Any]) -> bool:
    return all(math.isfinite(value) for value in row.values() if isinstance(value, float))
