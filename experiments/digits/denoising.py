"""Does a skip connection help to take noise away, at the same multiply-accumulates?

Hypothesis: yes, by at least 1 dB of PSNR at little noise (0.1), where most of the image can be passed on as it is; at
much noise (0.5) by less than 1 dB, for what is passed on is noise.
"""

from cnnjax import AdamW, BatchNorm, Digits, Experiment, Reconstruction, SquaredError, Study, UNet

experiment = Experiment(
    model=UNet(features=8, depth=2, convolutions=1, norm=BatchNorm()),
    data=Digits(),
    task=Reconstruction(noise=0.1),
    loss=SquaredError(),
    optim=AdamW(learning_rate=0.01),
    epochs=15,
    batch_size=64,
)
study = Study(experiment, axes={"model.skip": [True, False], "task.noise": [0.1, 0.5]}, seeds=3, match="macs")
