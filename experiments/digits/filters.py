"""How many filters are enough? ("We don't know; try" is the usual answer.)

Hypothesis: accuracy rises with the logarithm of the number of filters and levels off well before 64.
"""

from cnnjax import SGD, Card, Claim, Digits, Experiment, SmallCNN, Study

experiment = Experiment(
    model=SmallCNN(kernel_size=3, pool="max"), data=Digits(), optim=SGD(learning_rate=0.05), epochs=20
)
study = Study(experiment, axes={"model.features": [2, 4, 8, 16, 32, 64]}, seeds=5)
card = Card(
    source="Lectures on convolutional networks: the number of filters is to be tried",
    deviations=(),
    claims=(
        Claim(
            "16 filters read better than 4",
            of={"model.features": 16},
            against={"model.features": 4},
            expects="more",
            margin=0.01,
        ),
        Claim(
            "64 filters read as well as 16",
            of={"model.features": 64},
            against={"model.features": 16},
            expects="same",
            margin=0.01,
        ),
    ),
    needs="cpu",
)
