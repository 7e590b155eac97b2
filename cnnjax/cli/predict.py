"""`cnnjax predict`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from cnnjax.cli.app import WIDE, app, err, out
from cnnjax.cli.options import AsJson, Checkpoint, Classes, Run, StaleCode, Weights
from cnnjax.errors import CnnjaxError

if TYPE_CHECKING:
    from cnnjax.run.predict import Answer, Answers


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
    top: Annotated[int, typer.Option(help="How many classes to tell, the likeliest first.")] = 1,
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
    answers = predict_files(trained, images, top=top, batch_size=batch_size)
    if as_json:
        whose = {} if trained.weights is None else {"weights": trained.weights}
        typer.echo(json.dumps({"run": str(run), "step": trained.step, **whose, **answers.to_json()}))
    elif answers.answers:
        WIDE.print(_table(answers))
        out.print(trained.described(), markup=False, highlight=False, soft_wrap=True)
    for reason in answers.failed.values():
        err.print(reason, style="red", markup=False, highlight=False, soft_wrap=True)
    if answers.failed:
        count = len(answers.failed)
        raise CnnjaxError(f"{count} of {count + len(answers.answers)} images could not be used")


def _table(answers: Answers) -> Table:
    drawn = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    drawn.add_column("image")
    several = max(len(answer.top) for answer in answers.answers) > 1
    heads = ("class", answers.value, *(["then"] if several else [])) if answers.answers[0].top else ("outputs",)
    for head in heads:
        drawn.add_column(head, justify="right" if head == answers.value else "left")
    for answer in answers.answers:
        drawn.add_row(*map(Text, _cells(answer, answers.value)))
    return drawn


def _cells(answer: Answer, value: str) -> list[str]:
    if not answer.top:
        return [answer.file, ", ".join(f"{output:.4g}" for output in answer.outputs)]
    told = [(name, f"{number:.1%}" if value == "probability" else f"{number:.4g}") for name, number in answer.top]
    then = [", ".join(f"{name} {number}" for name, number in told[1:])] if len(told) > 1 else []
    return [answer.file, *told[0], *then]
