"""Designs: which combinations of its axes' values are the arms of a study. One file each."""

from cnnjax.study.designs.axes import Axes, changes_of, paths_of, values_of
from cnnjax.study.designs.concatenation import Concatenation
from cnnjax.study.designs.design import Arm, Design
from cnnjax.study.designs.distribution import Distribution, Integers, LogIntegers, LogUniform, Uniform
from cnnjax.study.designs.fractional_factorial import FractionalFactorial
from cnnjax.study.designs.grid import Grid
from cnnjax.study.designs.latin_hypercube import LatinHypercube
from cnnjax.study.designs.listed import Listed
from cnnjax.study.designs.one_at_a_time import OneAtATime
from cnnjax.study.designs.product import Product
from cnnjax.study.designs.random import Random
from cnnjax.study.designs.sampling import combinations
from cnnjax.study.designs.sobol import Sobol
from cnnjax.study.designs.zip import Zip

__all__ = [
    "Arm",
    "Axes",
    "Concatenation",
    "Design",
    "Distribution",
    "FractionalFactorial",
    "Grid",
    "Integers",
    "LatinHypercube",
    "Listed",
    "LogIntegers",
    "LogUniform",
    "OneAtATime",
    "Product",
    "Random",
    "Sobol",
    "Uniform",
    "Zip",
    "changes_of",
    "combinations",
    "paths_of",
    "values_of",
]
