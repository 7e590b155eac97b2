"""Does GoogLeNet with both auxiliary heads, trained as published, reach its published error on ImageNet?

Hypothesis: 68.5 to 70.5% top-1 of one crop. Published: 10.07% top-5 error of one network and one crop (table 3); the
paper gives no top-1. Caffe's replication has 68.7 and 88.9% (68.93% in its later form), torchvision's ported weights,
with batch normalization, 69.78 and 89.53%.

Source: Szegedy et al. 2015 (arXiv:1409.4842), sections 5 and 6. Auxiliary losses count 0.3; dropout 0.4, and 0.7 in
the auxiliary heads; SGD with momentum 0.9, the rate times 0.96 every 8 epochs; the average of the weights (Polyak) is
evaluated; crops of 8 to 100% of the area with aspect ratios of 3/4 to 4/3, photometric distortions. What the paper
leaves out is taken from Caffe's models/bvlc_googlenet (solver.prototxt, train_val.prototxt): batch 32, rate 0.01,
weight decay 2e-4, 10,000,000 steps (250 epochs), kernels uniform with variance 1 / fan-in, biases 0.2, and twice the
rate for biases without weight decay; pixels of 0 to 255 less their mean.

Hardware and time: CPUs of DistBelief in the source, which guesses a week on a few GPUs; 1,251,140 steps of 256 images.
Commands: `cnnjax train experiments/imagenet/googlenet.py --on gpu`, the same with `--on tpu`, and `cnnjax sweep
experiments/imagenet/googlenet.py --on gpu --dry-run` for what it takes.
"""

from cnnjax import (
    EMA,
    SGD,
    TFDS,
    Band,
    ByPath,
    Card,
    CentreFit,
    ColorJitter,
    Experiment,
    Exponential,
    Flip,
    Group,
    Machine,
    Published,
    RandomFit,
    Rule,
    Study,
    VarianceScaling,
    WholeSet,
)
from cnnjax.models import config

experiment = Experiment(
    model=config("googlenet_2014", auxiliary_weight=0.3),
    data=TFDS(
        name="imagenet2012",
        size=224,
        train_fit=RandomFit(scale=(0.08, 1.0), ratio=(3 / 4, 4 / 3)),
        fit=CentreFit(share=224 / 256),
        mean=(0.485, 0.456, 0.406),
        std=(1 / 255, 1 / 255, 1 / 255),  # pixels of 0 to 255, less their mean
    ),
    augment=(Flip(), ColorJitter(brightness=0.5, contrast=0.5, saturation=0.5)),
    optim=SGD(
        learning_rate=0.01,
        per=32,
        scaling="square_root",
        momentum=0.9,
        nesterov=False,
        weight_decay=2e-4,
        groups={"*.bias": Group(learning_rate=2.0)},
        schedule=Exponential(factor=0.96, epochs=8, staircase=True),
    ),
    initialization=ByPath(
        rules=(Rule(kernels="*", by=VarianceScaling(fan="in", distribution="uniform")),),
        biases={"*logits.bias": 0.0, "*": 0.2},
    ),
    methods=(EMA(decay=0.9999, warmup=True, evaluate="instead"),),
    epochs=250,
    batch_size=256,
    validation=0,
)
study = Study(experiment, seeds=5)
card = Card(
    source="Szegedy et al. 2015 (arXiv:1409.4842), sections 5 and 6, table 3; Caffe's models/bvlc_googlenet",
    published=(
        Published(mean=0.8993, n=1, metric="top5_accuracy"),
        Published(mean=0.687, n=1, of="Caffe's replication, 60 epochs, without averaging", source="bvlc_googlenet"),
        Published(mean=0.889, n=1, metric="top5_accuracy", of="Caffe's replication", source="bvlc_googlenet"),
    ),
    band=Band(low=0.685, n=5),
    deviations=(
        "Rate, batch size, weight decay, length and initialization are Caffe's, since the paper names none; its "
        "updates were asynchronous.",
        "The average of the weights is exponential, over 10,000 steps; the paper does not say over what Polyak's was.",
        "Photometric distortions are changes of brightness, contrast and saturation by up to a half each (Howard "
        "2013 has them, and lighting, by factors of 0.5 to 1.5).",
        "Images are resized by a bilinear filter with antialiasing, rather than by one of several drawn at random.",
        "On the GPUs a step has 256 images and on the TPU 1,024, and the rate rises with the root of that.",
    ),
    machines={
        "gpu": Machine(kind="a100", devices=8, batch_size=256),
        "tpu": Machine(kind="tpu-v3", devices=32, batch_size=1024),
    },
    whole=WholeSet(train=1_281_167, test=50_000, classes=1000),
)
