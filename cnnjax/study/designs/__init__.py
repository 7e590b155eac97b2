"""Designs: which combinations of its axes' values are the arms of a study. One file each."""

from cnnjax.study.designs.axes import Axes, changes_of, paths_of, values_of
from cnnjax.study.designs.design import Arm, Design
from cnnjax.study.designs.grid import Grid
from cnnjax.study.designs.one_at_a_time import OneAtATime

__all__ = ["Arm", "Axes", "Design", "Grid", "OneAtATime", "changes_of", "paths_of", "values_of"]
