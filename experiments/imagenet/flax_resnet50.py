"""Does the ResNet-50 of Flax's ImageNet example reach its published accuracy?

Hypothesis: 76.1 to 76.9% top-1. Published: 76.37, 76.54 and 76.67% on TPU v3-8, v3-32 and v2-32 (bfloat16), 76.72 and
76.27% on eight V100 (float32, and float16 at a batch of 2,048).

Source: google/flax, examples/imagenet (train.py, input_pipeline.py, models.py, configs/tpu.py and configs/v100_x8.py),
commit 18f8f311. ResNet v1.5 whose blocks start as their shortcuts; Nesterov momentum 0.9; learning rate 0.1 per 256
images, from 0 over 5 epochs, then half a cosine over 95; L2 of 1e-4 on kernels; batch statistics of all devices; crops
of 8 to 100% of the area, resized bicubically; evaluation on the central 224/256.

Hardware and time: TPU v3-8 4.4 h, TPU v3-32 2.1 h, 8 x V100 in float32 13.2 h, in float16 4.3 h; 125,100 steps of 1,024
images, 250,200 of 512. Commands: `cnnjax train experiments/imagenet/flax_resnet50.py --on tpu`, the same with `--on
gpu`, and `cnnjax sweep experiments/imagenet/flax_resnet50.py --on tpu --dry-run` for what it takes.
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
    ImageNetStem,
    Machine,
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
        stem=ImageNetStem(padding="centred"),
        padding="same",
        zero_init=True,
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
        nesterov=True,
        weight_decay=1e-4,
        schedule=Cosine(warmup=5, warmup_start=0.0),
    ),
    initialization=VarianceScaling(fan="in", gain=1.0, distribution="truncated_normal"),
    augment=(Flip(),),
    epochs=100,
    batch_size=1024,
    precision="bfloat16",
    validation=0,
)
study = Study(experiment, seeds=5)
card = Card(
    source="google/flax examples/imagenet at commit 18f8f311",
    published=(
        Published(mean=0.7637, n=1, of="TPU v3-8, bfloat16, batch 1024"),
        Published(mean=0.7654, n=1, of="TPU v3-32, bfloat16"),
        Published(mean=0.7667, n=1, of="TPU v2-32, bfloat16"),
        Published(mean=0.7672, n=1, of="8 x V100, float32, batch 512"),
        Published(mean=0.7627, n=1, of="8 x V100, float16, batch 2048"),
    ),
    band=Band(low=0.761, n=5),
    deviations=(
        "Epochs are laid end to end, so that 100 are 125,114 steps of 1,024 images rather than 100 x 1,251.",
        "Examples come in a new order each epoch, not from a buffer of 16 batches that is drawn from at random.",
        "Regions are resized bilinearly with antialiasing, in training and evaluation, rather than bicubically "
        "without; of training crops the region is chosen without the requirement that it has a tenth of the image.",
        "Crops that fit none of ten times are the largest central one of an allowed aspect ratio, rather than the "
        "central 224/256.",
        "The central 224/256 of evaluation is cut as Resize(256) and CenterCrop(224) do, up to a pixel off.",
        "On GPUs bfloat16 without loss scaling, rather than float32 or float16 with it.",
        "All 50,000 images of the test part are evaluated; the source leaves out a last batch that is not full.",
    ),
    machines={
        "tpu": Machine(kind="tpu-v3", devices=8, batch_size=1024, hours=4.4),
        "gpu": Machine(kind="v100", devices=8, batch_size=512, hours=13.2),
    },
    whole=WholeSet(train=1_281_167, test=50_000, classes=1000),
)
