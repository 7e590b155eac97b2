"""Which optimizer trains a small residual network best, each at the best of three learning rates?

Hypothesis: after 50 epochs of a cosine schedule SGD with momentum, Adam's kin and Muon are within one point of each
other; those that scale whole layers (LARS, LAMB) gain nothing at a batch of 32.
"""

from few_digits import RATE, experiment

from cnnjax import (
    LAMB,
    LARS,
    SGD,
    Adafactor,
    Adam,
    AdamW,
    Constant,
    Lion,
    Muon,
    RMSProp,
    ScheduleFreeAdamW,
    ScheduleFreeSGD,
    Study,
)

RATES = {
    Adam: (1e-3, 3e-3, 1e-2),
    AdamW: (3e-3, 1e-2, 3e-2),
    RMSProp: (3e-4, 1e-3, 3e-3),
    LARS: (3.0, 10.0, 30.0),
    LAMB: (1e-2, 3e-2, 1e-1),
    Lion: (3e-4, 1e-3, 3e-3),
    Muon: (0.02, 0.06, 0.2),
    Adafactor: (0.01, 0.03, 0.1),
}
optimizers = [SGD(learning_rate=rate, weight_decay=5e-4) for rate in (RATE, RATE / 3, RATE * 3)]
optimizers += [optimizer(learning_rate=rate) for optimizer, rates in RATES.items() for rate in rates]
# What averages as it goes has a constant rate, after an epoch's rise.
steady = Constant(warmup=1)
optimizers += [ScheduleFreeSGD(learning_rate=rate, weight_decay=5e-4, schedule=steady) for rate in (1.0, 3.0, 10.0)]
optimizers += [ScheduleFreeAdamW(learning_rate=rate, schedule=steady) for rate in (3e-3, 1e-2, 3e-2)]

study = Study(experiment, axes={"optim": optimizers}, seeds=4)
