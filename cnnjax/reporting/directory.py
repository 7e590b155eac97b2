"""Run directories as tables: plain JSON in, pandas out. Nothing read here is executed, and no class of the
experiment is needed."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, Field, ValidationError

from cnnjax.code import Code
from cnnjax.config import explain
from cnnjax.errors import RunError
from cnnjax.files import read_json, read_rows
from cnnjax.reporting.frames import Frame
from cnnjax.reporting.labels import Axis, axes_of, key, lookup
from cnnjax.reporting.mixture import kept_codes, refused

UNFINISHED = "unfinished"


class StudyFile(BaseModel):
    """`study.json`: what was asked."""

    name: str = ""
    question: str = ""
    axes: dict[str, list[Any]] = {}
    combine: str = "grid"
    seeds: list[int] = []
    match: str | None = None
    base: dict[str, Any] = {}


class PlannedTrial(BaseModel):
    """A trial in `plan.json`."""

    id: str = Field(pattern=r"^\w[\w.-]*$")
    arm: dict[str, Any] = {}
    seed: int = 0
    params: int | None = None
    macs: int | None = None
    program: str | None = None
    data_fingerprint: str | None = None
    widths: str = "as given"


class PrunedArm(BaseModel):
    """An arm in `plan.json` that was rejected before training."""

    arm: dict[str, Any] = {}
    seeds: list[int] = []
    reason: str = ""


class PlanFile(BaseModel):
    """`plan.json`: the trials and what was pruned."""

    trials: list[PlannedTrial]
    pruned: list[PrunedArm] = []


class ResultFile(BaseModel):
    """`result.json` of a trial."""

    id: str = ""
    seed: int = 0
    status: Literal["done", "failed"]
    params: int | None = None
    macs: int | None = None
    train_seconds: float | None = None
    compile_seconds: float | None = None
    steps: int | None = None
    packed: int = 1
    examples: dict[str, int] = {}
    metrics: dict[str, Any] = {}
    data_fingerprint: Any = None
    codes: list[str | None] = []
    error: str | None = None
    cause: str | None = None


class JsonObject(BaseModel, extra="allow"):
    """`environment.json` and `config.json`: whatever they hold."""


FileT = TypeVar("FileT", bound=BaseModel)


@dataclass(frozen=True)
class Arm:
    """The trials that differ only by seed: `number` from 1, `values` by axis path, `texts` by short axis name.

    widths: what was changed to make its cost equal to the base's, where the study asks for that.
    """

    number: int
    values: dict[str, Any]
    texts: Mapping[str, str]
    widths: str = "as given"

    @property
    def label(self) -> str:
        """`features=8, kernel_size=3`; "base" where the study varies nothing."""
        return ", ".join(f"{name}={text}" for name, text in self.texts.items()) or "base"


@dataclass(frozen=True)
class Pruned:
    """An arm rejected before training, with the reason."""

    label: str
    values: Mapping[str, Any]
    seeds: tuple[int, ...]
    reason: str


@dataclass(frozen=True)
class Table:
    """What the run directories of one study say.

    trials: a row per planned trial: `arm` (number), the axes by path, `seed`, `id`, `status` (done, failed or
        unfinished), `error`, its `cause` (diverged, crashed, damaged; empty where there is none), `params`, `macs`,
        `train_seconds`, `compile_seconds`, `steps`, `packed` (how many were trained together, and share the seconds),
        `examples` by part, `data_fingerprint` and a column per metric, as recorded (an accuracy is a fraction).
    metrics: the names of the metric columns.
    curves: a row per epoch of each finished trial: `arm`, `seed`, `id`, `epoch` and what the epoch recorded.
    axes: the axes that take more than one value; `constants` those that take one.
    strangers: names of trial directories that the plan does not hold; they are counted and left out.
    codes: by digest, the user's own code and when it was first used; a trial's `codes` are digests, the newest last.
    match: the cost that is equal for all arms ("macs" or "params"), by rescaled widths; None where none is.
    base: the base experiment's config as plain JSON.
    environments: the `environment.json` of each finished trial that has one.
    """

    out: Path
    name: str
    question: str
    combine: str
    match: str | None
    base: Mapping[str, Any]
    arms: tuple[Arm, ...]
    axes: tuple[Axis, ...]
    constants: tuple[Axis, ...]
    trials: Frame
    metrics: tuple[str, ...]
    curves: Frame
    pruned: tuple[Pruned, ...]
    strangers: tuple[str, ...]
    codes: Mapping[str, tuple[Code, str]]
    environments: tuple[Mapping[str, Any], ...]

    @property
    def done(self) -> Frame:
        """The rows of `trials` that finished."""
        return self.trials[self.trials["status"] == "done"]


def collect(out: Path | str) -> Table:
    """Read a study's directory, or the directory of a single run.

    A trial without `result.json` is unfinished. Raises RunError where `out` is neither, where a file is damaged (it is
    named, with the line), and where no trial has finished.
    """
    out = Path(out)
    study, plan, folders = _study(out) if (out / "study.json").exists() else _single(out)
    paths = list(study.axes) or list(dict.fromkeys(path for trial in plan.trials for path in trial.arm))
    for entry in [*plan.trials, *plan.pruned]:
        entry.arm = {path: entry.arm.get(path, lookup(study.base, path)) for path in paths}
    planned, pruned = [trial.arm for trial in plan.trials], [entry.arm for entry in plan.pruned]
    declared = {path: study.axes.get(path, []) for path in paths}
    axes = axes_of(declared, arms=planned, base=study.base)
    varied = tuple(axis for axis in axes if len(axis.values) > 1)
    wider = axes_of(declared, arms=[*planned, *pruned], base=study.base)
    arms = _arms(planned, axes=axes, varied=varied, combine=study.combine)
    widths = {key(trial.arm): trial.widths for trial in plan.trials}
    arms = tuple(dataclasses.replace(arm, widths=widths[key(arm.values)]) for arm in arms)
    results = {trial.id: _result_or_damage(folders[trial.id], trial) for trial in plan.trials}
    numbers = {key(arm.values): arm.number for arm in arms}
    rows = [_row(trial, results[trial.id], numbers[key(trial.arm)]) for trial in plan.trials]
    rows = refused(rows, {trial.id: trial.data_fingerprint for trial in plan.trials})
    _require_finished(out, rows)
    trials = Frame(rows).sort_values(["arm", "seed"], kind="stable", ignore_index=True)
    trials = trials.astype(dict.fromkeys(("params", "macs", "steps"), "Int64"))
    done = trials[trials["status"] == "done"]
    folder_names = {folder.name for folder in folders.values()}
    return Table(
        out=out,
        name=study.name or out.resolve().name,
        question=study.question.strip(),
        combine=study.combine,
        match=study.match,
        base=study.base,
        arms=arms,
        axes=varied,
        constants=tuple(axis for axis in axes if axis not in varied),
        trials=trials,
        metrics=tuple(dict.fromkeys(name for result in results.values() for name in _measured(result))),
        curves=_curves(done, folders),
        pruned=tuple(_pruned(entry, [axis for axis in wider if len(axis.values) > 1]) for entry in plan.pruned),
        strangers=tuple(sorted(name for name in _folders(out / "trials") if name not in folder_names)),
        codes=kept_codes(out / "code", (digest for own in trials["codes"] for digest in own)),
        environments=tuple(_environments(folders[name] for name in done["id"])),
    )


def _study(out: Path) -> tuple[StudyFile, PlanFile, dict[str, Path]]:
    study = _read(out / "study.json", StudyFile, "run the study again with the same --out to write it anew")
    plan = _read(out / "plan.json", PlanFile, "run the study again with the same --out to write it anew")
    return study, plan, {trial.id: out / "trials" / trial.id for trial in plan.trials}


def _single(out: Path) -> tuple[StudyFile, PlanFile, dict[str, Path]]:
    if not (out / "result.json").exists():
        raise RunError(_nothing_here(out))
    result = _read(out / "result.json", ResultFile, "remove the file and run the experiment again")
    trial = PlannedTrial(id=result.id or "run", seed=result.seed)
    config = _read(out / "config.json", JsonObject, "run the experiment again with the same --out to write it anew")
    study = StudyFile(name=out.resolve().name, base=config.model_dump())
    return study, PlanFile(trials=[trial]), {trial.id: out}


def _nothing_here(out: Path) -> str:
    if not out.is_dir():
        return f"{out}: there is no such directory; give the --out of a study or of a run"
    if (out / "config.json").exists():
        return f"{out}: the run has not finished (no result.json); run it again with the same --out and it continues"
    return f"{out}: neither a study (study.json) nor a run (result.json); give the --out of a study or of a run"


def _read(path: Path, kind: type[FileT], advice: str) -> FileT:
    content = read_json(path, remedy=advice)
    if content is None:
        raise RunError(f"{path}: there is no such file; {advice}")
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        raise RunError(f"{path}: {explain(error)}; {advice}") from None


def _result_or_damage(folder: Path, trial: PlannedTrial) -> ResultFile | None:
    """A damaged result counts as a failed trial that says so: the others are reported all the same."""
    try:
        return _result(folder, trial)
    except RunError as error:
        return ResultFile.model_construct(status="failed", error=str(error), cause="damaged", metrics={})


def _result(folder: Path, trial: PlannedTrial) -> ResultFile | None:
    path = folder / "result.json"
    if not path.exists():
        return None
    result = _read(path, ResultFile, "delete it and run the study again: it repeats this trial only")
    if (result.id or trial.id, result.seed) != (trial.id, trial.seed):
        raise RunError(
            f"{path}: is the result of trial {result.id!r}, seed {result.seed}, but the plan has {trial.id!r}, "
            f"seed {trial.seed}, here. Remove {folder} and run the study again: it repeats this trial only."
        )
    for name in ("params", "macs"):
        planned, found = getattr(trial, name), getattr(result, name)
        if None not in (planned, found) and planned != found:
            raise RunError(
                f"{path}: is the result of a network with {found:,} {name}, but the plan's has {planned:,}: left out "
                "of every number. Sweep again with --stale rerun: it repeats what other code made."
            )
    return result


def _arms(
    settings: Sequence[dict[str, Any]], *, axes: Sequence[Axis], varied: Sequence[Axis], combine: str
) -> tuple[Arm, ...]:
    unique = {key(values): values for values in settings}.values()
    place = _distance_from_base if combine == "one_at_a_time" else _grid_place
    ordered = sorted(unique, key=lambda values: place(values, axes))
    return tuple(Arm(number, values, _texts(values, varied)) for number, values in enumerate(ordered, start=1))


def _grid_place(values: Mapping[str, Any], axes: Sequence[Axis]) -> list[int]:
    return [axis.position(values[axis.path]) for axis in axes]


def _distance_from_base(values: Mapping[str, Any], axes: Sequence[Axis]) -> list[tuple[int, int]]:
    """The base first, then the arms that change the first axis, then the second: `(axis, value)` of each change."""
    changed = [(n, axis) for n, axis in enumerate(axes) if key(values[axis.path]) != key(axis.base)]
    return [(n, axis.position(values[axis.path])) for n, axis in changed]


def _texts(values: Mapping[str, Any], varied: Sequence[Axis]) -> dict[str, str]:
    return {axis.name: axis.text(values[axis.path]) for axis in varied}


def _pruned(entry: PrunedArm, varied: Sequence[Axis]) -> Pruned:
    label = Arm(0, entry.arm, _texts(entry.arm, varied)).label
    return Pruned(label, entry.arm, tuple(entry.seeds), entry.reason)


def _row(trial: PlannedTrial, result: ResultFile | None, number: int) -> dict[str, Any]:
    found = result or ResultFile.model_construct(status=UNFINISHED)
    return {
        "arm": number,
        "seed": trial.seed,
        "id": trial.id,
        "status": found.status,
        "error": found.error or "",
        "cause": found.cause or "",
        "params": trial.params if found.params is None else found.params,
        "macs": trial.macs if found.macs is None else found.macs,
        "train_seconds": _finite(found.train_seconds),
        "compile_seconds": _finite(found.compile_seconds),
        "steps": found.steps,
        "packed": found.packed,
        "examples": found.examples,
        "data_fingerprint": found.data_fingerprint,
        "codes": tuple(found.codes),
        **_measured(result),
        **trial.arm,
    }


def _measured(result: ResultFile | None) -> dict[str, float]:
    """The metrics that are single numbers; a confusion matrix is none."""
    return _finite_numbers(result.metrics if result is not None else {})


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _finite(value: float | None) -> float:
    return value if value is not None and math.isfinite(value) else math.nan


def _require_finished(out: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    if any(row["status"] == "done" for row in rows):
        return
    failed = [row for row in rows if row["status"] == "failed"]
    said = f"; the first failure says: {failed[0]['error']}" if failed else ""
    raise RunError(
        f"{out}: none of {len(rows)} planned trials has finished ({len(failed)} failed): there is nothing to report; "
        f"run it again with the same --out and it continues{said}"
    )


def _curves(done: Frame, folders: Mapping[str, Path]) -> Frame:
    rows: list[dict[str, Any]] = []
    for arm, seed, name in zip(done["arm"], done["seed"], done["id"], strict=True):
        lines = read_rows(folders[name] / "metrics.jsonl")
        epochs = {line["epoch"]: line for line in lines if "epoch" in line}
        rows += [{"arm": arm, "seed": seed, "id": name, **_finite_numbers(line)} for line in epochs.values()]
    return Frame(rows) if rows else Frame(columns=["arm", "seed", "id", "epoch"])


def _finite_numbers(values: Mapping[str, Any]) -> dict[str, float]:
    return {name: _finite(value) for name, value in values.items() if value is None or _is_number(value)}


def _environments(folders: Iterable[Path]) -> Iterable[Mapping[str, Any]]:
    for folder in folders:
        path = folder / "environment.json"
        if path.exists():
            yield _read(path, JsonObject, f"remove {folder} and run it again: only this trial is repeated").model_dump()


def _folders(trials: Path) -> list[str]:
    if not trials.is_dir():
        return []
    return [path.name for path in trials.iterdir() if path.is_dir() and not path.name.startswith(".")]
