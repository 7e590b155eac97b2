"""`cnnjax export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cnnjax.cli import paths
from cnnjax.cli.app import app, out
from cnnjax.cli.options import AsJson, Checkpoint, Classes, Run, StaleCode, Weights
from cnnjax.cli.printing import print_json


@app.command(
    epilog="Examples:  cnnjax export runs/pets pets.stablehlo  ·  cnnjax export runs/pets pets.safetensors  ·  "
    "cnnjax export runs/resnet50 resnet50.pth --step 1200  ·  "
    "cnnjax export runs/pets pets.stablehlo --platforms cuda --batch-size 32"
)
def export(
    run: Run,
    file_out: Annotated[
        Path,
        typer.Argument(
            metavar="OUT", parser=paths.named, help="A .stablehlo, .safetensors, .pt or .pth file.", show_default=False
        ),
    ],
    form: Annotated[
        str | None,
        typer.Option("--format", metavar="stablehlo|safetensors|torch", help="[default: as the suffix of OUT says]"),
    ] = None,
    step: Checkpoint = None,
    weights: Weights = None,
    file: Classes = None,
    platforms: Annotated[
        str | None, typer.Option(help="What a program can run on, with commas. [default: cpu,cuda,tpu]")
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(help="Of a program for so many images at once. [default: any number]", min=1)
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Write over OUT where it exists.")] = False,
    fused: Annotated[
        bool,
        typer.Option("--fused", help="Each block's branches as one convolution, with equal outputs (RepVGG)."),
    ] = False,
    stale: StaleCode = "stop",
    as_json: AsJson = False,
) -> None:
    """Write a run's network for other programs: as StableHLO with all that prediction needs, or as weights."""
    from cnnjax.run.export import check_output
    from cnnjax.run.export import export as write
    from cnnjax.study.load import load

    chosen = None if platforms is None else tuple(filter(None, map(str.strip, platforms.split(","))))
    # What is wrong with the request is said before weights are read.
    check_output(file_out, form, platforms=chosen, batch_size=batch_size, replace=replace)
    trained = load(run, step=step, file=file, stale=stale, weights=weights)
    trained = trained.fused() if fused else trained
    made = write(trained, file_out, form=form, platforms=chosen, batch_size=batch_size, replace=replace)
    if as_json:
        print_json(made.to_json())
        return
    size = file_out.stat().st_size
    out.print(f"{trained.described()}", highlight=False, soft_wrap=True)
    out.print(
        f"{made.format}: {file_out} ({size:,} bytes), described by {file_out}.json", highlight=False, soft_wrap=True
    )
