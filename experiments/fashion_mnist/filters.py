"""How many filters are enough? ("We don't know; try" is the lectures' answer.)

Hypothesis: each doubling of the filters helps, by less and less: from 4 to 8 more than a point, from 16 to 32 less.

Fashion-MNIST at 14x14 pixels, a fifth of its training images, 6 epochs: a trial takes seconds on two idle cores, and
leaves more room between arms than MNIST, where all read above 99%. The rate suits the base (8 filters) by validation.
Command: `cnnjax sweep experiments/fashion_mnist/filters.py`
"""

from typing import Any

from cnnjax import SGD, TFDS, Card, Claim, Cosine, Experiment, SmallCNN, Study

experiment = Experiment(
    model=SmallCNN(features=8, dense=32),
    data=TFDS(name="fashion_mnist", size=(14, 14)),
    optim=SGD(learning_rate=0.05, schedule=Cosine()),
    epochs=6,
    validation=1000,
    fraction=0.2,
)
study = Study(experiment, axes={"model.features": [4, 8, 16, 32]}, seeds=5)


def doubled(fewer: int, text: str, **expected: Any) -> Claim:
    return Claim(text, of={"model.features": 2 * fewer}, against={"model.features": fewer}, **expected)


card = Card(
    source="Lectures on convolutional networks: the number of filters is to be tried",
    deviations=(),
    claims=(
        doubled(4, "8 filters read better than 4", expects="more", margin=0.005),
        doubled(8, "16 filters read better than 8", expects="more", margin=0.005),
        doubled(16, "32 filters read as well as 16", expects="same", margin=0.01),
    ),
    needs="cpu",
)
