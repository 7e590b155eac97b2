"""How well does the network read 10,000 digits of MNIST at 8x8 pixels, where `fine_tuning.py` starts?

Hypothesis: five epochs suffice for 95% of MNIST's test part.

    cnnjax train experiments/methods/pretraining.py --out runs/pretraining
"""

from few_digits import experiment as digits

from cnnjax import TFDS
from cnnjax.config import replace

data = TFDS(name="mnist", size=(8, 8))
experiment = replace(
    digits, {"data": data, "validation": 1000, "per_class": 1000, "epochs": 5, "optim.learning_rate": 0.1}
)
