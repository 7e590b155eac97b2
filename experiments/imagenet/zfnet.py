"""Does a smaller, denser first layer (ZFNet) beat AlexNet on ImageNet by as much as published?

Hypothesis: 60.2 to 62.2% top-1 of ten crops, 2 points above `alexnet.py`. Published: 38.4% and 16.5% error of one
network on the validation images of ILSVRC-2012, where the same authors' AlexNet has 40.5% and 18.1% (table 2).

Source: Zeiler and Fergus 2014 (arXiv:1311.2901), figure 3 and section 3. 7x7 in steps of 2 in the place of AlexNet's
11x11 in steps of 4, no groups; SGD with momentum 0.9 in batches of 128, rate 0.01, lowered by hand where validation no
longer improved, 70 epochs; dropout 0.5 before both hidden dense layers; kernels of standard deviation 0.01, biases 0;
pixels of 0 to 255 less their mean; windows of 224 out of images of 256 pixels, mirrored.

Hardware and time: twelve days on one GTX 580 in the source; 700,639 steps of 128 images. Commands: `cnnjax train
experiments/imagenet/zfnet.py --on gpu`, the same with `--on tpu`, and `cnnjax sweep experiments/imagenet/zfnet.py --on
gpu --dry-run` for what it takes.
"""

from cnnjax import (
    SGD,
    TFDS,
    Band,
    Card,
    Experiment,
    FixedSize,
    FixedStd,
    Flip,
    Machine,
    MultiStep,
    Published,
    Study,
    TenCrop,
    WholeSet,
)
from cnnjax.models import config

experiment = Experiment(
    model=config("zfnet"),
    data=TFDS(
        name="imagenet2012",
        size=256,  # the central square, its side resized to 256
        mean=(0.485, 0.456, 0.406),
        std=(1 / 255, 1 / 255, 1 / 255),  # pixels of 0 to 255, less their mean
    ),
    resolution=FixedSize(train=224, by="crop"),
    augment=(Flip(),),
    test_time=TenCrop(size=224, shorter=None, mean="probabilities"),
    optim=SGD(
        learning_rate=0.01,
        per=128,
        scaling="square_root",
        momentum=0.9,
        nesterov=False,
        weight_decay=5e-4,
        schedule=MultiStep(milestones=(30, 50, 60), factor=0.1),
    ),
    initialization=FixedStd(std=0.01),
    epochs=70,
    batch_size=128,
    validation=0,
)
study = Study(experiment, seeds=5)
card = Card(
    source="Zeiler and Fergus 2014 (arXiv:1311.2901), section 3, table 2 (1 convnet)",
    published=(
        Published(mean=0.616, n=1),
        Published(mean=0.835, n=1, metric="top5_accuracy"),
        Published(mean=0.595, n=1, of="the authors' AlexNet"),
    ),
    band=Band(low=0.602, n=5),
    deviations=(
        "The rate is divided by 10 after 30, 50 and 60 of 70 epochs, rather than by hand.",
        "Filters whose root mean square exceeds 0.1 are not brought back to it.",
        "Training windows are at any place of the image, rather than at one of the ten of the test.",
        "Weight decay is AlexNet's, 5e-4 of kernels; the paper does not name one.",
        "The mean that is subtracted is one number a channel, rather than one a pixel.",
        "Contrast normalization is taken to be AlexNet's response normalization.",
        "On the TPU a step has 1,024 images, and the rate rises with the root of that (Krizhevsky 2014).",
    ),
    machines={
        "gpu": Machine(kind="a100", devices=8, batch_size=128),
        "tpu": Machine(kind="tpu-v3", devices=32, batch_size=1024),
    },
    whole=WholeSet(train=1_281_167, test=50_000, classes=1000),
)
