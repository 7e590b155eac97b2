"""Does batch normalization speed up training on ImageNet, allow high rates and regularize a little; and do others?

Hypothesis: yes, each: at a tenth of the usual rate validation accuracy after 4 of 16 epochs is 5 points higher with
it; ten times the rate costs a network without it at least 10 points more (it does not train); and the gap between
training and test accuracy is half a point smaller. At the usual rate group normalization loses up to a point, layer
normalization over whole maps 2 or more.

Protocol: ResNet-18 at 128 pixels for 16 epochs, short as FFCV's (libffcv/ffcv-imagenet, rn18_configs, which reaches
66.9% with images of 160 to 192 pixels, blurs and mirrored views): SGD with momentum 0.9, rate 0.5 per 1,024 images, 2
epochs of warm-up, then a line to 0, weight decay 5e-5 on kernels, label smoothing 0.1, random resized crops and flips,
bfloat16. 10,000 training images are kept for choosing; the validation set of ILSVRC-2012 is for quoting. Other sizes:
`data.size=64`, `data.size=224`. ResNet-50: `model=resnet50`. Training accuracy is that of the last epoch's batches as
they were trained on.

Hardware and time: 8 x A100, none measured. 24 trials of 19,862 steps of 1,024 images; 11.7 million parameters. At 128
pixels 0.59 billion multiply-accumulates an image, about 1.2 GB a device, 1.0 hours for all trials one after the other;
at 64 pixels 0.15 billion, 0.3 hours; at 224 pixels 1.81 billion, about 3.3 GB, 3.1 hours. Hours are an estimate from
FFCV's published 35.0 minutes of 16 epochs of ResNet-18 on one A100 (9.9e12 multiply-accumulates of the forward pass a
second), if images can be read as fast. Commands: `cnnjax sweep experiments/imagenet/ablate_norm.py --on gpu`, the same
with `--on tpu`, and with `--dry-run` for what it takes.
"""

from cnnjax import (
    SGD,
    TFDS,
    Card,
    CentreFit,
    Claim,
    Experiment,
    Flip,
    GroupNorm,
    Linear,
    Machine,
    Norm,
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
study = Study(
    experiment,
    axes={"model.norm": ["batch", GroupNorm(groups=32), "layer", "none"], "optim.learning_rate": [0.5, 0.05]},
    seeds=3,
)


def arm(norm: str | Norm, rate: float = 0.05):
    return {"model.norm": norm, "optim.learning_rate": rate}


plain, normalized = arm("none"), arm("batch")
card = Card(
    source="Lectures on convolutional networks: batch normalization speeds up training, allows sub-optimal starts, "
    "regularizes a little; Ioffe and Szegedy 2015 (arXiv:1502.03167); Wu and He 2018 (arXiv:1803.08494)",
    deviations=(),
    claims=(
        Claim(
            "Batch normalization speeds up training",
            of=normalized,
            against=plain,
            expects="more",
            margin=0.01,
            metric="validation_accuracy",
            epoch=4,
        ),
        Claim(
            "Batch normalization allows a rate that is too high",
            of=(arm("batch", 0.5), plain),
            against=(normalized, arm("none", 0.5)),
            expects="more",
            margin=0.02,
        ),
        Claim(
            "Batch normalization regularizes a little: a smaller gap between training and test accuracy",
            of=normalized,
            against=plain,
            expects="less",
            margin=0.005,
            metric="train_accuracy",
            less="test_accuracy",
        ),
        Claim(
            "Group normalization does as well as batch normalization at a usual rate",
            of=arm(GroupNorm(groups=32), 0.5),
            against=arm("batch", 0.5),
            expects="same",
            margin=0.01,
        ),
    ),
    machines={
        "gpu": Machine(kind="a100", devices=8, batch_size=1024),
        "tpu": Machine(kind="tpu-v3", devices=8, batch_size=1024),
    },
    whole=WholeSet(train=1_281_167, test=50_000, classes=1000),
)
