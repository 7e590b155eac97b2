"""How well does the network read 10,000 handwritten digits, where `fine_tuning.py` starts?

Hypothesis: five epochs suffice for 97% of MNIST's test part, at 14x14 pixels.

    cnnjax train experiments/methods/pretraining.py --out runs/pretraining
"""

from clothing import experiment as clothing

from cnnjax.config import replace

experiment = replace(clothing, {"data.name": "mnist", "per_class": 1000, "epochs": 5})
