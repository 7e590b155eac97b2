"""Which loss should a box have, the smooth L1 of its numbers or the overlap itself, beside the loss of the class?

Hypothesis: at the same network and steps, the generalized IoU finds at least 5 points more objects (right class and IoU
of 0.5 or more) than smooth L1 at either weight, for it is nearly what is measured: an error of two pixels costs it more
of a small box than of a large one.
"""

from cnnjax import AdamW, Experiment, Flip, GIoU, Localization, Shapes, SmallCNN, SmoothL1, Study

experiment = Experiment(
    model=SmallCNN(features=8, blocks=3),
    data=Shapes(size=32, objects=1, radius=(5.0, 10.0), examples=2048, test_examples=512),
    task=Localization(),
    augment=(Flip(), Flip(direction="vertical")),
    optim=AdamW(learning_rate=0.003),
    epochs=6,
    batch_size=16,
)
study = Study(
    experiment,
    axes={"task.box_loss": [SmoothL1(beta=0.1), GIoU()], "task.box_weight": [1.0, 5.0]},
    seeds=4,
)
