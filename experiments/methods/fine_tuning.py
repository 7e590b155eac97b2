"""What of a network that reads digits is worth keeping where it is to know clothing?

Hypothesis: digits are far from clothing: a probe of the frozen network is ten points worse than training from nothing,
and training all of it gains at most one point, whatever the rates of its layers.
The network is a run of `pretraining.py` in runs/pretraining.
"""

from clothing import experiment as afresh

from cnnjax import Study
from cnnjax.config import replace

experiment = replace(afresh, {"initial": "runs/pretraining"})
study = Study(
    experiment,
    axes={
        "initial": ["runs/pretraining", None],
        "optim.learning_rate": [0.3, 0.1],
        "optim.groups": [{}, "linear_probe", {"stem.*": {"frozen": True, "inference": True}}],
        "optim.layer_decay": [None, 0.75, 0.5],
    },
    combine="one_at_a_time",
    seeds=5,
)
