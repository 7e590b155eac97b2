"""Training methods: what may be put around every step, one file a method."""

from cnnjax.training.methods.distillation import Distillation
from cnnjax.training.methods.ema import EMA
from cnnjax.training.methods.lookahead import Lookahead
from cnnjax.training.methods.method import Method
from cnnjax.training.methods.sam import SAM
from cnnjax.training.methods.swa import SWA

__all__ = ["EMA", "SAM", "SWA", "Distillation", "Lookahead", "Method"]
