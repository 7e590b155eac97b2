"""How much better is a network of four times the features, the teacher of `distillation.py`?

Hypothesis: it reads digits one point better, learned from the same 160 images.

    cnnjax train experiments/methods/teacher.py --out runs/teacher
"""

from few_digits import experiment as student

from cnnjax import Study
from cnnjax.config import replace

experiment = replace(student, {"model.features": 32})
study = Study(experiment, axes={"model.features": [32, 8]}, seeds=6)
