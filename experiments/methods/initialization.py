"""Does it matter where a network starts, with batch normalization and without?

Hypothesis: with batch normalization all that keep variances (He, Glorot, LeCun, orthogonal, LSUV) are within one point
of each other, and even small fixed deviations train. Without it a deviation of 0.01 does not train at all.
"""

from few_digits import experiment

from cnnjax import BatchNorm, FixedStd, NoNorm, Study

starts = [None, "he_fan_out", "glorot_uniform", "lecun_normal", FixedStd(std=0.01), "orthogonal", "lsuv"]
study = Study(experiment, axes={"initialization": starts, "model.norm": [BatchNorm(), NoNorm()]}, seeds=5)
