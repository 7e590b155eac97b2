"""How well does a small network read handwritten digits?

Hypothesis: two 3x3 convolutions with max pooling and one hidden layer reach 98% of 8x8 digits within 20 epochs.
"""

from cnnjax import SGD, Band, Card, Digits, Experiment, Machine, SmallCNN, Study

experiment = Experiment(
    model=SmallCNN(features=16, kernel_size=3, pool="max"),
    data=Digits(),
    optim=SGD(learning_rate=0.05),
    epochs=20,
)
study = Study(experiment, seeds=5)
card = Card(
    source="No source publishes a figure for this split: the band is the hypothesis",
    deviations=(),
    band=Band(low=0.98, n=5),
    machines={"cpu": Machine(kind="cpu")},
    needs="cpu",
)
