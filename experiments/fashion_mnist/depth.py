"""Are deeper networks better, and only with shortcuts?

Hypothesis: with shortcuts 21 convolutions read better than 5, by half a point or more; without them (a plain network
of the same layers) depth costs a point or more, since it is harder to train (He et al. 2016, section 1).

Fashion-MNIST at 14x14 pixels, a tenth of the training images and 6 epochs; two stages of 8 and 16 features, with 1 or 5
blocks each. Command: `cnnjax sweep experiments/fashion_mnist/depth.py`
"""

from cnnjax import SGD, TFDS, Card, CifarStem, Claim, Cosine, Experiment, ResNet, Study

experiment = Experiment(
    model=ResNet(stage_sizes=(1, 1), features=8, stem=CifarStem()),
    data=TFDS(name="fashion_mnist", size=(14, 14)),
    optim=SGD(learning_rate=0.1, schedule=Cosine()),
    epochs=6,
    validation=1000,
    fraction=0.1,
)
study = Study(experiment, axes={"model.stage_sizes": [(1, 1), (5, 5)], "model.shortcut": ["B", "none"]}, seeds=5)


def arm(blocks: int, shortcut: str):
    return {"model.stage_sizes": (blocks, blocks), "model.shortcut": shortcut}


card = Card(
    source="Lectures on convolutional networks: from AlexNet's 8 layers to ResNet's 152; He et al. 2016, "
    "arXiv:1512.03385",
    deviations=(),
    claims=(
        Claim(
            "With shortcuts a deeper network reads better",
            of=arm(5, "B"),
            against=arm(1, "B"),
            expects="more",
            margin=0.005,
        ),
        Claim(
            "Without shortcuts a deeper network reads worse",
            of=arm(5, "none"),
            against=arm(1, "none"),
            expects="less",
            margin=0.01,
        ),
        Claim(
            "Shortcuts do more for a deep network than for a shallow one",
            of=(arm(5, "B"), arm(1, "none")),
            against=(arm(5, "none"), arm(1, "B")),
            expects="more",
            margin=0.01,
        ),
    ),
    needs="cpu",
)
