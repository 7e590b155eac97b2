"""Does batch normalization in the generator of a DCGAN matter?

Radford, Metz & Chintala 2016 (arXiv:1511.06434, section 3): it "proved critical to get deep generators to begin
learning". Here the generator has two stages alone, and the discriminator keeps its own. Hypothesis: without it the
Fréchet distance is at least half as large again.

The distance is in the features of a classifier of the same digits, which is trained first:

    cnnjax train experiments/digits/baseline.py --out runs/judge
"""

from cnnjax import (
    Activation,
    Adam,
    Constant,
    Conv,
    ConvNet,
    Dense,
    Digits,
    Experiment,
    FixedStd,
    Flatten,
    Generation,
    Generator,
    Normalize,
    SigmoidCrossEntropy,
    Study,
)

experiment = Experiment(
    model=ConvNet(
        layers={
            "conv1": Conv(features=32, kernel_size=4, strides=2),
            "activation1": Activation(name="leaky_relu_0.2"),
            "conv2": Conv(features=64, kernel_size=4, strides=2, bias=False),
            "norm2": Normalize(),
            "activation2": Activation(name="leaky_relu_0.2"),
            "flatten": Flatten(),
            "logits": Dense(),
        }
    ),
    data=Digits(),
    task=Generation(generator=Generator(code=64, features=(128, 64)), judge="runs/judge"),
    loss=SigmoidCrossEntropy(),
    optim=Adam(learning_rate=0.0005, b1=0.5, schedule=Constant()),
    initialization=FixedStd(std=0.02),
    epochs=100,
    batch_size=64,
)
study = Study(experiment, axes={"task.generator.norm": ["batch", "none"]}, seeds=3)
