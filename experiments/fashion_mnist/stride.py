"""Can a stride of two replace pooling? (Hinton: that pooling works so well is a disaster.)

Hypothesis: nearly: a strided convolution has the parameters of one followed by max pooling and a third of its
multiply-accumulates, and reads Fashion-MNIST within a point of it.

At 14x14 pixels, with a fifth of the training images and 6 epochs. Command:
`cnnjax sweep experiments/fashion_mnist/stride.py`
"""

from cnnjax import SGD, TFDS, Card, Claim, Cosine, Experiment, SmallCNN, Study

experiment = Experiment(
    model=SmallCNN(features=8, head="average", dense=32),
    data=TFDS(name="fashion_mnist", size=(14, 14)),
    optim=SGD(learning_rate=0.05, schedule=Cosine()),
    epochs=6,
    validation=1000,
    fraction=0.2,
)
study = Study(experiment, axes={"model.pool": ["max", "stride"]}, seeds=5)
card = Card(
    source="Lectures on convolutional networks: a stride of two may take the place of pooling",
    deviations=(),
    claims=(
        Claim(
            "A stride of two reads as well as max pooling",
            of={"model.pool": "stride"},
            against={"model.pool": "max"},
            expects="same",
            margin=0.01,
        ),
    ),
    needs="cpu",
)
