"""The options of `cnnjax sweep` that say which combinations of values are arms."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cnnjax.cli import completing
from cnnjax.cli.app import out
from cnnjax.cli.options import MANY
from cnnjax.cli.printing import note
from cnnjax.errors import ConfigError, RunError

if TYPE_CHECKING:
    from cnnjax.study.designed import Asked
    from cnnjax.study.merging import Merged
    from cnnjax.study.plan import Plan

DesignName = Annotated[
    str | None,
    typer.Option(
        "--design",
        metavar="NAME",
        autocompletion=completing.designs,
        help="How axes are combined: grid, one_at_a_time, zip, random, sobol, latin_hypercube or fractional_factorial. "
        "[default: the study's]",
        show_default=False,
    ),
]
Points = Annotated[
    int | None,
    typer.Option(
        "--points", help="How many arms random, sobol and latin_hypercube draw.", show_default=False, min=1, max=MANY
    ),
]
DesignSeed = Annotated[
    int | None,
    typer.Option("--design-seed", help="The seed of what is drawn. [default: 0]", show_default=False, min=0),
]
ResolutionOfFraction = Annotated[
    int | None,
    typer.Option(
        "--resolution",
        help="Of fractional_factorial: 3 tells main effects from each other, 4 from interactions too, 5 those as well.",
        show_default=False,
        min=3,
    ),
]
Generators = Annotated[
    list[str] | None,
    typer.Option(
        "--generator",
        metavar="AXIS=AXIS,AXIS",
        help="Of fractional_factorial, in the place of --resolution: an axis that is the product of others.",
        show_default=False,
    ),
]
Zips = Annotated[
    list[str] | None,
    typer.Option(
        "--zip",
        metavar="AXIS,AXIS",
        help="Axes that change together, in every combination with the others; may be given several times.",
        show_default=False,
    ),
]
Arms = Annotated[
    list[str] | None,
    typer.Option(
        "--arm",
        metavar="'PATH=VALUE ...'",
        help="An arm by what it changes; given once for each arm, '' for the base.",
        show_default=False,
    ),
]
Groups = Annotated[
    list[str] | None,
    typer.Option(
        "--group",
        metavar="'NAME=CHOICE; CHOICE: PATH=VALUE ...'",
        help="An axis of choices that set several fields: 'recipe=plain; strong: epochs=90 mixing=cutmix'.",
        show_default=False,
    ),
]
Excluded = Annotated[
    list[str] | None,
    typer.Option(
        "--exclude",
        metavar="CONDITION",
        help="Arms to leave out: 'model.kernel_size=7 and model.strides!=1', 'A requires B'; may be given several "
        "times; none lets go of the file's.",
        show_default=False,
    ),
]
OneAtATimeFlag = Annotated[
    bool, typer.Option("--one-at-a-time", help="The same as --design one_at_a_time: the base, and each value alone.")
]

Extend = Annotated[
    bool,
    typer.Option(
        "--extend", help="Where the folder holds another study, keep its finished trials beside those of this one."
    ),
]


def asked_design(
    design: str | None,
    one_at_a_time: bool,
    points: int | None,
    seed: int | None,
    resolution: int | None,
    generators: list[str] | None,
    zips: list[str] | None,
    arms: list[str] | None,
    groups: list[str] | None,
    exclude: list[str] | None,
) -> Asked:
    """What the options ask for. Raises ConfigError where two of them name designs."""
    from cnnjax.study.designed import Asked

    if one_at_a_time and design not in (None, "one_at_a_time"):
        raise ConfigError(f"--one-at-a-time and --design {design}: a study has one design; give one of them")
    return Asked(
        "one_at_a_time" if one_at_a_time else design,
        points,
        seed,
        resolution,
        generators or (),
        zips or (),
        arms or (),
        groups or (),
        exclude or (),
    )


def design_json(planned: Plan, folder: Path) -> dict[str, Any]:
    """What a dry run's JSON says of the design, and of how the study differs from the one that the folder holds."""
    from cnnjax.records.design_words import planned_json
    from cnnjax.study.merging import edits_of
    from cnnjax.study.records import study_record

    record = study_record(planned.study)
    return {**planned_json(record), "differs": edits_of(planned.study, record, folder)}


def print_design(planned: Plan, folder: Path, *, extend: bool, replace: bool) -> None:
    """A dry run's sentences about the design, and about what a sweep would make of the study that the folder holds."""
    from cnnjax.records.design_words import design_words
    from cnnjax.records.folders import refuse_for_study
    from cnnjax.study.merging import merged
    from cnnjax.study.records import study_record

    record = study_record(planned.study)
    for sentence in design_words(record):
        out.print(sentence, markup=False, highlight=False, soft_wrap=True)
    try:
        refuse_for_study(folder)
        if planned.study.adaptive is not None:
            return
        found = merged(planned.study, record, planned.record, folder, replace=replace, extend=extend)
    except RunError as error:
        out.print(f"a sweep would stop: {error}", style="yellow", markup=False, highlight=False, soft_wrap=True)
        return
    print_merged(found, folder, len(planned.trials))


def print_merged(merged: Merged, folder: Path, trials: int) -> None:
    """How this study differs from the one that the folder held, and what became of that. trials: of this one."""
    if merged.wider:
        note(
            f"{folder} holds a wider study of {len(merged.plan.trials)} trials, these {trials} among them: it stays, "
            "and is reported; --replace puts this one in its place"
        )
    elif merged.stay:
        note(f"of the study that {folder} held, {merged.stay} finished trials stay beside these {trials}")
    if merged.dropped:
        note(f"of the study that {folder} held, {merged.dropped} unfinished trials are no longer planned")
    for difference in merged.differences:
        note(f"differs from the study that {folder} held: {difference}")
