"""Images of any number of bands: files as they were written, bands that are left out, and a training to the end."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from PIL import Image

import cnnjax
from cnnjax import AdamW, BandFolder, ColorJitter, ConfigError, DataError, Experiment, Flip, SmallCNN, Tissue
from cnnjax.data.bands import decode_bands, scaled
from cnnjax.data.tissue import absorbances
from cnnjax.experiment import check


def npy(array: np.ndarray) -> bytes:
    written = io.BytesIO()
    np.save(written, array)
    return written.getvalue()


def tiff(*pages: np.ndarray) -> bytes:
    written = io.BytesIO()
    first, *others = map(Image.fromarray, pages)
    first.save(written, "TIFF", save_all=True, append_images=others)
    return written.getvalue()


def folder(root, files: dict[str, bytes]):
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return str(root)


GENERATOR = np.random.default_rng(0)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("channels", [1, 2, 5])
def test_a_file_is_read_as_it_was_written(dtype, channels):
    image = (GENERATOR.random((4, 6, channels)) * 200).astype(dtype)
    np.testing.assert_array_equal(decode_bands(npy(image)), image)
    np.testing.assert_array_equal(decode_bands(tiff(*np.moveaxis(image, -1, 0))), image)


def test_pages_of_several_bands_and_arrays_of_one():
    image = GENERATOR.integers(0, 256, (4, 6, 6), np.uint8)
    np.testing.assert_array_equal(decode_bands(tiff(image[..., :3], image[..., 3:])), image)
    np.testing.assert_array_equal(decode_bands(npy(image[..., 0])), image[..., :1])


def test_another_librarys_tiff():
    tifffile = pytest.importorskip("tifffile")
    image = GENERATOR.integers(0, 2**16, (5, 4, 6), np.uint16)
    written = io.BytesIO()
    tifffile.imwrite(written, image, photometric="minisblack")
    np.testing.assert_array_equal(decode_bands(written.getvalue()), np.moveaxis(image, 0, -1))


def test_limits_by_hand():
    image = np.array([[[-5.0, 0.0, 5.0, 10.0, 20.0]]])
    # (5 - 0) / 10 of 255 is 127.5, which is rounded to the even 128.
    np.testing.assert_array_equal(scaled(image, (0.0, 10.0)), [[[0, 0, 128, 255, 255]]])


BAD = {
    "torn": (npy(np.zeros((2, 2, 2), np.uint8))[:-1], "not a whole .npy file"),
    "objects": (npy(np.array([[None]])), "not a whole .npy file"),
    "four": (npy(np.zeros((1, 2, 2, 2), np.uint8)), r"it is uint8 \[1, 2, 2, 2\]: an image of bands is numbers"),
    "nan": (npy(np.full((2, 2, 2), np.nan)), "NaN or infinite"),
    "wide": (
        npy(np.full((2, 2, 2), 300, np.uint16)),
        r"of type uint16, from 300 to 300: say with limits=\(LOW, HIGH\)",
    ),
    "pages": (tiff(np.zeros((2, 2), np.uint8), np.zeros((3, 2), np.uint8)), "several sizes, 2x2 and 2x3"),
    "types": (tiff(np.zeros((2, 2), np.uint8), np.zeros((2, 2), np.float32)), "several types of numbers"),
    "nothing": (b"II*\0", "not a whole TIFF"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_broken_file_is_named_or_left_out(tmp_path, name):
    data, said = BAD[name]
    whole = {
        f"{label}/{number}.npy": npy(np.full((2, 2, 2), number, np.uint8)) for label in "ab" for number in range(3)
    }
    root = folder(tmp_path, {**whole, f"a/{name}.tif": data})
    with pytest.raises(DataError, match=rf"a/{name}\.tif: .*{said}.*; mend or delete it"):
        BandFolder(root=root, test=0.34).load()
    with pytest.warns(UserWarning, match="1 images cannot be read and are left out"):
        found = BandFolder(root=root, test=0.34, on_broken="skip").load()
    assert len(found.train) + len(found.test) == 6
    assert found.skipped == {"train": 1}


def test_images_that_differ_and_bands_that_there_are_not(tmp_path):
    root = folder(
        tmp_path,
        {"a/0.npy": npy(np.zeros((2, 2, 2), np.uint8)), "b/1.npy": npy(np.zeros((2, 3, 4), np.uint8))},
    )
    with pytest.raises(DataError, match=r"b/1\.npy: it is 3x2 with 4 bands, and .*a/0\.npy is 2x2 with 2 bands"):
        BandFolder(root=root).load()
    with pytest.raises(DataError, match=r"bands = \(0, 7\): there are 2 bands, numbered from 0 to 1"):
        BandFolder(root=root, bands=(0, 7)).load()
    with pytest.raises(ConfigError, match="one stands there twice"):
        BandFolder(root=root, bands=(1, 1))
    with pytest.raises(ConfigError, match="the first must be below the second"):
        BandFolder(root=root, limits=(1.0, 1.0))


def test_each_band_has_its_own_mean_and_deviation_of_the_training_part(tmp_path):
    images = GENERATOR.integers(0, 4096, (8, 3, 3, 5), np.uint16)
    parts = [*["train"] * 6, *["test"] * 2]
    root = folder(
        tmp_path,
        {
            f"{part}/{'ab'[n % 2]}/{n}.npy": npy(image)
            for n, (part, image) in enumerate(zip(parts, images, strict=True))
        },
    )
    found = BandFolder(root=root, limits=(0.0, 4095.0), bands=(4, 1)).load()
    expected = np.round(255 * (images[:6, ..., [4, 1]] / 4095)) / 255
    mean, std = found.scale
    np.testing.assert_allclose(mean, expected.mean((0, 1, 2)), rtol=1e-6)
    np.testing.assert_allclose(std, expected.std((0, 1, 2)), rtol=1e-6)
    assert found.image_shape == (3, 3, 2)
    assert found.classes == ("a", "b")


def test_tissues_differ_as_they_say():
    found = absorbances(0.5)
    # With and without the line they differ in band 4 alone, by its strength; the broad ones are mirrored about band 2.
    np.testing.assert_allclose(found[1] - found[0], [0, 0, 0, 0, 0.5, 0])
    np.testing.assert_allclose(found[3] - found[2], [0, 0, 0, 0, 0.5, 0])
    np.testing.assert_allclose(found[0, :5], found[2, 4::-1])
    data = Tissue(noise=0, examples=8, test_examples=4).load()
    light = data.train.held().images.astype(float) / 255
    # -log of what is left is thickness times absorbance, the same thickness in every band; light has 8 bits.
    absorbed = -np.log(light.mean((1, 2)))
    assert (absorbed[1, 4] / absorbed[1, 1] > absorbed[0, 4] / absorbed[0, 1]).all()
    chosen = Tissue(noise=0, examples=8, test_examples=4, bands=(5, 0)).load()
    np.testing.assert_array_equal(chosen.train.held().images, data.train.held().images[..., [5, 0]])


@pytest.mark.slow
def test_bands_from_files_to_predictions(run, tmp_path):
    """A training on files, and what its network says of a .npy and of a TIFF of the same numbers."""
    data = Tissue(examples=32, test_examples=8, size=8, noise=0.02, line=1.0).load()
    files = {}
    for part, examples in (("train", data.train.held()), ("test", data.test.held())):
        for number, (image, label) in enumerate(zip(examples.images, examples.labels, strict=True)):
            files[f"{part}/{label}/{number}.npy"] = npy(image)
    root = folder(tmp_path / "files", files)
    model = SmallCNN(features=4, blocks=2, dense=0)
    base = Experiment(
        model=model,
        data=BandFolder(root=root),
        augment=(Flip(),),
        optim=AdamW(learning_rate=0.01),
        batch_size=8,
        epochs=2,
        validation=0,
    )
    cnnjax.train(base, tmp_path / "run")
    image = data.test.held().images[0]
    (tmp_path / "a.npy").write_bytes(npy(image))
    (tmp_path / "a.tif").write_bytes(tiff(*np.moveaxis(image, -1, 0)))
    (tmp_path / "b.tif").write_bytes(tiff(*np.moveaxis(image[..., :4], -1, 0)))
    Image.fromarray(image[..., :3]).save(tmp_path / "c.png")
    code, out, _ = run("predict", tmp_path / "run", tmp_path / "a.npy", tmp_path / "a.tif", "--json")
    assert code == 0
    told = [{key: value for key, value in row.items() if key != "file"} for row in json.loads(out)["predictions"]]
    assert told[0] == told[1]
    code, _, said = run("predict", tmp_path / "run", tmp_path / "b.tif", tmp_path / "c.png")
    assert code == 1
    assert "images are [8, 8, 4]; it takes [8, 8, 6]" in said
    assert "or a TIFF with a page for each channel" in said


def test_what_needs_colours_says_so():
    data = Tissue(examples=8, test_examples=8, size=8)
    experiment = Experiment(model=SmallCNN(features=2), data=data, augment=(ColorJitter(),), batch_size=4, steps=1)
    with pytest.raises(ConfigError, match="changing colours takes 1 or 3 channels; the images have 6"):
        check(experiment)
