"""Style transfer: what is written, what is refused, and that the same call makes the same picture."""

from __future__ import annotations

import json

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import cnnjax
from cnnjax import SGD, Autoencoder, Experiment, Reconstruction, SmallCNN, SquaredError, Synthetic
from cnnjax.errors import ConfigError, DataError
from cnnjax.inspection.style_transfer import gram, variation
from cnnjax.records.stylized import Stylized


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two images, and the run of a network for 8x8 pixels."""
    folder = tmp_path_factory.mktemp("stylize")
    generator = np.random.default_rng(0)
    for name, (height, width) in {"content": (12, 16), "style": (20, 10)}.items():
        Image.fromarray(generator.integers(0, 256, (height, width, 3), np.uint8)).save(folder / f"{name}.png")
    data = Synthetic(height=8, width=8, channels=3, classes=4, examples=16, test_examples=8)
    model = SmallCNN(features=4, dense=0, blocks=2)
    experiment = Experiment(model=model, data=data, optim=SGD(learning_rate=0.01), batch_size=8)
    cnnjax.train(experiment, folder / "run")
    return folder


def made(folder, out, **options):
    given = {"network": folder / "run", "steps": 1, "optimizer": "adam"} | options
    return cnnjax.stylize(folder / "content.png", folder / "style.png", out=out, **given)


def test_gram_and_variation_by_hand():
    maps = jnp.array([[[[1.0, 2.0]], [[3.0, 0.0]]]])  # two places with two features
    np.testing.assert_allclose(gram(maps), [[[5.0, 1.0], [1.0, 2.0]]])
    # Down 2 and -2; there is one column.
    np.testing.assert_allclose(variation(maps), 4.0)


def test_a_picture_of_the_contents_size_and_its_losses(run, folder, tmp_path):
    out = tmp_path / "made.png"
    code, said, _ = run(
        *("stylize", folder / "content.png", folder / "style.png", "--network", folder / "run", "--out", out),
        *("--steps", 12, "--json"),
    )
    assert code == 0
    assert json.loads(said)["picture"] == str(out)
    assert Image.open(out).size == (16, 12)
    held = Stylized.read(tmp_path / "made.png.json", remedy="")
    assert held is not None
    assert held.size == (12, 16)
    assert {name: len(curve) for name, curve in held.losses.items()} == dict.fromkeys(
        ("total", "content", "style", "variation"), 13
    )
    assert held.losses["content"][0] == 0
    for at in (0, 12):
        assert held.losses["total"][at] == pytest.approx(held.losses["content"][at] + 100 * held.losses["style"][at])
    assert held.losses["total"][-1] < 0.5 * held.losses["total"][0]


def test_the_same_call_makes_the_same_picture(folder, tmp_path):
    one, same, other = (
        made(folder, tmp_path / f"{number}.png", seed=seed, start="noise", steps=3).image
        for number, seed in enumerate((0, 0, 1))
    )
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()


def test_adam_takes_its_first_step_by_hand(folder, tmp_path):
    """Adam's first step moves each pixel by the rate against its gradient's sign: only variation pulls here."""
    found = made(folder, tmp_path / "a.png", rate=0.1, content_weight=0, style_weight=0, variation=1)
    content = np.asarray(Image.open(folder / "content.png")) / np.float32(255)
    padded = np.pad(content, ((1, 1), (1, 1), (0, 0)), "edge")
    down = (2 * content - padded[2:, 1:-1] - padded[:-2, 1:-1]) / (11 * 16)
    across = (2 * content - padded[1:-1, 2:] - padded[1:-1, :-2]) / (12 * 15)
    expected = np.clip(content - 0.1 * np.sign(down + across), 0, 1)
    assert np.abs(found.image - 255 * expected).max() <= 0.51


def test_size_of_the_longer_side(folder, tmp_path):
    assert made(folder, tmp_path / "a.png", size=8).image.shape == (6, 8, 3)


def test_a_network_without_endpoints_takes_its_own_size(folder, tmp_path):
    data = Synthetic(height=8, width=8, channels=3, classes=4, examples=8, test_examples=8)
    model = Autoencoder(features=(4,), code=3)
    experiment = Experiment(
        model=model, data=data, task=Reconstruction(), loss=SquaredError(), batch_size=8, steps=1, validation=0
    )
    cnnjax.train(experiment, tmp_path / "run")
    assert made(folder, tmp_path / "a.png", network=tmp_path / "run").image.shape == (8, 8, 3)
    with pytest.raises(ConfigError, match="size = 16: the network of .* takes 8x8 alone"):
        made(folder, tmp_path / "b.png", network=tmp_path / "run", size=16)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"style_layers": ["conv9"]}, "'conv9' is no layer of the network.* There are: conv1, conv1.relu"),
        ({"content_layers": ["nothing"]}, "'nothing' is no layer of the network. There are: conv1"),
        ({"optimizer": "sgd"}, "optimizer = 'sgd': must be lbfgs or adam"),
        ({"start": "grey"}, "start = 'grey': must be content or style or noise"),
        ({"steps": 0}, "steps = 0: must be a whole number, at least 1"),
        ({"rate": -1.0}, "rate = -1.0: must be a number above 0"),
        ({"style_weight": -1.0}, "style_weight = -1.0: must be a number, at least 0"),
        ({"style_weight": 0.0, "content_weight": 0.0}, "all 0: there is nothing to make"),
        ({"size": 1}, "images of 1x1 do not fit the network"),
    ],
)
def test_what_cannot_be_is_refused(folder, tmp_path, options, said):
    with pytest.raises(ConfigError, match=said):
        made(folder, tmp_path / "a.png", **options)
    assert not list(tmp_path.iterdir())


def test_files_that_are_no_images_and_names_that_cannot_be_written(folder, tmp_path):
    with pytest.raises(ConfigError, match=r"let its name end in \.png"):
        made(folder, tmp_path / "a.jpg")
    with pytest.raises(ConfigError, match="it is one of the images that are read"):
        made(folder, folder / "style.png")
    (tmp_path / "torn.png").write_bytes(b"nothing")
    with pytest.raises(DataError, match=r"torn\.png: not a whole JPEG"):
        cnnjax.stylize(tmp_path / "torn.png", folder / "style.png", network=folder / "run", out=tmp_path / "a.png")
    with pytest.raises(DataError, match=r"gone\.png: No such file"):
        cnnjax.stylize(tmp_path / "gone.png", folder / "style.png", network=folder / "run", out=tmp_path / "a.png")
