"""How many filters does a ResNet-18 need on ImageNet?

Hypothesis: more filters help throughout, ever less: twice the filters, for four times the arithmetic, add about 10, 7
and 4 points from 16 to 128 in the first stage.

Protocol: ResNet-18 at 128 pixels for 16 epochs, short as FFCV's (libffcv/ffcv-imagenet, rn18_configs, which reaches
66.9% with images of 160 to 192 pixels, blurs and mirrored views): SGD with momentum 0.9, rate 0.5 per 1,024 images, 2
epochs of warm-up, then a line to 0, weight decay 5e-5 on kernels, label smoothing 0.1, random resized crops and flips,
bfloat16. 10,000 training images are kept for choosing; the validation set of ILSVRC-2012 is for quoting. Other sizes:
`data.size=64`, `data.size=224`. ResNet-50: `model=resnet50`.

Hardware and time: 8 x A100, none measured. 12 trials of 19,862 steps of 1,024 images; 0.8 to 45.7 million parameters.
At 128 pixels 0.04 to 2.29 billion multiply-accumulates an image, about 2.5 GB a device, 0.7 hours for all trials one
after the other; at 64 pixels 0.01 to 0.57 billion, 0.2 hours; at 224 pixels 0.14 to 7.02 billion, about 6.7 GB, 2.0
hours. Hours are an estimate from FFCV's published 35.0 minutes of 16 epochs of ResNet-18 on one A100 (9.9e12
multiply-accumulates of the forward pass a second), if images can be read as fast. Commands: `cnnjax sweep
experiments/imagenet/ablate_filters.py --on gpu`, the same with `--on tpu`, and with `--dry-run` for what it takes.
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
study = Study(experiment, axes={"model.features": [16, 32, 64, 128]}, seeds=3)
card = Card(
    source='Lectures on convolutional networks: the number of filters ("we don\'t know, try")',
    deviations=(),
    claims=(
        Claim(
            "64 filters read better than 32",
            of={"model.features": 64},
            against={"model.features": 32},
            expects="more",
            margin=0.005,
        ),
        Claim(
            "128 filters read better than 64",
            of={"model.features": 128},
            against={"model.features": 64},
            expects="more",
            margin=0.005,
        ),
    ),
    machines={
        "gpu": Machine(kind="a100", devices=8, batch_size=1024),
        "tpu": Machine(kind="tpu-v3", devices=8, batch_size=1024),
    },
    whole=WholeSet(train=1_281_167, test=50_000, classes=1000),
)
