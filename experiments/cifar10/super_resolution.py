"""Is it better to convolve before enlarging than after, on photographs, at the same multiply-accumulates?

CIFAR-10's images from 8x8 pixels back to 32x32. SRCNN enlarges first, ESPCN last, and has far more filters at equal
cost (Shi et al. 2016, arXiv:1609.05158). Both learn what bicubic interpolation lacks, and begin as it. On drawn shapes
(shapes/super_resolution.py) SRCNN was better by 0.5 dB.

Hypothesis: both exceed bicubic interpolation (test_bicubic_psnr) by at least 0.5 dB, and SRCNN is better here too.

Command: `cnnjax sweep experiments/cifar10/super_resolution.py`
"""

from cnnjax import (
    ESPCN,
    SRCNN,
    TFDS,
    AdamW,
    Card,
    Claim,
    Experiment,
    Machine,
    SquaredError,
    Study,
    SuperResolution,
)

experiment = Experiment(
    model=ESPCN(residual=True),
    data=TFDS(name="cifar10"),
    task=SuperResolution(),
    loss=SquaredError(),
    optim=AdamW(learning_rate=0.003),
    epochs=4,
    batch_size=64,
    validation=5000,
)
study = Study(experiment, axes={"model": [ESPCN(residual=True), SRCNN(residual=True)]}, seeds=3, match="macs")
card = Card(
    source="Shi et al. 2016, arXiv:1609.05158, section 3; Dong et al. 2014, arXiv:1501.00092, figure 2",
    deviations=(
        "CIFAR-10 in colour from 8x8 to 32x32 pixels, for the luminance of large photographs",
        "both learn what bicubic interpolation lacks, and begin as it; AdamW with a cosine, 4 epochs",
        "SRCNN with an eighth of its filters, so that it costs what ESPCN does",
    ),
    claims=(
        Claim(
            "Convolving before enlarging is better at equal cost",
            of={"model": {"name": "srcnn", "residual": True}},
            against={"model": {"name": "espcn", "residual": True}},
            metric="test_psnr",
            expects="more",
            margin=0.1,
        ),
    ),
    machines={"cpu": Machine(kind="cpu")},
    needs="cpu",
)
