"""Do large kernels see more than small ones, or only cost more?

Hypothesis: on 8x8 digits 3x3 and 5x5 do as well as 7x7, and a 1x1 kernel, which cannot see a shape before pooling, is
clearly worse. Larger kernels also have more parameters, so the comparison favours them.
"""

from cnnjax import SGD, Digits, Experiment, SmallCNN, Study

experiment = Experiment(
    model=SmallCNN(features=16, pool="max"), data=Digits(), optim=SGD(learning_rate=0.05), epochs=20
)
study = Study(experiment, axes={"model.kernel_size": [1, 3, 5, 7]}, seeds=5)
