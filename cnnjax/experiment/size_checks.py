"""Whether one network takes images of all sizes of a training, from its analysis at each."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence

from cnnjax.analysis import Analysis, LayerRow
from cnnjax.analysis.layers import SizeRow, volume
from cnnjax.data import Dataset
from cnnjax.errors import ConfigError
from cnnjax.experiment.experiment import Experiment
from cnnjax.experiment.length import Length
from cnnjax.experiment.sizes import Size, Span, decodes_at_its_sizes


def check_decoded(experiment: Experiment, dataset: Dataset) -> None:
    """Raise ConfigError where images shall be decoded at the sizes they are trained at, and are not decoded anew."""
    if decodes_at_its_sizes(experiment) and not dataset.train.redrawn:
        raise ConfigError(
            f"resolution.decoded: images of {dataset.name} are decoded once, at one size; set data.train_fit, such as "
            "random_resized_crop, for which they are decoded anew in each step, or leave decoded out",
            path="resolution.decoded",
        )


def size_rows(spans: Sequence[Span], analyses: Mapping[Size, Analysis], length: Length) -> tuple[SizeRow, ...]:
    """The spans of a training with their epochs and costs."""
    epochs = length.epochs
    return tuple(
        SizeRow(
            span.size,
            (bisect_right(epochs, span.first), bisect_right(epochs, span.last)),
            span.steps,
            analyses[span.size].macs,
        )
        for span in spans
    )


def check_same_parameters(evaluated: Analysis, trained: Analysis) -> None:
    """Raise ConfigError, with the layer and the arithmetic, where a network has other parameters at another size."""
    ours, theirs = ({layer.path: layer for layer in analysis.layers} for analysis in (evaluated, trained))
    differing = [path for path in {**ours, **theirs} if _params(ours, path) != _params(theirs, path)]
    if not differing and evaluated.params == trained.params:
        return
    where = [volume(analysis.input_shape[:2]) for analysis in (evaluated, trained)]
    path = differing[0] if differing else ""
    layers = [(rows.get(path), size) for rows, size in ((ours, where[0]), (theirs, where[1]))]
    arithmetic = " and ".join(_arithmetic(layer, size) for layer, size in layers)
    raise ConfigError(
        f"resolution: images are evaluated at {where[0]} and trained on at {where[1]}, but the network has other "
        f"parameters for them: {path or 'it'} has {arithmetic}; take a network that pools globally "
        "before it, or train and evaluate at one size",
        path="resolution",
    )


def _params(layers: Mapping[str, LayerRow], path: str) -> int:
    return layers[path].params if path in layers else 0


def _arithmetic(layer: LayerRow | None, size: str) -> str:
    if layer is None:
        return f"none at {size}"
    given = "" if layer.input_shape is None else f" for an input of {volume(layer.input_shape)}"
    return f"{layer.params:,}{given} at {size}"


def smallest_warnings(evaluated: Analysis, analyses: Mapping[Size, Analysis]) -> tuple[str, ...]:
    """What is odd about the network on the smallest images of the training alone."""
    size = min(analyses, key=lambda size: size[0] * size[1])
    return tuple(
        f"at {volume(size)}: {warning}" for warning in analyses[size].warnings if warning not in evaluated.warnings
    )
