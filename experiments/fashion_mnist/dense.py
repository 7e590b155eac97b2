"""Is a convolutional network better than a dense one of as many parameters?

Hypothesis: yes, by more than a point: 6,218 parameters in two convolutions and two dense layers against 6,220 in two
dense layers, whose hidden layer has 30 units.

Fashion-MNIST at 14x14 pixels, with a fifth of the training images and 6 epochs. The convolutional network takes 12
times the multiply-accumulates. Command: `cnnjax sweep experiments/fashion_mnist/dense.py`
"""

from cnnjax import SGD, TFDS, Activation, Card, Claim, ConvNet, Cosine, Dense, Experiment, Flatten, SmallCNN, Study

convolutional = SmallCNN(features=8, dense=32)
dense = ConvNet(
    layers={"flatten": Flatten(), "dense": Dense(features=30), "activation": Activation(), "logits": Dense()}
)
experiment = Experiment(
    model=convolutional,
    data=TFDS(name="fashion_mnist", size=(14, 14)),
    optim=SGD(learning_rate=0.05, schedule=Cosine()),
    epochs=6,
    validation=1000,
    fraction=0.2,
)
study = Study(experiment, axes={"model": [convolutional, dense]}, seeds=5)
card = Card(
    source="Lectures on convolutional networks: shared local weights instead of dense ones",
    deviations=(),
    claims=(
        Claim(
            "Convolutions read better than dense layers of as many parameters",
            of={"model": convolutional},
            against={"model": dense},
            expects="more",
            margin=0.01,
        ),
    ),
    needs="cpu",
)
