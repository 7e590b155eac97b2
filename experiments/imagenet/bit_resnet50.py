"""Does big_vision's BiT-ResNet-50x1, without batch normalization, reach 77% on ImageNet?

Hypothesis: 76.5 to 77.3% top-1. The configuration states no figure; scenic's BiT ResNet-50 with the same normalization
has 77.0%.

Source: google-research/big_vision, configs/bit_i1k.py with models/bit.py, pp/ops_image.py, optax.py and utils.py,
commit 0127fb6b, after Kolesnikov et al. 2020, Big Transfer (arXiv:1912.11370). ResNet v1.5 with group normalization and
standardized weights, whose blocks start as their shortcuts and whose logits start at 0; 90 epochs of 99% of the
training part; SGD, momentum 0.9, learning rate 0.1 per 256 images, from 0 over 1,000 steps and in half a cosine down;
gradients clipped to a norm of 1; kernels shrink by 1.6e-3 of themselves a step at the peak of the rate; crops of 5 to
100% of the area; pixels in -1..1; evaluation on the central 224 of 256 pixels.

Hardware and time: TPU v3-128, 32 min; 27,870 steps of 4,096 images. Commands: `cnnjax train
experiments/imagenet/bit_resnet50.py --on tpu`, the same with `--on gpu`, and `cnnjax sweep
experiments/imagenet/bit_resnet50.py --on tpu --dry-run` for what it takes.
"""

from cnnjax import (
    SGD,
    TFDS,
    Band,
    Card,
    CentreFit,
    Cosine,
    Experiment,
    Flip,
    GroupNorm,
    Machine,
    Published,
    RandomFit,
    ResNet,
    Study,
    VarianceScaling,
    WholeSet,
)

IMAGES, BATCH_SIZE = 1_268_355, 4096  # 99% of the training part

experiment = Experiment(
    model=ResNet(
        stage_sizes=(3, 4, 6, 3),
        block="bottleneck",
        norm=GroupNorm(groups=32, epsilon=1e-6),
        standardize=True,
        padding="same",
        zero_init=True,
        logits_start="zero",
    ),
    data=TFDS(
        name="imagenet2012",
        train_split="train[:99%]",
        size=224,
        train_fit=RandomFit(scale=(0.05, 1.0), ratio=(0.75, 1.33)),
        fit=CentreFit(share=224 / 256),
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
    ),
    optim=SGD(
        learning_rate=0.1,
        per=256,
        momentum=0.9,
        nesterov=False,
        weight_decay=1e-3,  # 1.6e-3 / 1.6: a step shrinks by the learning rate times this
        decoupled=True,
        clip_norm=1.0,
        schedule=Cosine(warmup=1000 / (IMAGES // BATCH_SIZE), warmup_start=0.0),
    ),
    initialization=VarianceScaling(fan="in", gain=1.0, distribution="truncated_normal"),
    augment=(Flip(),),
    epochs=90,
    batch_size=BATCH_SIZE,
    validation=0,
)
study = Study(experiment, seeds=5)
card = Card(
    source="google-research/big_vision configs/bit_i1k.py at commit 0127fb6b",
    published=(Published(mean=0.770, n=1, source="scenic's BiT-ResNet-50 on ImageNet", of="another implementation"),),
    band=Band(low=0.765, n=5),
    deviations=(
        "Epochs are laid end to end, so that 90 are 27,870 steps rather than 27,869.",
        "Momentum is kept in float32 rather than bfloat16.",
        "What is added to the spread of a standardized kernel is 1e-8 on its variance rather than 1e-5 on its "
        "deviation; the group normalization behind it takes out all but 1e-6 of such a factor.",
        "Random crops are resized with antialiasing, rather than without; a region is drawn ten times and then the "
        "largest central one is taken, rather than a hundred times and then the whole image.",
        "The images of evaluation are resized bilinearly with antialiasing, rather than by the mean over areas.",
        "Examples come in a new order each epoch, rather than from a buffer of 250,000 that is drawn from at random.",
    ),
    machines={
        "tpu": Machine(kind="tpu-v3", devices=128, batch_size=4096, hours=0.53),
        "gpu": Machine(kind="a100-80gb", devices=8, batch_size=4096),
    },
    whole=WholeSet(train=IMAGES, test=50_000, classes=1000),
)
