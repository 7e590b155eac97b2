"""Optimizers, their learning-rate schedules, and groups of parameters, as configs that build optax transformations."""

from cnnjax.optim.adafactor import Adafactor
from cnnjax.optim.adam import Adam, AdamW
from cnnjax.optim.decay_mask import is_decayed
from cnnjax.optim.groups import Group, check_groups, group_sizes, linear_probe
from cnnjax.optim.layerwise import LAMB, LARS
from cnnjax.optim.lion import Lion
from cnnjax.optim.muon import Muon
from cnnjax.optim.optim import Optim
from cnnjax.optim.rmsprop import RMSProp
from cnnjax.optim.schedule_free import ScheduleFreeAdamW, ScheduleFreeSGD
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
    "LAMB",
    "LARS",
    "SGD",
    "Adafactor",
    "Adam",
    "AdamW",
    "Constant",
    "Cosine",
    "CosineRestarts",
    "Exponential",
    "Group",
    "Linear",
    "Lion",
    "MultiStep",
    "Muon",
    "OneCycle",
    "Optim",
    "PiecewiseLinear",
    "Polynomial",
    "RMSProp",
    "Schedule",
    "ScheduleFreeAdamW",
    "ScheduleFreeSGD",
    "Step",
    "check_groups",
    "group_sizes",
    "is_decayed",
    "linear_probe",
    "step_every",
]
