"""`cnnjax predict`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.table import Table

from cnnjax.cli import paths
from cnnjax.cli.app import WIDE, app, err, out
from cnnjax.cli.options import AsJson, Checkpoint, Classes, Run, StaleCode, Weights
from cnnjax.cli.printing import print_json
from cnnjax.console import rich_text
from cnnjax.errors import CnnjaxError

if TYPE_CHECKING:
    from cnnjax.run.predict import Answers


@app.command(
    epilog="Examples:  cnnjax predict runs/pets cat.jpg dog.jpg --top 3  ·  "
    "cnnjax predict runs/pets photos/ --json  ·  cnnjax predict runs/study/trials/ID drawn.npy --step 1200"
)
def predict(
    run: Run,
    images: Annotated[
        list[str],
        typer.Argument(
            metavar="IMAGE",
            help="Image files (JPEG, PNG, WebP, BMP, GIF, TIFF, PPM) or .npy; of a folder all are taken.",
            show_default=False,
        ),
    ],
    top: Annotated[int, typer.Option(help="How many answers to tell of each, the likeliest first.", min=1)] = 1,
    pictures: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="DIR",
            parser=paths.folder,
            help="Write what is said of each image, such as its mask, there as PNG.",
        ),
    ] = None,
    step: Checkpoint = None,
    weights: Weights = None,
    file: Classes = None,
    batch_size: Annotated[
        int | None, typer.Option(help="Images computed together. [default: up to 256, by their size]", min=1)
    ] = None,
    stale: StaleCode = "stop",
    as_json: AsJson = False,
) -> None:
    """Say what a run's network takes images for. They are cut and resized as in its evaluation; no data are needed."""
    from cnnjax.run.predict import predict_files
    from cnnjax.study.load import load

    trained = load(run, step=step, file=file, stale=stale, weights=weights)
    answers = predict_files(trained, images, top=top, batch_size=batch_size, out=pictures)
    if as_json:
        whose = {} if trained.weights is None else {"weights": trained.weights}
        print_json({"run": str(run), "step": trained.step, **whose, **answers.to_json()})
    elif answers.files:
        WIDE.print(_table(answers))
        if answers.pictures:
            out.print(f"pictures in {pictures}", markup=False, highlight=False, soft_wrap=True)
        out.print(trained.described(), markup=False, highlight=False, soft_wrap=True)
    for reason in answers.failed.values():
        err.print(reason, style="red", markup=False, highlight=False, soft_wrap=True)
    if answers.failed:
        count = len(answers.failed)
        raise CnnjaxError(f"{count} of {count + len(answers.files)} images could not be used")


def _table(answers: Answers) -> Table:
    drawn = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for head in ("image", *answers.heads):
        drawn.add_column(head, justify="right" if head in ("probability", "output") else "left")
    for file, cells in zip(answers.files, answers.cells, strict=True):
        drawn.add_row(*map(rich_text, (file, *cells)))
    return drawn
