"""What a plan says of a fraction of two-level axes: its resolution, and which effects it cannot tell apart."""

from __future__ import annotations

from cnnjax.aliasing import Fraction, fraction_of, sentences
from cnnjax.config import canonical_text
from cnnjax.study.folds import FOLD
from cnnjax.study.planned import Plan
from cnnjax.study.study import Study


def planned_fraction(study: Study) -> Fraction | None:
    """The fraction that a study's arms are of its axes of two values, at every setting of the others; or None."""
    two = {name: values for name, values in study.levels.items() if len(values) == 2 and name != FOLD}
    if len(two) < 3:
        return None
    arms = study.arms
    rows = [{name: 1 if arm[name] == second else -1 for name, (_, second) in two.items()} for arm in arms]
    others = [canonical_text(tuple(value for name, value in arm.items() if name not in two)) for arm in arms]
    return fraction_of(rows, others)


def fraction_sentences(plan: Plan) -> list[str]:
    """What the fraction is, which effects are confused, and that it is none any more where arms are pruned."""
    fraction = planned_fraction(plan.study)
    if fraction is None:
        return []
    said = sentences(fraction, {name: name.removeprefix("model.") for name in fraction.axes})
    if plan.pruned:
        said.append(
            "Arms are pruned: what is left is no fraction, and no effect can be told from it. Take other values."
        )
    return said
