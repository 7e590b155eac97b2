"""`cnnjax train`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from cnnjax.cli.app import WIDE, app, out
from cnnjax.cli.hosts_options import Coordinator, HostsOption, Meeting, Process, Processes, together
from cnnjax.cli.options import (
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
    Overrides,
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
    placed,
    values,
)
from cnnjax.cli.printing import print_json
from cnnjax.errors import CnnjaxError
from cnnjax.progress import TrainingProgress, progress

if TYPE_CHECKING:
    from cnnjax.records.result_json import ResultRecord


@app.command(
    epilog="Examples:  cnnjax train experiments/digits/baseline.py  ·  "
    "cnnjax train FILE model.kernel_size=5 seed=1 --out runs/five  ·  "
    "cnnjax train FILE --on gpu"
)
def train(
    file: File,
    overrides: Overrides = None,
    out_folder: Out = None,
    defined_in: Classes = None,
    on: On = None,
    devices: Devices = None,
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
    hosts: HostsOption = "auto",
    coordinator: Coordinator = None,
    processes: Processes = None,
    process: Process = None,
    meeting_seconds: Meeting = 300.0,
    as_json: AsJson = False,
) -> None:
    """Train one experiment. The same command continues a training that was stopped."""
    from cnnjax.config import replace_texts
    from cnnjax.hosts import is_first

    fields = values(overrides)
    with together(hosts, coordinator, processes, process, meeting_seconds):
        # JAX must know the other processes before it is asked for anything.
        from cnnjax.run.train import trained

        loaded, machine = placed(load_file(file, defined_in), on, fields, devices)
        experiment = replace_texts(loaded.experiment, fields)
        folder = out_of(loaded, out_folder)
        about = {"shard_state": shard_state, "memory": device_memory}
        hardware = hardware_of(devices_here(on, machine, devices), parallel, resident, workers, **about)
        saved = (checkpoint_seconds, checkpoint_steps)
        options = options_of(hardware, *saved, stale, log, log_every, keep_predictions=keep_predictions)
        with progress(loaded.name, hidden=as_json or not is_first()) as show:
            result = trained(experiment, folder, options=options, sinks=[TrainingProgress(show)])
    if not is_first():
        return
    if as_json:
        print_json(result.to_json())
    else:
        _print_result(result, folder)
    if result.status == "failed":
        raise CnnjaxError(f"the training failed: {result.error}")


def _print_result(result: ResultRecord, folder: Path) -> None:
    from cnnjax.progress.parts import result_table
    from cnnjax.records.resolved import compared_first

    if result.metrics:
        WIDE.print(result_table(result, compared_first(folder)))
    out.print(f"run: {folder}", soft_wrap=True)
