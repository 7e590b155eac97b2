"""Fields whose value changes nothing, since another field that they refine is at none or 0."""

from __future__ import annotations

from typing import Any

from cnnjax.experiment.experiment import Experiment
from cnnjax.optim import Muon

# (what has the fields; the field that must be on; fields that say how) by dotted path, of any class that has them.
_REFINED = (
    ("optim", "layer_decay", ("layer_decay_by",)),
    ("optim", "adaptive_clip", ("adaptive_clip_skips",)),
    ("optim.schedule", "warmup", ("warmup_start", "warmup_shape", "curve_from")),
    ("model", "drop_block", ("drop_block_size",)),
    ("model", "pool", ("pool_window", "pool_strides")),
)

# Rates of a model that act in training alone.
_DROPPED = ("dropout", "block_dropout", "layer_dropout", "stochastic_depth", "drop_block")


def idle_fields(experiment: Experiment) -> tuple[str, ...]:
    """A warning for each field that is set and has no effect: an axis of it would train the same network again."""
    warnings = []
    for path, needed, fields in _REFINED:
        config = _at(experiment, path)
        switch = getattr(config, needed, True)
        if switch and switch != "none":
            continue
        off = "0" if switch == 0 else "none"
        for name in (name for name in fields if name in type(config).model_fields):
            value = getattr(config, name)
            if value != type(config).model_fields[name].default:
                warnings.append(
                    f"{path}.{name} = {value!r}: {needed} is {off}, so it changes nothing; set {path}.{needed} too, "
                    f"or leave {name} out"
                )
    return (*warnings, *_idle_decays(experiment), *_idle_dropout(experiment), *_idle_rest(experiment))


def _idle_rest(experiment: Experiment) -> list[str]:
    """Of Muon, the fields of the other optimizer of what it does not orthogonalize."""
    optim = experiment.optim
    if not isinstance(optim, Muon):
        return []
    idle = ("rest_momentum",) if optim.rest_by == "adamw" else ("b1", "b2", "eps")
    return [
        f"optim.{name} = {getattr(optim, name):g}: optim.rest_by is {optim.rest_by!r}, so it changes nothing; leave "
        f"{name} out"
        for name in idle
        if getattr(optim, name) != Muon.model_fields[name].default
    ]


def _idle_dropout(experiment: Experiment) -> list[str]:
    """Of a backbone that is trained as at inference, the dropout before the logits too."""
    inference = experiment.optim.in_inference()
    if inference is None or not inference("dropout"):
        return []
    return [
        f"model.{name} = {rate!r}: optim.groups runs the network as at inference, without dropout, so it changes "
        f"nothing; leave {name} out, or give inference to fewer modules"
        for name in _DROPPED
        if (rate := getattr(experiment.model, name, 0)) and isinstance(rate, float)
    ]


def _idle_decays(experiment: Experiment) -> list[str]:
    """Of groups that multiply a weight decay of 0."""
    if experiment.optim.weight_decay:
        return []
    return [
        f"optim.groups: {pattern!r} multiplies weight_decay by {group.weight_decay:g}, and optim.weight_decay is 0, so "
        "it changes nothing"
        for pattern, group in experiment.optim.groups.items()
        if group.weight_decay != 1
    ]


def _at(config: Any, path: str) -> Any:
    for name in path.split("."):
        config = getattr(config, name)
    return config
