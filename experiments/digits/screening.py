"""Which of seven choices matter to a small network on digits?

Hypothesis: filters and batch normalization do (more than half a point of test accuracy each), the other five do not.
Sixteen of the 128 combinations, so chosen that no choice is confused with an interaction of two others (resolution IV);
every seed draws the same for all arms.
"""

from cnnjax import SGD, Digits, Experiment, FractionalFactorial, SmallCNN, Study

experiment = Experiment(
    model=SmallCNN(features=8, kernel_size=3, pool="max"),
    data=Digits(),
    optim=SGD(learning_rate=0.05),
    epochs=10,
)
design = FractionalFactorial(
    axes={
        "model.features": [8, 32],
        "model.kernel_size": [3, 5],
        "model.pool": ["max", "average"],
        "model.norm": ["none", "batch"],
        "model.activation": ["relu", "tanh"],
        "model.dense": [32, 128],
        "model.dropout": [0.0, 0.25],
    },
    resolution=4,
)
study = Study(experiment, design=design, seeds=5)
