"""What the optimizer and the methods of an experiment keep in memory through a training."""

from __future__ import annotations

from typing import Any

import jax

from cnnjax.experiment.experiment import Experiment
from cnnjax.experiment.teacher import Teachers
from cnnjax.training.state import TrainState
from cnnjax.training.step import EMPTY


def kept_bytes(experiment: Experiment, state: TrainState, teachers: Teachers = EMPTY) -> dict[str, int]:
    """Bytes that are kept from step to step, by the name of the optimizer and of each method: {"sgd": 9336, "ema": 0}.

    Batch statistics that are estimated for the weights of one count as its own, and a teacher's variables. What a
    method takes within a step alone (the second gradient of `sam`) is not kept. state: its shapes and types.
    """
    kept: dict[str, Any] = {experiment.optim.tag: state.opt_state}
    for method in experiment.methods:
        taught = teachers[method.tag].shapes if method.tag in teachers else {}
        kept[method.tag] = (state.methods.get(method.tag, {}), taught)
    return {name: _bytes(own) + _bytes(state.estimated.get(name, {})) for name, own in kept.items()}


def _bytes(tree: Any) -> int:
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))
