"""What finished trials kept of single examples (predictions.npz), as far as it can be set side by side.

Files are read one after another: of every trial what was right, and the outputs only of those that are asked for.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Container, Hashable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from cnnjax.errors import RunError
from cnnjax.records.predictions_npz import KeptPredictions
from cnnjax.reporting.asked import once
from cnnjax.reporting.reading import resolved_of
from cnnjax.reporting.statistics import HELD_OUT, chosen, complete, measure, part_of, ranking, reference
from cnnjax.reporting.study_table import Table
from cnnjax.reporting.units import plural
from cnnjax.statistics.classes import taken_for

TASKS = ("classification", "binary")
"""The tasks whose targets are each the class of a whole example."""
LIKELIEST = "correct"
"""The sum that counts the examples whose likeliest class is theirs."""
TOLERANCE = 0.001
"""The share of examples by which predictions that were computed on other hardware may miss a result; one may always."""
OF_FOLDS = "Each fold has validation examples of its own: what was said of them is not set side by side."
AGAIN = "`cnnjax evaluate RUN --keep-predictions` writes them again"

Place = tuple[Hashable, ...]
"""The seed, or the fold and the seed, of a trial."""


@dataclass(frozen=True, eq=False)
class Kept:
    """What finished trials say of the same examples.

    part: of the data. target: of its N examples, as in the data. right: bool [N] of each trial, by id: whether each
    answer was right, as its result counts it. notes: what was not used, and why. by_arm: see `trials`.
    """

    part: str
    target: np.ndarray
    right: Mapping[str, np.ndarray]
    notes: tuple[str, ...] = ()
    by_arm: Mapping[int, Mapping[Place, str]] = field(default_factory=dict)

    def trials(self, arm: int) -> Mapping[Place, str]:
        """The ids of an arm's trials that are there, by seed, or by fold and seed."""
        return self.by_arm.get(arm, {})

    def answers(self, names: Sequence[str]) -> np.ndarray:
        """Right and wrong of these trials, bool [n, N]."""
        return np.stack([self.right[name] for name in names])


@once
def kept(table: Table) -> Kept | None:
    """None where no finished trial kept predictions, or arms are not compared by a share of examples that are right."""
    by = measure(table)
    if by.compared is None or by.quote is None or not by.compared.binomial or part_of(by.quote) not in HELD_OUT:
        return None
    part, rows = part_of(by.quote), table.done[["id", "data_fingerprint", by.quote]]
    there = [row for row in rows.itertuples(index=False) if KeptPredictions.at(table.folders[row[0]]).exists()]
    if not there:
        return None
    if table.replicate == "fold" and part == "validation":
        return Kept(part, np.empty(0, int), {}, (OF_FOLDS,))
    found: dict[str, tuple[np.ndarray, np.ndarray, Hashable]] = {}
    damaged, other = [], []
    for name, fingerprint, result in there:
        try:
            target, right = _answers(table, name, part, by.compared.total)
        except RunError as error:
            damaged.append(str(error))
            continue
        if not abs(right.mean() - result) * len(right) <= max(1.0, TOLERANCE * len(right)) + 1e-3:
            other.append(name)
            continue
        examples = hashlib.sha256(target.tobytes()).hexdigest(), target.shape, str(fingerprint)
        found[name] = target, right, examples
    most = Counter(examples for *_, examples in found.values()).most_common(1)
    same = [name for name, (*_, examples) in found.items() if examples == most[0][0]]
    notes = _notes(len(table.done), len(there), damaged, other, [name for name in found if name not in same])
    target = found[same[0]][0] if same else np.empty(0, int)
    right = {name: found[name][1] for name in same}
    return Kept(part, target, right, tuple(notes), _by_arm(table, right))


def _by_arm(table: Table, names: Container[str]) -> dict[int, dict[Place, str]]:
    found: dict[int, dict[Place, str]] = {}
    for arm, name, *place in table.done[["arm", "id", *table.repeats.values()]].itertuples(index=False):
        if name in names:
            found.setdefault(int(arm), {})[tuple(place)] = name
    return found


def _answers(table: Table, name: str, part: str, total: str) -> tuple[np.ndarray, np.ndarray]:
    """(target [N, ...], right bool [N]) of a trial. Raises RunError where the file does not hold them."""
    path = KeptPredictions.at(table.folders[name])
    found = KeptPredictions.read(path, id=name, only=(f"{part}/target", f"{part}/{total}"))
    own = {} if found is None else found.parts.get(part, {})
    target, counted = own.get("target"), own.get(total)
    if target is None or counted is None or not target.size or not np.isin(counted, (0, 1)).all():
        raise RunError(f"{path} does not say which examples of the {part} part were right; {AGAIN}")
    return target, counted.astype(bool)


def _notes(
    finished: int, there: int, damaged: Sequence[str], other: Sequence[str], strange: Sequence[str]
) -> list[str]:
    notes = []
    if there < finished:
        notes.append(
            f"Predictions are kept of {there} of {finished} finished trials; `cnnjax evaluate RUN --keep-predictions` "
            "keeps those of a trial that was trained without."
        )
    if damaged:
        more = f"; so do those of {plural(len(damaged) - 1, 'more trial')}" if len(damaged) > 1 else ""
        notes.append(f"{damaged[0]}. They count as not kept{more}.")
    if other:
        notes.append(
            f"The predictions of {named(other)} are not what the result counts, so that they are of other weights: "
            f"they are left out; {AGAIN}."
        )
    if strange:
        notes.append(f"Of other examples than most are the predictions of {named(strange)}: they are not compared.")
    return notes


def named(names: Sequence[str]) -> str:
    """Trials by their ids, of many the first: `trial 1a2b`, `5 trials (1a2b, 3c4d, 5e6f, …)`."""
    if len(names) == 1:
        return f"trial {names[0]}"
    return f"{len(names)} trials ({', '.join(names[:3])}{', …' if len(names) > 3 else ''})"


@dataclass(frozen=True, eq=False)
class Labels:
    """The classes' names in their order, and the class of each example, int [N]."""

    names: tuple[str, ...]
    target: np.ndarray


@once
def labels(table: Table) -> Labels | None:
    """None where predictions are not of the classes of whole examples, or not the likeliest one alone counts; names are
    numbers where none are recorded."""
    found, by = kept(table), measure(table)
    if by.compared is None or by.compared.total != LIKELIEST:
        return None
    if found is None or not found.right or found.target.ndim != 1 or found.target.dtype.kind not in "iu":
        return None
    target = found.target.astype(np.int64)
    resolved = resolved_of(table.folders[next(iter(found.right))])
    if resolved is None:
        return Labels(tuple(map(str, range(int(target.max()) + 1))), target)
    known = resolved.task is None or resolved.task.get("name") in TASKS
    return Labels(resolved.class_names, target) if known and resolved.class_names else None


@once
def taken(table: Table, name: str) -> np.ndarray | None:
    """The class that a trial takes each example for, int [N], -1 for none; None where its outputs cannot be read."""
    found, own = kept(table), labels(table)
    if found is None or own is None:
        return None
    outputs = arrays_of(table, name, found.part, ("outputs",)).get("outputs")
    if outputs is None or outputs.ndim != 2 or len(outputs) != len(own.target):
        return None
    try:
        return taken_for(outputs, own.target, found.right[name], classes=len(own.names))
    except ValueError:
        return None


def arrays_of(table: Table, name: str, part: str, names: Sequence[str]) -> Mapping[str, np.ndarray]:
    """Of what a trial kept of a part, the arrays of these names that are there; none where one is damaged."""
    path = KeptPredictions.at(table.folders[name])
    try:
        found = KeptPredictions.read(path, id=name, only=[f"{part}/{each}" for each in names])
    except RunError:
        return {}
    return {} if found is None else found.parts.get(part, {})


def pair(table: Table) -> tuple[int | None, int | None]:
    """(the arm whose answers are looked at, the one beside it): the chosen arm and `reference`; where they are the same
    one, the arm that validation has next, or the only other one, and the reference.

    (the arm, None) where there is no other one to name; (None, None) where none is.
    """
    against, best = reference(table), chosen(table)
    if against is None:
        return (table.arms[0].number if len(table.arms) == 1 else None), None
    others = [number for number in ranking(table) or sorted(complete(table)) if number != against]
    if best is not None and best != against:
        return best, against
    return (others[0], against) if others and (ranking(table) or len(table.arms) == 2) else (against, None)
