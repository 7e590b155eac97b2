"""Does a skip connection matter to a U-Net, at the same number of multiply-accumulates?

Hypothesis: yes, by at least 5 points of mean IoU. Without skip connections the way up has only what was halved three
times, so that it must guess where a shape ends; the wider layers that the saved operations pay for do not bring that
back.
"""

from cnnjax import AdamW, BatchNorm, Experiment, Segmentation, Shapes, Study, UNet

experiment = Experiment(
    model=UNet(features=8, depth=3, norm=BatchNorm()),
    data=Shapes(),
    task=Segmentation(),
    optim=AdamW(learning_rate=0.01),
    epochs=10,
    batch_size=16,
)
study = Study(experiment, axes={"model.skip": [True, False]}, seeds=5, match="macs")
