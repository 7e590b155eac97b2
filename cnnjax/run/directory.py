"""The run directory: the only state between training, sweeping and reporting. Every file is whole or absent."""

from __future__ import annotations

import contextlib
import itertools
import json
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from cnnjax.config import diff, plain, snake_case, unknown_tags
from cnnjax.errors import ConfigError, RunError
from cnnjax.experiment import Experiment
from cnnjax.files import append_text, inside, names_in, probe, writing
from cnnjax.lease import Holding, Lease
from cnnjax.records.code_json import REMEDY as CODE_REMEDY
from cnnjax.records.code_json import CodeRecord, DefinitionEntry
from cnnjax.records.config_json import ConfigRecord
from cnnjax.records.environment_json import EnvironmentRecord
from cnnjax.records.folders import LOG, refuse_for_run
from cnnjax.records.lease_json import LeaseRecord
from cnnjax.records.metrics_jsonl import EpochRow, RowsEntry, append_row, keep_rows, rows_of, sync_rows
from cnnjax.records.result_json import EvaluationRecord, ResultRecord
from cnnjax.records.source_json import SourceRecord
from cnnjax.records.study_json import StudyRecord
from cnnjax.records.trial_result import agreeing
from cnnjax.visible import visible


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
        self.lease: Lease | None = None
        self.counted: RowsEntry | None = None
        """The rows that the checkpoint counts on from which the training continues, where that is known."""

    def check_inside(self) -> None:
        """Raise RunError where a folder of the run, or the run's own within its study, is a symbolic link."""
        if self.sources.parent != self.path:
            # A trial, at STUDY/trials/ID.
            inside(self.path.parent.parent, self.path.parent.name, self.path.name)
        for folder in (self.checkpoints, self.path / "stale", self.sources):
            inside(folder.parent, folder.name)

    @contextlib.contextmanager
    def claimed(
        self, experiment: Experiment, *, told: Callable[[Holding], None] = lambda _: None
    ) -> Iterator[RunDirectory]:
        """Own the directory for `experiment` while in the context.

        Of a process that is killed others take it over (`cnnjax.lease`), which may have to be waited for; told: as of
        `Lease.awaited`. Raises Taken where another process works in it, RunError where it holds a different experiment
        or cannot be written.
        """
        with self._holding(lambda: Lease.awaited(self.path, told, begun=self.saved_step())):
            self.refuse_another(experiment)
            yield self

    @contextlib.contextmanager
    def leased(self, worker: str = "", now: Callable[[], float] | None = None) -> Iterator[Lease]:
        """Hold the directory's lease while in the context; one that is held already stays. Raises Taken, RunError.

        worker, now: as of `Lease.take`.
        """
        with self._holding(lambda: Lease.take(self.path, worker=worker, begun=self.saved_step(), now=now)) as lease:
            yield lease

    @contextlib.contextmanager
    def _holding(self, take: Callable[[], Lease]) -> Iterator[Lease]:
        if self.lease is not None:
            yield self.lease
            return
        self.check_inside()
        self.lease = take()
        try:
            # Its last holder may have saved since this machine looked there.
            if self.checkpoints.is_dir():
                with contextlib.suppress(OSError), probe(self.checkpoints):
                    pass
            yield self.lease
        finally:
            self.lease.release()
            self.lease = None

    def check_held(self) -> None:
        """Raise Lost where another process has taken the directory over: nothing may be written any more."""
        if self.lease is not None:
            self.lease.check()

    @contextlib.contextmanager
    def takeover_explained(self) -> Iterator[None]:
        """Raise Lost for an error of the context where another process has taken the directory over: from that it
        comes, since what was being written is gone."""
        try:
            yield
        except RunError:
            self.check_held()
            raise

    def saved_step(self) -> int:
        """The step of the newest checkpoint, by its folder's name; 0 where there is none. Raises RunError."""
        names = names_in(self.checkpoints, remedy="remove it, and run the same command again")
        return max((int(name) for name in names if name.isdigit()), default=0)

    def begin(self, experiment: Experiment) -> None:
        """Write config.json, once it is known that the experiment can be trained."""
        if not self.config.exists():
            ConfigRecord(**plain(experiment)).write(self.config)

    def set_aside(self) -> Path | None:
        """Move all there is into a folder of its own under stale/, as if nothing had been trained; returns that."""
        with self.leased():
            stay = (".lock", "stale", self.sources.name)
            there = [path for path in self.path.iterdir() if LeaseRecord.number_of(path.name) is None]
            held = [path for path in there if path.name not in stay]
            if not held:
                return None
            places = (self.path / "stale" / str(number) for number in itertools.count(1))
            aside = next(place for place in places if not place.exists())
            with writing(aside):
                aside.mkdir(parents=True)
                for path in held:
                    path.rename(aside / path.name)
            return aside

    def refuse_another(self, experiment: Experiment) -> None:
        """Raise RunError where the directory holds a study, or another experiment."""
        held = self.experiment_json()
        if StudyRecord.at(self.path).exists():
            raise RunError(f"{self.path} holds a study: choose another folder with --out")
        if held is None and self.sources.parent == self.path and not (self.result.exists() or self.saved_step()):
            refuse_for_run(self.path)
        if held is not None and held != plain(experiment) and not _is_as_before(held, experiment):
            raise RunError(f"{self.path} holds a different experiment ({_difference(held, experiment)}); choose --out")

    def experiment_json(self) -> dict | None:
        """The experiment in this directory as plain JSON; None in a new one."""
        held = ConfigRecord.read(self.config, remedy="restore it, or give the run another folder with --out")
        return None if held is None else held.experiment

    def experiment(self) -> Experiment:
        """The experiment in this directory. Raises RunError where there is none, or its classes are not defined."""
        if self.path.is_file():
            near = _run_at(Path("runs", self.path.stem))
            raise RunError(f"{self.path} is a file: name a run's folder{f', such as {near}' if near else ''}")
        held = self.experiment_json()
        if held is None and (trials := self.path / "trials").is_dir():
            one = _run_at(self.path) or trials / "<id>"
            raise RunError(f"{self.path} is a study's folder: name one of its runs, such as {one}")
        if held is None and not self.path.exists():
            raise RunError(f"{self.path} is not a run directory: there is no such folder")
        if held is None:
            raise RunError(f"{self.path} is not a run directory: it has no {ConfigRecord.filename}")
        try:
            return Experiment.from_json(json.dumps(held))
        except ConfigError as error:
            raise RunError(f"{self.config}: {self._own_code_missing(held) or _not_known(error)}") from None

    def _own_code_missing(self, held: dict) -> str:
        """That the run needs classes which its experiment file defines, as the code kept with it says; "" where none
        that is known to it is missing."""
        study = self.path.resolve().parent.parent
        kept = _definitions(self.sources) or _definitions(CodeRecord.at(study))
        missing = [entry for tag in dict.fromkeys(unknown_tags(held)) for entry in kept if _has_tag(entry, tag)]
        if not missing:
            return ""
        files = {entry.file: entry for entry in missing}
        needed = " and ".join(dict.fromkeys(f"{entry.name} of {Path(entry.file).name}" for entry in missing))
        return (
            f"this run needs the class{'es' * (' and ' in needed)} {needed}: add --file {_nearest(next(iter(files)))} "
            "(the experiment file that defines or imports it)"
        )

    def finished(self) -> ResultRecord | None:
        """result.json, where the run is over; None while it is not."""
        return ResultRecord.read(
            self.result, remedy="delete it, and the same command runs the rest of this trial again"
        )

    def agreeing(self, experiment: Experiment) -> ResultRecord | None:
        """`finished`. Raises RunError also where the result is another experiment's, or the files beside it are not
        those that it was written with."""
        result = self.finished()
        return None if result is None else agreeing(self.path, result, id=experiment.id)

    def rows(self) -> RowsEntry:
        """The rows that there are, which are on disk then."""
        sync_rows(self.metrics)
        return rows_of(self.metrics)

    def check_rows(self, counted: RowsEntry | None, step: int) -> None:
        """Raise RunError unless metrics.jsonl begins with the rows that the checkpoint of a step counts on."""
        if counted is not None and (found := rows_of(self.metrics, counted.count)) != counted:
            has = "others" if found.count == counted.count else f"{found.count}"
            raise RunError(
                f"{self.metrics}: of the {counted.count} rows that there were when the checkpoint of step {step} was "
                f"saved, it has {has}: it was cut or edited since. Bring it back; or delete {self.path}, and the same "
                "command trains this run again"
            )
        self.counted = counted

    def keep_rows(self, until_step: int) -> None:
        """Drop the rows of steps after `until_step`: they will be written again. Raises Lost."""
        self.check_held()
        counted = self.counted if until_step else None
        keep_rows(self.metrics, until_step, count=None if counted is None else counted.count)

    def add_row(self, row: EpochRow) -> None:
        """Append one row to metrics.jsonl. Raises Lost."""
        append_row(self.metrics, row, check=self.check_held)

    def log(self, message: str) -> None:
        """Append a line to log.txt, with the time. Further lines of the message stand under it, indented."""
        told = visible(message.rstrip()).replace("\n", "\n    ")
        append_text(self.path / LOG, f"{time.strftime('%Y-%m-%d %H:%M:%S')} {told}\n")


def directory_in(path: Path) -> RunDirectory:
    """The run directory at `path`; a study's trials share the code that is kept in the study's folder."""
    study = path.resolve().parent.parent
    is_trial = path.resolve().parent.name == "trials" and StudyRecord.at(study).exists()
    return RunDirectory(path, sources=CodeRecord.at(study) if is_trial else None)


def _run_at(folder: Path) -> Path | None:
    """The folder where it holds a run, the first of its runs where it holds a study; None where there is none."""
    runs = [folder, *sorted(path.parent for path in folder.glob(f"trials/*/{ConfigRecord.filename}"))]
    return next((run for run in runs if ConfigRecord.at(run).exists()), None)


def _not_known(error: ConfigError) -> str:
    """An error of a config's class or field, without the list of all that there are."""
    return (
        f"{str(error).partition(' There are: ')[0]}\nif it is a class of your own, name the experiment file that "
        "defines it with --file; if a newer cnnjax wrote it, install that"
    )


def _definitions(sources: Path) -> list[DefinitionEntry]:
    """The classes of the user's that the folder keeps, the newest code first; what cannot be read is passed over."""
    found: list[CodeRecord] = []
    for file in sorted(sources.glob("*.json")):
        with contextlib.suppress(RunError):
            found += [record for record in [CodeRecord.read(file, remedy=CODE_REMEDY)] if record is not None]
    found.sort(key=lambda record: record.recorded, reverse=True)
    latest: dict[str, DefinitionEntry] = {}
    for entry in itertools.chain.from_iterable(record.definitions for record in found):
        if entry.kind == "class":
            latest.setdefault(entry.name, entry)
    return list(latest.values())


def _has_tag(entry: DefinitionEntry, tag: str) -> bool:
    """Whether a class goes by the name `tag`: its own in snake case, or the one that its first lines give it."""
    given = re.search(r"""\btag\s*=\s*["']([^"']*)["']""", "\n".join(entry.source).partition(":\n")[0])
    return (given[1] if given else snake_case(entry.name)) == tag


def _nearest(file: str) -> str:
    """A file's name as it is shortest from here; its last part where there is no such file any more."""
    path = Path(file)
    if not path.is_file():
        return path.name
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else file


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
