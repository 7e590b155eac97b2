"""Does AlexNet, trained as published, reach its published error on ImageNet today?

Hypothesis: 58.0 to 60.0% top-1 of ten crops. Published: 40.7% and 18.2% error of one network (top-1 and top-5 on the
validation images of ILSVRC-2012, table 2), so 59.3% and 81.8%. torchvision's one-tower form, without normalization and
with another schedule, has 56.52% and 79.07% of one crop; the paper's ten crops add 1.5 points (section 4.1).

Source: Krizhevsky, Sutskever and Hinton 2012, ImageNet Classification with Deep Convolutional Neural Networks (NeurIPS
25), sections 3 to 5. Two groups, local response normalization, overlapping pooling, dropout 0.5 before both hidden
dense layers; pixels of 0 to 255 less their mean; SGD with momentum 0.9 in batches of 128, rate 0.01, divided by 10
three times where validation no longer improved, 90 passes, weight decay 5e-4; kernels of standard deviation 0.01,
biases 1 in convolutions 2, 4, 5 and the hidden dense layers, else 0; windows of 224 out of images of 256 pixels,
mirrored, and lit along the principal directions of colours; the probabilities of ten crops averaged.

Hardware and time: five to six days on two GTX 580 in the source; 900,821 steps of 128 images. Commands: `cnnjax train
experiments/imagenet/alexnet.py --on gpu`, the same with `--on tpu`, and `cnnjax sweep experiments/imagenet/alexnet.py
--on gpu --dry-run` for what it takes.
"""

from cnnjax import (
    SGD,
    TFDS,
    Band,
    ByPath,
    Card,
    Experiment,
    FixedSize,
    FixedStd,
    Flip,
    Lighting,
    Machine,
    MultiStep,
    Published,
    Rule,
    Study,
    TenCrop,
    WholeSet,
)
from cnnjax.models import config

experiment = Experiment(
    model=config("alexnet_2012"),
    data=TFDS(
        name="imagenet2012",
        size=256,  # the central square, its side resized to 256
        mean=(0.485, 0.456, 0.406),
        std=(1 / 255, 1 / 255, 1 / 255),  # pixels of 0 to 255, less their mean
    ),
    resolution=FixedSize(train=224, by="crop"),
    augment=(Flip(), Lighting(std=0.1, clip=False)),
    test_time=TenCrop(size=224, shorter=None, mean="probabilities"),
    optim=SGD(
        learning_rate=0.01,
        per=128,
        scaling="square_root",
        momentum=0.9,
        nesterov=False,
        weight_decay=5e-4,
        schedule=MultiStep(milestones=(30, 60, 80), factor=0.1),
    ),
    initialization=ByPath(
        rules=(Rule(kernels="*", by=FixedStd(std=0.01)),),
        biases={"conv[245].bias": 1.0, "dense[67].bias": 1.0},
    ),
    epochs=90,
    batch_size=128,
    validation=0,
)
study = Study(experiment, seeds=5)
card = Card(
    source="Krizhevsky et al. 2012 (NeurIPS 25), sections 3 to 5, table 2 (1 CNN)",
    published=(
        Published(mean=0.593, n=1),
        Published(mean=0.818, n=1, metric="top5_accuracy"),
    ),
    band=Band(low=0.58, n=5),
    deviations=(
        "The rate is divided by 10 after 30, 60 and 80 of 90 epochs, rather than where validation stops to improve.",
        "The mean that is subtracted is one number a channel, rather than one a pixel.",
        "Images become 256 pixels by a bilinear filter with antialiasing; the source does not say which it has.",
        "Weight decay leaves out biases, as the authors' code has it; the paper does not say.",
        "Momentum gathers gradients that are multiplied by the rate when they are used (PyTorch's form), so that a "
        "drop of the rate acts on what was gathered before, too.",
        "The principal directions of colours are those published with Torch's training of residual networks.",
        "On the TPU a step has 1,024 images, and the rate rises with the root of that (Krizhevsky 2014).",
    ),
    machines={
        "gpu": Machine(kind="a100", devices=8, batch_size=128),
        "tpu": Machine(kind="tpu-v3", devices=32, batch_size=1024),
    },
    whole=WholeSet(train=1_281_167, test=50_000, classes=1000),
)
