"""What moves the accuracy of a small network more: which images it is trained on, or the seed?

Hypothesis: the split does. Each fifth of the training images is held out in turn, with five seeds each; the standard
deviation between folds, without the part that is the seeds', is larger than that between seeds within a fold.
"""

from cnnjax import SGD, Digits, Experiment, SmallCNN, Study

experiment = Experiment(
    model=SmallCNN(features=16, kernel_size=3, pool="max"),
    data=Digits(),
    optim=SGD(learning_rate=0.05),
    epochs=20,
    folds=5,
)
study = Study(experiment, axes={"fold": [0, 1, 2, 3, 4]}, seeds=5)
