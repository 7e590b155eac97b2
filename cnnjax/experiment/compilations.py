"""What one program is compiled to: the functions of a training, each once for all its seeds and lanes."""

from __future__ import annotations

from cnnjax.experiment.experiment import Experiment
from cnnjax.training.evaluated import of_others
from cnnjax.training.state import TrainState


def compilations_of(experiment: Experiment, state: TrainState, steps: int) -> int:
    """How many functions are compiled for the trials of an experiment's program that train one by one.

    The first state, a training step for each size of images (`steps`), and the evaluation; where there are such, the
    fitting of the first weights, weights that are evaluated in the place of the trained ones, and their statistics.
    """
    first = experiment.initialization
    fitted = first is not None and (first.fits or first.fits_images)
    others = of_others(experiment.methods, experiment.optim)
    return 2 + steps + fitted + len(others) + len(state.estimated)
