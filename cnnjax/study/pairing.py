"""How the arms of a plan can be compared: whether they draw the same random numbers, and which effects are confused."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from cnnjax.experiment import Experiment
from cnnjax.experiment.training_examples import by_tag
from cnnjax.study.folds import left_out_folds
from cnnjax.study.planned import Plan
from cnnjax.study.two_levels import fraction_sentences


def comparisons_json(plan: Plan) -> dict[str, Any]:
    """`unpaired`, `fraction_sentences` and `left_out_folds` for the plan as JSON; without those that say nothing."""
    found = {
        "unpaired": unpaired_in(plan),
        "fraction": fraction_sentences(plan),
        "folds_left_out": left_out_folds(plan),
    }
    return {name: said for name, said in found.items() if said}


def unpaired_in(plan: Plan) -> str | None:
    """`unpaired` of a plan's arms."""
    first = plan.study.seed_values[0]
    return unpaired(trial.experiment for trial in plan.trials if trial.experiment.seed == first)


def unpaired(experiments: Iterable[Experiment]) -> str | None:
    """A warning where arms that augment alike draw differently, though they need not; None where they do not.

    experiments: of the arms. It is so by place (`Experiment.random_numbers`), where an operation stands at different
    places of `augment`, or batch sizes differ.
    """
    augmented = [each for each in experiments if each.augment and each.random_numbers == "by_place"]
    places: dict[str, set[int]] = defaultdict(set)
    for tags in {by_tag(each.augment) for each in augmented}:
        for place, tag in enumerate(tags):
            places[tag].add(place)
    why = [f"{tag.split()[0]} stands at different places of augment" for tag, found in places.items() if len(found) > 1]
    why += ["batch sizes differ"] if len({each.batch_size for each in augmented}) > 1 else []
    if not why:
        return None
    return (
        f"arms with the same seed draw other random numbers for the augmentations they have in common, since "
        f"{' and '.join(dict.fromkeys(why))}; random_numbers='common' makes them draw the same, so that differences "
        "paired by seed are surer"
    )
