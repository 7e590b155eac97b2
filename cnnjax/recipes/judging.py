"""What a card's trainings measured, judged by what the card says: from the files of their folder alone."""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from cnnjax.cards import Band, Card, Claim
from cnnjax.code import code_of
from cnnjax.config import Named, digest, plain
from cnnjax.errors import RunError
from cnnjax.recipes.shelf import Recipe
from cnnjax.records.reproduction_json import JudgedClaim, Measured, ReproductionRecord
from cnnjax.reporting import Table, spread
from cnnjax.reporting.intervals import Spread
from cnnjax.reporting.statistics import laid_out, quantity_of
from cnnjax.reporting.verdicts import NONE, verdict, word_of
from cnnjax.study.file import ExperimentFile
from cnnjax.study.plan import label


def form_of(file: ExperimentFile) -> str:
    """A digest of what a recipe trains and of what it is judged by. The words of its card may change."""
    assert file.card is not None
    claims = tuple(claim.model_copy(update={"text": ""}) for claim in file.card.claims)
    return digest(Named({"study": file.study, "band": file.card.band, "claims": claims}))


def is_current(file: ExperimentFile, record: ReproductionRecord) -> bool:
    """Whether a record is of the recipe as it now is: its form, and the code of classes of its own, where it has some.

    An installed cnnjax takes those for its own, whose version tells what they are.
    """
    code = code_of(file.study.varied(file.study.arms[0])).digest
    return record.form == form_of(file) and (code is None or code in record.codes)


def judged(recipe: Recipe, table: Table) -> ReproductionRecord:
    """The record of a recipe whose study `table` holds. Raises RunError where a claim is of what was not measured."""
    card = recipe.file.card
    assert card is not None
    result = None if card.band is None else measured(table, f"test_{card.band.metric}")
    verdicts = {} if card.band is None or result is None else {"verdict": _verdict(card.band, result)}
    return ReproductionRecord(
        recipe=recipe.name,
        form=form_of(recipe.file),
        experiments=tuple(sorted(table.trials["id"])),
        codes=tuple(sorted({code for own in table.done["codes"] for code in own if code is not None})),
        recorded=datetime.now(UTC).isoformat(timespec="seconds"),
        command=f"cnnjax reproduce {recipe.name}",
        environments=tuple(_environments(table)),
        data_fingerprints=tuple(sorted({str(own) for own in table.done["data_fingerprint"] if own})),
        minutes=_minutes(table),
        seeds=len(recipe.file.study.seed_values),
        band=None if card.band is None else plain(card.band),
        published=tuple(plain(figure) for figure in card.published),
        result=result,
        claims=tuple(_judged_claim(table, claim) for claim in card.claims),
        **verdicts,
    )


def measured(table: Table, metric: str) -> Measured:
    """The metric of a study of one arm over its seeds, and the seeds that diverged. Raises RunError without it."""
    if metric not in table.metrics:
        raise RunError(f"{table.out}: its trainings have no {metric}; they have {', '.join(table.metrics)}")
    done, cells = table.results.dropna(subset=metric), table.cells.set_index(list(table.repeats.values()))[metric]
    diverged = table.trials[table.trials["cause"] == "diverged"]
    return Measured(
        metric=metric,
        specification=table.specified.of(metric),
        values={str(own): value for own, value in zip(done["replicate"], done[metric], strict=True)},
        diverged=tuple(f"seed {seed}" for seed in diverged["seed"]),
        **_numbers(spread(laid_out(cells), quantity_of(table, metric))),
    )


def _verdict(band: Band, result: Measured) -> Any:
    """A training that diverged has no accuracy, and the mean of the others is not that of the recipe."""
    if result.diverged:
        return "fail"
    if result.n < band.n or result.mean is None:
        return None
    return "pass" if band.low <= result.mean <= band.high else "fail"


def _judged_claim(table: Table, claim: Claim) -> JudgedClaim:
    sides = {side: tuple(Named(label(arm)) for arm in getattr(claim, side)) for side in ("of", "against")}
    found = verdict(table, claim.model_copy(update=sides))
    return JudgedClaim(
        metric=claim.metric,
        specification=table.specified.of(claim.metric),
        values={str(seed): value for seed, value in found.values.items()},
        diverged=found.diverged,
        claim=_plain_claim(claim),
        word=found.word,
        verdict=found.verdict,
        settings=found.settings,
        said=found.measured,
        remarks=found.remarks,
        missing=found.missing,
        **_numbers(found.spread),
    )


def _plain_claim(claim: Claim) -> dict[str, Any]:
    """As plain JSON, without the fields that say nothing."""
    return {name: value for name, value in plain(claim).items() if value is not None}


def _numbers(values: Spread) -> dict[str, Any]:
    """The parts of a spread, None where it has none: JSON has no NaN."""
    parts = {name: getattr(values, name) for name in ("mean", "sd", "low", "high")}
    known = {name: None if math.isnan(value) else value for name, value in parts.items()}
    return {"n": values.n, **known, "method": values.method}


def _minutes(table: Table) -> float | None:
    """Of training and compiling; each of the trials that were trained together has its share."""
    ended = table.trials[table.trials["train_seconds"].notna()]
    seconds = ended["train_seconds"] + ended["compile_seconds"].fillna(0)
    return round(float(seconds.sum()) / 60, 2) if len(ended) else None


def _environments(table: Table) -> Iterable[dict[str, Any]]:
    """What the trials ran with, each once, without the commands that trained them."""
    seen = []
    for environment in table.environments:
        entry = {name: value for name, value in environment.items() if name != "command"}
        if entry not in seen:
            seen.append(entry)
    return seen


def contradiction(record: ReproductionRecord) -> str:
    """What in a record does not follow from its own numbers by seed, as one edited by hand; empty where all does."""
    if record.result is not None:
        said = _wrong_numbers(record.result)
        if said:
            return said
        found = None if record.band is None else _verdict(Band(**record.band), record.result)
        if record.verdict != found:
            return f"verdict = {record.verdict or NONE}, and its numbers have {found or NONE}"
    return next((said for own in record.claims if (said := _wrong_numbers(own) or _wrong_verdict(own))), "")


def _wrong_numbers(own: Measured) -> str:
    found = _numbers(spread(list(own.values.values())))
    for name in ("n", "mean", "sd"):
        known, other = getattr(own, name), found[name]
        if known != other and not (known and other and math.isclose(known, other, rel_tol=1e-9)):
            return f"{own.metric}: {name} = {_text(known)}, and its values by seed have {_text(other)}"
    ends = (own.low, own.mean, own.high)
    known_ends = [end for end in ends if end is not None]
    if own.low is not None and not (len(known_ends) == len(ends) and known_ends == sorted(known_ends)):
        return f"{own.metric}: its mean is not in its interval"
    return ""


def _wrong_verdict(own: JudgedClaim) -> str:
    if own.word == NONE:
        return ""
    if own.missing or own.low is None or own.high is None:
        return f"{own.claim['text']}: {own.word}, without what a verdict takes"
    found = word_of(Claim(**own.claim), own.low, own.high)
    follows = own.word == found and own.verdict.startswith(found)
    return "" if follows else f"{own.claim['text']}: {own.verdict!r}, and its interval has {found!r}"


def _text(value: float | None) -> str:
    return "none" if value is None else f"{value:.6g}"


def is_complete(card: Card, record: ReproductionRecord) -> bool:
    """Whether all that the card asks for has ended: the band has its verdict, and no claim misses a training.

    A claim may have no verdict all the same, where what diverged has no number: more trainings would change nothing.
    """
    return (card.band is None or record.verdict is not None) and not any(own.missing for own in record.claims)
