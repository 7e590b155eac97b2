"""Does a feature pyramid matter to a detector in one stage, at the same number of multiply-accumulates?

Hypothesis: yes, by at least 3 points of mean AP over the better of two single maps. Shapes are 8 to 24 pixels wide:
the map of stride 4 has places enough for the small ones and sees too little of the large ones, that of stride 8 the
reverse, and a pyramid has both; the wider backbone that the saved operations pay for does not bring that back.
"""

from cnnjax import AdamW, AnchorFree, BatchNorm, Detection, Experiment, Flip, Focal, Shapes, SmallCNN, Study

experiment = Experiment(
    model=SmallCNN(features=8, blocks=4, norm=BatchNorm()),
    data=Shapes(size=48, objects=3, radius=(4.0, 12.0), examples=512),
    task=Detection(head=AnchorFree(stride=4, levels=3, features=16, depth=1)),
    loss=Focal(),
    augment=(Flip(),),
    optim=AdamW(learning_rate=0.004),
    epochs=20,
    batch_size=16,
)
study = Study(
    experiment,
    axes={
        "task.head": [
            AnchorFree(stride=4, levels=3, features=16, depth=1),
            AnchorFree(stride=4, features=16, depth=1),
            AnchorFree(stride=8, features=16, depth=1),
        ]
    },
    seeds=3,
    match="macs",
)
