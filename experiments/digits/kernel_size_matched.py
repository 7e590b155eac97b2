"""Do large kernels see more than small ones, at the same number of multiply-accumulates?

Hypothesis: the advantage of 5x5 over 3x3 in `kernel_size.py`, if there is one, is the bigger network's. With the widths
rescaled so that every arm costs what 3x3 costs, 3x3 is at least as good as 5x5, and 7x7, left with few filters, is
worse than both.
"""

from cnnjax import SGD, Card, Claim, Digits, Experiment, SmallCNN, Study

experiment = Experiment(
    model=SmallCNN(features=16, pool="max"), data=Digits(), optim=SGD(learning_rate=0.05), epochs=20
)
study = Study(experiment, axes={"model.kernel_size": [3, 5, 7]}, seeds=10, match="macs")
three, five, seven = ({"model.kernel_size": size} for size in (3, 5, 7))
card = Card(
    source="Lectures on convolutional networks: 3x3 or 5x5 kernels rather than larger ones",
    deviations=(),
    claims=(
        Claim("At equal cost 7x7 kernels read worse than 3x3", of=seven, against=three, expects="less", margin=0.01),
        Claim("At equal cost 7x7 kernels read worse than 5x5", of=seven, against=five, expects="less", margin=0.01),
    ),
    needs="cpu",
)
