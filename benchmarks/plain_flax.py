"""Train one small CNN on scikit-learn's digits with plain Flax Linen and optax: one process, one run.

The baseline of `study_vs_processes.py`: what a careful researcher writes without cnnjax; it imports nothing of cnnjax.

Network, NHWC, images 8x8x1, f = --features, k = --kernel-size (Flax's default initialisers, every layer with a bias):
    conv k x k, f, same padding -> relu -> pool 2x2, stride 2        k*k*f + f          parameters
    conv k x k, 2f, same padding -> relu -> pool 2x2, stride 2       2*k*k*f*f + 2*f
    flatten (2*2*2f = 8f) -> dense 64 -> relu                        512*f + 64
    dense 10                                                         650
    together                                                         2*k*k*f*f + (k*k + 515)*f + 714
    f=8: 6,058 (k=3), 8,234 (k=5);  f=16: 13,706, 22,154;  f=32: 35,914, 69,194;  the pooling has no parameters.

Data: 1,797 images; test 360 (20%), validation 144 (10% of the rest), training 1,293: scikit-learn's stratified split
with random_state=0 both times, so it doesn't depend on --seed. --split takes another one from a file, so that two
programs can be compared on the same examples: JSON, {"train": [rows of load_digits()], "validation": ..., "test": ...}.
One mean and one standard deviation, those of the training pixels, normalise all three parts. Each epoch is a new
permutation without its ragged last batch.

Training: mean softmax cross-entropy, SGD with Nesterov momentum 0.9, learning rate on a cosine from --learning-rate to
zero over all steps, float32, no weight decay, no augmentation. Test accuracy is of the last epoch, measured once.
"""

import argparse
import json
import time
from pathlib import Path

import flax.linen as nn
import jax
import numpy as np
import optax
from flax.training.train_state import TrainState
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

POOLS = {"max": nn.max_pool, "average": nn.avg_pool}


class SmallCNN(nn.Module):
    features: int
    kernel_size: int
    pool: str

    @nn.compact
    def __call__(self, images):
        x = images
        for features in (self.features, 2 * self.features):
            x = nn.relu(nn.Conv(features, (self.kernel_size, self.kernel_size), padding="SAME")(x))
            x = POOLS[self.pool](x, (2, 2), strides=(2, 2))
        x = x.reshape(len(x), -1)
        x = nn.relu(nn.Dense(64)(x))
        return nn.Dense(10)(x)


def stratified_split(labels):
    """Return {"train", "validation", "test"} -> rows, the same for every seed."""
    rest, test = train_test_split(np.arange(len(labels)), test_size=0.2, random_state=0, stratify=labels)
    train, validation = train_test_split(rest, test_size=0.1, random_state=0, stratify=labels[rest])
    return {"train": train, "validation": validation, "test": test}


def load_splits(file):
    """Return {"train", "validation", "test"} -> (images float32 [n, 8, 8, 1], labels int32 [n]), on the host.

    file: the split as JSON, or None for the stratified one.
    """
    digits = load_digits()
    images, labels = digits.images[..., None].astype(np.float32), digits.target.astype(np.int32)
    split = json.loads(file.read_text()) if file else stratified_split(labels)
    train = images[split["train"]]
    images = (images - train.mean()) / train.std()
    return {name: (images[rows], labels[rows]) for name, rows in split.items()}


def cross_entropy(logits, labels):
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()


def train_step(state, images, labels, rows):
    """One SGD step on the examples `rows` [batch] of the training set, which stays on the device."""

    def loss_of(params):
        return cross_entropy(state.apply_fn({"params": params}, images[rows]), labels[rows])

    loss, gradients = jax.value_and_grad(loss_of)(state.params)
    return state.apply_gradients(grads=gradients), loss


def evaluate(state, images, labels):
    logits = state.apply_fn({"params": state.params}, images)
    return {"loss": cross_entropy(logits, labels), "accuracy": (logits.argmax(-1) == labels).mean()}


def run(args):
    started = time.perf_counter()
    host = load_splits(args.split)
    splits = jax.device_put(host)
    images, labels = splits["train"]
    steps_per_epoch = len(labels) // args.batch_size
    schedule = optax.cosine_decay_schedule(args.learning_rate, args.epochs * steps_per_epoch)
    model = SmallCNN(args.features, args.kernel_size, args.pool)
    tx = optax.sgd(schedule, momentum=0.9, nesterov=True)

    def create_state(key):
        return TrainState.create(apply_fn=model.apply, params=model.init(key, images[:1])["params"], tx=tx)

    state = jax.jit(create_state)(jax.random.key(args.seed))
    step = jax.jit(train_step, donate_argnums=0)
    measure = jax.jit(evaluate)
    shuffle = np.random.default_rng(args.seed)

    epochs, epoch_seconds = [], []
    for epoch in range(args.epochs):
        epoch_started = time.perf_counter()
        order = shuffle.permutation(len(labels)).astype(np.int32)
        losses = []
        for rows in order[: steps_per_epoch * args.batch_size].reshape(steps_per_epoch, args.batch_size):
            state, loss = step(state, images, labels, rows)
            losses.append(loss)
        losses, validation = jax.device_get((losses, measure(state, *splits["validation"])))  # the epoch's one wait
        epochs.append(
            {
                "train_loss": float(np.mean(losses)),
                "validation_loss": float(validation["loss"]),
                "validation_accuracy": float(validation["accuracy"]),
            }
        )
        epoch_seconds.append(time.perf_counter() - epoch_started)
        print(
            f"epoch {epoch + 1:3d}  train loss {epochs[-1]['train_loss']:.4f}"
            f"  validation accuracy {epochs[-1]['validation_accuracy']:.4f}  {epoch_seconds[-1]:.2f} s"
        )
    test = jax.device_get(measure(state, *splits["test"]))
    return {
        "arguments": {name: value for name, value in vars(args).items() if name not in ("out", "split")},
        "params": sum(leaf.size for leaf in jax.tree.leaves(state.params)),
        "steps": args.epochs * steps_per_epoch,
        "examples": {name: len(split[1]) for name, split in host.items()},
        "test_accuracy": float(test["accuracy"]),
        "test_loss": float(test["loss"]),
        "validation_accuracy": epochs[-1]["validation_accuracy"],
        "seconds": time.perf_counter() - started,  # everything but Python's start and the imports
        "first_epoch_seconds": epoch_seconds[0],  # with tracing and compiling
        "later_epochs_seconds": sum(epoch_seconds[1:]),
        "device": f"{jax.devices()[0].platform}: {jax.devices()[0].device_kind}",
        "epochs": epochs,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--features", type=int, default=8, help="filters of the first convolution; the second has 2x")
    parser.add_argument("--kernel-size", type=int, default=3)
    parser.add_argument("--pool", choices=POOLS, default="max")
    parser.add_argument("--seed", type=int, default=0, help="initial weights and order of the examples, not the split")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--learning-rate", type=float, default=0.05)
    parser.add_argument("--split", type=Path, metavar="FILE.json", help="rows of each part (default: scikit-learn's)")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.json")
    args = parser.parse_args()
    result = run(args)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(result, indent=2) + "\n")
    print(f"test accuracy {result['test_accuracy']:.4f}, {result['params']:,} parameters, {result['seconds']:.1f} s")


if __name__ == "__main__":
    main()
