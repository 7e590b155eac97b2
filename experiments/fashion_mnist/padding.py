"""Is padding better than none, on Fashion-MNIST?

Hypothesis: yes: the clothes fill their images, and maps that shrink from 14 to 2 pixels lose what lies at the border.

At 14x14 pixels, with a fifth of the training images and 6 epochs. The last maps are averaged, so that both arms have
the same parameters. Command: `cnnjax sweep experiments/fashion_mnist/padding.py`
"""

from cnnjax import SGD, TFDS, Card, Claim, Cosine, Experiment, SmallCNN, Study

experiment = Experiment(
    model=SmallCNN(features=16, head="average", dense=32),
    data=TFDS(name="fashion_mnist", size=(14, 14)),
    optim=SGD(learning_rate=0.05, schedule=Cosine()),
    epochs=6,
    validation=1000,
    fraction=0.2,
)
study = Study(experiment, axes={"model.padding": ["same", "valid"]}, seeds=5)
card = Card(
    source="Lectures on convolutional networks: padding keeps the size of maps and what lies at their border",
    deviations=(),
    claims=(
        Claim(
            "Padding reads better than none",
            of={"model.padding": "same"},
            against={"model.padding": "valid"},
            expects="more",
            margin=0.005,
        ),
    ),
    needs="cpu",
)
