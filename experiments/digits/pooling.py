"""Does max pooling beat average pooling, does a blurred one beat both, and does overlap help?

Hypothesis: the kinds differ by less than the spread over seeds, and overlapping windows (3 with stride 2) change
nothing that can be seen at this size. The maps are averaged before the dense layer, so that every arm has the same
parameters.
"""

from cnnjax import SGD, Card, Claim, Digits, Experiment, SmallCNN, Study

experiment = Experiment(
    model=SmallCNN(features=16, kernel_size=3, pool_strides=2, head="average"),
    data=Digits(),
    optim=SGD(learning_rate=0.05),
    epochs=20,
)
study = Study(experiment, axes={"model.pool": ["max", "average", "blur"], "model.pool_window": [2, 3]}, seeds=5)
card = Card(
    source="Lectures on convolutional networks: max, average and overlapping pooling",
    deviations=(),
    claims=(
        Claim(
            "Max pooling reads as well as average pooling",
            of={"model.pool": "max"},
            against={"model.pool": "average"},
            expects="same",
            margin=0.01,
        ),
        Claim(
            "Overlapping windows read as well as others",
            of={"model.pool_window": 3},
            against={"model.pool_window": 2},
            expects="same",
            margin=0.01,
        ),
    ),
    needs="cpu",
)
