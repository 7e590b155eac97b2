"""Does batch normalization speed up training, allow sub-optimal starts, and regularize a little?

Hypothesis: three statements, each measured. Speed: from usual weights at a usual rate, validation accuracy after the
first of six epochs is at least a point higher. Sub-optimal starts: kernels that start with a standard deviation of 0.01
(AlexNet's, too small here), and a rate eight times as high, cost a network without normalization at least 2 points
more than one with it. Regularizes: the gap between training and test accuracy is half a point smaller with it.

Fashion-MNIST at 14x14 pixels, with a fifth of the training images. Training accuracy is that of the last epoch's
batches as they were trained on. Command: `cnnjax sweep experiments/fashion_mnist/batch_norm.py`
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
study = Study(
    experiment,
    axes={
        "model.norm": ["none", "batch"],
        "initialization": [None, "fixed_std"],
        "optim.learning_rate": [0.05, 0.4],
    },
    seeds=5,
)


def arm(norm: str, initialization: str | None = None, rate: float = 0.05):
    return {"model.norm": norm, "initialization": initialization, "optim.learning_rate": rate}


plain, normalized = arm("none"), arm("batch")
card = Card(
    source="Lectures on convolutional networks; Ioffe & Szegedy 2015, arXiv:1502.03167, section 3",
    deviations=(),
    claims=(
        Claim(
            "Batch normalization speeds up training",
            of=normalized,
            against=plain,
            expects="more",
            margin=0.01,
            metric="validation_accuracy",
            epoch=1,
        ),
        Claim(
            "Batch normalization allows weights that start too small",
            of=(arm("batch", "fixed_std"), plain),
            against=(normalized, arm("none", "fixed_std")),
            expects="more",
            margin=0.02,
        ),
        Claim(
            "Batch normalization allows a rate that is too high",
            of=(arm("batch", rate=0.4), plain),
            against=(normalized, arm("none", rate=0.4)),
            expects="more",
            margin=0.02,
        ),
        Claim(
            "Batch normalization regularizes a little: a smaller gap between training and test accuracy",
            of=normalized,
            against=plain,
            expects="less",
            margin=0.005,
            metric="train_accuracy",
            less="test_accuracy",
        ),
    ),
    needs="cpu",
)
