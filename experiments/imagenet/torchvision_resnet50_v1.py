"""Does torchvision's first recipe give its published accuracy of ResNet-50 on ImageNet?

Hypothesis: 75.4 to 76.2% top-1. The published weights have 76.13 / 92.86% (IMAGENET1K_V1, one training); three
trainings that a user reports with the same command have 75.38, 75.49 and 75.88% (vision issue 5593).

Source: torchvision's references/classification/train.py with its default arguments, `torchrun --nproc_per_node=8
train.py --model resnet50`, and presets.py; v0.11. SGD, momentum 0.9, learning rate 0.1 for 8 x 32 images, a tenth of it
after 30 and 60 of 90 epochs, weight decay 1e-4 on every parameter; random resized crops of 224 pixels and flips; batch
statistics of each GPU's 32 images; evaluation on the central 224 of 256 pixels.

Hardware and time: 8 x V100 in the source, which states no time; 450,411 steps of 256 images. Commands: `cnnjax train
experiments/imagenet/torchvision_resnet50_v1.py --on gpu`, the same with `--on tpu`, and `cnnjax sweep
experiments/imagenet/torchvision_resnet50_v1.py --on gpu --dry-run` for what it takes.
"""

from cnnjax import (
    SGD,
    TFDS,
    Band,
    BatchNorm,
    Card,
    CentreFit,
    Experiment,
    Flip,
    Machine,
    MultiStep,
    Published,
    RandomFit,
    ResNet,
    Study,
    VarianceScaling,
    WholeSet,
)

experiment = Experiment(
    model=ResNet(
        stage_sizes=(3, 4, 6, 3),
        block="bottleneck",
        norm=BatchNorm(group=32, running_variance="unbiased"),  # the 32 images of a GPU share their statistics
        logits_start="pytorch",
    ),
    data=TFDS(
        name="imagenet2012",
        size=224,
        train_fit=RandomFit(),
        fit=CentreFit(share=224 / 256),
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
    ),
    optim=SGD(
        learning_rate=0.1,
        per=256,
        momentum=0.9,
        nesterov=False,
        weight_decay=1e-4,
        decay_skips="nothing",
        schedule=MultiStep(milestones=(30, 60), factor=0.1),
    ),
    initialization=VarianceScaling(fan="out", gain=2**0.5, kernels="convolution"),
    augment=(Flip(),),
    epochs=90,
    batch_size=256,
    validation=0,
)
study = Study(experiment, seeds=5)
card = Card(
    source="torchvision references/classification, v0.11: ResNet50_Weights.IMAGENET1K_V1",
    published=(Published(mean=0.7613, n=1), Published(mean=0.92862, n=1, metric="top5_accuracy")),
    band=Band(low=0.754, n=5),
    deviations=(
        "Epochs are laid end to end, so that 90 are 450,411 steps; DistributedSampler and a short last batch make "
        "90 x 5,005 = 450,450 of them.",
        "The learning rate falls after 30 x 5,004 and 60 x 5,004 steps.",
        "Running statistics are the mean over the eight groups of 32 images; DDP keeps those of the first GPU.",
        "Random crops are resized by a filter that differs from Pillow's by 0.7 of 255 on average.",
    ),
    machines={
        "gpu": Machine(kind="v100", devices=8, batch_size=256),
        "tpu": Machine(kind="tpu-v3", devices=8, batch_size=256),
    },
    whole=WholeSet(train=1_281_167, test=50_000, classes=1000),
)
