"""Do larger kernels help ResNet-20 on CIFAR-10, at the same multiply-accumulates?

Hypothesis: no: 3x3 is best; 5x5, 7x7 and 9x9 lose a point or more, for they leave a third to a ninth of the filters.

Filters are rescaled until all arms cost what 3x3 does. ResNet-20's training of 64,000 steps (resnet20.py) shortened
to 60 epochs and 21,094 steps of a cosine; 45,000 images to train on, 5,000 to choose by.

Hardware and time: one accelerator; how long is not known. Four arms of 41M multiply-accumulates an image, five seeds
each: 13 PFLOP in all.
Command: `cnnjax sweep experiments/cifar10/ablations/kernel_size.py --on gpu`
"""

from cnnjax import SGD, TFDS, Card, CifarStem, Claim, Cosine, Experiment, Flip, Machine, RandomCrop, ResNet, Study

experiment = Experiment(
    model=ResNet(stage_sizes=(3, 3, 3), features=16, stem=CifarStem(), shortcut="A"),
    data=TFDS(name="cifar10"),
    optim=SGD(learning_rate=0.1, weight_decay=5e-4, schedule=Cosine(warmup=1)),
    augment=(RandomCrop(padding=4), Flip()),
    epochs=60,
    batch_size=128,
    validation=5000,
)
study = Study(experiment, axes={"model.kernel_size": [3, 5, 7, 9]}, match="macs", seeds=5)
card = Card(
    source="He et al. 2015, arXiv:1512.03385, section 4.2, ResNet-20 as the base",
    deviations=("60 epochs of a cosine, where the source has 64,000 steps that fall twice.",),
    claims=(
        Claim(
            "3x3 is better than 5x5 at equal cost",
            of={"model.kernel_size": 3},
            against={"model.kernel_size": 5},
            expects="more",
            margin=0.003,
        ),
        Claim(
            "3x3 is better than 7x7 at equal cost",
            of={"model.kernel_size": 3},
            against={"model.kernel_size": 7},
            expects="more",
            margin=0.003,
        ),
        Claim(
            "3x3 is better than 9x9 at equal cost",
            of={"model.kernel_size": 3},
            against={"model.kernel_size": 9},
            expects="more",
            margin=0.003,
        ),
    ),
    machines={"gpu": Machine(kind="a100"), "tpu": Machine(kind="tpu-v3")},
)
