"""A sweep: a study is planned, what its folder holds is settled, and a launcher trains what is missing."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax

from cnnjax.config import plain
from cnnjax.errors import RunError
from cnnjax.events import Costs, Event, Planned, Sink
from cnnjax.experiment import Experiment, length_of
from cnnjax.files import locked
from cnnjax.launch.launcher import Launch, Launcher
from cnnjax.launch.launcher import launcher as by_name
from cnnjax.launch.one_program import Outcomes
from cnnjax.launch.rounds import in_rounds
from cnnjax.launch.search import Search, refuse_another_way
from cnnjax.records.config_json import ConfigRecord
from cnnjax.records.plan_json import PlanRecord
from cnnjax.records.study_json import StudyRecord
from cnnjax.run.options import Options
from cnnjax.run.trial import StudyOfTrials
from cnnjax.study.candidates import plan_of_candidates
from cnnjax.study.earlier import merged, settle
from cnnjax.study.plan import Plan, PlannedTrial, label, written
from cnnjax.study.study import Study


@dataclass(kw_only=True)
class Outcome(Outcomes):
    """What became of a study's trials. out: where they are. wider: trials of the study that `out` is of."""

    plan: Plan
    out: Path = Path()
    wider: int | None = None

    @property
    def complete(self) -> bool:
        """Every planned trial has a result, and none failed."""
        return not self.failed and not self.errors


def sweep(
    study: Study | Experiment,
    out: Path | str,
    *,
    name: str = "",
    question: str = "",
    options: Options = Options(),
    pack: int | None = None,
    workers: int | None = None,
    replace: bool = False,
    launcher: str = "local",
    sinks: Sequence[Sink] = (),
    stop: threading.Event | None = None,
) -> Outcome:
    """Train every trial of a study (or of an experiment, three seeds) that has no result yet, in `out`/trials/<id>.

    pack: how many trials of one program to train together; workers: how many programs to train side by side; None
    decides both by the size of the images, the processor and its cores. Neither changes what a trial computes but for
    round-off. A trial that fails does not stop the others. A wider study that has all these trials stays what `out` is
    the study of; `replace` lets this one take the place of any other. launcher: where trials are trained, by name.
    sinks: called with every event (`cnnjax.events`), one event at a time, from several threads. stop: once it is set,
    which a sink may do, everything is saved and Interrupted raised. Raises ConfigError for a study that cannot be,
    RunError where other code or data made what is there (`Options.stale`) or another study is, DiskFull or Interrupted
    with everything saved.
    """
    run = by_name(launcher)
    planned = plan_of_candidates(study, hardware=options.hardware)
    emit = _one_at_a_time(sinks) if jax.process_index() == 0 else []
    spread = {"pack": pack, "workers": workers, "sinks": emit, "stop": stop}
    about = {"name": name, "question": question}
    return _sweep(planned, Path(out), options, run, about=about, replace_study=replace, spread=spread)


def _sweep(
    planned: Plan,
    out: Path,
    options: Options,
    run: Launcher,
    *,
    about: dict[str, str],
    replace_study: bool,
    spread: dict[str, Any],
) -> Outcome:
    if ConfigRecord.at(out).exists():
        raise RunError(f"{out} holds a run, not a study: choose another folder with --out")
    with locked(out / "trials", taken=f"another sweep is working in {out}: wait for it, or choose another --out"):
        elsewhere = settle(planned, out, options.stale)
        if elsewhere is None:
            refuse_another_way(planned.study, out, replace=replace_study)
            if planned.study.adaptive is not None:
                return _in_rounds(planned, out, options, run, about=about, replace_study=replace_study, spread=spread)
            wider = write_plan(planned, out, replace=replace_study, **about)
            outcomes = _trained(planned, out, options, run, about=about, spread=spread)
            return Outcome(**vars(outcomes), plan=planned, out=out, wider=wider)
    options = replace(options, stale="stop")
    return _sweep(planned, elsewhere, options, run, about=about, replace_study=replace_study, spread=spread)


def _trained(
    planned: Plan, out: Path, options: Options, run: Launcher, *, about: dict[str, str], spread: dict[str, Any]
) -> Outcomes:
    """Train the trials of a plan, to the epoch that the options say."""
    study = StudyOfTrials(about["name"] or out.resolve().name, out, _arms_of(planned))
    launched = Launch(planned, study, options, **spread)
    sized = any(trial.sizes for trial in planned.trials)
    for trial in planned.trials:
        steps, costs = _steps(trial, options.until_epoch), _costs(trial) if sized else ()
        for sink in launched.sinks:
            sink(Planned(trial=trial.id, arm=written(trial.arm), steps=steps, costs=costs))
    return run(launched)


def _steps(trial: PlannedTrial, until: int | None) -> int:
    return trial.steps if until is None else length_of(trial.experiment).end_of_epoch(until)


def _in_rounds(
    planned: Plan,
    out: Path,
    options: Options,
    run: Launcher,
    *,
    about: dict[str, str],
    replace_study: bool,
    spread: dict[str, Any],
) -> Outcome:
    """Train what the study's adaptive design proposes, round by round."""
    search = Search(planned, out, hardware=options.hardware)
    search.begin()

    def train(part: Plan, until: int | None) -> Outcomes:
        return _trained(part, out, replace(options, until_epoch=until), run, about=about, spread=spread)

    def grown(whole: Plan) -> None:
        write_plan(whole, out, replace=replace_study, **about)

    outcomes = in_rounds(search, train, grown=grown, jobs=spread["workers"] or 1)
    return Outcome(**vars(outcomes), plan=search.plan, out=out)


def _costs(trial: PlannedTrial) -> Costs:
    """The trial's steps with the MACs of an image in each."""
    rows = tuple((row.steps, float(row.macs)) for row in trial.sizes)
    return rows or ((trial.steps, float(trial.training_macs)),)


def _one_at_a_time(sinks: Sequence[Sink]) -> list[Sink]:
    """The sinks as one, which several threads may call."""
    lock = threading.Lock()

    def emit(event: Event) -> None:
        with lock:
            for sink in sinks:
                sink(event)

    return [emit]


def _arms_of(planned: Plan) -> dict[str, dict[str, Any]]:
    """Each trial's values on the study's axes, as JSON, by its id."""
    return {trial.id: label(trial.arm) for trial in planned.trials}


def write_plan(planned: Plan, out: Path, *, name: str = "", question: str = "", replace: bool = False) -> int | None:
    """study.json and plan.json. Where a wider study that is there stays, returns the number of its trials."""
    study = planned.study
    description = StudyRecord(
        name=name,
        question=question,
        axes={path: [label({path: value})[path] for value in values] for path, values in study.levels.items()},
        combine=study.chosen_design.tag,
        seeds=study.seed_values,
        match=study.measure,
        base=plain(study.experiment),
        **({} if study.adaptive is None else {"adaptive": plain(study.adaptive)}),
    )
    kept_study, kept_plan = merged(description, planned.record, out, replace=replace)
    kept_study.write(StudyRecord.at(out))
    kept_plan.write(PlanRecord.at(out))
    return None if kept_study is description else len(kept_plan.trials)
