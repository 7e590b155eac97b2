"""Which activation suits a ResNet-18 on ImageNet?

Hypothesis: rectifiers and their smooth kin are within half a point of each other; tanh is 4 points or more behind,
from the first epochs on.

Protocol: ResNet-18 at 128 pixels for 16 epochs, short as FFCV's (libffcv/ffcv-imagenet, rn18_configs, which reaches
66.9% with images of 160 to 192 pixels, blurs and mirrored views): SGD with momentum 0.9, rate 0.5 per 1,024 images, 2
epochs of warm-up, then a line to 0, weight decay 5e-5 on kernels, label smoothing 0.1, random resized crops and flips,
bfloat16. 10,000 training images are kept for choosing; the validation set of ILSVRC-2012 is for quoting. Other sizes:
`data.size=64`, `data.size=224`. ResNet-50: `model=resnet50`.

Hardware and time: 8 x A100, none measured. 15 trials of 19,862 steps of 1,024 images; 11.7 million parameters. At 128
pixels 0.59 billion multiply-accumulates an image, about 1.2 GB a device, 0.6 hours for all trials one after the other;
at 64 pixels 0.15 billion, 0.2 hours; at 224 pixels 1.81 billion, about 3.3 GB, 1.9 hours. Hours are an estimate from
FFCV's published 35.0 minutes of 16 epochs of ResNet-18 on one A100 (9.9e12 multiply-accumulates of the forward pass a
second), if images can be read as fast. Commands: `cnnjax sweep experiments/imagenet/ablate_activation.py --on gpu`,
the same with `--on tpu`, and with `--dry-run` for what it takes.
"""

from cnnjax import (
    SGD,
    TFDS,
    Card,
    CentreFit,
    Claim,
    Experiment,
    Flip,
    Linear,
    Machine,
    RandomFit,
    ResNet,
    SoftmaxCrossEntropy,
    Study,
    WholeSet,
)

experiment = Experiment(
    model=ResNet(stage_sizes=(2, 2, 2, 2)),
    data=TFDS(
        name="imagenet2012",
        size=128,
        train_fit=RandomFit(),
        fit=CentreFit(share=224 / 256),
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
    ),
    augment=(Flip(),),
    loss=SoftmaxCrossEntropy(label_smoothing=0.1),
    optim=SGD(
        learning_rate=0.5,
        per=1024,
        momentum=0.9,
        nesterov=False,
        weight_decay=5e-5,
        schedule=Linear(warmup=2),
    ),
    epochs=16,
    batch_size=1024,
    precision="bfloat16",
    validation=10_000,
)
study = Study(experiment, axes={"model.activation": ["relu", "leaky_relu", "gelu", "silu", "tanh"]}, seeds=3)
relu, silu, tanh = ({"model.activation": name} for name in ("relu", "silu", "tanh"))
card = Card(
    source="Lectures on convolutional networks: rectifiers in the place of tanh; Krizhevsky et al. 2012, section 3.1 ",
    deviations=(),
    claims=(
        Claim(
            "A rectifier learns faster than tanh",
            of=relu,
            against=tanh,
            expects="more",
            margin=0.01,
            metric="validation_accuracy",
            epoch=4,
        ),
        Claim("A rectifier reads better than tanh", of=relu, against=tanh, expects="more", margin=0.01),
        Claim("A smooth rectifier does as well as a plain one", of=silu, against=relu, expects="same", margin=0.01),
    ),
    machines={
        "gpu": Machine(kind="a100", devices=8, batch_size=1024),
        "tpu": Machine(kind="tpu-v3", devices=8, batch_size=1024),
    },
    whole=WholeSet(train=1_281_167, test=50_000, classes=1000),
)
