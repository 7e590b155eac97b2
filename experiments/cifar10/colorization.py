"""Do colours as classes stay colourful on photographs where the squared error turns them grey, at the same cost?

CIFAR-10's images from their lightness. The squared error is least at the mean of all colours that a thing may have,
which is greyer than each; classes keep them apart, and their annealed mean is near to the likeliest (Zhang et al. 2016,
arXiv:1603.08511). A tenth of the images and squares of side 20 of the a*b* plane, so that an arm takes minutes
on two cores.

Hypothesis: the error of chroma is at least 1 unit of L*a*b* lower with classes, and the PSNR, which is a squared error
itself, is no higher.

Command: `cnnjax sweep experiments/cifar10/colorization.py`
"""

from cnnjax import (
    TFDS,
    AdamW,
    BatchNorm,
    Card,
    Claim,
    Colorization,
    Experiment,
    Machine,
    SoftmaxCrossEntropy,
    SquaredError,
    Study,
    UNet,
)

experiment = Experiment(
    model=UNet(features=8, depth=2, norm=BatchNorm()),
    data=TFDS(name="cifar10", train_split="train[:5000]", test_split="test[:1000]"),
    task=Colorization(grid=20.0),
    loss=SquaredError(),
    optim=AdamW(learning_rate=0.01),
    epochs=5,
    batch_size=32,
    validation=500,
)
study = Study(experiment, axes={"loss": [SquaredError(), SoftmaxCrossEntropy()]}, seeds=3, match="macs")
card = Card(
    source="Zhang et al. 2016, arXiv:1603.08511, section 2",
    deviations=(
        "CIFAR-10 at 32x32 pixels, a tenth of its images, and a U-Net of 28,000 parameters",
        "squares of side 20 of the a*b* plane for 10; no soft targets and no weights of rare colours",
    ),
    claims=(
        Claim(
            "Classes keep colours that the squared error turns grey",
            of={"loss": "softmax"},
            against={"loss": "squared"},
            metric="test_chroma_error",
            expects="less",
            margin=1.0,
        ),
    ),
    machines={"cpu": Machine(kind="cpu")},
    needs="cpu",
)
