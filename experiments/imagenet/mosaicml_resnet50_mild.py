"""Does MosaicML's mild recipe train ResNet-50 on ImageNet to 76.6% in 36 epochs?

Hypothesis: 76.1 to 76.9% top-1. Published: as good as a baseline of 76.6% in 27 minutes, and 75.9% in 23.8 minutes
(MLPerf Training 2.0, open division); the recipe spans 75 to 78.1% in fewer than 60 epochs.

Source: mosaicml/examples, examples/benchmarks/resnet_imagenet (main.py, model.py, data.py, yamls/resnet50.yaml with
recipe_name=mild), commit daddaeff, and mosaicml/composer at 64051888 for its methods; the figures are of "Mosaic
ResNet" and "Mosaic ResNet deep dive" (2022). SGD, momentum 0.875, learning rate 2.048 for 2,048 images, from 0 over 8
epochs and in half a cosine down; every parameter shrinks by 5e-4 of itself a step at the peak of the rate
(DecoupledSGDW); the sum of binary cross-entropies, label smoothing 0.08; blurs before the convolutions that step, but
for the first, and in the stem's max pooling; training at 88 pixels until 40% of the epochs, growing to 176 until 80%,
in multiples of 4; weights averaged every 20 steps with a half-life of 100 steps; evaluation on the central 224 of 232
pixels.

Hardware and time: eight A100, 27 min with FFCV's data loader; 22,521 steps. Another length is `epochs=16`; learning
rate and sizes follow. Commands: `cnnjax train experiments/imagenet/mosaicml_resnet50_mild.py --on gpu`, the same with
`--on tpu`, and `cnnjax sweep experiments/imagenet/mosaicml_resnet50_mild.py --on gpu --dry-run` for what it takes.
"""

import math

from cnnjax import (
    EMA,
    SGD,
    TFDS,
    Band,
    BatchNorm,
    Card,
    CentreFit,
    Cosine,
    Experiment,
    Flip,
    Machine,
    ProgressiveResizing,
    Published,
    RandomFit,
    ResNet,
    SigmoidCrossEntropy,
    Study,
    VarianceScaling,
    WholeSet,
)

experiment = Experiment(
    model=ResNet(
        stage_sizes=(3, 4, 6, 3),
        block="bottleneck",
        # The 256 images of a GPU share their statistics.
        norm=BatchNorm(group=256, running_variance="unbiased", scale_start="uniform"),
        blur=True,
        blur_place="before",
        logits_bias=-math.log(1000),
    ),
    data=TFDS(
        name="imagenet2012",
        size=224,
        train_fit=RandomFit(),
        fit=CentreFit(share=224 / 232),
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
    ),
    resolution=ProgressiveResizing(start=88, final=176, start_ramp=0.4, end_ramp=0.8, multiple=4, decoded=True),
    optim=SGD(
        learning_rate=2.048,
        per=2048,
        momentum=0.875,
        nesterov=False,
        weight_decay=5e-4 / 2.048,
        decoupled=True,
        decay_skips="nothing",
        schedule=Cosine(warmup=8, warmup_start=0.0),
    ),
    initialization=VarianceScaling(fan="in", gain=2**0.5),
    loss=SigmoidCrossEntropy(label_smoothing=0.08, over_outputs="sum"),
    augment=(Flip(),),
    methods=(EMA(decay=2 ** (-20 / 100), every=20, evaluate="instead"),),
    epochs=36,
    batch_size=2048,
    precision="bfloat16",
    validation=0,
)
study = Study(experiment, seeds=5)
card = Card(
    source="mosaicml/examples resnet_imagenet at commit daddaeff, recipe mild; Mosaic ResNet deep dive (2022)",
    published=(
        Published(mean=0.766, of="27 minutes on 8 x A100"),
        Published(mean=0.759, of="23.8 minutes on 8 x A100, about 32 epochs"),
    ),
    band=Band(low=0.761, n=5),
    deviations=(
        "Epochs are laid end to end, so that 36 are 22,521 steps; a last batch that is not full is left out there, "
        "which makes 36 x 625 = 22,500.",
        "The size of images changes at the ends of epochs, rather than at any step; images are cut out of the file at "
        "that size, rather than at 176 pixels and then resized by the nearest pixel.",
        "Running statistics are the mean over the eight groups of 256 images; DDP keeps those of the first GPU.",
        "bfloat16 without loss scaling, rather than float16 with it.",
    ),
    machines={
        "gpu": Machine(kind="a100", devices=8, batch_size=2048, hours=0.45),
        "tpu": Machine(kind="tpu-v4", devices=8, batch_size=2048),
    },
    whole=WholeSet(train=1_281_167, test=50_000, classes=1000),
)
