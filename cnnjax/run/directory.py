"""The run directory: the only state between training, sweeping and reporting. Every file is whole or absent."""

from __future__ import annotations

import contextlib
import itertools
import json
import time
from collections.abc import Iterator
from pathlib import Path

from cnnjax.config import diff, plain
from cnnjax.errors import ConfigError, RunError
from cnnjax.experiment import Experiment
from cnnjax.files import append_text, locked, writing
from cnnjax.records.code_json import CodeRecord
from cnnjax.records.config_json import ConfigRecord
from cnnjax.records.environment_json import EnvironmentRecord
from cnnjax.records.metrics_jsonl import EpochRow, append_row, keep_rows
from cnnjax.records.result_json import EvaluationRecord, ResultRecord
from cnnjax.records.source_json import SourceRecord
from cnnjax.records.study_json import StudyRecord


class RunDirectory:
    """One training's files: config.json, environment.json, metrics.jsonl, result.json, checkpoints/, log.txt.

    sources: the folder that keeps the user's own code, one file for each digest; the trials of a study share one.
    """

    def __init__(self, path: Path, *, sources: Path | None = None):
        self.path = Path(path)
        self.sources = CodeRecord.at(self.path) if sources is None else sources
        self.config = ConfigRecord.at(self.path)
        self.environment = EnvironmentRecord.at(self.path)
        self.metrics = EpochRow.at(self.path)
        self.result = ResultRecord.at(self.path)
        self.source = SourceRecord.at(self.path)
        self.evaluation = EvaluationRecord.at(self.path)
        self.checkpoints = self.path / "checkpoints"

    @contextlib.contextmanager
    def claimed(self, experiment: Experiment) -> Iterator[RunDirectory]:
        """Own the directory for `experiment` while in the context.

        Raises RunError where it holds a different experiment, another process works in it, or it cannot be written.
        The claim ends with the process, however that ends.
        """
        with locked(self.path, taken=f"{self.path}: another process is working on this run"):
            self._refuse_another(experiment)
            yield self

    def begin(self, experiment: Experiment) -> None:
        """Write config.json, once it is known that the experiment can be trained."""
        if not self.config.exists():
            ConfigRecord(**plain(experiment)).write(self.config)

    def set_aside(self) -> Path | None:
        """Move all there is into a folder of its own under stale/, as if nothing had been trained; returns that."""
        held = [path for path in self.path.iterdir() if path.name not in (".lock", "stale", self.sources.name)]
        if not held:
            return None
        places = (self.path / "stale" / str(number) for number in itertools.count(1))
        aside = next(place for place in places if not place.exists())
        with writing(aside):
            aside.mkdir(parents=True)
            for path in held:
                path.rename(aside / path.name)
        return aside

    def _refuse_another(self, experiment: Experiment) -> None:
        held = self.experiment_json()
        if StudyRecord.at(self.path).exists():
            raise RunError(f"{self.path} holds a study: choose another folder with --out")
        if held is not None and held != plain(experiment) and not _is_as_before(held, experiment):
            raise RunError(f"{self.path} holds a different experiment ({_difference(held, experiment)}); choose --out")

    def experiment_json(self) -> dict | None:
        """The experiment in this directory as plain JSON; None in a new one."""
        held = ConfigRecord.read(self.config, remedy="restore it, or give the run another folder with --out")
        return None if held is None else held.experiment

    def experiment(self) -> Experiment:
        """The experiment in this directory. Raises RunError where there is none, or its classes are not defined."""
        held = self.experiment_json()
        if held is None and (trials := self.path / "trials").is_dir():
            ids = sorted(path.name for path in trials.iterdir() if ConfigRecord.at(path).exists())
            one = ids[0] if ids else "<id>"
            raise RunError(f"{self.path} is a study's folder: name one of its runs, such as {trials / one}")
        if held is None:
            raise RunError(f"{self.path} is not a run directory: it has no {ConfigRecord.filename}")
        try:
            return Experiment.from_json(json.dumps(held))
        except ConfigError as error:
            raise RunError(
                f"{self.config}: {error}\nif the experiment file defines this class, name it with --file; if a newer "
                "cnnjax wrote it, install that"
            ) from None

    def finished(self) -> ResultRecord | None:
        """result.json, where the run is over; None while it is not."""
        return ResultRecord.read(
            self.result, remedy="delete it, and the same command runs the rest of this trial again"
        )

    def keep_rows(self, until_step: int) -> None:
        """Drop the rows of steps after `until_step`: they will be written again."""
        keep_rows(self.metrics, until_step)

    def add_row(self, row: EpochRow) -> None:
        """Append one row to metrics.jsonl."""
        append_row(self.metrics, row)

    def log(self, message: str) -> None:
        """Append a line to log.txt, with the time."""
        append_text(self.path / "log.txt", f"{time.strftime('%Y-%m-%d %H:%M:%S')} {message}\n")


def directory_in(path: Path) -> RunDirectory:
    """The run directory at `path`; a study's trials share the code that is kept in the study's folder."""
    study = path.resolve().parent.parent
    is_trial = path.resolve().parent.name == "trials" and StudyRecord.at(study).exists()
    return RunDirectory(path, sources=CodeRecord.at(study) if is_trial else None)


def _is_as_before(held: dict, experiment: Experiment) -> bool:
    """Whether a config.json says the experiment, written before some of its fields came (`later`)."""
    try:
        return Experiment.from_json(json.dumps(held)) == experiment
    except ConfigError:
        return False


def _difference(held: dict, experiment: Experiment) -> str:
    try:
        changes = diff(Experiment.from_json(json.dumps(held)), experiment)
    except ConfigError:
        return "written by another version, or with classes not defined here"
    shown = [f"{path}: {old!r} there, {new!r} here" for path, (old, new) in list(changes.items())[:4]]
    return "; ".join(shown + (["..."] if len(changes) > 4 else []))
