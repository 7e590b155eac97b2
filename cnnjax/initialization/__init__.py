"""Initial weights by name, as configs: what kernels start as in the place of each layer's own choice."""

from cnnjax.initialization.by_path import ByPath, Rule
from cnnjax.initialization.delta_orthogonal import DeltaOrthogonal
from cnnjax.initialization.fixed_std import FixedStd
from cnnjax.initialization.initialization import Initialization
from cnnjax.initialization.kernel import Kernel, kernels_of
from cnnjax.initialization.lsuv import LSUV
from cnnjax.initialization.orthogonal import Orthogonal
from cnnjax.initialization.variance_scaling import VarianceScaling
from cnnjax.initialization.whitening import Whitening

__all__ = [
    "LSUV",
    "ByPath",
    "DeltaOrthogonal",
    "FixedStd",
    "Initialization",
    "Kernel",
    "Orthogonal",
    "Rule",
    "VarianceScaling",
    "Whitening",
    "kernels_of",
]
