"""Does normalization help a network this small, and does it allow a learning rate that is too high without it?

Hypothesis: at a learning rate of 0.05 all kinds are alike; at 0.2 and 0.4 the network without normalization trains
worse or not at all, and those with it are little hurt ("batch norm speeds up training and allows sub-optimal starts").
"""

from cnnjax import SGD, Digits, Experiment, SmallCNN, Study

experiment = Experiment(
    model=SmallCNN(features=16, kernel_size=3, pool="max"), data=Digits(), optim=SGD(learning_rate=0.05), epochs=20
)
study = Study(
    experiment,
    axes={"model.norm": ["none", "batch", "group", "layer"], "optim.learning_rate": [0.05, 0.2, 0.4]},
    seeds=5,
)
