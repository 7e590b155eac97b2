"""Are small kernels better than large ones?

Hypothesis: 3x3 and 5x5 read Fashion-MNIST alike, within a point, and 9x9, which is wider than the 7x7 maps of its
second layer, is no better than 3x3 for nine times its parameters.

Fashion-MNIST at 14x14 pixels, a fifth of its training images, 6 epochs. `kernel_size_matched.py` asks the same at equal
cost. Command: `cnnjax sweep experiments/fashion_mnist/kernel_size.py`
"""

from cnnjax import SGD, TFDS, Card, Claim, Cosine, Experiment, SmallCNN, Study

experiment = Experiment(
    model=SmallCNN(features=8, dense=32),
    data=TFDS(name="fashion_mnist", size=(14, 14)),
    optim=SGD(learning_rate=0.05, schedule=Cosine()),
    epochs=6,
    validation=1000,
    fraction=0.2,
)
study = Study(experiment, axes={"model.kernel_size": [3, 5, 7, 9]}, seeds=5)
three, five, nine = ({"model.kernel_size": size} for size in (3, 5, 9))
card = Card(
    source="Lectures on convolutional networks: 3x3 or 5x5 kernels rather than 9x9",
    deviations=(),
    claims=(
        Claim("3x3 kernels read better than 9x9", of=three, against=nine, expects="more", margin=0.005),
        Claim("3x3 and 5x5 kernels read alike", of=five, against=three, expects="same", margin=0.01),
    ),
    needs="cpu",
)
