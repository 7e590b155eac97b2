"""The plan as a table and remarks, and as the terminal shows them."""

from __future__ import annotations

from typing import Any

from rich.console import Group
from rich.table import Table

from cnnjax.analysis.layers import volume
from cnnjax.config import Named
from cnnjax.console import rich_text
from cnnjax.documents.document import Column, Grid, Remarks
from cnnjax.documents.quantities import short_bytes
from cnnjax.experiment import Experiment
from cnnjax.study.alike import idle_epochs
from cnnjax.study.folds import left_out_folds
from cnnjax.study.pairing import unpaired_in
from cnnjax.study.plan import Plan, PlannedTrial
from cnnjax.study.planned import pruned_lines
from cnnjax.study.two_levels import fraction_sentences
from cnnjax.study.values import text


def plan_table(plan: Plan) -> Group:
    """The arms as rich's table, then the remarks, each a line of its own; those that warn are yellow."""
    arms = arms_grid(plan)
    table = Table(title=arms.title, title_justify="left")
    for column in arms.columns:
        table.add_column(column.heading, justify="left" if column.is_text else "right")
    for cells in arms.cells(exact=True):
        table.add_row(*map(rich_text, cells))
    *warned, totals = remarks(plan)
    *texts, total = totals.lines
    lines = [line for each in warned for line in each.lines]
    return Group(
        table, *(rich_text(line, "yellow", lines=True) for line in lines), *map(rich_text, texts), rich_text(total)
    )


def arms_grid(plan: Plan) -> Grid:
    """Arms with their programs, parameters, MACs and steps."""
    columns = [Column(path.removeprefix("model.")) for path in plan.trials[0].arm]
    if plan.study.match:
        columns.append(Column(f"widths (equal {plan.study.measure})"))
    stated = any(trial.experiment.optim.per is not None for trial in plan.trials)
    if stated:
        columns.append(Column("learning rate"))
    sized = any(trial.sizes for trial in plan.trials)
    headings = ["trials", "steps each", "parameters", "MACs an image"] + ["MACs in training"] * sized
    columns += [*(Column(heading, "count") for heading in headings), Column("program", "number")]
    if sized:
        columns.append(Column("trained at"))
    rows = []
    for arm, trials in _by_arm(plan).items():
        first = trials[0]
        numbers = (len(trials), first.steps, first.params, first.macs, *([first.training_macs] if sized else []))
        widths = [first.widths] if plan.study.match else []
        rates = [_rate(first.experiment)] if stated else []
        rows.append((*map(text, arm.values()), *widths, *rates, *numbers, first.program, *_sizes(first, sized)))
    return Grid("plan", tuple(columns), rows)


def remarks(plan: Plan) -> list[Remarks]:
    """What is pruned, warned of and not checked; at last what the plan is of, the totals in its last line."""
    pruned = tuple(f"pruned{line}" for line in pruned_lines(plan.pruned, of=plan.arms))
    unchecked = tuple(f"not checked: {what}" for what in plan.unchecked)
    seeds = plan.study.seed_values
    total = (
        f"{len(plan.trials)} trials = {len(_by_arm(plan))} arms x {len(seeds)} seeds, {len(plan.programs)} programs to "
        f"compile{_steps_compiled(plan)}, {plan.compilations} compilations in all, "
        f"{sum(trial.steps for trial in plan.trials):,} steps; {len(plan.pruned)} arms pruned; each trial on "
        f"{plan.devices}; kept from step to step, at most: {_kept(plan)}"
    )
    warned = [Remarks(lines) for lines in (pruned, warnings_of(plan), unchecked) if lines]
    return [*warned, Remarks((*fraction_sentences(plan), total))]


def _by_arm(plan: Plan) -> dict[Named[Any], list[PlannedTrial]]:
    arms: dict[Named[Any], list[PlannedTrial]] = {}
    for trial in plan.trials:
        arms.setdefault(trial.arm, []).append(trial)
    return arms


def _rate(experiment: Experiment) -> str:
    """The peak of the learning rate, with the rule it comes from where it is stated per a number of examples."""
    optim = experiment.optim
    return optim.rule(experiment.batch_size) or f"{optim.learning_rate:g}"


def _kept(plan: Plan) -> str:
    """`adamw 1.2 MB, ema 0.6 MB`: the most that any arm keeps under each name."""
    most: dict[str, int] = {}
    for trial in plan.trials:
        most.update({name: max(size, most.get(name, 0)) for name, size in trial.kept.items()})
    return ", ".join(f"{name} {short_bytes(size)}" for name, size in most.items())


def _sizes(trial: PlannedTrial, sized: bool) -> list[str]:
    """The sizes of images in training, where one of the trials says them: `20x20 15 steps, 28x28 10 steps`."""
    if not sized:
        return []
    return [", ".join(f"{volume(row.size)} {row.steps:,} steps" for row in trial.sizes) or "as they are"]


def _steps_compiled(plan: Plan) -> str:
    """How many training steps the programs have, where one has several."""
    counts = [trials[0].steps_compiled for trials in plan.programs.values()]
    return f" ({sum(counts)} training steps, one a size of images)" if max(counts) > 1 else ""


def warnings_of(plan: Plan) -> tuple[str, ...]:
    """Lines of what checks say of the arms, each warning once, with how many arms it is about."""
    counts: dict[str, int] = {}
    for trial in plan.trials:
        if trial.experiment.seed == plan.study.seed_values[0]:
            counts.update({warning: counts.get(warning, 0) + 1 for warning in trial.warnings})
    idle = idle_epochs([trial.experiment for trial in plan.trials])
    general = [text for text in (unpaired_in(plan), left_out_folds(plan), idle) if text]
    arms = len(plan.trials) // len(plan.study.seed_values)
    said = (f"warning: {text}" for text in general)
    return (*said, *(f"warning ({count} of {arms} arms): {warning}" for warning, count in counts.items()))
