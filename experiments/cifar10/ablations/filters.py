"""How many filters does ResNet-20 need on CIFAR-10?

Hypothesis: twice the filters are worth two points from 8 to 16, and one from 16 to 32.

All stages are made narrower or wider together. ResNet-20's training of 64,000 steps (resnet20.py) shortened to 60
epochs and 21,094 steps of a cosine; 45,000 images to train on, 5,000 to choose by.

Hardware and time: one accelerator; how long is not known. Four arms of 10M, 41M, 161M and 644M multiply-accumulates
an image, five seeds each: 69 PFLOP in all.
Command: `cnnjax sweep experiments/cifar10/ablations/filters.py --on gpu`
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
study = Study(experiment, axes={"model.features": [16, 8, 32, 64]}, seeds=5)
card = Card(
    source="He et al. 2015, arXiv:1512.03385, section 4.2, ResNet-20 as the base",
    deviations=("60 epochs of a cosine, where the source has 64,000 steps that fall twice.",),
    claims=(
        Claim(
            "More filters are more accurate, from 8 to 16",
            of={"model.features": 16},
            against={"model.features": 8},
            expects="more",
            margin=0.003,
        ),
        Claim(
            "And from 16 to 32",
            of={"model.features": 32},
            against={"model.features": 16},
            expects="more",
            margin=0.003,
        ),
    ),
    machines={"gpu": Machine(kind="a100"), "tpu": Machine(kind="tpu-v3")},
)
