"""Can a stride replace max pooling on CIFAR-10, at the same multiply-accumulates?

Hypothesis: no: the stride loses 0.3 points or more, though it has wider layers for the same cost.

Three blocks of two 3x3 convolutions with 32, 64 and 128 filters, batch normalization, and the mean over the image.
With strides the last convolution of each block makes the step, and filters are rescaled. 60 epochs of batches of 128,
21,094 steps of a cosine; 45,000 images to train on, 5,000 to choose by.

Hardware and time: one accelerator; how long is not known. Two arms of 39M multiply-accumulates an image, five seeds
each: 6.3 PFLOP in all.
Command: `cnnjax sweep experiments/cifar10/ablations/stride_or_pooling.py --on gpu`
"""

from cnnjax import SGD, TFDS, BatchNorm, Card, Claim, Cosine, Experiment, Flip, Machine, RandomCrop, SmallCNN, Study

experiment = Experiment(
    model=SmallCNN(features=32, blocks=3, depth=2, norm=BatchNorm(), head="average", dense=0),
    data=TFDS(name="cifar10"),
    optim=SGD(learning_rate=0.1, weight_decay=5e-4, schedule=Cosine(warmup=1)),
    augment=(RandomCrop(padding=4), Flip()),
    epochs=60,
    batch_size=128,
    validation=5000,
)
study = Study(experiment, axes={"model.pool": ["max", "stride"]}, match="macs", seeds=5)
card = Card(
    source="Springenberg et al. 2014, arXiv:1412.6806, table 3 (a stride costs 1.1 points there)",
    deviations=("A small network with batch normalization, trained for 60 epochs.",),
    claims=(
        Claim(
            "Max pooling is better than a stride of equal cost",
            of={"model.pool": "max"},
            against={"model.pool": "stride"},
            expects="more",
            margin=0.003,
        ),
    ),
    machines={"gpu": Machine(kind="a100"), "tpu": Machine(kind="tpu-v3")},
)
