"""Training images that are decoded at the sizes they are trained at."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from cnnjax import (
    CentreFit,
    Experiment,
    Flip,
    Hardware,
    ImageFolder,
    Mixup,
    Options,
    ProgressiveResizing,
    RandomFit,
    SmallCNN,
    plan,
    train,
)
from cnnjax.config import replace
from cnnjax.data.order import Order
from cnnjax.errors import ConfigError
from cnnjax.experiment import parts_of
from cnnjax.run.feed import Streamed

SIZES = ProgressiveResizing(start=8, final=16, start_ramp=0, end_ramp=2, multiple=4, decoded=True, evaluation=20)


@pytest.fixture(scope="module")
def experiment(tmp_path_factory):
    root, generator = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    for part, count in (("train", 8), ("test", 4)):
        for label in ("a", "b"):
            (root / part / label).mkdir(parents=True)
            for number in range(count):
                pixels = generator.integers(0, 256, (30, 24, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(root / part / label / f"{number}.png")
    data = ImageFolder(
        root=str(root), size=20, train_fit=RandomFit(), fit=CentreFit(share=0.875), mean=(0.5,) * 3, std=(0.2,) * 3
    )
    return Experiment(
        model=SmallCNN(features=2, head="average"), data=data, resolution=SIZES, augment=(Flip(),), mixing=Mixup(),
        epochs=3, batch_size=8, validation=0,
    )  # fmt: skip


def test_a_batch_is_decoded_at_the_size_of_its_step(experiment):
    feed = Streamed(experiment, Hardware(devices=1).mesh(), workers=0)
    part = parts_of(experiment).train
    order = Order(experiment.seed, 8, len(part))
    for step, size in enumerate([8, 8, 12, 12, 16, 16]):
        rows = feed.rows([experiment], step)
        expected = part.at_size((size, size)).stacked(
            order.indices(step), lambda place, s=step: order.generator(s, place)
        )
        assert rows["image"].shape == (8, size, size, 3)
        np.testing.assert_array_equal(rows["image"], expected)
    # Begun again in the middle, it goes on alike.
    assert feed.rows([experiment], 3)["image"].shape == (8, 12, 12, 3)
    feed.close()
    (evaluated, *_) = feed.evaluation("test")
    assert evaluated["image"].shape[1:] == (20, 20, 3)


def test_it_plans_and_trains(experiment, tmp_path):
    trial, *_ = plan(experiment, hardware=Hardware(devices=1)).trials
    assert [row.size for row in trial.sizes] == [(8, 8), (12, 12), (16, 16)]
    result = train(experiment, tmp_path / "run", options=Options(Hardware(devices=1)))
    assert result["steps"] == 6


def test_images_that_are_decoded_once_are_refused(experiment):
    with pytest.raises(ConfigError, match="resolution.decoded"):
        plan(replace(experiment, {"data.train_fit": None}), hardware=Hardware(devices=1))
    with pytest.raises(ConfigError, match="resolution.decoded"):
        plan(replace(experiment, {"data": "digits", "resolution.evaluation": None}), hardware=Hardware(devices=1))
