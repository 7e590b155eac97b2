"""Arguments and options that several commands take, and what is made of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cnnjax.cli import completing, paths
from cnnjax.errors import ConfigError

if TYPE_CHECKING:
    from cnnjax.cards import Machine
    from cnnjax.run.hardware import Hardware
    from cnnjax.run.options import Options
    from cnnjax.study.file import ExperimentFile

MANY = 10**6
"""More than this of anything that is counted would fill memory before it is refused."""
LONGEST = 1e9
"""Seconds, some thirty years: what is longer, or no number, is a mistake."""
SHORTEST = 0.01

File = Annotated[Path, typer.Argument(help="The experiment file, or a run to start from.", show_default=False)]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[PATH=VALUE]...",
        help="Fields to set: model.kernel_size=5.",
        show_default=False,
        autocompletion=completing.overrides,
    ),
]
Out = Annotated[
    Path | None,
    typer.Option(
        "--out",
        metavar="DIR",
        parser=paths.folder,
        help="Where to write. [default: runs/<file's name>]",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
Devices = Annotated[int | None, typer.Option(help="How many devices to use. [default: all]", min=1)]
On = Annotated[
    str | None,
    typer.Option(
        "--on",
        metavar="MACHINE",
        help="A machine that the file's card names: its batch size and devices.",
        show_default=False,
    ),
]
Parallel = Annotated[str, typer.Option(metavar="jit|shard_map|pmap", help="How a step is spread over devices.")]
Seconds = Annotated[
    float, typer.Option("--checkpoint-seconds", help="Time between checkpoints.", min=SHORTEST, max=LONGEST)
]
Steps = Annotated[
    int | None,
    typer.Option("--checkpoint-steps", help="Steps between checkpoints, instead of time.", show_default=False, min=1),
]

Stale = Annotated[
    str,
    typer.Option(
        "--stale",
        help="What to do with results that other code or data made: stop, rerun, keep or separate.",
        metavar="stop|rerun|keep|separate",
    ),
]
Log = Annotated[
    list[str] | None,
    typer.Option(
        "--log",
        help="Send numbers to TensorBoard, W&B or MLflow too; may be given several times.",
        metavar="tensorboard|wandb|mlflow",
        show_default=False,
    ),
]
KeepPredictions = Annotated[
    bool,
    typer.Option(
        "--keep-predictions",
        help="Keep what each network says of every validation and test example, in predictions.npz of its run.",
    ),
]
LogEvery = Annotated[int, typer.Option("--log-every", help="Steps between the losses that --log sends.", min=1)]
Resident = Annotated[
    float,
    typer.Option(
        "--resident",
        help="Data up to this share of a device's memory live there; others are streamed.",
        min=0,
        max=1,
    ),
]
Workers = Annotated[
    int,
    typer.Option(
        "--workers",
        help="Processes that read parts of 5,000 images and more; 0: threads, one a core.",
        min=0,
        max=MANY,
    ),
]
DeviceMemory = Annotated[
    str | None,
    typer.Option(
        "--device-memory",
        help="The memory of each device, such as 80GB, above which a training is refused. [default: what it has]",
        show_default=False,
    ),
]
ShardState = Annotated[
    bool,
    typer.Option(
        "--shard-state",
        help="Split large parameters and the optimizer's state over the devices, instead of having all on each.",
    ),
]
Folder = Annotated[
    Path | None,
    typer.Option(
        "--data-dir",
        metavar="DIR",
        parser=paths.named,
        help="Where prepared sets lie. [default: $TFDS_DATA_DIR or TFDS's own]",
    ),
]
Named = Annotated[
    str,
    typer.Argument(
        metavar="FILE|NAME|RUN", help="An experiment file, a data set's name or a run's folder.", show_default=False
    ),
]

Run = Annotated[Path, typer.Argument(metavar="RUN", help="A run's folder (of a study: trials/ID).", show_default=False)]
Checkpoint = Annotated[
    int | None,
    typer.Option("--step", help="Of a checkpoint that is kept. [default: the newest]", show_default=False, min=0),
]
Weights = Annotated[
    str | None,
    typer.Option(
        "--weights",
        metavar="raw|METHOD",
        help="Of a training method, such as ema, or as they were trained. [default: those of the results]",
        show_default=False,
    ),
]
Classes = Annotated[
    Path | None, typer.Option("--file", help="Of a run: the experiment file that defines its own classes.")
]
StaleCode = Annotated[
    str,
    typer.Option(
        "--stale", metavar="stop|keep", help="Where its code has changed since: stop, or keep and use the new."
    ),
]


def load_file(file: Path, defined_in: Path | None = None) -> ExperimentFile:
    from cnnjax.study.file import load

    return load(file, defined_in=defined_in)


def placed(
    loaded: ExperimentFile, on: str | None, overrides: dict[str, str], devices: int | None
) -> tuple[ExperimentFile, Machine | None]:
    """The file on the machine `on` of its card, and that machine. Raises ConfigError where --devices is given too."""
    from cnnjax.study.on_machine import machine_of, on_machine

    if on is None:
        return loaded, None
    machine = machine_of(loaded, on)
    if devices is not None:
        raise ConfigError(f"--on {on} takes {machine.devices} devices: leave out --devices, or give it without --on")
    return on_machine(loaded, on, overrides=overrides), machine


def devices_here(on: str | None, machine: Machine | None, devices: int | None) -> int | None:
    """How many devices of this process to train on. Raises ConfigError where the machine `on` has more of them."""
    import jax

    if machine is None:
        return devices
    here = jax.local_device_count()
    if machine.devices > here:
        raise ConfigError(
            f"--on {on} trains on {machine.devices} x {machine.kind}, and this process has {here}: `cnnjax sweep FILE "
            f"--on {on} --dry-run` plans it; to train here, leave out --on and give batch_size=..."
        )
    return machine.devices


def values(overrides: list[str] | None) -> dict[str, str]:
    """`pairs` for one experiment. Raises ConfigError for several values, which only a sweep compares: they would be
    taken for one, a tuple, which brackets say."""
    from cnnjax.config import split_values

    fields = pairs(overrides)
    for path, text in fields.items():
        several = split_values(text)
        if len(several) > 1:
            raise ConfigError(
                f"{path}={text}: these are {len(several)} values, which cnnjax sweep compares; if they are one, write "
                f"'{path}=[{text}]', or '{path}=\"{text}\"' for a text",
                path=path,
            )
    return fields


def pairs(overrides: list[str] | None) -> dict[str, str]:
    """What is written for each path. Raises ConfigError."""
    pairs = {}
    for override in overrides or []:
        path, equals, text = override.partition("=")
        if not equals or not path:
            raise ConfigError(f"{override!r} is not path=value, such as model.kernel_size=5")
        if path in pairs:
            raise ConfigError(f"{path} is given twice")
        pairs[path] = text
    return pairs


def out_of(loaded: ExperimentFile, named: Path | None) -> Path:
    """The folder to write into. Raises ConfigError where it is the experiment file's: a run or a study has its own."""
    folder = named or Path("runs") / loaded.name
    if loaded.path.is_file() and folder.resolve() == loaded.path.resolve().parent:
        raise ConfigError(f"--out {folder}: {loaded.path} lies in it; name a folder for the results alone")
    return folder


def hardware_of(
    devices: int | None,
    parallel: str,
    resident: float,
    workers: int,
    *,
    shard_state: bool = False,
    memory: str | None = None,
) -> Hardware:
    from cnnjax.run.devices import memory_of
    from cnnjax.run.hardware import Hardware

    if parallel not in ("jit", "shard_map", "pmap"):
        raise ConfigError(f"--parallel {parallel}: must be jit, shard_map or pmap")
    has = None if memory is None else memory_of(memory)
    return Hardware(devices, parallel, resident, workers, shard_state, memory=has)


def options_of(
    hardware: Hardware,
    seconds: float,
    steps: int | None,
    stale: str,
    log: list[str] | None,
    log_every: int,
    *,
    keep_predictions: bool = False,
) -> Options:
    from cnnjax.run.options import Options

    return Options(
        hardware,
        checkpoint_seconds=seconds,
        checkpoint_steps=steps,
        stale=stale,  # pyright: ignore[reportArgumentType]
        log=log or (),
        log_every=log_every,
        keep_predictions=keep_predictions,
    )
