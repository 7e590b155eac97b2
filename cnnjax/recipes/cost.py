"""What one training of a recipe costs on the first machine of its card; nothing is trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from cnnjax.data.unread import planned_as
from cnnjax.documents.quantities import short, short_bytes
from cnnjax.errors import CnnjaxError
from cnnjax.experiment import Experiment, length_of
from cnnjax.recipes.shelf import Recipe
from cnnjax.study.describe import describe
from cnnjax.study.on_machine import devices_of, on_machine


@dataclass(frozen=True)
class Cost:
    """Of the base experiment. where: on what, as the end of a phrase. params, macs: of the network, MACs of one image
    forward; step_bytes: of a training step on each device, an estimate; examples: in the training part, steps: of the
    whole training. What cannot be known is None, and `notes` say why, or what was assumed."""

    where: str
    params: int | None = None
    macs: int | None = None
    step_bytes: int | None = None
    per_device: int | None = None
    examples: int | None = None
    steps: int | None = None
    trainings: int = 1
    notes: tuple[str, ...] = ()

    @property
    def lines(self) -> list[str]:
        """As text."""
        said = []
        if self.params is not None and self.macs is not None:
            said.append(f"{self.params:,} parameters, {short(self.macs)} multiply-accumulates an image")
        if self.step_bytes is not None:
            said.append(
                f"{short_bytes(self.step_bytes)} a device for a step of {self.per_device:,} images (an estimate)"
            )
        if self.steps is not None:
            said.append(f"{self.steps:,} steps, with {self.examples:,} images to train on")
        if self.trainings > 1:
            said.append(f"{self.trainings:,} trainings in the study")
        return [*said, *self.notes]

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in vars(self).items()}


def cost_of(recipe: Recipe) -> Cost:
    """The cost of the base experiment on the card's first machine, or on one device where there is none."""
    file, card, notes = recipe.file, recipe.file.card, []
    machines = {} if card is None else card.machines
    name = next(iter(machines), None)
    devices = 1 if name is None else machines[name].devices
    experiment = file.experiment if name is None else on_machine(file, name).experiment
    where = "" if name is None else f" on {devices_of(machines[name])}"
    per_device = experiment.batch_size // devices
    trainings = len(file.study.arms) * len(file.study.seed_values)
    with planned_as(experiment.data, None if card is None else card.whole):
        found = _analysed(experiment, per_device, notes) | _length(experiment, notes)
    return Cost(where, per_device=per_device, trainings=trainings, **found, notes=tuple(dict.fromkeys(notes)))


def _analysed(experiment: Experiment, per_device: int, notes: list[str]) -> dict[str, Any]:
    try:
        analysis = describe(experiment, batch_size=per_device, note=notes.append)
    except CnnjaxError as error:
        notes.append(str(error))
        return {}
    memory = None if analysis.memory is None else analysis.memory.total
    return {"params": analysis.params, "macs": analysis.macs, "step_bytes": memory}


def _length(experiment: Experiment, notes: list[str]) -> dict[str, Any]:
    try:
        length = length_of(experiment)
    except CnnjaxError as error:
        notes.append(f"steps: {error}")
        return {}
    return {"examples": length.examples, "steps": length.steps}
