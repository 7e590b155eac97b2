"""At what learning rate does a narrow residual network learn to read from 160 handwritten digits?

Hypothesis: SGD with momentum is flat around 0.3: a third of it and three times as much cost less than one point each.

The experiment that the others in this folder start from: scikit-learn's digits, 8x8 pixels, 16 images of each class to
train on, 400 to choose by and 359 to test; three residual blocks of 8, 16 and 32 features, 50 epochs. `RATE` is what
this study chose by validation. A trial takes a second or two.
"""

from cnnjax import SGD, CifarStem, Experiment, ResNet, Study

RATE = 0.3

experiment = Experiment(
    model=ResNet(stage_sizes=(1, 1, 1), features=8, stem=CifarStem()),
    optim=SGD(learning_rate=RATE, weight_decay=5e-4),
    epochs=50,
    batch_size=32,
    validation=400,
    per_class=16,
)
study = Study(experiment, axes={"optim.learning_rate": [0.3, 0.03, 0.1, 1.0]}, seeds=10)
