"""What tasks whose targets are boxes share: what they use, and what they refuse."""

from __future__ import annotations

from cnnjax.data import Mixing, SingleView, TestTime
from cnnjax.data.example_form import ExampleForm
from cnnjax.errors import ConfigError

ENTRIES = ("image", "boxes", "box_valid", "box_label")
"""The entries that targets are made of."""
ABSENT = -1
"""The class id of what is no box."""


def check_boxes(tag: str, form: ExampleForm) -> None:
    """Raise ConfigError where boxes have no classes."""
    if "box_label" not in form.entries:
        raise ConfigError(f"task = {tag!r}: the boxes of {form.name} have no classes; give box_label beside them")
    if "label" in form.entries:
        raise ConfigError(
            f"task = {tag!r}: the examples of {form.name} have labels and boxes, and its classes are those of the "
            "labels; take data without labels"
        )
    if len(form.classes) < 1:
        raise ConfigError(f"task = {tag!r}: {form.name} names no classes of boxes; give them as `classes`")


def refuse_mixing(tag: str, mixing: Mixing) -> None:
    """Raise ConfigError: of two images mixed there are no boxes of one."""
    raise ConfigError(
        f"mixing = {mixing.tag!r}: task {tag!r} is of boxes, which of two images mixed belong to one or the other; "
        "leave mixing out"
    )


def refuse_views(tag: str, views: TestTime) -> None:
    """Raise ConfigError unless an image is looked at as it is: boxes of several views have no mean."""
    if not isinstance(views, SingleView):
        raise ConfigError(
            f"test_time = {views.tag!r}: task {tag!r} is of boxes, and those of several views have no mean; take none",
            path="test_time",
        )


def refuse_top(top: int) -> None:
    """Raise ConfigError unless `top` is 1: everything that is found is told, whatever `top` is."""
    if top != 1:
        raise ConfigError(f"top = {top!r}: every object that is found is told, with its likeliest class; leave it out")
