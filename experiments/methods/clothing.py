"""At what learning rate does a narrow residual network learn 1,000 pictures of clothing best?

Hypothesis: SGD with momentum is flat around 0.3: a third of it and three times as much cost less than one point each.

The experiment that the others in this folder start from: Fashion-MNIST at 14x14 pixels, 100 images of each class, three
residual blocks of 8, 16 and 32 features, 20 epochs. `clothing.RATE` is what this study chose by validation.
"""

from cnnjax import SGD, TFDS, CifarStem, Experiment, ResNet, Study

RATE = 0.3

experiment = Experiment(
    model=ResNet(stage_sizes=(1, 1, 1), features=8, stem=CifarStem()),
    data=TFDS(name="fashion_mnist", size=(14, 14)),
    optim=SGD(learning_rate=RATE, weight_decay=5e-4),
    epochs=20,
    validation=1000,
    per_class=100,
)
study = Study(experiment, axes={"optim.learning_rate": [0.1, 0.3, 1.0]}, seeds=5)
