"""What does the weight of KL cost a variational autoencoder in the likeness of its reconstructions?

Hypothesis: from a weight of 0.1 to 1 the divergence falls to less than half, and PSNR by at least 1 dB; from 1 to 4
PSNR falls by another 1 dB, since most numbers of the code then say nothing.
"""

from cnnjax import AdamW, Autoencoder, Digits, Experiment, SigmoidCrossEntropy, Study, Variational

experiment = Experiment(
    model=Autoencoder(code=8, variational=True),
    data=Digits(),
    task=Variational(),
    loss=SigmoidCrossEntropy(),
    optim=AdamW(learning_rate=0.003),
    epochs=20,
    batch_size=64,
)
study = Study(experiment, axes={"task.kl_weight": [0.1, 1.0, 4.0]}, seeds=3)
