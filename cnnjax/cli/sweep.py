"""`cnnjax sweep`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cnnjax.cli.adaptive_options import Asha, Halving, Optuna, SequentialSeeds, adaptive_of
from cnnjax.cli.app import WIDE, app, err, out
from cnnjax.cli.cluster_options import (
    Address,
    Cluster,
    Cpus,
    Gpus,
    Gres,
    Jobs,
    Launcher,
    Mem,
    Nodes,
    Partition,
    Resource,
    Time,
    cluster_settings,
    print_detached,
)
from cnnjax.cli.completing import axes
from cnnjax.cli.design_options import (
    Arms,
    DesignName,
    DesignSeed,
    Excluded,
    Extend,
    Generators,
    Groups,
    OneAtATimeFlag,
    Points,
    ResolutionOfFraction,
    Zips,
    asked_design,
    design_json,
    print_design,
    print_merged,
)
from cnnjax.cli.options import (
    MANY,
    AsJson,
    Classes,
    DeviceMemory,
    Devices,
    File,
    KeepPredictions,
    Log,
    LogEvery,
    On,
    Out,
    Parallel,
    Resident,
    Seconds,
    ShardState,
    Stale,
    Steps,
    Workers,
    devices_here,
    hardware_of,
    load_file,
    options_of,
    out_of,
    pairs,
    placed,
)
from cnnjax.cli.plan_options import Budgets, Estimated, estimated, print_estimate, with_budget
from cnnjax.cli.printing import note, print_json, print_pruned, print_report
from cnnjax.errors import CnnjaxError, ConfigError
from cnnjax.progress import StudyProgress, progress

if TYPE_CHECKING:
    from cnnjax.cards import Machine, WholeSet
    from cnnjax.launch.sweep import Outcome
    from cnnjax.run.options import Options
    from cnnjax.study.file import ExperimentFile


@app.command(
    epilog="Examples:  cnnjax sweep experiments/digits/pooling.py --dry-run  ·  "
    "cnnjax sweep FILE model.kernel_size=3,5,7 model.pool=max,average --seeds 5  ·  "
    "cnnjax sweep FILE 'optim.learning_rate=log(1e-3,1e-1)' 'model.features=integers(8,64)' --design random "
    "--points 20  ·  "
    "cnnjax sweep FILE model.features=8,16 epochs=20,10 model.pool=max,blur --zip model.features,epochs  ·  "
    "cnnjax sweep FILE model.kernel_size=3,5,7 model.strides=1,2 --exclude 'model.kernel_size=7 requires "
    "model.strides=1'  ·  "
    "cnnjax sweep FILE --group 'recipe=plain; strong: epochs=90 mixing=cutmix' --dry-run  ·  "
    "cnnjax sweep FILE --dry-run --devices 8 --device-kind h100  ·  "
    "cnnjax sweep FILE --on gpu --dry-run"
)
def sweep(
    file: File,
    overrides: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[PATH=A,B,C]...",
            help="Axes (several values, or a distribution) or fields (one value).",
            show_default=False,
            autocompletion=axes,
        ),
    ] = None,
    seeds: Annotated[
        int | None,
        typer.Option(
            metavar="N", help="How many seeds each arm is trained with. [default: the study's]", min=1, max=MANY
        ),
    ] = None,
    design: DesignName = None,
    points: Points = None,
    design_seed: DesignSeed = None,
    resolution: ResolutionOfFraction = None,
    generator: Generators = None,
    zipped: Zips = None,
    arm: Arms = None,
    group: Groups = None,
    exclude: Excluded = None,
    one_at_a_time: OneAtATimeFlag = False,
    match: Annotated[
        str | None,
        typer.Option(
            help="Rescale widths so that all arms have the base's macs or params.",
            metavar="macs|params",
        ),
    ] = None,
    halving: Halving = None,
    asha: Asha = None,
    sequential_seeds: SequentialSeeds = None,
    optuna: Optuna = None,
    budget: Budgets = None,
    estimate: Estimated = False,
    out_folder: Out = None,
    defined_in: Classes = None,
    launcher: Launcher = "local",
    cluster: Cluster = None,
    partition: Partition = None,
    gres: Gres = None,
    time: Time = None,
    cpus: Cpus = None,
    gpus: Gpus = None,
    mem: Mem = None,
    nodes: Nodes = None,
    jobs: Jobs = None,
    address: Address = None,
    resource: Resource = None,
    extend: Extend = False,
    replace: Annotated[
        bool, typer.Option("--replace", help="Let this study take the place of another one in the same folder.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and train nothing.")] = False,
    pack: Annotated[
        int | None,
        typer.Option(help="Trials of one program trained together. [default: 1 on CPUs, else by image size]", min=1),
    ] = None,
    on: On = None,
    devices: Devices = None,
    device_kind: Annotated[
        str | None,
        typer.Option(
            help="With --dry-run: the kind of device a trial will run on elsewhere, such as h100 or tpu-v4.",
            show_default=False,
        ),
    ] = None,
    device_memory: DeviceMemory = None,
    parallel: Parallel = "jit",
    resident: Resident = 0.25,
    workers: Workers = 0,
    shard_state: ShardState = False,
    checkpoint_seconds: Seconds = 60.0,
    checkpoint_steps: Steps = None,
    stale: Stale = "stop",
    log: Log = None,
    log_every: LogEvery = 50,
    keep_predictions: KeepPredictions = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Train trials that diverged again too, from the start.")
    ] = False,
    stop_on_failure: Annotated[
        bool, typer.Option("--stop-on-failure", help="Stop all workers of the study once a trial failed.")
    ] = False,
    isolate: Annotated[
        bool | None,
        typer.Option(
            "--isolate/--no-isolate",
            help="Train each program in a process of its own: a trial that kills its process fails alone. "
            "[default: once that happened in the study's folder]",
            show_default=False,
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Train every arm of a study with every seed, skipping what is finished, and report."""
    from cnnjax.launch.launcher import settings_of
    from cnnjax.run.devices import split_over
    from cnnjax.study.deaths import watched
    from cnnjax.study.designed import designed, no_axes_now
    from cnnjax.study.study import with_fields

    told = {"partition": partition, "gres": gres, "time": time, "cpus": cpus, "gpus": gpus, "mem": mem, "nodes": nodes}
    told |= {"jobs": jobs, "address": address, "resource": resource}
    settings = cluster_settings(launcher, cluster, told)
    settings_of(launcher, settings)
    fields = pairs(overrides)
    loaded, machine = placed(load_file(file, defined_in), on, fields, devices)
    adaptive = adaptive_of(halving, asha, sequential_seeds, optuna)
    asked = asked_design(design, one_at_a_time, points, design_seed, resolution, generator, zipped, arm, group, exclude)
    study = designed(loaded.study, fields, asked, proposed=getattr(adaptive, "trials", 0))
    for said in no_axes_now(loaded.study, study, fields):
        note(said)
    if seeds is not None:
        study = with_fields(study, seeds=seeds)
    if match is not None:
        study = with_fields(study, match=match)
    if adaptive is not None:
        study = with_fields(study, adaptive=adaptive)
    study = with_budget(study, budget)
    if estimate and not dry_run:
        raise ConfigError("--estimate times steps and trains nothing: give --dry-run with it")
    here = devices if dry_run else devices_here(on, machine, devices)
    hardware = hardware_of(here, parallel, resident, workers, shard_state=shard_state, memory=device_memory)
    saved = (checkpoint_seconds, checkpoint_steps)
    options = options_of(hardware, *saved, stale, log, log_every, keep_predictions=keep_predictions)
    folder = out_of(loaded, out_folder)
    if out_folder is None and adaptive is not None:
        folder = folder.with_name(f"{folder.name}-{adaptive.tag}")
    if dry_run:
        planned_for = _planned_for(devices, device_kind, device_memory, machine)
        planned_for = split_over(planned_for) if shard_state else planned_for
        whole = None if estimate else _whole_of(loaded, study)
        shown = {"as_json": as_json, "times": estimate, "extend": extend, "replace": replace}
        with watched(folder, loaded.path if loaded.path.is_file() else None):
            _print_plan(study, folder, planned_for, whole, pack, **shown)
        return
    if device_kind is not None:
        raise ConfigError("--device-kind plans for devices elsewhere: give --dry-run with it")
    faults = {"extend": extend, "overrides": fields, "retry_failed": retry_failed, "stop_on_failure": stop_on_failure}
    faults |= {"settings": settings, "isolate": isolate}
    outcome = _run_study(study, loaded, folder, options, pack, launcher, faults, replace=replace, as_json=as_json)
    folder = outcome.out
    if outcome.merged is not None:
        print_merged(outcome.merged, folder, len(outcome.plan.trials))
    print_pruned(outcome.plan)
    if outcome.detached is not None:
        print_detached(outcome.detached, as_json=as_json)
        return
    for trial, reason in outcome.errors.items():
        err.print(f"trial {trial}: {reason}", style="red", markup=False, highlight=False, soft_wrap=True)
    left_out: list[str] = []
    if outcome.done or outcome.skipped:
        trials = print_report(folder, as_json=as_json).trials
        planned = {trial.id for trial in outcome.plan.trials}
        left_out = [id for id in trials.loc[trials["status"].isin(("failed", "unfinished")), "id"] if id in planned]
    if not outcome.complete:
        failed, lost = len(outcome.failed), len(outcome.errors.keys() - set(outcome.failed))
        said = [f"{failed} failed"] if failed else []
        said += [f"{lost} could not be trained"] if lost else []
        raise CnnjaxError(f"of {len(outcome.plan.trials)} trials {' and '.join(said)}; see {folder}/trials")
    if left_out:
        count = len(outcome.plan.trials)
        raise CnnjaxError(f"of {count} trials the report leaves out {len(left_out)} ({left_out[0]}), and says why")


def _run_study(
    study: Any,
    loaded: ExperimentFile,
    folder: Path,
    options: Options,
    pack: int | None,
    launcher: str,
    faults: dict[str, Any],
    *,
    replace: bool,
    as_json: bool,
) -> Outcome:
    from cnnjax.launch.sweep import sweep as run

    with progress(loaded.name, hidden=as_json) as show:
        about: dict[str, Any] = {"name": loaded.name, "question": loaded.question, "launcher": launcher}
        about |= faults | {"file": loaded.path if loaded.path.is_file() else None}
        sinks = [StudyProgress(show)]
        return run(study, folder, options=options, pack=pack, replace=replace, sinks=sinks, **about)


def _planned_for(count: int | None, kind: str | None, memory: str | None, machine: Machine | None) -> Any:
    """The devices a dry run is for: the card's, as declared, else those of this machine, where there are so many."""
    import jax

    from cnnjax.run.devices import declared
    from cnnjax.run.hardware import Hardware
    from cnnjax.study.on_machine import devices_of

    if machine is not None:
        if kind is not None or memory is not None:
            raise ConfigError("--on names a kind of device already: leave out --device-kind and --device-memory")
        return devices_of(machine)
    elsewhere = kind is not None or memory is not None or (count or 1) > jax.local_device_count()
    return declared(count, kind, memory) if elsewhere else Hardware(devices=count)


def _whole_of(loaded: ExperimentFile, study: Any) -> WholeSet | None:
    """What the card says of the whole data set, unless another one has been put in its place."""
    ours, its = study.experiment.data, loaded.experiment.data
    same = type(ours) is type(its) and getattr(ours, "name", None) == getattr(its, "name", None)
    return loaded.card.whole if loaded.card is not None and same else None


def _print_plan(
    study: Any,
    folder: Path,
    devices: Any,
    whole: WholeSet | None,
    pack: int | None,
    *,
    as_json: bool,
    times: bool,
    extend: bool,
    replace: bool,
) -> None:
    from cnnjax.launch.layout import layout_json, layout_texts, plan_here
    from cnnjax.run.hardware import Hardware
    from cnnjax.study.candidates import known_of, plan_of_candidates
    from cnnjax.study.earlier import apart_of, earlier, stale_texts
    from cnnjax.study.pairing import comparisons_json
    from cnnjax.study.plan_table import plan_table

    laid: dict[str, Any] = {}
    if whole is None and isinstance(devices, Hardware):
        planned = plan_here(study, devices)
        laid = layout_json(planned, devices, pack)
    else:  # Devices or data that are not here.
        planned = plan_of_candidates(study, hardware=devices, whole=whole)
    planned, hours = estimated(planned, devices, hidden=as_json) if times else (planned, None)
    known = known_of(planned)
    found = earlier(planned, folder)
    if as_json:
        stale = [{"id": entry.trial.id, "reasons": list(entry.stale)} for entry in found if entry.stale]
        more: dict[str, Any] = {"devices": planned.devices.to_json(), "stale": stale}
        more |= {"programs": len(planned.programs), "compilations": planned.compilations}
        more |= {"not_checked": planned.unchecked} | ({"estimate": hours.to_json()} if hours else {})
        more |= laid | design_json(planned, folder) | comparisons_json(planned)
        print_json(planned.to_json() | more | ({"adaptive": known} if known else {}))
        return
    WIDE.print(plan_table(planned))
    for text in layout_texts(laid, planned.devices.count):
        out.print(f"layout: {text}", markup=False, highlight=False, soft_wrap=True)
    print_design(planned, folder, extend=extend, replace=replace)
    if hours is not None:
        print_estimate(hours)
    if known:
        out.print(f"adaptive: {known}", markup=False, highlight=False, soft_wrap=True)
    if whole is not None:
        out.print(
            f"planned for the whole set, {whole.train:,} images to train on and {whole.test:,} to test on, which is "
            "not read: training needs it prepared",
            highlight=False,
            soft_wrap=True,
        )
    for text in stale_texts(found):
        out.print(f"stale: {text}", style="yellow", markup=False, highlight=False, soft_wrap=True)
    if any(entry.stale for entry in found):
        ways = f"--stale rerun trains them again, keep uses them, separate trains all in {apart_of(planned, folder)}"
        out.print(f"a sweep would stop: {ways}", style="yellow", markup=False, highlight=False, soft_wrap=True)
