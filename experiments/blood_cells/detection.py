"""How well does a small detector find blood cells, and does the focal loss's gamma help?

The 364 smears of BCCD (Shenggan/BCCD_Dataset, MIT), an uncompressed tar of its folder BCCD/, with boxes of red and
white cells and platelets; two images with a box without area are left out. Its own lists are the parts. Images are
squashed to 96x128, on which a red cell is some 20 pixels wide and a platelet 8.

Hypothesis: AP at 0.5 of 60 to 75%, white cells above red ones, which overlap, and platelets last; gamma = 2 is better
than gamma = 0, the balanced cross-entropy, by at least 3 points.
"""

from cnnjax import AdamW, AnchorFree, BatchNorm, Detection, Experiment, Flip, Focal, SmallCNN, Study, Voc

experiment = Experiment(
    model=SmallCNN(features=8, blocks=4, norm=BatchNorm()),
    data=Voc(root="bccd.tar", classes=("RBC", "WBC", "Platelets"), size=(96, 128), fit="squash", on_broken="skip"),
    task=Detection(head=AnchorFree(stride=4, levels=3, features=16, depth=1)),
    loss=Focal(),
    augment=(Flip(), Flip(direction="vertical")),
    optim=AdamW(learning_rate=0.004),
    epochs=30,
    batch_size=16,
)
study = Study(experiment, axes={"loss.gamma": [2.0, 0.0]}, seeds=3)
