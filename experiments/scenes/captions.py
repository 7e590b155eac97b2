"""Must the map that a caption is said of keep its places, to say which of two shapes is left of, or above, the other?

Show and Tell sees the mean of a network's last map, in which no place is left. Hypothesis: against the map's 4x4 places
side by side, at the same multiply-accumulates but for 1.3% of the embedding, its mean costs at least 20 points of
sentences that are exactly right, for it knows what there is, and little of where; 2x2 parts cost less than half of
that. Padding and a receptive field of 22 of 32 pixels leave the mean some traces of places, so that it need not fall to
one relation in four. Written once one seed of a shorter training had been looked at.
"""

from cnnjax import AdamW, BatchNorm, Captioning, Experiment, Scenes, ShowAndTell, SmallCNN, Study

experiment = Experiment(
    model=SmallCNN(features=16, blocks=3, norm=BatchNorm()),
    data=Scenes(size=32, examples=4096, test_examples=512),
    task=Captioning(captioner=ShowAndTell(cell="gru", features=128, embedding=64, cells=4, beam=3, longest=8)),
    optim=AdamW(learning_rate=0.003),
    epochs=16,
    batch_size=32,
)
study = Study(experiment, axes={"task.captioner.cells": [4, 2, 1]}, seeds=3)
