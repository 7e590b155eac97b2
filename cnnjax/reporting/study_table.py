"""Run directories as tables: plain JSON in, pandas out. Nothing read here is executed, and no class of the
experiment is needed."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from cnnjax.code import Code
from cnnjax.errors import RunError
from cnnjax.records.adaptive_json import AdaptiveRecord
from cnnjax.records.code_json import CodeRecord
from cnnjax.records.plan_json import PrunedEntry, TrialEntry
from cnnjax.records.result_json import ResultRecord
from cnnjax.records.study_json import StudyRecord
from cnnjax.records.trial_result import digest_of_results
from cnnjax.reporting.adaptive import STOPPED, read_adaptive, stopped_trials
from cnnjax.reporting.curves import curves_of, finite, finite_numbers
from cnnjax.reporting.fold_means import crossed, means_of_folds, of_whole_folds
from cnnjax.reporting.frames import Frame
from cnnjax.reporting.labels import Axis, axes_of, key, lookup
from cnnjax.reporting.mixture import kept_codes, refused
from cnnjax.reporting.reading import config_of, environments, read_study, resolved_of, result_or_damage, trial_folders
from cnnjax.reporting.specified import Specified, specified

UNFINISHED, DAMAGED = "unfinished", "damaged"
FOLD = "fold"
"""The path of the axis that says which fold of the training examples is the validation part."""
SPENT = ("train_seconds", "step_seconds", "compile_seconds", "energy")
"""What trials took, as columns."""


@dataclass(frozen=True)
class Arm:
    """The trials that differ only by seed and fold: `number` from 1, `values` by axis path, `texts` by short axis name.

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
        `memory` (bytes of a compiled training step, where recorded), `train_seconds`, `compile_seconds`, `seconds` (by
        kind, where recorded), `step_seconds` (of these "step" and "input"; `train_seconds` where they were not
        recorded), `energy` (J of its training steps, where recorded), `steps`, `packed` (how many were trained
        together, and share the seconds), `examples` by part, `data_fingerprint` and a column per metric, as recorded
        (a share is a fraction).
    metrics: the names of the metric columns; specified: what they are, and which arms are compared by.
    curves: a row per epoch of each finished trial: `arm`, `seed`, `id`, `epoch` and what the epoch recorded.
    axes: the axes that take more than one value; `constants` those that take one.
    strangers: names of trial directories that the plan does not hold; they are counted and left out.
    codes: by digest, the user's own code and when it was first used; a trial's `codes` are digests, the newest last.
    match: the cost that is equal for all arms ("macs" or "params"), by rescaled widths; None where none is.
    base: the base experiment's config as plain JSON.
    damaged: what is wrong with files that are of no trial alone and that the report does without.
    environments: the `environment.json` of each finished trial that has one.
    adaptive: how validation results decided what was trained, where they did; a trial that they stopped has the status
        "stopped early".
    cut_curves: ids of the finished trials of which metrics.jsonl lacks epochs, or all of them.
    unmoved: ids of the finished trials whose parameters their first epoch left as they were (`ResultRecord`).
    last_result: when the newest result.json of the finished trials was written, in UTC. results_digest: of what was
        read (`records.trial_result`).
    study: what study.json says; of a single run, its axes are none.
    replicate: what n counts: "seed", or "fold" where the study varies the fold that it validates on. `trials` say by
        `replicate` which one a trial belongs to.
    configs: by arm, the config.json of one of its trials as plain JSON; without those that have none.
    folders: the run directory of each planned trial, by its id.
    computed: what was computed of the table and is asked for again, by question and arguments (`asked.once`).
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
    specified: Specified
    curves: Frame
    pruned: tuple[Pruned, ...]
    strangers: tuple[str, ...]
    codes: Mapping[str, tuple[Code, str]]
    environments: tuple[Mapping[str, Any], ...]
    adaptive: AdaptiveRecord | None = None
    study: StudyRecord | None = None
    cut_curves: tuple[str, ...] = ()
    unmoved: tuple[str, ...] = ()
    damaged: tuple[str, ...] = ()
    last_result: str = ""
    results_digest: str = ""
    replicate: Literal["seed", "fold"] = "seed"
    configs: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)
    folders: Mapping[str, Path] = field(default_factory=dict)
    computed: dict[Hashable, Any] = field(init=False, default_factory=dict, repr=False, compare=False)

    @property
    def repeats(self) -> dict[str, str]:
        """What tells the trials of an arm apart, in words, and the columns of `trials` that hold it."""
        return {"fold": "replicate", "seed": "seed"} if self.replicate == "fold" else {"seed": "seed"}

    @cached_property
    def crossed(self) -> Frame:
        """The planned trials that statistics are of: all, but seeds that not every fold of their arm has."""
        return self.trials if self.replicate == "seed" else crossed(self.trials)

    @cached_property
    def cells(self) -> Frame:
        """What intervals are of: the finished trials, of folds those all of whose seeds have finished."""
        return self.done if self.replicate == "seed" else of_whole_folds(self.crossed)

    @cached_property
    def results(self) -> Frame:
        """What n counts: a row per arm and replicate, with `metrics` and SPENT.

        A seed's are those of its trial. A fold's are the means over its seeds, and it counts once all of these have
        finished; `examples` of validation are those of all folds, each of which has its own.
        """
        return self.done if self.replicate == "seed" else means_of_folds(self.cells, [*self.metrics, *SPENT])

    @cached_property
    def done(self) -> Frame:
        """The rows of `trials` that finished."""
        return self.trials[self.trials["status"] == "done"]

    @cached_property
    def spent(self) -> tuple[str, ...]:
        """Those of SPENT that finished trials recorded: without `step_seconds` and `energy` where none did."""
        apart = any(map(bool, self.done["seconds"]))
        absent = {
            name
            for name, there in {"step_seconds": apart, "energy": self.done["energy"].notna().any()}.items()
            if not there
        }
        return tuple(name for name in SPENT if name not in absent)


def collect(out: Path | str) -> Table:
    """Read a study's directory, or the directory of a single run.

    A trial without `result.json` is unfinished. Raises RunError where `out` is neither, where a file is damaged (it is
    named, with the line), and where no trial has finished.
    """
    out = Path(out)
    study, plan, folders = read_study(out)
    paths = list(study.axes) or list(dict.fromkeys(path for trial in plan.trials for path in trial.arm))

    def whole(arm: Mapping[str, Any]) -> dict[str, Any]:
        return {path: arm.get(path, lookup(study.base, path)) for path in paths}

    planned, pruned = [whole(trial.arm) for trial in plan.trials], [whole(entry.arm) for entry in plan.pruned]
    replicate = "fold" if len({arm[FOLD] for arm in planned if FOLD in arm}) > 1 else "seed"
    replicates = [trial.seed for trial in plan.trials]
    if replicate == "fold":
        replicates = [arm.pop(FOLD) for arm in planned]
        pruned = [{path: value for path, value in arm.items() if path != FOLD} for arm in pruned]
        paths.remove(FOLD)
    declared = {path: study.axes.get(path, []) for path in paths}
    axes = axes_of(declared, arms=planned, base=study.base)
    varied = tuple(axis for axis in axes if len(axis.values) > 1)
    wider = axes_of(declared, arms=[*planned, *pruned], base=study.base)
    arms = _arms(planned, axes=axes, varied=varied, combine=study.combine)
    widths = {key(arm): trial.widths for arm, trial in zip(planned, plan.trials, strict=True)}
    arms = tuple(dataclasses.replace(arm, widths=widths[key(arm.values)]) for arm in arms)
    # Before they are read: of a result that comes meanwhile the report is then said not to be.
    digest = digest_of_results(folders)
    results = {trial.id: result_or_damage(folders[trial.id], trial) for trial in plan.trials}
    numbers = {key(arm.values): arm.number for arm in arms}
    rows = [
        {"arm": numbers[key(arm)], "replicate": own, **_row(trial, results[trial.id]), **arm}
        for arm, own, trial in zip(planned, replicates, plan.trials, strict=True)
    ]
    adaptive = read_adaptive(out)
    stopped = stopped_trials(adaptive)
    rows = [row | {"status": STOPPED} if row["status"] == UNFINISHED and row["id"] in stopped else row for row in rows]
    rows = refused(rows, {trial.id: trial.data_fingerprint for trial in plan.trials})
    _require_finished(out, rows)
    trials = Frame(rows).sort_values(["arm", "replicate", "seed"], kind="stable", ignore_index=True)
    trials = trials.astype(dict.fromkeys(("params", "macs", "memory", "steps"), "Int64"))
    done = trials[trials["status"] == "done"]
    curves, cut_curves = curves_of(done, folders)
    codes, damaged = kept_codes(CodeRecord.at(out), (digest for own in trials["codes"] for digest in own))
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
        specified=_specified(done, folders, varied),
        curves=curves,
        cut_curves=cut_curves,
        unmoved=tuple(
            id for id in done["id"] if isinstance(own := results[id], ResultRecord) and own.unmoved is not None
        ),
        pruned=_each_once(
            _pruned(entry, arm, [axis for axis in wider if len(axis.values) > 1])
            for arm, entry in zip(pruned, plan.pruned, strict=True)
        ),
        strangers=tuple(sorted(name for name in trial_folders(out) if name not in folder_names)),
        codes=codes,
        damaged=damaged,
        environments=tuple(environments(folders[name] for name in done["id"])),
        adaptive=adaptive,
        study=study,
        last_result=_written(folders[name] for name in done["id"]),
        results_digest=digest,
        replicate=replicate,
        configs=dict(_configs(trials[trials["cause"] != DAMAGED], folders)),
        folders=folders,
    )


def _configs(trials: Frame, folders: Mapping[str, Path]) -> Iterable[tuple[int, Mapping[str, Any]]]:
    for number, names in trials.groupby("arm")["id"]:
        found = next((config for name in names if (config := config_of(folders[name])) is not None), None)
        if found is not None:
            yield int(number), found


def _written(folders: Iterable[Path]) -> str:
    """When the newest of their result.json was written: `2026-05-03 14:07:55 UTC`."""
    newest = max(ResultRecord.at(folder).stat().st_mtime for folder in folders)
    return f"{datetime.fromtimestamp(newest, UTC):%Y-%m-%d %H:%M:%S} UTC"


def _each_once(pruned: Iterable[Pruned]) -> tuple[Pruned, ...]:
    """The pruned arms, of those that every fold has one."""
    return tuple({(entry.label, entry.reason): entry for entry in pruned}.values())


def _specified(done: Frame, folders: Mapping[str, Path], varied: Sequence[Axis]) -> Specified:
    found = ((arm, resolved_of(folders[name])) for arm, name in zip(done["arm"], done["id"], strict=True))
    losses_differ = any(axis.path.split(".")[0] == "loss" for axis in varied)
    return specified([(arm, held) for arm, held in found if held is not None], losses_differ=losses_differ)


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


def _pruned(entry: PrunedEntry, arm: dict[str, Any], varied: Sequence[Axis]) -> Pruned:
    return Pruned(Arm(0, arm, _texts(arm, varied)).label, arm, entry.seeds, entry.reason)


def _row(trial: TrialEntry, result: ResultRecord | RunError | None) -> dict[str, Any]:
    row = {
        "seed": trial.seed,
        "id": trial.id,
        "status": UNFINISHED,
        "error": "",
        "cause": "",
        "params": trial.params,
        "macs": trial.macs,
        "memory": None,
        "train_seconds": math.nan,
        "step_seconds": math.nan,
        "compile_seconds": math.nan,
        "energy": math.nan,
        "energy_of": (),
        "seconds": {},
        "steps": None,
        "packed": 1,
        "examples": {},
        "data_fingerprint": None,
        "codes": (),
    }
    if isinstance(result, RunError):
        row |= {"status": "failed", "error": str(result), "cause": DAMAGED}
    elif result is not None:
        row |= {
            "status": result.status,
            "error": result.error or "",
            "cause": result.cause or "",
            "params": result.params,
            "macs": result.macs,
            "memory": result.memory,
            "train_seconds": finite(result.train_seconds),
            "step_seconds": _step_seconds(result),
            "compile_seconds": finite(result.compile_seconds),
            "energy": _energy(result),
            "energy_of": () if result.energy is None else result.energy.of,
            "seconds": dict(result.seconds),
            "steps": result.steps,
            "packed": result.packed,
            "examples": result.examples,
            "data_fingerprint": result.data_fingerprint,
            "codes": result.codes,
        }
    return row | _measured(result)


def _step_seconds(result: ResultRecord) -> float:
    """Seconds of training steps, their batches included; of a result without them those of training and evaluating."""
    if not {"step", "input"} <= result.seconds.keys():
        return finite(result.train_seconds)
    return finite(result.seconds["step"] + result.seconds["input"])


def _energy(result: ResultRecord) -> float:
    """J of all training steps, at what those took that were measured; NaN where none were."""
    if result.energy is None or not result.steps:
        return math.nan
    return finite(result.energy.joules / result.energy.steps * result.steps)


def _measured(result: ResultRecord | RunError | None) -> dict[str, float]:
    """The metrics that are single numbers."""
    return finite_numbers(result.metrics if isinstance(result, ResultRecord) else {})


def _require_finished(out: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    if any(row["status"] == "done" for row in rows):
        return
    if not rows:
        raise RunError(
            f"{out}: there is nothing to report: its plan has no trials (it names the arms that were pruned)"
        )
    failed = [row for row in rows if row["status"] == "failed"]
    said = f"; the first failure says: {failed[0]['error']}" if failed else ""
    raise RunError(
        f"{out}: none of {len(rows)} planned trials has finished ({len(failed)} failed): there is nothing to report; "
        f"run it again with the same --out and it continues{said}"
    )
