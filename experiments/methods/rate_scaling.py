"""When the batch changes, should the learning rate change in proportion, or with the square root?

Hypothesis: from 32 to 16 and to 80 images a step, in the same 50 epochs, both rules stay within one point of the base.
"""

from few_digits import experiment

from cnnjax import Study
from cnnjax.config import replace

study = Study(
    replace(experiment, {"optim.per": 32}),
    axes={"batch_size": [32, 16, 80], "optim.scaling": ["linear", "square_root"]},
    seeds=6,
)
