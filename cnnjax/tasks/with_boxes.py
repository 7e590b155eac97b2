"""What tasks share whose targets are boxes: what they use, and what they refuse."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, ClassVar

import jax

from cnnjax.config import lane
from cnnjax.data import Mixing, SingleView, TestTime
from cnnjax.data.example_form import ExampleForm
from cnnjax.errors import ConfigError
from cnnjax.losses import Loss
from cnnjax.tasks.task import Task


class WithBoxes(Task, abstract=True):
    """Boxes with classes, in an image that is looked at as it is: no weighted mixture, and not in several views.

    Everything that is found is told, whatever `top` is. box_weight: of the boxes' loss beside that of the classes.
    """

    entry: ClassVar[str] = "boxes"
    says_by_name: ClassVar[bool] = True

    box_weight: float = lane(1.0, ge=0)

    def check(self, loss: Loss, form: ExampleForm) -> None:
        super().check(loss, form)
        if "box_label" not in form.entries:
            raise ConfigError(
                f"task = {self.tag!r}: the boxes of {form.name} have no classes; give box_label beside them"
            )
        if "label" in form.entries:
            raise ConfigError(
                f"task = {self.tag!r}: the examples of {form.name} have labels and boxes, and its classes are those of "
                "the labels; take data without labels"
            )
        if len(form.classes) < 1:
            raise ConfigError(f"task = {self.tag!r}: {form.name} names no classes of boxes; give them as `classes`")

    def uses(self, form: ExampleForm) -> Collection[str]:
        return ("image", "boxes", "box_valid", "box_label")

    @property
    def makes_target(self) -> bool:
        return False

    def check_mixing(self, mixing: Mixing) -> None:
        raise ConfigError(
            f"mixing = {mixing.tag!r}: task {self.tag!r} is of boxes, which of two images mixed belong to one or the "
            "other; leave mixing out"
        )

    def merged(self, outputs: Any, views: TestTime, form: ExampleForm) -> Any:
        if not isinstance(views, SingleView):
            raise ConfigError(
                f"test_time = {views.tag!r}: task {self.tag!r} is of boxes, and those of several views have no mean; "
                "take none",
                path="test_time",
            )
        return jax.tree.map(lambda x: x[:, 0], outputs)

    def check_top(self, top: int, names: tuple[str, ...]) -> None:
        if top != 1:
            raise ConfigError(
                f"top = {top!r}: every object that is found is told, with its likeliest class; leave it out"
            )
