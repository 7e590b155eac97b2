"""How far does airbench94 at an eighth of its width get on CIFAR-10 within three epochs on two cores of a CPU?

DRAFT

Hypothesis: DRAFT
"""

from cnnjax import (
    SGD,
    TFDS,
    AlternatingFlip,
    Card,
    Experiment,
    FlipViews,
    Lookahead,
    PiecewiseLinear,
    RandomCrop,
    SoftmaxCrossEntropy,
    Study,
    Whitening,
)
from cnnjax.config import replace

STEPS_PER_EPOCH, EPOCHS = 97, 3
STEPS = STEPS_PER_EPOCH * EPOCHS

published = Experiment(
    model="airbench94",
    data=TFDS(name="cifar10", mean=(0.4914, 0.4822, 0.4465), std=(0.2470, 0.2435, 0.2616)),
    initialization=Whitening(),
    optim=SGD(
        learning_rate=1.5,
        per=1024,
        momentum=0.85,
        weight_decay=0.0153 / 11.5,
        decay_skips="nothing",
        groups={
            "whiten.kernel": {"frozen": True},
            "whiten.bias": {"until": 0.3 * EPOCHS},
            "norm*": {"learning_rate": 64.0, "weight_decay": 1 / 64},
        },
        schedule=PiecewiseLinear(knots=((0.0, 0.2), (0.23 * EPOCHS, 1.0), (EPOCHS, 0.07))),
    ),
    loss=SoftmaxCrossEntropy(label_smoothing=0.2),
    augment=(AlternatingFlip(), RandomCrop(padding=2, fill="reflect")),
    test_time=FlipViews(shift=1),
    methods=(
        Lookahead(share=1.0, every=5, final_share=1 - 0.95**5, power=3.0, batch_statistics="slow", ends_slow=True),
    ),
    steps=STEPS,
    batch_size=512,
    validation=0,
)
narrow = {1: 8, 2: 32, 3: 32}
layers = {f"model.layers.conv{group}_{number}.features": width for group, width in narrow.items() for number in (1, 2)}
experiment = replace(published, layers)
study = Study(experiment, seeds=5)
card = Card(source="Jordan 2024", deviations=(), needs="cpu")
