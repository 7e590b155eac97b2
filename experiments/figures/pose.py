"""Does the quarter-pixel shift matter to poses by heat maps, and more so where the maps are coarser?

Hypothesis: at a stride of 4 pixels it adds at least 2 points of mean OKS-AP, at a stride of 8 at least 5, for what is
lost by taking the middle of a place grows with the place; and it does not bring the coarse maps to the fine ones'
figure. The networks of both arms of a stride are the same: only how joints are read from maps differs.
"""

from cnnjax import (
    AdamW,
    BatchNorm,
    Experiment,
    Flip,
    Pose,
    RandomCrop,
    SimpleBaseline,
    SmallCNN,
    SquaredError,
    StickFigures,
    Study,
)

experiment = Experiment(
    model=SmallCNN(features=16, blocks=4, norm=BatchNorm()),
    data=StickFigures(size=64, examples=768),
    task=Pose(head=SimpleBaseline(layers=2, features=32), sigma=1.0),
    loss=SquaredError(),
    augment=(Flip(), RandomCrop()),
    optim=AdamW(learning_rate=0.003),
    epochs=10,
    batch_size=32,
    validation=0,
)
study = Study(experiment, axes={"task.shift": [0.25, 0.0], "task.head.layers": [2, 1]}, seeds=3)
