"""Does max pooling beat average pooling, and do overlapping windows help?

Hypothesis: max pooling reads Fashion-MNIST half a point better or more; windows of 3 with a stride of 2, which AlexNet
has and which overlap, are within half a point of windows of 2.

At 14x14 pixels, with a fifth of the training images and 6 epochs. The last maps are averaged, so that all arms have the
same parameters. Command: `cnnjax sweep experiments/fashion_mnist/pooling.py`
"""

from cnnjax import SGD, TFDS, Card, Claim, Cosine, Experiment, SmallCNN, Study

experiment = Experiment(
    model=SmallCNN(features=8, pool_strides=2, head="average", dense=32),
    data=TFDS(name="fashion_mnist", size=(14, 14)),
    optim=SGD(learning_rate=0.05, schedule=Cosine()),
    epochs=6,
    validation=1000,
    fraction=0.2,
)
study = Study(experiment, axes={"model.pool": ["max", "average"], "model.pool_window": [2, 3]}, seeds=5)
card = Card(
    source="Lectures on convolutional networks: max pooling, average pooling and overlapping pooling",
    deviations=(),
    claims=(
        Claim(
            "Max pooling reads better than average pooling",
            of={"model.pool": "max"},
            against={"model.pool": "average"},
            expects="more",
            margin=0.005,
        ),
        Claim(
            "Overlapping windows read as well as others",
            of={"model.pool_window": 3},
            against={"model.pool_window": 2},
            expects="same",
            margin=0.005,
        ),
    ),
    needs="cpu",
)
