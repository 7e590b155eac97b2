"""Which normalization trains ResNet-20 on CIFAR-10?

Hypothesis: batch is best; group is within a point, layer within two, and without any it trains less well or not at
all.

The same rate for all arms, that which suits batch normalization. ResNet-20's training of 64,000 steps (resnet20.py)
shortened to 60 epochs and 21,094 steps of a cosine; 45,000 images to train on, 5,000 to choose by.

Hardware and time: one accelerator; how long is not known. Four arms of 41M multiply-accumulates an image, five seeds
each: 13 PFLOP in all.
Command: `cnnjax sweep experiments/cifar10/ablations/normalization.py --on gpu`
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
study = Study(experiment, axes={"model.norm": ["batch", "group", "layer", "none"]}, seeds=5)
card = Card(
    source="Wu & He 2018, arXiv:1803.08494, section 4.1, on ImageNet (group 0.5, layer 1.7 points behind batch)",
    deviations=("60 epochs of a cosine, where the source has 64,000 steps that fall twice.",),
    claims=(
        Claim(
            "Batch normalization is better than group normalization",
            of={"model.norm": "batch"},
            against={"model.norm": "group"},
            expects="more",
            margin=0.003,
        ),
        Claim(
            "Group normalization is better than layer normalization",
            of={"model.norm": "group"},
            against={"model.norm": "layer"},
            expects="more",
            margin=0.003,
        ),
        Claim(
            "Batch normalization is better than none",
            of={"model.norm": "batch"},
            against={"model.norm": "none"},
            expects="more",
            margin=0.01,
        ),
    ),
    machines={"gpu": Machine(kind="a100"), "tpu": Machine(kind="tpu-v3")},
)
