"""Does ResNet-32 reach its published accuracy on CIFAR-10?

Hypothesis: 91.7 to 93.3% as the mean of five seeds. Published: 92.49%; 0.8 points either way are what implementations
of it differ by.

Source: He, Zhang, Ren & Sun 2015 (arXiv:1512.03385), section 4.2 and table 6. 5 blocks a stage, shortcuts without
parameters; 64,000 steps of 128 images, a rate of 0.1 divided by 10 after 32,000 and 48,000. Weight decay 1e-4,
momentum 0.9; batch statistics of 64 images, as on each of its two GPUs; shifts by up to 4 pixels, and mirror images;
45,000 images to train on, 5,000 to choose by. akamaster/pytorch_resnet_cifar10 (commit d5489e8) has 92.63%, of all
50,000 images and the best epoch by test images: neither is done here.

Hardware and time: two GPUs in the source; 69M multiply-accumulates an image, 3.4 PFLOP in all.
Commands: `cnnjax train experiments/cifar10/resnet32.py --on gpu`, `cnnjax reproduce cifar10/resnet32`
"""

from cnnjax import (
    SGD,
    TFDS,
    Band,
    BatchNorm,
    Card,
    CifarStem,
    Experiment,
    Flip,
    Machine,
    Published,
    RandomCrop,
    ResNet,
    Step,
    Study,
    VarianceScaling,
)

experiment = Experiment(
    model=ResNet(stage_sizes=(5, 5, 5), features=16, stem=CifarStem(), shortcut="A", norm=BatchNorm(group=64)),
    data=TFDS(name="cifar10"),
    initialization=VarianceScaling(fan="in", gain=2**0.5),
    optim=SGD(
        learning_rate=0.1,
        momentum=0.9,
        nesterov=False,
        weight_decay=1e-4,
        decay_skips="nothing",
        schedule=Step(at=(0.5, 0.75)),
    ),
    augment=(RandomCrop(padding=4), Flip()),
    steps=64_000,
    batch_size=128,
    validation=5000,
)
study = Study(experiment, seeds=5)
card = Card(
    source="He et al. 2015, arXiv:1512.03385, section 4.2, table 6",
    published=(Published(mean=0.9249),),
    band=Band(low=0.917, high=0.933, n=5),
    deviations=(
        "The mean of each channel is taken off and its deviation divided by, not the mean of each pixel taken off.",
        "The border of a crop is black, not the mean.",
    ),
    machines={"gpu": Machine(kind="a100"), "tpu": Machine(kind="tpu-v3")},
)
