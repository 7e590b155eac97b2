"""Evaluate what a run has saved."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from cnnjax.config import plain, replace, replace_texts
from cnnjax.data import Data
from cnnjax.data.examples import Scale
from cnnjax.errors import ConfigError, DataError, RunError
from cnnjax.experiment import Experiment, parts_of
from cnnjax.lanes import lane_values
from cnnjax.records.resolved import Resolved
from cnnjax.run.classes import matched, trained_classes
from cnnjax.run.directory import RunDirectory, directory_in
from cnnjax.run.hardware import Hardware
from cnnjax.run.images import sound_of
from cnnjax.run.kept_predictions import predictions_of, write_predictions
from cnnjax.run.program import Program
from cnnjax.run.resolve import recorded
from cnnjax.run.result import evaluated_parts
from cnnjax.run.stale import refuse_stale
from cnnjax.run.weights import check_estimated, restore
from cnnjax.training.evaluated import evaluations
from cnnjax.training.state import TrainState


def evaluate(
    run: Path | str,
    *,
    data: str | Data | None = None,
    overrides: Mapping[str, str] | None = None,
    hardware: Hardware = Hardware(),
    stale: str = "stop",
    keep_predictions: bool = False,
    step: int | None = None,
    told: Callable[[str], None] = lambda _: None,
) -> dict[str, dict[str, Any]]:
    """Metrics of a run's newest checkpoint, or that of a `step`, on its validation and test parts, by part.

    What a training method evaluates beside the trained weights is a part with its name (`test_ema`).

    data: another data set or its name, evaluated instead; it is normalized as the run's own was, unless it says
    otherwise (`mean`, `std`), and its classes are matched by name (`matched`). overrides: fields, as text by path, such
    as `data.size`. stale: "keep" evaluates with the user's own code of now where other code trained it, and on the
    run's data of now where it was trained on others, which may hold what is evaluated. keep_predictions: whether
    predictions.npz is written into the run, of its own data alone. told: called with whose metrics they are,
    `runs/baseline, step 120 of 300`, and with what is to be known of them. Raises RunError where there is no
    checkpoint, where the newest is not the one that the run's result is of, where the code or the run's own
    data changed, and where the data have classes of other names.
    """
    if keep_predictions and (data is not None or overrides):
        raise ConfigError("keep_predictions: of the run's own data alone; leave out other data and fields")
    directory = directory_in(Path(run))
    trained = directory.experiment()
    refuse_stale(directory, trained, stale)
    if keep_predictions and step is not None:
        raise ConfigError("keep_predictions: of the newest checkpoint alone, which the result is of; leave out step")
    restored, notes = restore(directory, trained, step=step)
    experiment = _on(trained, data, dict(overrides or {}))
    changed = _changed_data(directory, trained, experiment, notes.data_fingerprint)
    if changed and (stale == "stop" or keep_predictions):
        way = "" if keep_predictions else ", or give --stale keep to evaluate on those of now"
        raise RunError(f"{changed}; bring them back{way}")
    held = recorded(directory)
    if data is not None and held is not None:
        _check_heard_alike(held, experiment, dict(overrides or {}))
    of = "" if held is None or not held.steps else f" of {held.steps}"
    told(f"{directory.path}, step {int(restored.step)}{of}")
    if changed:
        told(changed)
    scale = notes.scale if held is None else (held.mean, held.std)
    experiment = _scaled_as(experiment, scale, is_own=experiment.data == trained.data)
    # What only a training needs of other runs is not read, and may be gone.
    measured = tuple(method for method in experiment.methods if method.evaluates())
    experiment = replace(experiment, {"initial": None, "methods": measured})
    known = None if held is None else held.classes
    classes = trained_classes(trained, notes) if known is None else known
    experiment = matched(experiment, classes, str(directory.path))
    program = Program(_small_enough(experiment), hardware=hardware, trains=False)
    _check_fit(directory, restored, program.blank())
    # Not with the values it was trained with: `overrides` may set others.
    state = program.place([restored.replace(lane=lane_values(experiment))])
    for method in evaluations(experiment.methods, experiment.optim).values():
        if method is not None:
            check_estimated(restored, method)
    if keep_predictions:
        write_predictions(directory, trained.id, predictions_of(program, state))
    splits = [split for split in ("validation", "test") if program.sizes[split]]
    return {
        part: program.functions.summarize(program.evaluate(program.with_weights_of(state, method), split))
        for split in splits
        for part, method in evaluated_parts(experiment, split).items()
    }


def _changed_data(directory: RunDirectory, trained: Experiment, experiment: Experiment, before: str | None) -> str:
    """That the run's own data are others than those it was trained on, by fingerprint; "" where they are not, and where
    other data are evaluated on purpose."""
    if experiment.data != trained.data or before is None:
        return ""
    now = experiment.data.load().fingerprint
    if now == before:
        return ""
    return (
        f"{directory.path}: its data changed since it was trained (fingerprint {before}, now {now}), so that what is "
        "evaluated may have been trained on, and is not what its result is of"
    )


def _on(trained: Experiment, data: str | Data | None, overrides: dict[str, str]) -> Experiment:
    if isinstance(data, str):
        return replace_texts(trained, {"data": data, **overrides})
    return replace_texts(trained if data is None else replace(trained, {"data": data}), overrides)


def _check_heard_alike(held: Resolved, experiment: Experiment, overrides: Mapping[str, str]) -> None:
    """Raise DataError where other data's clips are sampled, or made images, as the run's were not, and none says so."""
    there, now = sound_of(held), experiment.data.load().sound
    if there is None or now is None:
        return
    for field in ("rate", "front"):
        one, other = getattr(there, field), getattr(now, field)
        if one != other and not any(path.startswith(f"data.{field}") for path in overrides):
            shown = json.dumps(plain(one))
            raise DataError(
                f"the clips of {experiment.data.tag} have another {field} than those that the network was trained on; "
                f"give data.{field}={shown}, or another one to see what that does"
            )


def _scaled_as(experiment: Experiment, scale: Scale | None, *, is_own: bool) -> Experiment:
    """The experiment with mean and std of the data its weights were trained on, where they fit and none are given.

    is_own: whether its data are those, which may have changed since.
    """
    if scale is None or experiment.data.mean is not None:
        return experiment
    mean, std = scale
    dataset = experiment.data.load()
    if len(mean) != dataset.image_shape[-1] or (is_own and dataset.scale == scale):
        return experiment
    return replace(experiment, {"data.mean": mean, "data.std": std})


def _small_enough(experiment: Experiment) -> Experiment:
    """The experiment with a batch that its data fill: to evaluate, a few examples are enough."""
    if experiment.batch_size <= len(parts_of(experiment).train):
        return experiment
    return replace(experiment, {"batch_size": Hardware().mesh().size, "accumulate": 1})


def _check_fit(directory: RunDirectory, restored: TrainState, wanted: TrainState) -> None:
    missing = (wanted.methods.keys() | wanted.estimated.keys()) - (restored.methods.keys() | restored.estimated.keys())
    if without := ", ".join(sorted(missing)):
        raise RunError(f"{directory.path} was trained without {without}, so it has nothing of it to evaluate")
    held, needed = (dict(_shapes(state)) for state in (restored, wanted))
    other = {name: shape for name, shape in needed.items() if held.get(name) != shape}
    wrong = [f"  {name}: {held.get(name, 'none')} there, {shape} needed" for name, shape in other.items()]
    if wrong:
        head = f"{directory.path}: its weights are for images of another size or number of channels, or other classes"
        raise RunError("\n".join([head, *wrong]))


def _shapes(state: TrainState) -> Iterator[tuple[str, str]]:
    for path, leaf in jax.tree_util.tree_leaves_with_path(state.params):
        yield jax.tree_util.keystr(path, simple=True, separator="."), "x".join(map(str, np.shape(leaf)))
