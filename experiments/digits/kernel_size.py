"""Do large kernels see more than small ones, or only cost more?

Hypothesis: on 8x8 digits 3x3 and 5x5 do as well as 7x7, and a 1x1 kernel, which cannot see a shape before pooling, is
clearly worse. Larger kernels also have more parameters, so the comparison favours them.
"""

from cnnjax import SGD, Card, Claim, Digits, Experiment, SmallCNN, Study

experiment = Experiment(
    model=SmallCNN(features=16, pool="max"), data=Digits(), optim=SGD(learning_rate=0.05), epochs=20
)
study = Study(experiment, axes={"model.kernel_size": [1, 3, 5, 7]}, seeds=5)
one, three, five, seven = ({"model.kernel_size": size} for size in (1, 3, 5, 7))
card = Card(
    source="Lectures on convolutional networks: 3x3 or 5x5 kernels rather than larger ones",
    deviations=(),
    claims=(
        Claim("1x1 kernels read worse than 3x3", of=one, against=three, expects="less", margin=0.01),
        Claim("5x5 kernels read as well as 3x3", of=five, against=three, expects="same", margin=0.01),
        Claim("7x7 kernels read as well as 3x3", of=seven, against=three, expects="same", margin=0.01),
    ),
    needs="cpu",
)
