"""On few images, what moves the accuracy more: which images they are, or the seed?

Hypothesis: the split does. Each fifth of the images is held out in turn, and of the rest 8, 16 or 32 of each class are
trained on, with five seeds each, by the network of `methods/few_digits.py`. The standard deviation of test accuracy
between folds, without the part that is the seeds', is larger than that between seeds within a fold, and the more so
the fewer the images.
"""

from cnnjax import SGD, CifarStem, Experiment, ResNet, Study

experiment = Experiment(
    model=ResNet(stage_sizes=(1, 1, 1), features=8, stem=CifarStem()),
    optim=SGD(learning_rate=0.3, weight_decay=5e-4),
    epochs=50,
    batch_size=32,
    folds=5,
    per_class=16,
)
study = Study(experiment, axes={"per_class": [8, 16, 32], "fold": [0, 1, 2, 3, 4]}, seeds=5)
