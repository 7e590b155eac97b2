"""`cnnjax inspect`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cnnjax.cli import paths
from cnnjax.cli.app import app, out
from cnnjax.cli.options import AsJson, Checkpoint, Classes, Devices, StaleCode, Weights
from cnnjax.cli.printing import print_json
from cnnjax.errors import ConfigError


@app.command(
    epilog="Examples:  cnnjax inspect runs/baseline  ·  cnnjax inspect runs/baseline --only filters,grad_cam  ·  "
    "cnnjax inspect runs/a runs/b --only cka  ·  cnnjax inspect runs/baseline --only feature_maps --layer conv1.relu "
    "--image cat.png"
)
def inspect(
    runs: Annotated[
        list[Path],
        typer.Argument(metavar="RUN...", help="Runs' folders; layers of several are compared.", show_default=False),
    ],
    only: Annotated[
        str | None,
        typer.Option(
            metavar="NAME,...",
            help="Pictures: filters, examples, feature_maps, top_images, dead_units, saliency, occlusion, grad_cam, "
            "maximization, cka, confusion, mistakes, calibration, robustness, histograms. [default: all that apply]",
            show_default=False,
        ),
    ] = None,
    layer: Annotated[
        list[str] | None,
        typer.Option(help="A layer, by its path; may be given several times. [default: some]", show_default=False),
    ] = None,
    part: Annotated[str, typer.Option(metavar="train|validation|test", help="Of the data.")] = "test",
    count: Annotated[int, typer.Option(help="Images that are shown.", min=1)] = 8,
    units: Annotated[int, typer.Option(help="Units of a layer that are shown, evenly spread.", min=1)] = 16,
    image: Annotated[
        list[str] | None,
        typer.Option(help="An image file, a folder or .npy to show instead; several times.", show_default=False),
    ] = None,
    example: Annotated[
        str | None,
        typer.Option(
            metavar="PLACE,...", help="Images of the part to show instead, by place from 0.", show_default=False
        ),
    ] = None,
    folder: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="DIR",
            parser=paths.folder,
            help="Where to write. [default: RUN/inspect]",
        ),
    ] = None,
    step: Checkpoint = None,
    weights: Weights = None,
    file: Classes = None,
    batch_size: Annotated[
        int | None, typer.Option(help="Images computed together. [default: up to 256, by their size]", min=4)
    ] = None,
    devices: Devices = None,
    stale: StaleCode = "stop",
    as_json: AsJson = False,
) -> None:
    """Look inside trained networks: filters, maps, saliency, dead units, similarity, calibration, robustness."""
    from cnnjax.inspection.inspect import inspect as inspect_run
    from cnnjax.progress import progress

    if folder is not None and len(runs) > 1:
        raise ConfigError("--out: one folder cannot hold the pictures of several runs; leave it out")
    written = []
    for run in runs:
        with progress(f"inspect {run.name}", hidden=as_json) as show:
            written.append(
                inspect_run(
                    run,
                    only=tuple(filter(None, (only or "").split(","))),
                    others=[other for other in runs if other != run],
                    layers=layer or (),
                    part=part,
                    count=count,
                    units=units,
                    images=image,
                    examples=_places(example),
                    batch_size=batch_size,
                    devices=devices,
                    out=folder,
                    step=step,
                    weights=weights,
                    file=file,
                    stale=stale,
                    told=show,
                )
            )
    if as_json:
        print_json({"runs": [each.record.to_json() for each in written]})
        return
    for each in written:
        for name in each.made:
            out.print(f"{each.folder / each.record.pictures[name].file}", highlight=False, soft_wrap=True)
        for name, reason in each.record.skipped.items():
            out.print(f"{name} left out: {reason}", highlight=False, soft_wrap=True)
        for remark in each.record.remarks:
            out.print(remark, highlight=False, soft_wrap=True)


def _places(text: str | None) -> list[int]:
    try:
        return [int(place) for place in (text or "").split(",") if place]
    except ValueError:
        raise ConfigError(f"--example {text}: whole numbers, with commas between them") from None
