"""Does the activation matter to ResNet-20 on CIFAR-10?

Hypothesis: little: silu (swish), gelu and leaky_relu are within half a point of relu; tanh loses two.

ResNet-20's training of 64,000 steps (resnet20.py) shortened to 60 epochs and 21,094 steps of a cosine; 45,000
images to train on, 5,000 to choose by.

Hardware and time: one accelerator; how long is not known. Five arms of 41M multiply-accumulates an image, five seeds
each: 16 PFLOP in all.
Command: `cnnjax sweep experiments/cifar10/ablations/activation.py --on gpu`
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
study = Study(experiment, axes={"model.activation": ["relu", "leaky_relu", "gelu", "silu", "tanh"]}, seeds=5)
card = Card(
    source="Ramachandran et al. 2017, arXiv:1710.05941, table 4 (ResNet-164 and others on CIFAR-10)",
    deviations=("ResNet-20, trained for 60 epochs.",),
    claims=(
        Claim(
            "Swish is no different from ReLU",
            of={"model.activation": "silu"},
            against={"model.activation": "relu"},
            expects="same",
            margin=0.005,
        ),
        Claim(
            "Saturating units are worse than ReLU",
            of={"model.activation": "tanh"},
            against={"model.activation": "relu"},
            expects="less",
            margin=0.003,
        ),
    ),
    machines={"gpu": Machine(kind="a100"), "tpu": Machine(kind="tpu-v3")},
)
