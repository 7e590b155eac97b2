"""Do colours as classes stay colourful where the squared error turns them grey, at the same multiply-accumulates?

Each digit has a hue of its own, but three of ten images have the opposite one, which nothing in the image tells.
The squared error is least at the mean of both, 0.4 of the way from grey; the absolute error at the more frequent hue;
classes keep both, and their annealed mean is near to the more frequent one (Zhang et al. 2016, arXiv:1603.08511).

Hypothesis: the error of chroma is at least 3 units of L*a*b* lower with classes, and with the absolute error, than with
the squared error; PSNR, which is a squared error itself, is no higher.
"""

from cnnjax import (
    AbsoluteError,
    AdamW,
    BatchNorm,
    Colorization,
    Experiment,
    SoftmaxCrossEntropy,
    SquaredError,
    Study,
    TintedDigits,
    UNet,
)

experiment = Experiment(
    model=UNet(features=8, depth=2, norm=BatchNorm()),
    data=TintedDigits(opposite=0.3),
    task=Colorization(),
    loss=SquaredError(),
    optim=AdamW(learning_rate=0.01),
    epochs=15,
    batch_size=32,
)
study = Study(
    experiment, axes={"loss": [SquaredError(), AbsoluteError(), SoftmaxCrossEntropy()]}, seeds=3, match="macs"
)
