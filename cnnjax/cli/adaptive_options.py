"""The options of `cnnjax sweep` that let validation results decide what is trained."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from pydantic import ValidationError

from cnnjax.config import explain, parse
from cnnjax.errors import ConfigError

if TYPE_CHECKING:
    from cnnjax.study.adaptive import Adaptive

Halving = Annotated[
    str | None,
    typer.Option(
        "--halving",
        metavar="EPOCH[:FACTOR]",
        help="All arms train to this epoch, the best 1/FACTOR of them on to FACTOR times that, and so on. [factor: 3]",
        show_default=False,
    ),
]
Asha = Annotated[
    str | None,
    typer.Option(
        "--asha",
        metavar="EPOCH[:FACTOR]",
        help="Halving in which an arm goes on as soon as it is among the best so far.",
        show_default=False,
    ),
]
SequentialSeeds = Annotated[
    str | None,
    typer.Option(
        "--sequential-seeds",
        metavar="SEEDS[:PRECISION]",
        help="Add seeds, up to so many, to the arms that are not yet told apart from the best, nor known to PRECISION.",
        show_default=False,
    ),
]
Optuna = Annotated[
    str | None,
    typer.Option(
        "--optuna",
        metavar="SAMPLER:ARMS",
        help="So many arms of the axes' values, chosen by a sampler of Optuna: tpe:30.",
        show_default=False,
    ),
]


def adaptive_of(halving: str | None, asha: str | None, seeds: str | None, optuna: str | None) -> Adaptive | None:
    """The adaptive design that the options say; None without any. Raises ConfigError for several, or a wrong one."""
    from cnnjax.study import adaptive

    given = {"--halving": halving, "--asha": asha, "--sequential-seeds": seeds, "--optuna": optuna}
    said = {option: written for option, written in given.items() if written is not None}
    if not said:
        return None
    if len(said) > 1:
        raise ConfigError(f"{' and '.join(said)}: a study decides in one way; give one of them")
    [(option, written)] = said.items()
    kind, fields, example = {
        "--halving": (adaptive.SuccessiveHalving, ("first", "factor"), "2:3"),
        "--asha": (adaptive.ASHA, ("first", "factor"), "2:3"),
        "--sequential-seeds": (adaptive.SequentialSeeds, ("most_seeds", "precision"), "20:0.005"),
        "--optuna": (adaptive.OptunaSampler, ("sampler", "trials"), "tpe:30"),
    }[option]
    try:
        return kind.model_validate(dict(zip(fields, map(parse, written.split(":", 1)), strict=False)))
    except ValidationError as error:
        wrong = explain(error).replace("\n", "; ")
        raise ConfigError(f"{option} {written}: must be as in {option} {example} ({wrong})") from None
