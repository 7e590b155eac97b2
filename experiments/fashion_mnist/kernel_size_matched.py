"""Are small kernels better than large ones at the same number of multiply-accumulates?

Hypothesis: yes: with widths rescaled so that every arm costs what 3x3 costs, 9x9 is left with few filters and loses
more than half a point, and 5x5 loses too, by less than a point.

Fashion-MNIST at 14x14 pixels, a fifth of its training images, 6 epochs. Command:
`cnnjax sweep experiments/fashion_mnist/kernel_size_matched.py`
"""

from cnnjax import SGD, TFDS, Card, Claim, Cosine, Experiment, SmallCNN, Study

experiment = Experiment(
    model=SmallCNN(features=16, dense=64),
    data=TFDS(name="fashion_mnist", size=(14, 14)),
    optim=SGD(learning_rate=0.05, schedule=Cosine()),
    epochs=6,
    validation=1000,
    fraction=0.2,
)
study = Study(experiment, axes={"model.kernel_size": [3, 5, 7, 9]}, seeds=5, match="macs")
three, five, nine = ({"model.kernel_size": size} for size in (3, 5, 9))
card = Card(
    source="Lectures on convolutional networks: 3x3 or 5x5 kernels rather than 9x9",
    deviations=(),
    claims=(
        Claim("3x3 kernels read better than 9x9 at equal cost", of=three, against=nine, expects="more", margin=0.005),
        Claim("3x3 and 5x5 kernels read alike at equal cost", of=five, against=three, expects="same", margin=0.01),
    ),
    needs="cpu",
)
