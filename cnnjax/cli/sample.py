"""`cnnjax sample`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cnnjax.cli import paths
from cnnjax.cli.app import app, out
from cnnjax.cli.options import AsJson, Checkpoint, Classes, Run, StaleCode, Weights
from cnnjax.cli.printing import print_json

MOST = 10_000


@app.command(
    epilog="Examples:  cnnjax sample runs/gan --count 16 --out made.png  ·  "
    "cnnjax sample runs/vae --count 60 --columns 12 --enlarge 4 --seed 1 --out made.png"
)
def sample(
    run: Run,
    file_out: Annotated[
        Path,
        typer.Option("--out", metavar="FILE", parser=paths.named, help="The PNG to write.", show_default=False),
    ],
    count: Annotated[int, typer.Option(help="How many images.", min=1, max=MOST)] = 16,
    columns: Annotated[
        int | None, typer.Option(help="Images beside each other. [default: as many as rows]", show_default=False, min=1)
    ] = None,
    enlarge: Annotated[int, typer.Option(help="Pixels a side of each of theirs.", min=1, max=64)] = 1,
    seed: Annotated[int, typer.Option(help="Of the codes.", min=0)] = 0,
    step: Checkpoint = None,
    weights: Weights = None,
    file: Classes = None,
    stale: StaleCode = "stop",
    as_json: AsJson = False,
) -> None:
    """Make new images with a run's network (generation, vae), as one picture. None is chosen."""
    from cnnjax.run.sample import sample_file
    from cnnjax.study.load import load

    trained = load(run, step=step, file=file, stale=stale, weights=weights)
    made = sample_file(trained, file_out, count=count, seed=seed, columns=columns, enlarge=enlarge)
    if as_json:
        whose = {} if trained.weights is None else {"weights": trained.weights}
        told = {"run": str(run), "step": trained.step, **whose, "picture": str(made.path), "seed": seed}
        print_json({**told, "count": count, "columns": made.columns, "shape": list(made.images.shape[1:])})
        return
    height, width = made.images.shape[1:3]
    said = f"{made.path}: {count} images of {width}x{height} in {made.columns} columns, seed {seed}"
    out.print(said, markup=False, highlight=False, soft_wrap=True)
    out.print(trained.described(), markup=False, highlight=False, soft_wrap=True)
