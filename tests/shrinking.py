"""Experiments made so small that a step takes little, with all that they do in it and as many steps as they have."""

from __future__ import annotations

from typing import Any

from cnnjax import ConvNet, Experiment, models
from cnnjax.config import replace
from cnnjax.models import GoogLeNet, Model, ResNet
from cnnjax.models.convnext import ConvNeXt
from cnnjax.models.inverted_residual import InvertedResiduals
from tests.networks import HEADS, TABLE

BATCH = 8
FEATURES = 8


def shrunk(experiment: Experiment) -> Experiment:
    """A narrow network of one or two blocks of the same family, with images of a quarter of the size, where they are
    large; everything else is the experiment's own. Its data are to have `as_many(experiment)` examples."""
    changes: dict[str, Any] = {"batch_size": BATCH, "accumulate": min(experiment.accumulate, 2)}
    if experiment.validation >= 1:
        changes["validation"] = share(experiment, int(experiment.validation))
    for name in ("examples", "test_examples"):
        if hasattr(experiment.data, name):
            changes[f"data.{name}"] = share(experiment, getattr(experiment.data, name))
    changes |= smaller_images(experiment)
    smaller = replace(experiment, changes)
    return smaller.model_copy(update={"model": small(experiment.model)})


def share(experiment: Experiment, count: int) -> int:
    """So many of `count` examples that an epoch has as many steps as it had, with the small batch."""
    return max(2 * BATCH, -(-count * BATCH // experiment.batch_size))


def smaller_images(experiment: Experiment) -> dict[str, Any]:
    """The sizes in pixels divided by four, by their paths; none where layers count on the size of their images."""
    size = getattr(experiment.data, "size", None)
    side = min(size) if isinstance(size, tuple) else size
    if side is None or side < 128 or isinstance(experiment.model, ConvNet | GoogLeNet):
        return {}
    changes: dict[str, Any] = {"data.size": _quarter(size)}
    for name in ("train", "evaluation", "start", "final", "multiple"):
        pixels = getattr(experiment.resolution, name, None)
        if pixels is not None:
            changes[f"resolution.{name}"] = max(1, pixels // 4)
    sizes = getattr(experiment.resolution, "sizes", ())
    if sizes:
        changes["resolution.sizes"] = tuple((epoch, pixels // 4) for epoch, pixels in sizes)
    if hasattr(experiment.test_time, "shorter"):
        changes |= {f"test_time.{name}": _quarter(getattr(experiment.test_time, name)) for name in ("size", "shorter")}
    return changes


def _quarter(size: Any) -> Any:
    return tuple(map(_quarter, size)) if isinstance(size, tuple) else size and size // 4


def small(model: Model) -> Model:
    """The same kind of network, with few filters and blocks."""
    return replace(model, _narrow(model) | ghost_batches(model))


def ghost_batches(block: Any, path: str = "norm.group") -> dict[str, Any]:
    """The override that makes ghost batches a part of the small batch, where there are any."""
    group = getattr(getattr(block, "norm", None), "group", None)
    return {path: BATCH // 2} if isinstance(group, int) else {}


def _narrow(model: Model) -> dict[str, Any]:
    if isinstance(model, ConvNet):
        return narrow_layers(model)
    if isinstance(model, ResNet):
        changes: dict[str, Any] = {"stage_sizes": (1,), "features": (FEATURES,), "groups": min(model.groups, 4)}
        if hasattr(model.norm, "groups"):
            changes["norm.groups"] = 4
    elif isinstance(model, ConvNeXt):
        changes = {"stage_sizes": (1,), "features": (FEATURES,), "strides": model.strides[:1]}
    elif isinstance(model, InvertedResiduals):
        none = (0,) * (len(model.stage_sizes) - 2)
        changes = {"stage_sizes": (1, 1, *none), "width": 0.25, "head_features": min(model.head_features, 32)}
    elif isinstance(model, GoogLeNet):
        # Windows of 5 pixels do not fit the small maps.
        changes = HEADS | {"auxiliary": HEADS["auxiliary"] if model.auxiliary else (), "auxiliary_pool": "adaptive"}
    elif isinstance(model, models.AlphaGoPolicy):
        changes = {"features": FEATURES, "depth": 2}
    else:
        # One of an experiment file's own, and SmallCNN, are small as they are.
        changes = next((row.small for row in TABLE if type(row.config) is type(model)), {})
    return {path: value for path, value in changes.items() if path != "num_classes"}


def narrow_layers(block: Any, before: str = "") -> dict[str, Any]:
    """The overrides that leave each layer at most a few filters or units; that of the logits keeps its own."""
    changes = {}
    for name, layer in block.layers.items():
        path = f"{before}layers.{name}"
        if hasattr(layer, "layers"):
            changes |= narrow_layers(layer, f"{path}.")
        changes |= ghost_batches(layer, f"{path}.norm.group")
        features = getattr(layer, "features", None)
        if features is not None and not name.startswith("logits"):
            changes[f"{path}.features"] = min(features, FEATURES if "conv" in name else 4 * FEATURES)
    return changes
