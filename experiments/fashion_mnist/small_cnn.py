"""Does a small convolutional network reach 92.5% of Fashion-MNIST?

Hypothesis: yes, as the mean of five seeds: three convolutions of 16, 32 and 64 filters with batch normalization and
29,274 parameters, in 15 epochs.

Source: the list of benchmarks in the README of zalandoresearch/fashion-mnist (commit 02cf0676df94), which was not
verified by its authors: two convolutions with fewer than 100,000 parameters, submitted by hardmaru, 92.5%.

About two minutes a seed on two idle cores. Command: `cnnjax sweep experiments/fashion_mnist/small_cnn.py`
"""

from cnnjax import SGD, TFDS, Band, Card, Cosine, Experiment, Flip, FlipViews, Machine, Published, SmallCNN, Study

experiment = Experiment(
    model=SmallCNN(features=16, blocks=3, norm="batch", dense=0, dropout=0.2),
    data=TFDS(name="fashion_mnist"),
    optim=SGD(learning_rate=0.1, weight_decay=5e-4, schedule=Cosine(warmup=1)),
    augment=(Flip(),),
    test_time=FlipViews(),
    epochs=15,
    batch_size=128,
    validation=5000,
)
study = Study(experiment, seeds=5)
card = Card(
    source="zalandoresearch/fashion-mnist, README.md, commit 02cf0676df94",
    published=(Published(mean=0.925, n=1, of="two convolutions, fewer than 100,000 parameters"),),
    band=Band(low=0.925, n=5),
    deviations=(
        "Three convolutions with batch normalization and no hidden dense layer, where the source has two and some.",
        "Images are mirrored at random in training, and the outputs of both views are averaged in evaluation.",
        "SGD with momentum, weight decay and a cosine, where the source has Adam.",
        "5,000 of the 60,000 training images are kept for validation.",
    ),
    machines={"cpu": Machine(kind="cpu", hours=0.04)},
    needs="cpu",
)
