"""What should a ResNet-18 begin with on ImageNet: a large or a small kernel, a stride or pooling?

Hypothesis: three 3x3 convolutions gain up to a point on one 7x7, a single 3x3 loses as much; a stride of 4 in the
place of a stride and pooling loses less than a point, patches of 4x4 about 2.

Protocol: ResNet-18 at 128 pixels for 16 epochs, short as FFCV's (libffcv/ffcv-imagenet, rn18_configs, which reaches
66.9% with images of 160 to 192 pixels, blurs and mirrored views): SGD with momentum 0.9, rate 0.5 per 1,024 images, 2
epochs of warm-up, then a line to 0, weight decay 5e-5 on kernels, label smoothing 0.1, random resized crops and flips,
bfloat16. 10,000 training images are kept for choosing; the validation set of ILSVRC-2012 is for quoting. Other sizes:
`data.size=64`, `data.size=224`. ResNet-50: `model=resnet50`.

Hardware and time: 8 x A100, none measured. 15 trials of 19,862 steps of 1,024 images; 11.7 million parameters. At 128
pixels 0.56 to 0.67 billion multiply-accumulates an image, about 1.4 GB a device, 0.6 hours for all trials one after
the other; at 64 pixels 0.14 to 0.17 billion, 0.2 hours; at 224 pixels 1.71 to 2.05 billion, about 4.1 GB, 1.9 hours.
Hours are an estimate from FFCV's published 35.0 minutes of 16 epochs of ResNet-18 on one A100 (9.9e12
multiply-accumulates of the forward pass a second), if images can be read as fast. Commands: `cnnjax sweep
experiments/imagenet/ablate_stem.py --on gpu`, the same with `--on tpu`, and with `--dry-run` for what it takes.
"""

from cnnjax import (
    SGD,
    TFDS,
    Card,
    CentreFit,
    Claim,
    DeepStem,
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
usual, strided = ImageNetStem(), ImageNetStem(strides=4, pool="none")
small, patches = ImageNetStem(kernel_size=3), ImageNetStem(kernel_size=4, strides=4, pool="none")
deep = DeepStem()
study = Study(experiment, axes={"model.stem": [usual, strided, small, patches, deep]}, seeds=3)
card = Card(
    source="Lectures on convolutional networks: stride instead of pooling; He, T. et al. 2019 (arXiv:1812.01187), "
    "section 4; Liu et al. 2022 (arXiv:2201.03545), section 2.3",
    deviations=(),
    claims=(
        Claim(
            "A stride does as well as pooling",
            of={"model.stem": strided},
            against={"model.stem": usual},
            expects="same",
            margin=0.005,
        ),
        Claim(
            "Three 3x3 convolutions read better than one 7x7",
            of={"model.stem": deep},
            against={"model.stem": usual},
            expects="more",
            margin=0.002,
        ),
        Claim(
            "A 7x7 kernel reads better than a 3x3 in the first layer",
            of={"model.stem": usual},
            against={"model.stem": small},
            expects="more",
            margin=0.002,
        ),
    ),
    machines={
        "gpu": Machine(kind="a100", devices=8, batch_size=1024),
        "tpu": Machine(kind="tpu-v3", devices=8, batch_size=1024),
    },
    whole=WholeSet(train=1_281_167, test=50_000, classes=1000),
)
