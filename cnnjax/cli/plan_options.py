"""The options of `cnnjax sweep` about what a study may cost, and how long it takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from cnnjax.cli.app import out
from cnnjax.errors import ConfigError
from cnnjax.progress import progress

if TYPE_CHECKING:
    from cnnjax.launch.estimate import Estimate
    from cnnjax.study.plan import Plan
    from cnnjax.study.study import Study

Budgets = Annotated[
    list[str] | None,
    typer.Option(
        "--budget",
        metavar="NAME=AMOUNT",
        help="What an arm may cost at most; may be given several times: params=1M, macs=50M, memory=8GB, hours=0.5.",
        show_default=False,
    ),
]
Estimated = Annotated[
    bool,
    typer.Option(
        "--estimate",
        help="With --dry-run: time a few steps of each program here, and print hours of each arm and in all.",
    ),
]


def with_budget(study: Study, written: list[str] | None) -> Study:
    """The study with the budget that `--budget` gives over its own. Raises ConfigError."""
    from cnnjax.study.budget import budget_of
    from cnnjax.study.study import with_fields

    return with_fields(study, budget=budget_of(written, study.budget)) if written else study


def estimated(planned: Plan, hardware: Any, *, hidden: bool) -> tuple[Plan, Estimate]:
    """The plan within its budget of hours, and how long it takes on this machine.

    hardware: what the plan is for. Raises ConfigError where that is elsewhere, or the data are not here.
    """
    from cnnjax.launch.estimate import estimate, within_hours
    from cnnjax.run.hardware import Hardware

    if not isinstance(hardware, Hardware):
        raise ConfigError(
            "--estimate times steps on this machine: leave out --on, --device-kind, --device-memory and more --devices "
            "than there are here, or run it there"
        )
    with progress("estimate", hidden=hidden):
        found = estimate(planned, hardware=hardware)
    left = within_hours(found)
    return left, found if left is planned else found.of(left)


def print_estimate(found: Estimate) -> None:
    """Hours of each arm and in all."""
    for line in found.texts:
        out.print(f"estimate: {line}", markup=False, highlight=False, soft_wrap=True)
