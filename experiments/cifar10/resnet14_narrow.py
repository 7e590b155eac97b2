"""How far does a ResNet-14 of half the published width get on CIFAR-10 within four epochs on a CPU?

Hypothesis: 64 to 70% of the test images. No source gives a figure for it: the seed 100, which is none of the five
below, had 66.9% of 5,000 validation images, and the band is that with 3 points either way for the spread of seeds
and of which 5,000 images they are. It was set before a test figure was seen.

He et al. 2015 (arXiv:1512.03385, section 4.2) train 6n + 2 layers of 16, 32 and 64 filters for 64,000 steps; here n is
2, there are 8, 16 and 32 filters, and 1,407 steps. The recipe at its full size is resnet20.py. This is as far as two
cores get in some minutes a seed, no reproduction of the paper.

Commands: `cnnjax sweep experiments/cifar10/resnet14_narrow.py`, `cnnjax reproduce cifar10/resnet14_narrow`
"""

from cnnjax import SGD, TFDS, Band, Card, CifarStem, Experiment, Flip, Machine, MultiStep, RandomCrop, ResNet, Study

experiment = Experiment(
    model=ResNet(stage_sizes=(2, 2, 2), features=8, stem=CifarStem(), shortcut="A"),
    data=TFDS(name="cifar10"),
    optim=SGD(
        learning_rate=0.1,
        momentum=0.9,
        nesterov=False,
        weight_decay=1e-4,
        decay_skips="nothing",
        schedule=MultiStep(milestones=(2.0, 3.0)),
    ),
    augment=(RandomCrop(padding=4), Flip()),
    epochs=4,
    batch_size=128,
    validation=5000,
)
study = Study(experiment, seeds=5)
card = Card(
    source="He et al. 2015, arXiv:1512.03385, section 4.2, shrunk",
    deviations=(
        "14 layers of 8, 16 and 32 filters; the paper's smallest network has 20 of 16, 32 and 64",
        "4 epochs, with the rate falling after 2 and 3, for the paper's 182, 91 and 136",
        "the mean and deviation of each channel are taken off, not the mean of each pixel",
        "the border of a crop is black, not the mean",
    ),
    band=Band(low=0.64, high=0.70, n=5),
    machines={"cpu": Machine(kind="cpu")},
    needs="cpu",
)
