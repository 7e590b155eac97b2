"""Reproductions: a card's study is trained, or found, and judged by what the card says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import jax

from cnnjax.cards import Card
from cnnjax.config import digest
from cnnjax.errors import CnnjaxError, ConfigError, Interrupted, RunError, unknown
from cnnjax.events import Sink
from cnnjax.experiment.network import task_of
from cnnjax.launch.sweep import sweep
from cnnjax.recipes.budget import Budget
from cnnjax.recipes.judging import is_complete, judged
from cnnjax.recipes.shelf import Recipe
from cnnjax.records.reproduction_json import ReproductionRecord
from cnnjax.records.result_json import ResultRecord
from cnnjax.records.specification import specification_of
from cnnjax.reporting import collect
from cnnjax.reporting.intervals import FEWEST
from cnnjax.reporting.statistics import part_of
from cnnjax.reporting.units import plural
from cnnjax.run.options import Options
from cnnjax.study.study import Study, with_fields, with_overrides


@dataclass(frozen=True)
class Reproduction:
    """What became of a reproduction. out: the folder of its trainings.

    record: what they measured; None where `changed` says how they are not those of the card, which then judges nothing.
    stopped: why a budget ended them; errors: why trials could not be trained; either empty where that was not so.
    """

    recipe: Recipe
    out: Path
    record: ReproductionRecord | None
    changed: tuple[str, ...] = ()
    stopped: str = ""
    errors: tuple[str, ...] = ()

    @property
    def is_complete(self) -> bool:
        """Whether the band has its verdict, or every training that a claim speaks of has ended."""
        return self.record is not None and is_complete(_judgeable(self.recipe), self.record)

    @property
    def trouble(self) -> str:
        """Why this is no success, as a sentence; empty where the band is met, or there is a verdict on every claim."""
        if self.record is None:
            return f"no reproduction: {', '.join(self.changed)}"
        if self.errors:
            return (
                f"of {len(self.record.experiments)} trainings {len(self.errors)} could not be trained; see {self.out}"
            )
        if not self.is_complete:
            return f"no verdict yet: {self.stopped or 'not every training has ended'}"
        return f"{self.recipe.name} is not reproduced" if self.record.verdict == "fail" else ""


def reproduce(
    recipe: Recipe,
    out: Path | None = None,
    *,
    overrides: Mapping[str, str] = {},
    seeds: int | None = None,
    budget: float | None = None,
    replace: bool = False,
    options: Options = Options(),
    sinks: Sequence[Sink] = (),
) -> Reproduction:
    """Train what is missing of a card's study in `out` (runs/reproduce/<name>), and judge it; reproduction.json has it.

    overrides, seeds: a run with others than the card's is trained too, in a folder of its own, and judges nothing.
    budget: minutes, after which all is saved. replace: the study may take the place of another one in `out`. Raises
    ConfigError for a card that says nothing to reproduce, or one that needs an accelerator where there is none;
    CnnjaxError for a budget too small for one training; what `sweep` raises.
    """
    card = _judgeable(recipe)
    _check_metrics(recipe, card)
    study, changed = changed_study(recipe.file.study, overrides, seeds)
    if not changed and budget is None:
        _refuse_on_a_cpu(recipe, card)
    changed += _missing(study, card)
    out = out or default_out(recipe, study if changed else None)
    limit = None if budget is None else Budget(budget)
    stopped, errors = _train(study, recipe, out, limit, options, sinks, replace=replace)
    if changed:
        return Reproduction(recipe, out, None, changed, stopped, errors)
    record = judged(recipe, collect(out))
    record.write(ReproductionRecord.at(out))
    return Reproduction(recipe, out, record, (), stopped, errors)


def keep(reproduction: Reproduction) -> Path:
    """Write the record beside the recipe, and return where. Raises CnnjaxError for what is no whole reproduction."""
    if reproduction.record is None or not reproduction.is_complete:
        raise CnnjaxError(f"nothing is recorded beside the recipe: {reproduction.trouble}")
    path = record_path(reproduction.recipe)
    reproduction.record.write(path)
    return path


def record_path(recipe: Recipe) -> Path:
    """Where the record of a recipe is kept: beside it, under its name."""
    return recipe.path.with_suffix(".json")


def default_out(recipe: Recipe, changed: Study | None = None) -> Path:
    """runs/reproduce/<name>; of a changed study, a folder of its own for each."""
    folder = Path("runs") / "reproduce" / recipe.name
    return folder if changed is None else folder.with_name(f"{folder.name}-changed-{digest(changed, 6)}")


def changed_study(study: Study, overrides: Mapping[str, str], seeds: int | None) -> tuple[Study, tuple[str, ...]]:
    """The study with the overrides and seeds, and how it is not the one before: empty where it still is."""
    asked = with_overrides(study, overrides)
    said = [f"{path}={text} is not the card's" for path, text in overrides.items() if _changes(study, path, text)]
    if seeds is not None and seeds != len(study.seed_values):
        said.append(f"{plural(seeds, 'seed')} instead of the card's {len(study.seed_values)}")
        asked = with_fields(asked, seeds=seeds)
    return asked, tuple(said) if digest(asked) != digest(study) else ()


def _changes(study: Study, path: str, text: str) -> bool:
    try:
        return digest(with_overrides(study, {path: text})) != digest(study)
    except ConfigError:
        return True  # it is a field of what another override puts there


def _missing(study: Study, card: Card) -> tuple[str, ...]:
    """That the data here are not what the card is of, often a part of it; empty where they are."""
    if card.whole is None:
        return ()
    data = study.experiment.data.load()
    parts = [
        (len(data.train), card.whole.train, "images to train on"),
        (len(data.test), card.whole.test, "images to test on"),
        (len(data.classes), card.whole.classes, "classes"),
    ]
    return tuple(f"{here:,} {what} are not the card's {whole:,}" for here, whole, what in parts if here != whole)


def _judgeable(recipe: Recipe) -> Card:
    card = recipe.file.card
    if card is None:
        raise ConfigError(f"{recipe.path} has no card, and so says nothing to reproduce; `cnnjax sweep` trains it")
    if card.band is None and not card.claims:
        raise ConfigError(
            f"the card of {recipe.name} has no band and no claims, for no source gives a figure for it, so there is "
            f"nothing to reproduce; `cnnjax sweep {recipe.path}` trains it"
        )
    seeds, folds = len(recipe.file.study.seed_values), {arm.get("fold") for arm in recipe.file.study.arms}
    has = f"{seeds} seeds" if seeds < FEWEST else f"{len(folds)} folds" if 1 < len(folds) < FEWEST else None
    if card.claims and has:
        raise ConfigError(f"{recipe.name} has {has}, and a verdict on a claim takes an interval, so {FEWEST}")
    return card


def _check_metrics(recipe: Recipe, card: Card) -> None:
    """Raise ConfigError where the card asks for a metric that its trainings will not have."""
    experiment = recipe.file.study.experiment
    form = experiment.data.load()
    known = task_of(experiment, form).specifications(experiment.loss, form)
    asked = [metric for claim in card.claims for metric in (claim.metric, claim.less) if metric is not None]
    asked += [f"test_{card.band.metric}"] if card.band is not None else []
    for metric in asked:
        if specification_of(metric, known) not in known:
            names = [f"{part_of(metric)}_{each.name}" for each in known]
            raise ConfigError(f"the card of {recipe.name}: {unknown('metric', metric, names)}")


def _refuse_on_a_cpu(recipe: Recipe, card: Card) -> None:
    if card.needs != "accelerator" or jax.default_backend() != "cpu":
        return
    seeds = len(recipe.file.study.seed_values)
    known = [
        f"{own.hours:g} hours on {own.devices} x {own.kind} ({own.hours * seeds:g} for {seeds} seeds)"
        for own in card.machines.values()
        if own.hours is not None
    ]
    takes = f"one training takes {', or '.join(known)}" if known else "how long one training takes is not known"
    raise ConfigError(
        f"{recipe.name} needs an accelerator, and this process has only a CPU: {takes}. To try it here, shrunk, which "
        f"is no reproduction:  cnnjax reproduce {recipe.name} steps=10 batch_size=16 --seeds 1"
    )


def _train(
    study: Study,
    recipe: Recipe,
    out: Path,
    limit: Budget | None,
    options: Options,
    sinks: Sequence[Sink],
    *,
    replace: bool,
) -> tuple[str, tuple[str, ...]]:
    """Why the budget ended the trainings, and why some could not be trained; either may be empty."""
    name, question = recipe.file.name, recipe.file.question
    listening = [*sinks, *([limit] if limit else [])]
    about = {"name": name, "question": question, "replace": replace}
    try:
        outcome = sweep(study, out, **about, options=options, sinks=listening, stop=limit and limit.stop)
    except Interrupted:
        if limit is None or not limit.said:
            raise
        if not any(ResultRecord.at(folder).exists() for folder in (out / "trials").iterdir()):
            raise CnnjaxError(limit.said) from None
        return limit.said, ()
    if outcome.wider is not None:
        raise RunError(
            f"{out} holds a wider study than the card's: reproduce it in another folder, with --out, or give --replace"
        )
    crashed = outcome.errors.keys() - set(outcome.failed)
    return "", tuple(f"{trial}: {outcome.errors[trial]}" for trial in sorted(crashed))
