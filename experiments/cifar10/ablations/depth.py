"""Does depth help on CIFAR-10, with shortcuts and without?

Hypothesis: with shortcuts 56 layers are a point better than 20; without them they are worse, by more than that.

Figure 6 of He et al.: plain networks of 20 and 56 layers err on about 9 and 13%, residual ones on 8.75 and 6.97%.
ResNet-20's training of 64,000 steps (resnet20.py) shortened to 60 epochs and 21,094 steps of a cosine; 45,000 images
to train on, 5,000 to choose by.

Hardware and time: one accelerator; how long is not known. Six arms of 41M, 69M and 126M multiply-accumulates an
image, five seeds each: 38 PFLOP in all.
Command: `cnnjax sweep experiments/cifar10/ablations/depth.py --on gpu`
"""

from cnnjax import SGD, TFDS, Card, CifarStem, Claim, Cosine, Experiment, Flip, Machine, RandomCrop, ResNet, Study

SHALLOW, DEEP = (3, 3, 3), (9, 9, 9)  # 20 and 56 layers
SIZES = [SHALLOW, (5, 5, 5), DEEP]

experiment = Experiment(
    model=ResNet(stage_sizes=(3, 3, 3), features=16, stem=CifarStem(), shortcut="A"),
    data=TFDS(name="cifar10"),
    optim=SGD(learning_rate=0.1, weight_decay=5e-4, schedule=Cosine(warmup=1)),
    augment=(RandomCrop(padding=4), Flip()),
    epochs=60,
    batch_size=128,
    validation=5000,
)
study = Study(experiment, axes={"model.shortcut": ["A", "none"], "model.stage_sizes": SIZES}, seeds=5)
card = Card(
    source="He et al. 2015, arXiv:1512.03385, section 4.2, figure 6",
    deviations=("60 epochs of a cosine, where the source has 64,000 steps that fall twice.",),
    claims=(
        Claim(
            "Depth helps residual networks",
            of={"model.shortcut": "A", "model.stage_sizes": DEEP},
            against={"model.shortcut": "A", "model.stage_sizes": SHALLOW},
            expects="more",
            margin=0.005,
        ),
        Claim(
            "Depth hurts plain networks",
            of={"model.shortcut": "none", "model.stage_sizes": DEEP},
            against={"model.shortcut": "none", "model.stage_sizes": SHALLOW},
            expects="less",
            margin=0.005,
        ),
        Claim(
            "Shortcuts matter more, the deeper the network",
            of=[
                {"model.shortcut": "A", "model.stage_sizes": DEEP},
                {"model.shortcut": "none", "model.stage_sizes": SHALLOW},
            ],
            against=[
                {"model.shortcut": "A", "model.stage_sizes": SHALLOW},
                {"model.shortcut": "none", "model.stage_sizes": DEEP},
            ],
            expects="more",
            margin=0.005,
        ),
    ),
    machines={"gpu": Machine(kind="a100"), "tpu": Machine(kind="tpu-v3")},
)
