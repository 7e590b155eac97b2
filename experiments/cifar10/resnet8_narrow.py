"""How far does a narrow ResNet-8 get on CIFAR-10 within four epochs on two cores of a CPU?

DRAFT

Hypothesis: DRAFT
"""

from cnnjax import SGD, TFDS, Card, CifarStem, Experiment, Flip, MultiStep, RandomCrop, ResNet, Study

experiment = Experiment(
    model=ResNet(stage_sizes=(1, 1, 1), features=8, stem=CifarStem(), shortcut="A"),
    data=TFDS(name="cifar10"),
    optim=SGD(learning_rate=0.1, weight_decay=1e-4, nesterov=False, schedule=MultiStep(milestones=(2.0, 3.0))),
    augment=(RandomCrop(padding=4), Flip()),
    epochs=4,
    batch_size=128,
    validation=5000,
)
study = Study(experiment, seeds=5)
card = Card(source="He et al. 2015", deviations=(), needs="cpu")
