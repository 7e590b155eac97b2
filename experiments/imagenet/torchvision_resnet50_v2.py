"""Does torchvision's second recipe take ResNet-50 to 80.9% on ImageNet?

Hypothesis: 80.3 to 80.9% top-1 of the averaged weights. Published: 80.858 / 95.434% (IMAGENET1K_V2), the best of three
trainings; 80.674 / 95.166% before repeated augmentation.

Source: torchvision's references/classification (train.py, presets.py, transforms.py, sampler.py, utils.py), v0.12, with
the command of vision issue 3995 and of the blog post "How to train state-of-the-art models using TorchVision's latest
primitives": 600 epochs, 8 x 128 images, SGD with momentum 0.9, learning rate 0.5, five epochs of linear warm-up from
0.005, half a cosine changed once an epoch, weight decay 2e-5 but not on batch normalization, label smoothing 0.1, a
batch mixed by mixup 0.2 or by cutmix 1.0, TrivialAugment, random erasing 0.1, four augmentations of a quarter of the
images an epoch, training at 176 and evaluation on the central 224 of 232 pixels. The average of the weights is updated
every 32 steps; its decay of 0.99998 is adjusted to 1 - 2e-5 x (1,024 x 32 / 600).

Hardware and time: eight GPUs; the source states no time. 750,684 steps of 1,024 images. Commands: `cnnjax train
experiments/imagenet/torchvision_resnet50_v2.py --on gpu`, the same with `--on tpu`, and `cnnjax sweep
experiments/imagenet/torchvision_resnet50_v2.py --on gpu --dry-run` for what it takes.
"""

from cnnjax import (
    EMA,
    SGD,
    TFDS,
    Band,
    BatchNorm,
    Card,
    CentreFit,
    Cosine,
    CutMix,
    Experiment,
    FixedSize,
    Flip,
    Group,
    Machine,
    Mixup,
    Published,
    RandomErasing,
    RandomFit,
    ResNet,
    SoftmaxCrossEntropy,
    Study,
    Switch,
    TrivialAugment,
    VarianceScaling,
    WholeSet,
)

experiment = Experiment(
    model=ResNet(
        stage_sizes=(3, 4, 6, 3),
        block="bottleneck",
        norm=BatchNorm(group=128, running_variance="unbiased"),  # the 128 images of a GPU share their statistics
        logits_start="pytorch",
    ),
    data=TFDS(
        name="imagenet2012",
        size=224,
        train_fit=RandomFit(),
        fit=CentreFit(share=224 / 232),
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
    ),
    resolution=FixedSize(train=176, decoded=True),
    optim=SGD(
        learning_rate=0.5,
        per=1024,
        momentum=0.9,
        nesterov=False,
        weight_decay=2e-5,
        decay_skips="nothing",
        groups={"*.norm.*": Group(weight_decay=0.0)},
        schedule=Cosine(warmup=5, warmup_start=0.01, by_epoch=True),
    ),
    initialization=VarianceScaling(fan="out", gain=2**0.5, kernels="convolution"),
    loss=SoftmaxCrossEntropy(label_smoothing=0.1),
    augment=(
        Flip(),
        TrivialAugment(interpolation="bilinear"),
        RandomErasing(probability=0.1, fill=(0.485, 0.456, 0.406)),
    ),
    mixing=Switch(mixings=(Mixup(alpha=0.2), CutMix(alpha=1.0)), probabilities=(0.5, 0.5), together=128),
    repeats=4,
    dealt=8,
    methods=(
        # --model-ema-decay 0.99998, which is adjusted to 1 - 2e-5 x batch x 32 / epochs.
        EMA(share=1 / (2e-5 * 1_281_167), from_epoch=5.0, counted="epoch", every=32, evaluate="instead"),
    ),
    epochs=600,
    batch_size=1024,
    validation=0,
)
study = Study(experiment, seeds=5)
card = Card(
    source="torchvision references/classification, v0.12, vision issue 3995: ResNet50_Weights.IMAGENET1K_V2",
    published=(Published(mean=0.80858, n=1), Published(mean=0.95434, n=1, metric="top5_accuracy")),
    band=Band(low=0.803, n=5),
    deviations=(
        "Epochs are laid end to end, so that 600 are 750,684 steps; the sampler makes 600 x 1,251 = 750,600 of them.",
        "What is left of a permutation after an epoch's quarter is seen in the next epochs; the sampler begins a new "
        "permutation each epoch.",
        "An image's partner is the one at the mirrored position of the whole batch, rather than the one before it.",
        "Running statistics are the mean over the eight groups of 128 images; DDP keeps those of the first GPU.",
        "Random crops are resized by a filter that differs from Pillow's by 0.7 of 255 on average.",
    ),
    machines={
        "gpu": Machine(kind="a100", devices=8, batch_size=1024),
        "tpu": Machine(kind="tpu-v3", devices=8, batch_size=1024),
    },
    whole=WholeSet(train=1_281_167, test=50_000, classes=1000),
)
