"""Does FFCV's 16-epoch training of ResNet-50 give 73.8% on ImageNet, in a quarter of an hour?

Hypothesis: 73.3 to 74.3% top-1 after 16 epochs. Published, one training each: 73.8 / 90.8% (16 epochs), 75.6 (24), 76.6
(32), 77.2 (40), 78.0 (56), 78.4% (88).

Source: libffcv/ffcv-imagenet, train_imagenet.py and rn50_configs/, commit 4dd291a1. SGD, momentum 0.9; learning rate
1.7 for 8 x 512 images, from 1e-4 of it up to epoch 2 and in a line down to 0; weight decay 1e-4 but on no parameter
with "bn" in its name; label smoothing 0.1; a blur before the convolutions that step, but for the first; random resized
crops and flips; training at 160 pixels and then at 192, from 74% to 86.5% of the epochs; evaluation at 256 pixels, cut
from 224/256 of the shorter side, the logits of the image and of its mirror image added.

Hardware and time: eight A100 of a p4d.24xlarge: 14.9 min (16 epochs), 21.7 (24), 28.7 (32), 35.6 (40), 49.4 (56), 77.2
min (88). Another length is `epochs=24`; learning rate and sizes follow. Commands: `cnnjax train
experiments/imagenet/ffcv_resnet50.py --on gpu`, the same with `--on tpu`, `cnnjax sweep
experiments/imagenet/ffcv_resnet50.py epochs=16,24,32,40,56,88 --on gpu` for the table, and `--dry-run` for what it
takes.
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
    FlipViews,
    Group,
    Linear,
    Machine,
    ProgressiveResizing,
    Published,
    RandomFit,
    ResNet,
    SoftmaxCrossEntropy,
    Study,
    VarianceScaling,
    WholeSet,
)

experiment = Experiment(
    model=ResNet(
        stage_sizes=(3, 4, 6, 3),
        block="bottleneck",
        norm=BatchNorm(group=512, running_variance="unbiased"),  # the 512 images of a GPU share their statistics
        blur=True,
        blur_place="before",
        blur_pool=False,
        logits_start="pytorch",
    ),
    data=TFDS(
        name="imagenet2012",
        size=256,
        train_fit=RandomFit(),
        fit=CentreFit(share=224 / 256),
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
    ),
    resolution=ProgressiveResizing(start=160, final=192, start_ramp=0.74, end_ramp=0.865, multiple=32, decoded=True),
    optim=SGD(
        learning_rate=1.7,
        per=4096,
        momentum=0.9,
        nesterov=False,
        weight_decay=1e-4,
        decay_skips="nothing",
        groups={"*.conv?.norm.*": Group(weight_decay=0.0)},
        schedule=Linear(warmup=2, warmup_start=1e-4),
    ),
    initialization=VarianceScaling(fan="out", gain=2**0.5, kernels="convolution"),
    loss=SoftmaxCrossEntropy(label_smoothing=0.1),
    augment=(Flip(),),
    test_time=FlipViews(),
    epochs=16,
    batch_size=4096,
    precision="bfloat16",
    validation=0,
)
study = Study(experiment, seeds=5)
card = Card(
    source="libffcv/ffcv-imagenet, rn50_configs, at commit 4dd291a1",
    published=(
        Published(mean=0.738, n=1),
        Published(mean=0.908, n=1, metric="top5_accuracy"),
        Published(mean=0.756, n=1, of="24 epochs"),
        Published(mean=0.766, n=1, of="32 epochs"),
        Published(mean=0.772, n=1, of="40 epochs"),
        Published(mean=0.780, n=1, of="56 epochs"),
        Published(mean=0.784, n=1, of="88 epochs"),
    ),
    band=Band(low=0.733, n=5),
    deviations=(
        "Images are those of ImageNet; the source's are at most 500 pixels a side, and half of them are JPEGs.",
        "Epochs are laid end to end, so that 16 are 5,005 steps; a last batch that is not full is left out there, "
        "which makes 16 x 312 = 4,992.",
        "Running statistics are the mean over the eight groups of 512 images; DDP keeps those of the first GPU.",
        "Regions are resized bilinearly with antialiasing, rather than by OpenCV's INTER_AREA.",
        "bfloat16 without loss scaling, rather than float16 with it.",
    ),
    machines={
        "gpu": Machine(kind="a100", devices=8, batch_size=4096, hours=0.248),
        "tpu": Machine(kind="tpu-v5p", devices=8, batch_size=4096),
    },
    whole=WholeSet(train=1_281_167, test=50_000, classes=1000),
)
