"""Does RoIAlign matter to a detector in two stages, against RoI pooling, which rounds proposals to whole places?

Hypothesis: yes, by at least 2 points of mean AP, and more at an IoU of 0.75 than at 0.5: shapes are 8 to 24 pixels
wide and the map that they are cut out of has a place every 8, so that rounding moves a side by up to half of a small
shape, which the second stage cannot know. Both arms have the same parameters and layers.
"""

from cnnjax import (
    AdamW,
    BatchNorm,
    Detection,
    Experiment,
    FasterRCNN,
    Flip,
    Shapes,
    SmallCNN,
    SmoothL1,
    SoftmaxCrossEntropy,
    Study,
)

experiment = Experiment(
    model=SmallCNN(features=8, blocks=3, norm=BatchNorm()),
    data=Shapes(size=48, objects=3, radius=(4.0, 12.0), examples=512),
    task=Detection(
        head=FasterRCNN(stride=8, features=32, sizes=(1.5, 2.5), proposals=40, pooled=4),
        box_loss=SmoothL1(beta=0.11),
        overlap=0.5,
    ),
    loss=SoftmaxCrossEntropy(),
    augment=(Flip(),),
    optim=AdamW(learning_rate=0.004),
    epochs=20,
    batch_size=16,
)
study = Study(experiment, axes={"task.head.pooling": ["align", "max"]}, seeds=3)
