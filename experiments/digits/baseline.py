"""How well does a small network read handwritten digits?

Hypothesis: two 3x3 convolutions with max pooling and one hidden layer reach 98% of 8x8 digits within 20 epochs.
"""

from cnnjax import SGD, Digits, Experiment, SmallCNN

experiment = Experiment(
    model=SmallCNN(features=16, kernel_size=3, pool="max"),
    data=Digits(),
    optim=SGD(learning_rate=0.05),
    epochs=20,
)
