"""How should the learning rate fall, and does warm-up help?

Hypothesis: any schedule that ends near 0 (cosine, linear, polynomial, one-cycle, three steps) beats a constant rate by
two points; among them the differences are below one. Warm-up does nothing at this rate.
"""

from clothing import experiment

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
    Cosine(warmup=2),
    CosineRestarts(first=5),
    Linear(),
    Polynomial(power=2.0),
    Exponential(factor=0.8, epochs=1),
    MultiStep(milestones=(10, 15, 18)),
    Step(at=(0.5, 0.75)),
    OneCycle(),
    PiecewiseLinear(knots=((0, 0.2), (5, 1), (20, 0))),
]
study = Study(experiment, axes={"optim.schedule": schedules}, seeds=5)
