"""Is it better to convolve before enlarging than after, at the same multiply-accumulates?

SRCNN enlarges first, so that each of its convolutions is computed at sixteen times as many places as in ESPCN, which
enlarges last; at equal cost it has far fewer filters (Shi et al. 2016, arXiv:1609.05158). Both learn what bicubic
interpolation lacks, and begin as it.

Hypothesis: ESPCN's PSNR is at least 0.3 dB higher, and both exceed bicubic interpolation (test_bicubic_psnr).
"""

from cnnjax import ESPCN, SRCNN, AdamW, Experiment, Shapes, SquaredError, Study, SuperResolution

experiment = Experiment(
    model=ESPCN(residual=True),
    data=Shapes(size=32, radius=(5.0, 10.0), noise=0.0, examples=512, test_examples=128),
    task=SuperResolution(),
    loss=SquaredError(),
    optim=AdamW(learning_rate=0.003),
    epochs=20,
    batch_size=16,
)
study = Study(experiment, axes={"model": [ESPCN(residual=True), SRCNN(residual=True)]}, seeds=3, match="macs")
