"""How far a study is, and who works on it: from the files in its folder alone, without JAX."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from cnnjax.errors import RunError
from cnnjax.files import names_in, parse_json, read_whole
from cnnjax.lease import Holding, holding, server_time
from cnnjax.records.adaptive_json import AdaptiveRecord, ProposalEntry
from cnnjax.records.cancel_json import CancelRecord
from cnnjax.records.lease_json import LeaseRecord
from cnnjax.records.metrics_jsonl import EpochRow, read_rows
from cnnjax.records.plan_json import PlanRecord, TrialEntry
from cnnjax.records.study_json import StudyRecord
from cnnjax.records.trial_result import digest_of_results, result_of

AGAIN = "the study's next sweep writes it anew"


@dataclass(frozen=True)
class Running:
    """A trial that somebody works on. since: by the clock of the worker. step: as the worker last said, of `steps`.

    heard: seconds since the worker was last heard of. lost: whether that is so long that another may take its place.
    """

    trial: str
    arm: Mapping[str, Any]
    seed: int
    worker: str
    host: str
    pid: int
    since: str
    step: int
    steps: int
    heard: float
    lost: bool


@dataclass(frozen=True)
class StudyStatus:
    """Of a study's trials: how many are done, failed, being trained, begun but with nobody at them, not begun.

    pruned: arms that cannot be trained. errors: why trials failed, by id. damaged: trials whose result cannot be used.
    seconds_left: until all are over with as many workers as there are now; None where no trial is done, or nobody
    works. measured: of how many finished trials that is. reported: of how many finished trials report/ is, and
    outdated: whether the trials hold other results by now; None without a report. cancelled: by whom and when; None
    where it is not.

    Of an adaptive study, whose trials are those proposed so far: stopped: trained as far as it was decided, the end not
    reached; ended: whether nothing more is proposed, None of other studies. What it will still propose is not known,
    nor are seconds_left.
    """

    name: str
    trials: int
    done: int
    failed: int
    running: tuple[Running, ...]
    begun: int
    waiting: int
    pruned: int
    errors: Mapping[str, str] = field(default_factory=dict)
    damaged: Mapping[str, str] = field(default_factory=dict)
    seconds_left: float | None = None
    measured: int = 0
    cancelled: str | None = None
    stopped: int = 0
    ended: bool | None = None
    reported: int | None = None
    outdated: bool | None = None

    @property
    def over(self) -> bool:
        """Whether every trial is done or failed, or the adaptive study has ended."""
        return self.ended if self.ended is not None else self.done + self.failed + len(self.damaged) == self.trials

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


def status(out: Path) -> StudyStatus:
    """How far the study in `out` is. Raises RunError where there is none, or its plan cannot be read."""
    study = StudyRecord.read(StudyRecord.at(out), remedy=AGAIN)
    plan = PlanRecord.read(PlanRecord.at(out), remedy=AGAIN)
    if study is None or plan is None:
        seen = "holds no study" if out.is_dir() else "is no folder that this machine sees"
        raise RunError(f"{out} {seen}")
    adaptive = AdaptiveRecord.read(AdaptiveRecord.at(out), remedy=AGAIN)
    found = _Found(out, () if adaptive is None else adaptive.proposals)
    for entry in plan.trials:
        found.look_at(entry)
    cancelled = CancelRecord.read(CancelRecord.at(out), remedy="delete it, and the study goes on")
    begun = len(found.begun) + sum(each.lost for each in found.running)
    running = tuple(each for each in found.running if not each.lost)
    reported, digest = _report(out)
    outdated = None if reported is None else reported != len(found.seconds)
    if digest is not None and not outdated:
        outdated = digest != digest_of_results({entry.id: found.folder / entry.id for entry in plan.trials})
    over = len(found.seconds) + len(found.errors) + len(found.damaged)
    return StudyStatus(
        name=study.name or out.resolve().name,
        trials=len(plan.trials),
        done=len(found.seconds),
        failed=len(found.errors),
        running=tuple(found.running),
        begun=len(found.begun),
        waiting=len(plan.trials) - over - len(running) - begun - len(found.stopped),
        pruned=len(plan.pruned),
        errors=found.errors,
        damaged=found.damaged,
        seconds_left=None if adaptive is not None else found.seconds_left(plan.trials),
        measured=len(found.seconds),
        cancelled=None if cancelled is None else cancelled.why,
        stopped=len(found.stopped),
        ended=None if adaptive is None else adaptive.over,
        reported=reported,
        outdated=outdated,
    )


def _report(out: Path) -> tuple[int | None, str | None]:
    """Of how many finished trials the report in `out` is, and the digest of their results.

    None where there is no report that can be read; earlier ones have no digest.
    """
    try:
        path = out / "report" / "arms.json"
        said = parse_json(read_whole(path, remedy="") or b"", path, remedy="")
        return int(said["trials"]["done"]), said.get("results_digest")
    except (RunError, ValueError, LookupError, TypeError, AttributeError):
        return None, None


class _Found:
    """What the folders of trials hold. seconds: that each finished trial took; begun: that nobody works on, by id.

    stopped: trained to the epoch that `proposals` say.
    """

    def __init__(self, out: Path, proposals: Sequence[ProposalEntry]):
        self._until = {entry.trial: entry.until for entry in proposals}
        self.stopped: set[str] = set()
        self.folder = out / "trials"
        self.seconds: dict[str, float] = {}
        self.errors: dict[str, str] = {}
        self.damaged: dict[str, str] = {}
        self.begun: set[str] = set()
        self.running: list[Running] = []
        self._there = names_in(self.folder, remedy=AGAIN)
        self._now = cache(lambda: server_time(out))

    def look_at(self, entry: TrialEntry) -> None:
        """Count a trial."""
        if entry.id not in self._there:
            return
        folder = self.folder / entry.id
        try:
            result = result_of(folder, entry)
            if result is None:
                self._look_at_begun(entry, folder)
        except RunError as error:
            self.damaged[entry.id] = str(error)
            return
        if result is not None and result.status == "done":
            self.seconds[entry.id] = (result.train_seconds or 0.0) + (result.compile_seconds or 0.0)
        elif result is not None:
            self.errors[entry.id] = result.error or "failed"

    def _look_at_begun(self, entry: TrialEntry, folder: Path) -> None:
        names = names_in(folder, remedy=AGAIN)
        held = None
        if any(LeaseRecord.number_of(name) is not None for name in names):
            held = holding(folder, now=self._now)
        if held is not None and held.record is not None:
            self.running.append(_running(entry, held, held.record))
        elif "checkpoints" in names:
            (self.stopped if self._stands(entry.id) else self.begun).add(entry.id)

    def _stands(self, trial: str) -> bool:
        until = self._until.get(trial)
        return until is not None and any(row.epoch == until for row in read_rows(EpochRow.at(self.folder / trial)))

    def seconds_left(self, entries: tuple[TrialEntry, ...]) -> float | None:
        """As long as trials of the same program took, or by their arithmetic where none of it is done."""
        workers = sum(not each.lost for each in self.running)
        done = [entry for entry in entries if entry.id in self.seconds]
        if not done or not workers:
            return None
        rate = sum(self.seconds.values()) / sum(map(_arithmetic, done))
        own: dict[str | None, list[float]] = {}
        for entry in done:
            own.setdefault(entry.program, []).append(self.seconds[entry.id])
        steps = {each.trial: each.step for each in self.running}
        left = 0.0
        for entry in entries:
            if entry.id in self.seconds or entry.id in self.errors or entry.id in self.damaged:
                continue
            alike = own.get(entry.program)
            whole = sum(alike) / len(alike) if alike else rate * _arithmetic(entry)
            left += whole * (1 - steps.get(entry.id, 0) / max(1, entry.steps or 1))
        return left / workers


def _arithmetic(entry: TrialEntry) -> float:
    """What a training costs, in any measure."""
    return float(max(1, entry.steps or 1)) * float(max(1, entry.training_macs or entry.macs or 1))


def _running(entry: TrialEntry, held: Holding, record: LeaseRecord) -> Running:
    return Running(
        trial=entry.id,
        arm=entry.arm,
        seed=entry.seed,
        worker=record.worker,
        host=record.host,
        pid=record.pid,
        since=record.since,
        step=record.step,
        steps=entry.steps or 0,
        heard=max(0.0, held.silent),
        lost=held.over,
    )
