"""Matches the classes of the data a run is evaluated on with those it was trained for, by name."""

from __future__ import annotations

import warnings

from cnnjax.data.spelling import listed
from cnnjax.errors import DataError, RunError
from cnnjax.experiment import Experiment
from cnnjax.records.checkpoint_notes import CheckpointNotes


def trained_classes(trained: Experiment, notes: CheckpointNotes) -> tuple[str, ...]:
    """The names of a run's classes: from the notes of its checkpoint, else of its data; empty where unknown or none."""
    if notes.classes is not None:
        return notes.classes
    try:
        return trained.data.load().classes
    except DataError:
        return ()


def matched(experiment: Experiment, classes: tuple[str, ...], where: str) -> Experiment:
    """The experiment with its labels as ids of `classes`, those that `where` was trained for.

    Raises RunError where the data have a class of another name; warns where there are numbers for names, which are then
    matched by position, and where a class has no examples.
    """
    own = experiment.data.load().classes
    if not classes or not own or own == classes:
        return experiment
    if set(own) <= set(classes):
        absent = [name for name in classes if name not in own]
        if absent:
            warnings.warn(
                f"{where} was trained for {len(classes)} classes, of which the data have {len(own)}: there are no "
                f"examples of {listed(absent)}",
                stacklevel=3,
            )
        return experiment.model_copy(update={"data": experiment.data.labelled_as(classes)})
    both = f"{where} was trained for {listed(classes)}; the data have {listed(own)}"
    if _are_numbers(classes) or _are_numbers(own):
        warnings.warn(f"{both}: classes are matched by their numbers, the first with the first", stacklevel=3)
        return experiment
    strange = listed(name for name in own if name not in classes)
    raise RunError(
        f"{both}: among the run's is no {strange}; give the folders or labels the names it was trained with (of a "
        "table of numbers, data.classes names them)"
    )


def _are_numbers(classes: tuple[str, ...]) -> bool:
    return classes == tuple(map(str, range(len(classes))))
