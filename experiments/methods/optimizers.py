"""Which optimizer trains a small residual network best, each at the best of three learning rates?

Hypothesis: after 20 epochs of a cosine schedule SGD with momentum, Adam's kin and Muon are within one point of each
other; those that scale whole layers (LARS, LAMB) gain nothing at a batch of 64.
"""

from clothing import RATE, experiment

from cnnjax import (
    LAMB,
    LARS,
    SGD,
    Adafactor,
    Adam,
    AdamW,
    Lion,
    Muon,
    RMSProp,
    ScheduleFreeAdamW,
    ScheduleFreeSGD,
    Study,
)

RATES = {
    Adam: (1e-3, 3e-3, 1e-2),
    AdamW: (1e-3, 3e-3, 1e-2),
    RMSProp: (3e-4, 1e-3, 3e-3),
    LARS: (1.0, 3.0, 10.0),
    LAMB: (3e-3, 1e-2, 3e-2),
    Lion: (1e-4, 3e-4, 1e-3),
    Muon: (0.01, 0.02, 0.05),
    Adafactor: (3e-3, 1e-2, 3e-2),
    ScheduleFreeSGD: (0.3, 1.0, 3.0),
    ScheduleFreeAdamW: (1e-3, 3e-3, 1e-2),
}
optimizers = [SGD(learning_rate=rate, weight_decay=5e-4) for rate in (RATE, RATE / 3, RATE * 3)]
optimizers += [optimizer(learning_rate=rate) for optimizer, rates in RATES.items() for rate in rates]

study = Study(experiment, axes={"optim": optimizers}, seeds=5)
