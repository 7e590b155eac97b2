"""Max, average or blurred pooling, overlapping or not, or none on ImageNet?

Hypothesis: all within a point: max over average by 0.3, windows that overlap over those that do not by 0.3 (0.4 in
AlexNet's paper, section 3.4), blurs at least as good as max, and a stride without pooling within half a point.

Protocol: ResNet-18 at 128 pixels for 16 epochs, short as FFCV's (libffcv/ffcv-imagenet, rn18_configs, which reaches
66.9% with images of 160 to 192 pixels, blurs and mirrored views): SGD with momentum 0.9, rate 0.5 per 1,024 images, 2
epochs of warm-up, then a line to 0, weight decay 5e-5 on kernels, label smoothing 0.1, random resized crops and flips,
bfloat16. 10,000 training images are kept for choosing; the validation set of ILSVRC-2012 is for quoting. Other sizes:
`data.size=64`, `data.size=224`. ResNet-50: `model=resnet50`. The pooling is the one behind the first convolution,
which is the only one of the network but for the last, over the whole map.

Hardware and time: 8 x A100, none measured. 30 trials of 19,862 steps of 1,024 images; 11.7 million parameters. At 128
pixels 0.56 to 0.59 billion multiply-accumulates an image, about 1.2 GB a device, 1.3 hours for all trials one after
the other; at 64 pixels 0.14 to 0.15 billion, 0.3 hours; at 224 pixels 1.73 to 1.81 billion, about 3.3 GB, 3.9 hours.
Hours are an estimate from FFCV's published 35.0 minutes of 16 epochs of ResNet-18 on one A100 (9.9e12
multiply-accumulates of the forward pass a second), if images can be read as fast. Commands: `cnnjax sweep
experiments/imagenet/ablate_pooling.py --on gpu`, the same with `--on tpu`, and with `--dry-run` for what it takes.
"""

from cnnjax import (
    SGD,
    TFDS,
    Card,
    CentreFit,
    Claim,
    Experiment,
    Flip,
    ImageNetStem,
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
overlapping, apart = ImageNetStem(), ImageNetStem(pool_window=2)
average, average_apart = ImageNetStem(pool="average"), ImageNetStem(pool="average", pool_window=2)
blur, strided = ImageNetStem(pool="blur"), ImageNetStem(strides=4, pool="none")
study = Study(experiment, axes={"model.stem": [overlapping, apart, average, average_apart, blur, strided]}, seeds=5)
card = Card(
    source="Lectures on convolutional networks: max or average pooling, overlapping pooling, strides (Hinton: "
    "pooling is a mistake); Krizhevsky et al. 2012, section 3.4",
    deviations=(),
    claims=(
        Claim(
            "Max pooling reads better than average pooling",
            of={"model.stem": overlapping},
            against={"model.stem": average},
            expects="more",
            margin=0.002,
        ),
        Claim(
            "Overlapping pooling reads better than pooling apart",
            of={"model.stem": overlapping},
            against={"model.stem": apart},
            expects="more",
            margin=0.002,
        ),
        Claim(
            "Pooling is a mistake: a stride does as well",
            of={"model.stem": strided},
            against={"model.stem": overlapping},
            expects="same",
            margin=0.005,
        ),
        Claim(
            "Blurred pooling does as well as max pooling",
            of={"model.stem": blur},
            against={"model.stem": overlapping},
            expects="same",
            margin=0.005,
        ),
    ),
    machines={
        "gpu": Machine(kind="a100", devices=8, batch_size=1024),
        "tpu": Machine(kind="tpu-v3", devices=8, batch_size=1024),
    },
    whole=WholeSet(train=1_281_167, test=50_000, classes=1000),
)
