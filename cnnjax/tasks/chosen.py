"""The task of an experiment: the one it names, else the one that its data and its loss are for."""

from __future__ import annotations

from cnnjax.data.example_form import ExampleForm
from cnnjax.errors import ConfigError
from cnnjax.losses import Loss
from cnnjax.tasks.task import Task


def task_for(task: Task | None, loss: Loss, form: ExampleForm) -> Task:
    """`task`, else the one member of the union that suits the loss and the data's form.

    Raises ConfigError where none or several do, and where the task cannot be (`Task.check`).
    """
    chosen = _suited(loss, form) if task is None else task
    chosen.check(loss, form)
    return chosen


def _suited(loss: Loss, form: ExampleForm) -> Task:
    suited = [member for member in Task.members.values() if issubclass(member, Task) and member.suits(loss, form)]
    if len(suited) == 1:
        return suited[0]()
    if suited:
        raise ConfigError(
            f"task: {' and '.join(member.tag for member in suited)} could be meant by loss = {loss.tag!r} and the "
            f"examples of {form.name} ({', '.join(form.entries)}); name the one"
        )
    if loss.kind == "softmax" and "label" in form.entries and not form.classes:
        raise ConfigError(
            f"loss = {loss.tag!r}: {form.name} has targets, not classes; use loss=squared, poisson or sigmoid"
        )
    raise ConfigError(
        f"loss = {loss.tag!r}: no task has this loss for the examples of {form.name} ({', '.join(form.entries)}); take "
        f"another loss, or name the task: {', '.join(sorted(Task.members))}"
    )
