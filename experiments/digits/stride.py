"""Can a stride of two replace pooling?

Hypothesis: a strided convolution is within a seed's spread of pooling at the same number of parameters, and costs a
quarter of the MACs, since it never computes the outputs that pooling throws away.
"""

from cnnjax import SGD, Card, Claim, Digits, Experiment, SmallCNN, Study

experiment = Experiment(
    model=SmallCNN(features=16, kernel_size=3), data=Digits(), optim=SGD(learning_rate=0.05), epochs=20
)
study = Study(experiment, axes={"model.pool": ["max", "average", "stride"]}, seeds=5)
card = Card(
    source="Lectures on convolutional networks: a stride of two may take the place of pooling",
    deviations=(),
    claims=(
        Claim(
            "A stride of two reads as well as max pooling",
            of={"model.pool": "stride"},
            against={"model.pool": "max"},
            expects="same",
            margin=0.01,
        ),
    ),
    needs="cpu",
)
