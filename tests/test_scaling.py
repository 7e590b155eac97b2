"""What devices exchange in a step: gradients at once, and batch statistics apart."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from cnnjax import Experiment, Hardware, SmallCNN, Synthetic
from cnnjax.config import replace
from cnnjax.run.program import Program

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
from scaling import Collective, collectives  # pyright: ignore[reportMissingImports]

BASE = Experiment(
    model=SmallCNN(features=4), data=Synthetic(height=8, width=8, examples=32), batch_size=16, steps=2, validation=0
)


def exchanged(experiment: Experiment, parallel) -> tuple[list[Collective], int]:
    program = Program(experiment, hardware=Hardware(8, parallel))
    state = program.init([experiment])
    program.train(state, program.rows([experiment], 0))
    return collectives(program.compiled("train")), program.analysis.params


@pytest.mark.parametrize("parallel", ["jit", "shard_map"])
def test_gradients_are_one_all_reduce(parallel):
    found, params = exchanged(BASE, parallel)
    largest, *others = found
    assert largest.kind == "all-reduce"
    # Four bytes a parameter, and a few numbers for the metrics.
    assert 0 <= largest.bytes - 4 * params <= 64
    assert sum(one.bytes for one in others) <= 64


@pytest.mark.parametrize("parallel", ["jit", "shard_map"])
def test_batch_statistics_are_a_few_small_exchanges_a_layer(parallel):
    found, params = exchanged(replace(BASE, {"model.norm": "batch"}), parallel)
    largest, *others = found
    # Under jit the gradients of scale and bias come with the statistics': they are sums that those need too.
    assert abs(largest.bytes - 4 * params) <= 4 * 2 * (4 + 8) + 64
    assert len(others) <= 2 * 3 + 2, "two layers: mean, variance, and both gradients; and the metrics, in one or two"
    assert sum(one.bytes for one in others) <= 4 * 4 * (4 + 8) + 64


def test_statistics_by_device_are_not_exchanged():
    found, _ = exchanged(replace(BASE, {"model.norm": {"kind": "batch", "group": "device"}}), "jit")
    few, _ = exchanged(BASE, "jit")
    assert len(found) <= len(few) + 1


def test_mixing_exchanges_images_and_nothing_else():
    plain, _ = exchanged(BASE, "shard_map")
    found, _ = exchanged(replace(BASE, {"mixing": "mixup"}), "shard_map")
    kinds = [one.kind for one in found]
    assert kinds.count("all-reduce") == len(plain)
    images = next(one for one in found if one.kind == "collective-permute")
    assert images.bytes <= 2 * 8 * 8 * 3 + 32, "two images a device, as uint8"
