"""Does normalization help a network this small, and does it allow a learning rate that is too high without it?

Hypothesis: at a learning rate of 0.05 all kinds are alike; at 0.2 and 0.4 the network without normalization trains
worse or not at all, and those with it are little hurt ("batch norm speeds up training and allows sub-optimal starts").
"""

from cnnjax import SGD, Card, Claim, Digits, Experiment, SmallCNN, Study

experiment = Experiment(
    model=SmallCNN(features=16, kernel_size=3, pool="max"), data=Digits(), optim=SGD(learning_rate=0.05), epochs=20
)
study = Study(
    experiment,
    axes={"model.norm": ["none", "batch", "group", "layer"], "optim.learning_rate": [0.05, 0.2, 0.4]},
    seeds=5,
)


def arm(norm: str, rate: float):
    return {"model.norm": norm, "optim.learning_rate": rate}


card = Card(
    source="Lectures on convolutional networks; Ioffe & Szegedy 2015, arXiv:1502.03167",
    deviations=(),
    claims=(
        Claim(
            "At a usual rate batch normalization changes nothing",
            of=arm("batch", 0.05),
            against=arm("none", 0.05),
            expects="same",
            margin=0.01,
        ),
        Claim(
            "Batch normalization allows a rate of 0.2",
            of=(arm("batch", 0.2), arm("none", 0.05)),
            against=(arm("batch", 0.05), arm("none", 0.2)),
            expects="more",
            margin=0.02,
        ),
        Claim(
            "Batch normalization allows a rate of 0.4",
            of=(arm("batch", 0.4), arm("none", 0.05)),
            against=(arm("batch", 0.05), arm("none", 0.4)),
            expects="more",
            margin=0.02,
        ),
    ),
    needs="cpu",
)
