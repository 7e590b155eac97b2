"""Is padding better than none, on MNIST?

Hypothesis: no: the border of a digit's image is empty, so that nothing is lost that padding would keep.

At 14x14 pixels, with 3,000 training images and 15 epochs. The last maps are averaged, so that both arms have the same
parameters. The rate and its warm-up are the best of three for both arms by validation, seeds 100 to 102, since without
warm-up some seeds stay at chance. Command: `cnnjax sweep experiments/mnist/padding.py`
"""

from cnnjax import SGD, TFDS, Card, Claim, Cosine, Experiment, SmallCNN, Study

experiment = Experiment(
    model=SmallCNN(features=16, head="average", dense=32),
    data=TFDS(name="mnist", size=(14, 14)),
    optim=SGD(learning_rate=0.05, schedule=Cosine(warmup=2)),
    epochs=15,
    validation=1000,
    fraction=0.05,
)
study = Study(experiment, axes={"model.padding": ["same", "valid"]}, seeds=5)
card = Card(
    source="Lectures on convolutional networks: padding keeps the size of maps and what lies at their border",
    deviations=(),
    claims=(
        Claim(
            "Padding changes nothing where the border is empty",
            of={"model.padding": "same"},
            against={"model.padding": "valid"},
            expects="same",
            margin=0.005,
        ),
    ),
    needs="cpu",
)
