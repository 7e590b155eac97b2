"""Are deeper networks better on ImageNet, with and without shortcuts?

Hypothesis: with shortcuts yes, ResNet-34 beats ResNet-18 by 2 to 3 points; without, the plain network of 34 layers is
worse than that of 18. He et al. 2016 have 25.03 and 27.88% error with shortcuts, 28.54 and 27.94% without (table 2,
120 epochs, ten crops).

Protocol: ResNet-18 at 128 pixels for 16 epochs, short as FFCV's (libffcv/ffcv-imagenet, rn18_configs, which reaches
66.9% with images of 160 to 192 pixels, blurs and mirrored views): SGD with momentum 0.9, rate 0.5 per 1,024 images, 2
epochs of warm-up, then a line to 0, weight decay 5e-5 on kernels, label smoothing 0.1, random resized crops and flips,
bfloat16. 10,000 training images are kept for choosing; the validation set of ILSVRC-2012 is for quoting. Other sizes:
`data.size=64`, `data.size=224`. Bottlenecks, of which the deepest is ResNet-50: `model.block=bottleneck`.

Hardware and time: 8 x A100, none measured. 18 trials of 19,862 steps of 1,024 images; 5.2 to 21.8 million parameters.
At 128 pixels 0.28 to 1.20 billion multiply-accumulates an image, about 1.6 GB a device, 0.9 hours for all trials one
after the other; at 64 pixels 0.07 to 0.30 billion, 0.2 hours; at 224 pixels 0.87 to 3.66 billion, about 4.3 GB, 2.7
hours. Hours are an estimate from FFCV's published 35.0 minutes of 16 epochs of ResNet-18 on one A100 (9.9e12
multiply-accumulates of the forward pass a second), if images can be read as fast. Commands: `cnnjax sweep
experiments/imagenet/ablate_depth.py --on gpu`, the same with `--on tpu`, and with `--dry-run` for what it takes.
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
SHALLOW, MIDDLE, DEEP = (1, 1, 1, 1), (2, 2, 2, 2), (3, 4, 6, 3)  # 10, 18 and 34 layers
study = Study(experiment, axes={"model.stage_sizes": [SHALLOW, MIDDLE, DEEP], "model.shortcut": ["B", "none"]}, seeds=3)


def arm(sizes: tuple[int, ...], shortcut: str):
    return {"model.stage_sizes": sizes, "model.shortcut": shortcut}


card = Card(
    source="Lectures on convolutional networks: deeper networks, AlexNet's 8 layers to ResNet's 152; He et al. 2016 "
    "(arXiv:1512.03385), table 2",
    deviations=(
        "16 epochs at 128 pixels and one crop, rather than 120 at 224 and ten (He et al.).",
        "Projections where the shape changes (B), rather than padding with zeros (A), which table 2 has.",
    ),
    claims=(
        Claim(
            "With shortcuts a deeper network reads better",
            of=arm(DEEP, "B"),
            against=arm(MIDDLE, "B"),
            expects="more",
            margin=0.005,
        ),
        Claim(
            "Without shortcuts a deeper network reads worse",
            of=arm(DEEP, "none"),
            against=arm(MIDDLE, "none"),
            expects="less",
            margin=0.002,
        ),
        Claim(
            "Shortcuts do more for a deep network than for a shallow one",
            of=(arm(DEEP, "B"), arm(SHALLOW, "none")),
            against=(arm(DEEP, "none"), arm(SHALLOW, "B")),
            expects="more",
            margin=0.01,
        ),
    ),
    machines={
        "gpu": Machine(kind="a100", devices=8, batch_size=1024),
        "tpu": Machine(kind="tpu-v3", devices=8, batch_size=1024),
    },
    whole=WholeSet(train=1_281_167, test=50_000, classes=1000),
)
