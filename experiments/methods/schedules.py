"""How should the learning rate fall, and does warm-up help?

Hypothesis: any schedule that ends near 0 (cosine, linear, polynomial, one-cycle, three steps) beats a constant rate by
two points; among them the differences are below one. Warm-up does nothing at this rate.
"""

from few_digits import experiment

from cnnjax import (
    Constant,
    Cosine,
    CosineRestarts,
    Exponential,
    Linear,
    MultiStep,
    OneCycle,
    PiecewiseLinear,
    Polynomial,
    Step,
    Study,
)

schedules = [
    Cosine(),
    Constant(),
    Cosine(warmup=5),
    CosineRestarts(first=10),
    Linear(),
    Polynomial(power=2.0),
    Exponential(factor=0.92, epochs=1),
    MultiStep(milestones=(25, 38, 45)),
    Step(at=(0.5, 0.75)),
    OneCycle(),
    PiecewiseLinear(knots=((0, 0.2), (10, 1), (50, 0))),
]
study = Study(experiment, axes={"optim.schedule": schedules}, seeds=6)
