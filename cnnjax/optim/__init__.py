"""Optimizers, their learning-rate schedules, and groups of parameters, as configs that build optax transformations."""

from cnnjax.optim.adam import AdamW
from cnnjax.optim.decay_mask import is_decayed
from cnnjax.optim.groups import Group, check_groups, group_sizes
from cnnjax.optim.optim import Optim
from cnnjax.optim.schedules import (
    Constant,
    Cosine,
    CosineRestarts,
    Exponential,
    Linear,
    MultiStep,
    OneCycle,
    PiecewiseLinear,
    Polynomial,
    Schedule,
    Step,
    step_every,
)
from cnnjax.optim.sgd import SGD

__all__ = [
    "SGD",
    "AdamW",
    "Constant",
    "Cosine",
    "CosineRestarts",
    "Exponential",
    "Group",
    "Linear",
    "MultiStep",
    "OneCycle",
    "Optim",
    "PiecewiseLinear",
    "Polynomial",
    "Schedule",
    "Step",
    "check_groups",
    "group_sizes",
    "is_decayed",
    "step_every",
]
