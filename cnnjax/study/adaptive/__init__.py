"""Adaptive designs, one file each: which trials to run next is decided by the results of those before."""

from cnnjax.study.adaptive.adaptive import Adaptive, Candidates
from cnnjax.study.adaptive.asha import ASHA
from cnnjax.study.adaptive.halving import SuccessiveHalving
from cnnjax.study.adaptive.observation import Observation, Proposal
from cnnjax.study.adaptive.optuna_sampler import OptunaSampler
from cnnjax.study.adaptive.sequential_seeds import SequentialSeeds
