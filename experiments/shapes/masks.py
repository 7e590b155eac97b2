"""Does RoIAlign matter to masks of objects, against RoI pooling, which rounds proposals to whole places?

Hypothesis: yes, by at least 5 points of mask AP, and by more than it matters to boxes (two_stage.py), since a mask that
is a place off is wrong along its whole outline: He et al. 2017 (arXiv:1703.06870, table 2c) report 3 points on COCO.
Shapes are 8 to 24 pixels wide, the map that they are cut out of has a place every 8. Both arms have the same parameters
and layers.
"""

from cnnjax import (
    AdamW,
    BatchNorm,
    Detection,
    Experiment,
    Flip,
    MaskRCNN,
    Shapes,
    SmallCNN,
    SmoothL1,
    SoftmaxCrossEntropy,
    Study,
)

experiment = Experiment(
    model=SmallCNN(features=8, blocks=3, norm=BatchNorm()),
    data=Shapes(size=48, objects=3, radius=(4.0, 12.0), examples=512, masks=True),
    task=Detection(
        head=MaskRCNN(
            stride=8,
            features=32,
            sizes=(1.5, 2.5),
            proposals=40,
            pooled=4,
            mask_pooled=7,
            mask_depth=2,
            mask_features=32,
        ),
        box_loss=SmoothL1(beta=0.11),
        most=20,
        overlap=0.5,
    ),
    loss=SoftmaxCrossEntropy(),
    augment=(Flip(),),
    optim=AdamW(learning_rate=0.004),
    epochs=20,
    batch_size=16,
)
study = Study(experiment, axes={"task.head.pooling": ["align", "max"]}, seeds=3)
