"""`cnnjax stylize`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cnnjax.cli import paths
from cnnjax.cli.app import app, out
from cnnjax.cli.options import MANY, AsJson, Checkpoint, Classes, StaleCode, Weights
from cnnjax.cli.printing import print_json


@app.command(
    epilog="Examples:  cnnjax stylize photo.jpg painting.jpg --network runs/cifar10 --out made.png  ·  "
    "cnnjax import-torch vgg19 vgg19.pth runs/vgg19  ·  cnnjax stylize photo.jpg painting.jpg --network runs/vgg19 "
    "--content-layer conv4_2.relu --style-layer conv1_1.relu --style-layer conv2_1.relu --start noise --out made.png"
)
def stylize(
    content: Annotated[Path, typer.Argument(help="The image whose content is kept.", show_default=False)],
    style: Annotated[Path, typer.Argument(help="The image whose style it gets.", show_default=False)],
    network: Annotated[
        Path,
        typer.Option(metavar="RUN", help="The folder of the run whose network looks at them.", show_default=False),
    ],
    file_out: Annotated[
        Path,
        typer.Option(
            "--out",
            metavar="FILE",
            parser=paths.named,
            help="The PNG to write; FILE.json has the losses.",
            show_default=False,
        ),
    ],
    content_layer: Annotated[
        list[str] | None,
        typer.Option(help="A layer whose maps are kept; several times. [default: one]", show_default=False),
    ] = None,
    style_layer: Annotated[
        list[str] | None,
        typer.Option(help="A layer whose Gram matrix is met; several times. [default: five]", show_default=False),
    ] = None,
    content_weight: Annotated[float, typer.Option(help="Of the content's loss.", min=0, max=MANY)] = 1.0,
    style_weight: Annotated[float, typer.Option(help="Of the style's loss.", min=0, max=MANY)] = 100.0,
    variation: Annotated[
        float, typer.Option(help="Of the total variation: how smooth the picture is.", min=0, max=MANY)
    ] = 0.0,
    steps: Annotated[int, typer.Option(help="Of the optimizer.", min=1, max=MANY)] = 200,
    optimizer: Annotated[str, typer.Option(metavar="lbfgs|adam", help="What moves the pixels.")] = "lbfgs",
    rate: Annotated[float, typer.Option(help="Of adam, in shares of full brightness.", min=0, max=1)] = 0.02,
    start: Annotated[str, typer.Option(metavar="content|style|noise", help="What the picture begins as.")] = "content",
    size: Annotated[
        int | None,
        typer.Option(
            help="Of the longer side, in pixels. [default: the content's, at most 256]",
            show_default=False,
            min=1,
            max=MANY,
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the noise.", min=0)] = 0,
    step: Checkpoint = None,
    weights: Weights = None,
    file: Classes = None,
    stale: StaleCode = "stop",
    as_json: AsJson = False,
) -> None:
    """Make a picture with the content of one image and the style of another. A run's network says what they are."""
    from cnnjax.inspection.stylize import stylize as make
    from cnnjax.progress import progress

    with progress(f"stylize {content.name}", hidden=as_json) as show:
        made = make(
            content,
            style,
            network=network,
            out=file_out,
            content_layers=content_layer or (),
            style_layers=style_layer or (),
            content_weight=content_weight,
            style_weight=style_weight,
            variation=variation,
            steps=steps,
            optimizer=optimizer,  # pyright: ignore[reportArgumentType]
            rate=rate,
            start=start,  # pyright: ignore[reportArgumentType]
            size=size,
            seed=seed,
            step=step,
            weights=weights,
            file=file,
            stale=stale,
            told=show,
        )
    if as_json:
        print_json({"picture": str(made.path), **made.record.to_json()})
        return
    losses = made.record.losses
    names = ("total", "content", "style")
    told = ", ".join(f"{name} {losses[name][0]:.4g} -> {losses[name][-1]:.4g}" for name in names)
    out.print(f"{made.path}: {told}", markup=False, highlight=False, soft_wrap=True)
