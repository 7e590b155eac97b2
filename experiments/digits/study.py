"""Which matters most on small images: the number of filters, the size of the kernel, or the kind of pooling?

Hypothesis: accuracy grows with the number of filters and little else: a 3x3 kernel sees enough of an 8x8 digit, and
max and average pooling are within a seed's spread of each other.
"""

from cnnjax import SGD, Digits, Experiment, SmallCNN, Study

experiment = Experiment(
    model=SmallCNN(features=16, kernel_size=3, pool="max"),
    data=Digits(),
    optim=SGD(learning_rate=0.05),
    epochs=20,
)
study = Study(
    experiment,
    axes={
        "model.features": [8, 16, 32],
        "model.kernel_size": [3, 5],
        "model.pool": ["max", "average"],
    },
    seeds=3,
)
