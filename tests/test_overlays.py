"""What `cnnjax data show` says and draws of masks, boxes and keypoints."""

from __future__ import annotations

import json

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from cnnjax import Data, Dataset, Examples, Experiment, Flip, MaskFolder, Mixup, Scenes, Shapes, SmallCNN
from cnnjax.data import Skeleton, packed_masks
from cnnjax.data.entries import padded_boxes
from cnnjax.study import data_pictures, data_view, montage
from cnnjax.study.overlays import COVER, IGNORED, colours_of, overlaid

SMALL = Shapes(size=16, radius=(4, 6), examples=12, test_examples=4)


class Faces(Data, tag="faces_with_points"):
    """Labelled images with a mask, a box and two points, one of which is not seen."""

    def read(self):
        images = np.full((6, 4, 8, 1), 100, np.uint8)
        masks = np.zeros((6, 4, 8), np.uint8)
        masks[:, :, 4:] = 1
        points = np.tile(np.array([[1.5, 2.5, 1], [7.5, 0.5, 0]], np.float32), (6, 1, 1))
        boxes = padded_boxes([np.array([[0, 1, 2, 3]])] * 6, most=2)
        part = Examples(images, np.arange(6, dtype=np.int32) % 2, mask=masks, keypoints=points, **boxes)
        return Dataset("faces", part, part, classes=("her", "him"))


def view_of(data, **fields):
    experiment = Experiment(model=SmallCNN(), data=data, validation=0, **fields)
    return data_view.look(data_view.Found("mine", experiment), augmented="augment" in fields, examples=4)


def test_masks_cover_boxes_frame_and_points_that_are_seen_are_dots():
    view = view_of(Faces())
    batch = data_pictures._batch(view, np.array([0]))
    (tile,) = data_pictures._tiles(view, batch)
    colours = data_pictures._colours(view)
    grey = np.full(3, 100 / 255)
    for column, label in ((0, 0), (7, 1)):
        expected = (1 - COVER) * grey + COVER * np.array(to_rgb(colours[label]))
        np.testing.assert_allclose(tile.pixels[2, column], expected, atol=1e-9)
    points = sorted(mark.points for mark in tile.marks)
    assert points == [((0.0, 1.0), (2.0, 3.0)), ((1.5, 2.5),)]


def test_objects_have_the_colours_of_their_classes_and_outlines_over_each_other():
    """Two squares of 3x3 that overlap in one pixel, a corner of both; a third row is no object."""
    masks = np.zeros((1, 3, 5, 5), bool)
    masks[0, 0, :3, :3] = masks[0, 1, 2:, 2:] = masks[0, 2] = True
    boxes = padded_boxes([np.array([[0, 0, 3, 3], [2, 2, 5, 5]])], [[1, 0]], most=3)
    entries = boxes | {"box_mask": packed_masks.packed(masks)}
    part = Examples(np.full((1, 5, 5, 1), 51, np.uint8), **entries)
    dataset = Dataset("mine", part, part, classes=("a", "b"))
    colours = colours_of(2)
    (tile,) = overlaid(np.full((1, 5, 5), 0.2), entries, dataset, colours)
    first, second = (np.array(to_rgb(colours[label])) for label in (1, 0))
    np.testing.assert_allclose(tile.pixels[0, 4], 0.2)
    np.testing.assert_allclose(tile.pixels[1, 1], (1 - COVER) * 0.2 + COVER * first)
    np.testing.assert_allclose(tile.pixels[3, 3], (1 - COVER) * 0.2 + COVER * second)
    np.testing.assert_allclose(tile.pixels[0, 0], first)
    np.testing.assert_allclose(tile.pixels[2, 2], second)
    assert [mark.colour for mark in tile.marks] == [colours[1], colours[0]]


def test_joints_have_their_colours_and_limbs_join_those_that_are_known():
    points = np.array([[[0.5, 0.5, 1], [2.5, 0.5, 2], [1.5, 3.5, 0]]], np.float32)
    part = Examples(np.zeros((1, 4, 4, 1), np.uint8), keypoints=points)
    skeleton = Skeleton(limbs=((0, 1), (1, 2)), sigmas=(0.1, 0.1, 0.1))
    dataset = Dataset("mine", part, part, classes=("a", "b", "c"), skeleton=skeleton)
    colours = colours_of(3)
    (tile,) = overlaid(np.zeros((1, 4, 4)), {"keypoints": points}, dataset, colours)
    [line, *dots] = tile.marks
    assert (line.line, line.points) == (True, ((0.5, 0.5), (2.5, 0.5)))
    assert [(dot.points, dot.colour) for dot in dots] == [(((0.5, 0.5),), colours[0]), (((2.5, 0.5),), colours[1])]


def test_sentences_stand_beside_their_images():
    view = view_of(Scenes(examples=8, test_examples=4))
    panel = data_pictures._examples(view)
    indices = data_pictures._indices(view)
    said = view.train.batch(indices)["words"][:, 0]
    names = view.dataset.classes
    assert [strip.label.split() for strip in panel.strips] == [[names[word] for word in row if word] for row in said]
    assert all(len(strip.tiles) == 1 for strip in panel.strips)


def test_what_is_ignored_is_black():
    images, mask = np.ones((1, 2, 2)), np.array([[[0, 255], [1, 0]]], np.uint8)
    part = Examples(np.zeros((1, 2, 2, 1), np.uint8), mask=mask)
    dataset = Dataset("mine", part, part, classes=("a", "b"), ignored=255)
    (tile,) = overlaid(images, {"mask": mask}, dataset, colours_of(2))
    np.testing.assert_allclose(tile.pixels[0, 1], (1 - COVER) + COVER * np.array(to_rgb(IGNORED)))


def test_colours_are_apart():
    assert len({*colours_of(60)}) == 60
    assert colours_of(3) == colours_of(60)[:3]


def test_augmented_masks_and_boxes_go_with_their_images():
    view = view_of(SMALL, augment=(Flip(probability=1.0),))
    indices = data_pictures._indices(view)
    before = data_pictures._batch(view, indices)
    for after in data_pictures._augmented_batches(view, indices):
        np.testing.assert_allclose(after["image"], before["image"][:, :, ::-1], atol=1e-6)
        np.testing.assert_array_equal(after["mask"], before["mask"][:, :, ::-1])
        valid = before["box_valid"]
        np.testing.assert_allclose(after["boxes"][valid][:, 0], 16 - before["boxes"][valid][:, 2])


def test_shares_of_pixels_are_told(run, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    words = ("data", "show", "shapes", "data.size=16", "data.radius=[4, 6]", "data.examples=12", "validation=2")
    code, out, _ = run(*words, "--json")
    assert code == 0
    said = json.loads(out)
    mask = Shapes(size=16, radius=(4, 6), examples=12).load().train.arrays["mask"]
    assert [entry["train"] for entry in said["classes"]] == np.bincount(mask.ravel(), minlength=4).tolist()
    assert said["classes_of"] == "pixels"
    assert said["examples"] == {"train": 10, "validation": 2, "test": 128}
    assert said["entries"]["boxes"] == {"shape": [4, 4], "dtype": "float32", "kind": "boxes"}
    code, out, _ = run(*words, "--plot", "shapes.png")
    assert code == 0
    assert f"{100 * (mask == 0).mean():.1f}" in out
    assert "mask: uint8 16x16, a class id for each pixel" in out
    assert (tmp_path / "shapes.png").read_bytes().startswith(b"\x89PNG")
    code, _, _ = run(*words, "--augmented", "--plot", "more.svg", 'augment=["flip"]', "mixing=cutmix")
    assert code == 0


def test_a_legend_has_every_class_and_takes_its_room():
    view = view_of(SMALL)
    panel = data_pictures._examples(view)
    assert [swatch.text.split()[0] for swatch in panel.legend] == ["background", "circle", "square", "triangle"]
    assert all(len(strip.tiles) == 2 for strip in panel.strips)
    many = tuple(montage.Swatch("#000000", f"class number {number}") for number in range(30))
    lines = montage._lines(many)
    assert [swatch for line in lines for _, swatch in line] == list(many)
    for line in lines:
        ends = [left + montage._inches(swatch.text) + montage.LINE for left, swatch in line]
        assert max(ends) <= montage.NARROWEST
        assert all(end <= left for end, (left, _) in zip(ends, line[1:], strict=False))
    bare, full = (montage._laid_out(montage.Panel("", panel.strips, legend=some)) for some in ((), many))
    assert full.head - bare.head == pytest.approx(len(lines) * montage.LINE)


def test_masks_in_files_are_counted_and_those_that_are_broken_named(tmp_path):
    from PIL import Image

    for number in range(5):
        for kind, pixels in (("images", np.full((4, 4), number)), ("masks", np.eye(4) * 255)):
            (tmp_path / kind).mkdir(exist_ok=True)
            Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / kind / f"{number}.png")
    (tmp_path / "masks" / "3.png").write_bytes(b"no mask")
    view = view_of(MaskFolder(root=str(tmp_path), classes=("off", "on"), values=(0, 255), folds=5, channels=1))
    assert sum(sum(counts) for counts in view.numbers.pixels.values()) == 4 * 16
    lines = " ".join(data_view._facts(view))
    assert "masks/3.png: " in lines
    assert "1 images cannot be decoded" in lines


def test_a_set_of_masks_that_is_named_is_timed_with_a_network_of_maps():
    found = data_view.find("shapes", {"data.size": "16", "data.radius": "[4, 6]", "data.examples": "12"})
    assert found.with_steps().model.makes == "maps"
    assert data_view.find("digits", {}).with_steps().model == SmallCNN()


def test_mixed_examples_have_the_mask_of_the_larger_share():
    view = view_of(SMALL, augment=(Flip(probability=0.0),), mixing=Mixup(alpha=1.0))
    indices = data_pictures._indices(view)
    masks = data_pictures._batch(view, indices)["mask"]
    assert "boxes cannot follow" in data_pictures._augmented(view).title
    for batch in data_pictures._augmented_batches(view, indices):
        assert "boxes" not in batch, "there is no room for those of both"
        for place, mask in enumerate(batch["mask"]):
            assert any((mask == other).all() for other in (masks[place], masks[::-1][place]))
