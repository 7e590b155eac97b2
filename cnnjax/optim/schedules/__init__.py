"""Learning-rate schedules as configs that build optax schedules."""

from cnnjax.optim.schedules.cosine import Cosine, CosineRestarts
from cnnjax.optim.schedules.lines import Constant, Linear, PiecewiseLinear, Polynomial
from cnnjax.optim.schedules.one_cycle import OneCycle
from cnnjax.optim.schedules.schedule import Schedule
from cnnjax.optim.schedules.steps import Exponential, MultiStep, Step, step_every

__all__ = [
    "Constant",
    "Cosine",
    "CosineRestarts",
    "Exponential",
    "Linear",
    "MultiStep",
    "OneCycle",
    "PiecewiseLinear",
    "Polynomial",
    "Schedule",
    "Step",
    "step_every",
]
