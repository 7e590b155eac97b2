"""Does the size of the kernel matter?"""

import optax

from cnnjax import Digits, Experiment, Optim, SmallCNN, Study


class Heavy(Optim, tag="heavy_of_study_1"):
    """Gradient descent with momentum, as an optimizer of the user's own."""

    def direction(self) -> optax.GradientTransformation:
        return optax.trace(0.9)


experiment = Experiment(
    model=SmallCNN(features=4, kernel_size=2, padding="valid"),
    data=Digits(),
    optim=Heavy(learning_rate=0.02),
    epochs=2,
    batch_size=64,
)
study = Study(experiment, axes={"model.kernel_size": [1, 2, 3]}, seeds=3)
