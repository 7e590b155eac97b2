"""Does a standard training of ResNet-18 with cutout reach its published accuracy on CIFAR-10?

Hypothesis: 95.7 to 96.3% as the mean of five seeds. Published: 96.01 ± 0.13% (five trainings), which the README of
KellerJordan/cifar10-airbench gives as that of standard trainings too (96.0%, 7 minutes on an A100, 32.3 PFLOP).
Without cutout: 95.28 ± 0.21%.

Source: DeVries & Taylor 2017 (arXiv:1708.04552), table 1, and uoguelph-mlrg/Cutout (commit 18ef608: train.py,
model/resnet.py). ResNet-18 with a 3x3 stem; 200 epochs of batches of 128; a rate of 0.1, divided by 5 after 60, 120
and 160 epochs; Nesterov momentum 0.9, weight decay 5e-4 on all parameters; shifts by up to 4 pixels, mirror images,
and a square of 16 pixels blotted out; all 50,000 images.

Hardware and time: 0.56G multiply-accumulates an image, 33 PFLOP in all.
Commands: `cnnjax train experiments/cifar10/resnet18.py --on gpu`, `cnnjax reproduce cifar10/resnet18`
"""

from cnnjax import (
    SGD,
    TFDS,
    Band,
    BatchNorm,
    Card,
    CifarStem,
    Cutout,
    Experiment,
    Flip,
    Machine,
    MultiStep,
    Published,
    RandomCrop,
    ResNet,
    Study,
    VarianceScaling,
)

MEAN = (125.3 / 255, 123.0 / 255, 113.9 / 255)

experiment = Experiment(
    model=ResNet(stage_sizes=(2, 2, 2, 2), features=64, stem=CifarStem(), norm=BatchNorm(running_variance="unbiased")),
    data=TFDS(name="cifar10", mean=MEAN, std=(63.0 / 255, 62.1 / 255, 66.7 / 255)),
    initialization=VarianceScaling(fan="in", gain=3**-0.5, distribution="uniform"),
    optim=SGD(
        learning_rate=0.1,
        per=128,
        momentum=0.9,
        nesterov=True,
        weight_decay=5e-4,
        decay_skips="nothing",
        schedule=MultiStep(milestones=(60.0, 120.0, 160.0), factor=0.2),
    ),
    augment=(RandomCrop(padding=4), Flip(), Cutout(size=16, fill=MEAN)),
    epochs=200,
    batch_size=128,
    validation=0,
)
study = Study(experiment, seeds=5)
card = Card(
    source="DeVries & Taylor 2017, arXiv:1708.04552, table 1; uoguelph-mlrg/Cutout, commit 18ef608",
    published=(Published(mean=0.9601, sd=0.0013, n=5),),
    band=Band(low=0.957, high=0.963, n=5),
    deviations=(
        "Epochs lie end to end in whole batches, 390.6 in each; the source has 391, the last one smaller.",
        "Biases of the dense layer start at 0; PyTorch's are uniform up to 1 / sqrt(512).",
        "Scales of normalization start at 1; those of the source's PyTorch 0.2 are uniform from 0 to 1.",
    ),
    machines={"gpu": Machine(kind="a100", hours=0.12), "tpu": Machine(kind="tpu-v3")},
)
