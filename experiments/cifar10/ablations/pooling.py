"""Max, average or blurred pooling on CIFAR-10, and should windows overlap?

Hypothesis: max is half a point better than average; overlap gives 0.3 points; blur between.

Three blocks of two 3x3 convolutions with 32, 64 and 128 filters, batch normalization, and the mean over the image.
With a window of 2 blur is the average. 60 epochs of batches of 128, 21,094 steps of a cosine; 45,000 images to train
on, 5,000 to choose by.

Hardware and time: one accelerator; how long is not known. Six arms of 34M to 39M multiply-accumulates an image, five
seeds each: 18 PFLOP in all.
Command: `cnnjax sweep experiments/cifar10/ablations/pooling.py --on gpu`
"""

from cnnjax import SGD, TFDS, BatchNorm, Card, Claim, Cosine, Experiment, Flip, Machine, RandomCrop, SmallCNN, Study

experiment = Experiment(
    model=SmallCNN(features=32, blocks=3, pool_strides=2, depth=2, norm=BatchNorm(), head="average", dense=0),
    data=TFDS(name="cifar10"),
    optim=SGD(learning_rate=0.1, weight_decay=5e-4, schedule=Cosine(warmup=1)),
    augment=(RandomCrop(padding=4), Flip()),
    epochs=60,
    batch_size=128,
    validation=5000,
)
study = Study(experiment, axes={"model.pool": ["max", "average", "blur"], "model.pool_window": [2, 3]}, seeds=5)
card = Card(
    source="Krizhevsky et al. 2012 (NeurIPS 25), section 3.4 (overlap); Scherer et al. 2010 (ICANN) (max)",
    deviations=("A small network with batch normalization, trained for 60 epochs.",),
    claims=(
        Claim(
            "Max pooling is better than average pooling",
            of={"model.pool": "max"},
            against={"model.pool": "average"},
            expects="more",
            margin=0.003,
        ),
        Claim(
            "Windows that overlap are better",
            of={"model.pool_window": 3},
            against={"model.pool_window": 2},
            expects="more",
            margin=0.002,
        ),
    ),
    machines={"gpu": Machine(kind="a100"), "tpu": Machine(kind="tpu-v3")},
)
