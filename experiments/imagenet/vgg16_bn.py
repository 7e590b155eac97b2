"""What does batch normalization give VGG-16 on ImageNet?

Hypothesis: 73.0 to 73.8% top-1, 1.8 points above torchvision's VGG-16 without it. Published: 73.36 and 91.52%
(VGG16_BN_Weights.IMAGENET1K_V1, one training), 71.59 and 90.38% without; mmpretrain has 73.74%.

Source: torchvision's references/classification (README, VGG: `torchrun --nproc_per_node=8 train.py --model vgg16_bn
--lr 1e-2`), train.py with its defaults and presets.py. SGD, momentum 0.9, rate 0.01 for 8 x 32 images, a tenth of it
after 30 and 60 of 90 epochs, weight decay 1e-4 on every parameter; He's initialization by fan-out, dense layers of
standard deviation 0.01, biases 0; batch statistics of a GPU's 32 images; random resized crops of 224 pixels and flips;
evaluation on the central 224 of 256 pixels.

Hardware and time: 8 x V100 in the source, which states no time; 450,411 steps of 256 images. Commands: `cnnjax train
experiments/imagenet/vgg16_bn.py --on gpu`, the same with `--on tpu`, and `cnnjax sweep
experiments/imagenet/vgg16_bn.py --on gpu --dry-run` for what it takes. Without normalization:
`experiments/imagenet/vgg16.py`.
"""

from cnnjax import (
    SGD,
    TFDS,
    Band,
    BatchNorm,
    ByPath,
    Card,
    CentreFit,
    Experiment,
    FixedStd,
    Flip,
    Machine,
    MultiStep,
    Normalize,
    Published,
    RandomFit,
    Rule,
    Study,
    VarianceScaling,
    WholeSet,
)
from cnnjax.models import config
from cnnjax.models.vgg import vgg16_bn

norm = BatchNorm(group=32, running_variance="unbiased")  # the 32 images of a GPU share their statistics
norms = [f"layers.{name}.norm" for name, layer in vgg16_bn().layers.items() if isinstance(layer, Normalize)]

experiment = Experiment(
    model=config("vgg16_bn", **dict.fromkeys(norms, norm)),
    data=TFDS(
        name="imagenet2012",
        size=224,
        train_fit=RandomFit(),
        fit=CentreFit(share=224 / 256),
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
    ),
    augment=(Flip(),),
    optim=SGD(
        learning_rate=0.01,
        per=256,
        momentum=0.9,
        nesterov=False,
        weight_decay=1e-4,
        decay_skips="nothing",
        schedule=MultiStep(milestones=(30, 60), factor=0.1),
    ),
    initialization=ByPath(
        rules=(
            Rule(kernels="conv*", by=VarianceScaling(fan="out", gain=2**0.5)),
            Rule(kernels="*", by=FixedStd(std=0.01)),
        )
    ),
    epochs=90,
    batch_size=256,
    validation=0,
)
study = Study(experiment, seeds=5)
card = Card(
    source="torchvision references/classification: VGG16_BN_Weights.IMAGENET1K_V1",
    published=(
        Published(mean=0.7336, n=1),
        Published(mean=0.91516, n=1, metric="top5_accuracy"),
        Published(mean=0.71592, n=1, of="without normalization, the same recipe"),
    ),
    band=Band(low=0.73, n=5),
    deviations=(
        "Epochs are laid end to end, so that 90 are 450,411 steps; a sampler that begins each anew makes 450,450.",
        "Running statistics are the mean over the eight groups of 32 images; DDP keeps those of the first GPU.",
        "Random crops are resized by a filter that differs from Pillow's by 0.7 of 255 on average.",
    ),
    machines={
        "gpu": Machine(kind="a100", devices=8, batch_size=256),
        "tpu": Machine(kind="tpu-v3", devices=32, batch_size=1024),
    },
    whole=WholeSet(train=1_281_167, test=50_000, classes=1000),
)
