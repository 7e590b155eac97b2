"""How many filters are enough? ("We don't know; try" is the usual answer.)

Hypothesis: accuracy rises with the logarithm of the number of filters and levels off well before 64.
"""

from cnnjax import SGD, Digits, Experiment, SmallCNN, Study

experiment = Experiment(
    model=SmallCNN(kernel_size=3, pool="max"), data=Digits(), optim=SGD(learning_rate=0.05), epochs=20
)
study = Study(experiment, axes={"model.features": [2, 4, 8, 16, 32, 64]}, seeds=5)
