"""`cnnjax data list`, `prepare`, `show` and `benchmark`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cnnjax.cli import paths
from cnnjax.cli.app import WIDE, app, out
from cnnjax.cli.help import App
from cnnjax.cli.options import (
    AsJson,
    Classes,
    Devices,
    Folder,
    Named,
    Overrides,
    Resident,
    Workers,
    hardware_of,
    values,
)
from cnnjax.cli.printing import print_document, print_json
from cnnjax.errors import ConfigError

data = App(
    help="List, prepare and look at data sets, and time how fast training gets its batches.",
    epilog="Examples:  cnnjax data list  ·  cnnjax data prepare cifar10  ·  cnnjax data show digits",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)
app.add_typer(data, name="data")


@data.command("list", epilog="Examples:  cnnjax data list  ·  cnnjax data list --json")
def data_list(data_dir: Folder = None, as_json: AsJson = False) -> None:
    """List the data sets that are there: those that come with cnnjax, and those TFDS prepared."""
    from cnnjax.study.data_list import listing

    found = listing(data_dir)
    if as_json:
        print_json(found.to_json())
    else:
        WIDE.print(found.table())


@data.command(
    "prepare",
    epilog="Examples:  cnnjax data prepare cifar10  ·  cnnjax data prepare mnist --data-dir /data/tfds  ·  "
    "cnnjax data prepare imagenet2012 --manual-dir ~/Downloads",
)
def data_prepare(
    name: Annotated[str, typer.Argument(help="A set's name in TFDS.", show_default=False)],
    manual_dir: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            parser=paths.named,
            help="Where archives lie that TFDS may not download. [default: downloads/manual in --data-dir]",
        ),
    ] = None,
    data_dir: Folder = None,
    as_json: AsJson = False,
) -> None:
    """Download a TFDS set and write it in the form that is read without TensorFlow. Only this needs TensorFlow."""
    from cnnjax.data.prepare import prepare

    made = prepare(name, data_dir=data_dir, manual_dir=manual_dir, quiet=as_json)
    if as_json:
        print_json(made.to_json())
        return
    state = "was prepared before" if made.seconds is None else f"prepared in {made.seconds:.0f} s"
    out.print(f"{name} {made.version.version} {state}: {made.version.written_splits} examples", highlight=False)
    out.print(f"folder: {made.version.folder}", soft_wrap=True)


@data.command(
    "show",
    epilog="Examples:  cnnjax data show digits  ·  cnnjax data show cifar10 --plot cifar10.pdf --examples 200  ·  "
    "cnnjax data show experiments/digits/baseline.py --plot digits.png --augmented  ·  "
    """cnnjax data show cifar10 --plot cifar10.png --augmented augment='["random_crop", "flip"]'  ·  """
    "cnnjax data show synthetic data.height=64 data.width=64 --json",
)
def data_show(
    target: Named,
    overrides: Overrides = None,
    augmented: Annotated[
        bool, typer.Option("--augmented", help="Draw each example before and after the experiment's augmentation.")
    ] = False,
    examples: Annotated[
        int | None, typer.Option(help="Examples in the picture. [default: what can be read]", min=1, max=1000)
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option(
            "--plot",
            "--out",
            metavar="FILE",
            parser=paths.named,
            help="Draw examples: a .png, .pdf or .svg.",
            show_default=False,
        ),
    ] = None,
    file: Classes = None,
    as_json: AsJson = False,
) -> None:
    """Count a data set's classes; with --plot, draw examples of each and their colour planes."""
    from cnnjax.study import data_pictures, data_view

    found = data_view.find(target, values(overrides), defined_in=file)
    if plot is not None:
        data_pictures.check_output(plot)
    elif augmented or examples is not None:
        raise ConfigError("--augmented and --examples are of the picture: name its file, such as --plot examples.png")
    view = data_view.look(found, augmented=augmented, examples=examples)
    if plot is not None:
        data_pictures.save(view, plot)
    print_document(view.document(plot), "json" if as_json else "text")


@data.command(
    "benchmark",
    epilog="Examples:  cnnjax data benchmark digits  ·  cnnjax data benchmark cifar10 --batch-size 512 --json  ·  "
    "cnnjax data benchmark experiments/digits/baseline.py 'augment=[]'",
)
def data_benchmark(
    target: Named,
    overrides: Overrides = None,
    batch_size: Annotated[
        int | None, typer.Option(help="Examples a step. [default: the experiment's, else 64]", min=1)
    ] = None,
    steps: Annotated[int, typer.Option(help="Steps that are timed together.", min=1)] = 100,
    devices: Devices = None,
    resident: Resident = 0.25,
    workers: Workers = 0,
    file: Classes = None,
    as_json: AsJson = False,
) -> None:
    """Time how fast training gets its batches: order, gathering, augmentation, normalization; no network."""
    from cnnjax.study import data_speed, data_view

    changes = values(overrides) | ({} if batch_size is None else {"batch_size": str(batch_size)})
    found = data_view.find(target, changes, defined_in=file)
    hardware = hardware_of(devices, "jit", resident, workers)
    speed = data_speed.benchmark(found.with_steps(), steps=steps, hardware=hardware)
    if as_json:
        print_json(speed.to_json(found.name))
    else:
        out.print(f"{found.name}: {speed.summary()}", highlight=False, soft_wrap=True)
        out.print(speed.conditions(), highlight=False, soft_wrap=True)
