"""The task of an experiment: the one it names, else the one that its data and its loss are for."""

from __future__ import annotations

from typing import TypeGuard

from cnnjax.config import Config
from cnnjax.data.example_form import ExampleForm
from cnnjax.errors import ConfigError
from cnnjax.lanes import is_built_in
from cnnjax.losses import Loss
from cnnjax.tasks.task import Task


def task_for(task: Task | None, loss: Loss, form: ExampleForm) -> Task:
    """`task`, else the one member of the union that suits the loss and the data's form.

    Raises ConfigError where none or several do, and where the task cannot be (`Task.check`).
    """
    chosen = _suited(loss, form) if task is None else task
    chosen.check(loss, form)
    return chosen


def _competes(member: type[Config]) -> TypeGuard[type[Task]]:
    """Whether a task may be meant where none is named: a user's own only where it says itself what it suits."""
    return issubclass(member, Task) and (is_built_in(member) or "suits" in vars(member))


def _suited(loss: Loss, form: ExampleForm) -> Task:
    suited = [member for member in Task.members.values() if _competes(member) and member.suits(loss, form)]
    if len(suited) == 1:
        return suited[0]()
    if suited:
        raise ConfigError(
            f"task: {' and '.join(member.tag for member in suited)} could be meant by loss = {loss.tag!r} and the "
            f"examples of {form.name} ({', '.join(form.entries)}); name the one"
        )
    if loss.kind == "softmax" and "label" in form.entries and not form.classes:
        raise ConfigError(
            f"loss = {loss.tag!r}: {form.name} has targets, not classes; use loss=squared, poisson or sigmoid, or give "
            "class ids, int32 [N], and the names of the `classes`"
        )
    raise ConfigError(
        f"loss = {loss.tag!r}: no task has this loss for the examples of {form.name} ({', '.join(form.entries)}); take "
        f"another loss, or name the task: {', '.join(sorted(Task.members))}"
    )
