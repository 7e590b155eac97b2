"""What of a network that read MNIST is worth keeping where it is to read 160 other digits?

Hypothesis: starting there gains several points over starting from nothing; a probe of the frozen network comes close to
training all of it, and rates that fall with depth are between the two.
The network is a run of `pretraining.py` in runs/pretraining.
"""

from few_digits import experiment as afresh

from cnnjax import Study
from cnnjax.config import replace

experiment = replace(afresh, {"initial": "runs/pretraining", "optim.learning_rate": 0.1})
study = Study(
    experiment,
    axes={
        "initial": ["runs/pretraining", None],
        "optim.learning_rate": [0.1, 0.3, 0.03],
        "optim.groups": [{}, "linear_probe", {"stem.*": {"frozen": True, "inference": True}}],
        "optim.layer_decay": [None, 0.75, 0.5],
    },
    combine="one_at_a_time",
    seeds=5,
)
