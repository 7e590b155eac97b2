"""Which regularization helps most where images are few?

Hypothesis: with 16 images of a class, mixing images helps most (one to two points), dropping activations or branches
less, and the network is too small for label smoothing to matter. Clipping changes nothing.
"""

from few_digits import experiment

from cnnjax import CutMix, Mixup, SigmoidCrossEntropy, SoftmaxCrossEntropy, Study

study = Study(
    experiment,
    axes={
        "loss": [
            SoftmaxCrossEntropy(),
            SoftmaxCrossEntropy(label_smoothing=0.1),
            SoftmaxCrossEntropy(label_smoothing=0.2),
            SigmoidCrossEntropy(),
        ],
        "mixing": [None, Mixup(alpha=0.2), Mixup(alpha=1.0), CutMix(alpha=1.0)],
        "model.dropout": [0.0, 0.1, 0.3],
        "model.stochastic_depth": [0.0, 0.1, 0.3],
        "model.drop_block": [0.0, 0.1, 0.3],
        "optim.weight_decay": [5e-4, 0.0, 5e-3],
        "optim.clip_norm": [None, 1.0],
        "optim.adaptive_clip": [None, 0.04, 0.16],
    },
    combine="one_at_a_time",
    seeds=6,
)
