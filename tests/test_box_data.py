"""Boxes beside image files, in the XML of VOC and the JSON of COCO: where they come out, and what is broken."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cnnjax import Coco, RandomFit, Voc
from cnnjax.config import replace
from cnnjax.data import packed_masks
from cnnjax.data.segments import filled, segments_of
from cnnjax.errors import DataError

HEIGHT, WIDTH = 40, 60
# A bright box on black in each image, in corners; the last image has two.
BOXES = {"a": [(10, 5, 30, 25)], "b": [(0, 0, 12, 8)], "c": [(40, 20, 60, 40)], "d": [(4, 4, 20, 20), (30, 10, 50, 30)]}
NAMES = ("red", "white")
BCCD = Path(__file__).parents[2] / "shared" / "data" / "bccd.tar"


def picture(boxes) -> np.ndarray:
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    for left, top, right, bottom in boxes:
        image[top:bottom, left:right] = 255
    return image


def of_object(name: Any, box, more: str = "") -> str:
    """As VOC has it: the first pixel is 1, and the last one belongs to the object."""
    left, top, right, bottom = box
    sides = f"<xmin>{left + 1}</xmin><ymin>{top + 1}</ymin><xmax>{right}</xmax><ymax>{bottom}</ymax>"
    return f"<object><name>{name}</name>{more}<bndbox>{sides}</bndbox></object>"


def xml(objects: str, *, width: Any = WIDTH, height: Any = HEIGHT) -> str:
    return f"<annotation><size><width>{width}</width><height>{height}</height></size>{objects}</annotation>"


@pytest.fixture
def voc(tmp_path) -> Voc:
    for folder in ("JPEGImages", "Annotations"):
        (tmp_path / "set" / folder).mkdir(parents=True)
    for number, (stem, boxes) in enumerate(BOXES.items()):
        Image.fromarray(picture(boxes)).save(tmp_path / "set" / "JPEGImages" / f"{stem}.png")
        objects = "".join(of_object(NAMES[(number + row) % 2], box) for row, box in enumerate(boxes))
        (tmp_path / "set" / "Annotations" / f"{stem}.xml").write_text(xml(objects))
    return Voc(root=str(tmp_path / "set"), classes=NAMES, test=0.25)


def coco_json() -> dict[str, Any]:
    images, annotations = [], []
    for number, (stem, boxes) in enumerate(BOXES.items()):
        images.append({"id": 10 + number, "file_name": f"{stem}.png", "width": WIDTH, "height": HEIGHT})
        for row, (left, top, right, bottom) in enumerate(boxes):
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": 10 + number,
                    "category_id": (7, 3)[(number + row) % 2],
                    "bbox": [left, top, right - left, bottom - top],
                    "iscrowd": 0,
                }
            )
    categories = [{"id": 7, "name": "red"}, {"id": 3, "name": "white"}]
    return {"images": images, "annotations": annotations, "categories": categories}


@pytest.fixture
def coco(voc) -> Coco:
    (Path(voc.root) / "all.json").write_text(json.dumps(coco_json()))
    return Coco(root=voc.root, annotations="all.json", test=0.25)


def examples(dataset) -> list[dict[str, np.ndarray]]:
    return [
        {name: array[row] for name, array in part.batch(np.arange(len(part))).items()}
        for part in (dataset.train, dataset.test)
        for row in range(len(part))
    ]


def bright(image: np.ndarray) -> list[int]:
    rows, columns = (np.flatnonzero((image[..., 0] > 127).any(axis)) for axis in (1, 0))
    return [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]


@pytest.mark.parametrize("kind", ["voc", "coco"])
def test_boxes_are_where_the_image_is_bright(kind, request):
    data = request.getfixturevalue(kind)
    dataset = data.load()
    assert (len(dataset.train), len(dataset.test)) == (3, 1)
    assert dataset.classes == (NAMES if kind == "voc" else ("white", "red"))
    found = {}
    for example in examples(dataset):
        valid = example["box_valid"]
        own = [tuple(map(int, box)) for box in example["boxes"][valid]]
        around = [min(box[0] for box in own), min(box[1] for box in own)]
        around += [max(box[2] for box in own), max(box[3] for box in own)]
        assert bright(example["image"]) == around
        found[tuple(own)] = [dataset.classes[label] for label in example["box_label"][valid]]
    expected = {
        tuple(boxes): [NAMES[(number + row) % 2] for row in range(len(boxes))]
        for number, boxes in enumerate(BOXES.values())
    }
    assert found == expected


def test_boxes_are_cut_out_as_their_images_are(voc):
    """Squashed to half the width; cropped; and at a random region, where the bright pixels say where the box is."""
    for size, fit in (((40, 30), "squash"), ((20, 20), "crop")):
        for example in examples(replace(voc, {"size": size, "fit": fit}).load()):
            boxes = example["boxes"][example["box_valid"]]
            if len(boxes) == 1:
                np.testing.assert_allclose(boxes[0], bright(example["image"]), atol=0.51)
    train = replace(voc, {"size": 40, "train_fit": RandomFit(scale=(0.3, 0.9))}).load().train
    index, seen = np.zeros(12, int), 0
    drawn = train.batch(index, lambda place: np.random.default_rng(place))
    for image, boxes, valid in zip(drawn["image"], drawn["boxes"], drawn["box_valid"], strict=True):
        if valid.any():
            # Interpolation moves the edge of what is bright by less than a pixel of the file, enlarged.
            np.testing.assert_allclose(boxes[0], bright(image), atol=1.5)
            seen += 1
    assert seen >= 6


def test_masks_of_the_same_names_are_not_the_images(voc):
    masks = Path(voc.root) / "SegmentationClass"
    masks.mkdir()
    for stem in BOXES:
        Image.fromarray(np.full((HEIGHT, WIDTH, 3), 90, np.uint8)).save(masks / f"{stem}.png")
    dataset = voc.load()
    assert not dataset.remarks
    assert all("JPEGImages" in name for part in (dataset.train, dataset.test) for name in part.names)


def test_a_file_of_coco_without_images_is_refused(coco):
    (Path(coco.root) / "all.json").write_text(json.dumps({**coco_json(), "images": [], "annotations": []}))
    with pytest.raises(DataError, match=r"all.json: there are no images"):
        coco.load()


def test_the_lists_of_voc_are_its_parts(voc, tmp_path):
    lists = Path(voc.root) / "ImageSets" / "Main"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("b\na\n")
    (lists / "val.txt").write_text("d 1\n")
    dataset = voc.load()
    assert (len(dataset.train), len(dataset.test)) == (2, 1)
    assert dataset.train.names[0].endswith("b.png")
    packed = tmp_path / "set.tar"
    with tarfile.open(packed, "w") as tar:
        tar.add(voc.root, "set")
    assert len(replace(voc, {"root": str(packed)}).load().train) == 2
    (Path(voc.root) / "Annotations" / "d.xml").write_text("broken")
    with pytest.raises(DataError, match="no image of the test part is whole"):
        replace(voc, {"on_broken": "skip"}).load()
    (lists / "val.txt").write_text("a\n")
    with pytest.raises(DataError, match="in the training and the test part: 'a'"):
        voc.load()
    (lists / "val.txt").write_text("z\n")
    with pytest.raises(DataError, match=r"val.txt: 'z' has no annotation"):
        voc.load()


def test_what_is_difficult_is_kept_left_out_or_need_not_be_found(voc):
    marked = of_object("red", BOXES["a"][0], "<difficult>1</difficult>") + of_object("white", (1, 1, 9, 9))
    (Path(voc.root) / "Annotations" / "a.xml").write_text(xml(marked))
    counts = {}
    for how in ("kept", "left_out", "crowd"):
        dataset = replace(voc, {"difficult": how}).load()
        all_of_it = examples(dataset)
        counts[how] = sum(example["box_valid"].sum() for example in all_of_it)
        assert ("box_crowd" in dataset.train.entries) == (how == "crowd")
    assert counts == {"kept": 6, "left_out": 5, "crowd": 6}
    assert sum(example["box_crowd"].sum() for example in all_of_it) == 1


BROKEN_VOC = {
    "outside": (xml(of_object("red", (10, 5, 80, 25))), "object 1: its box 10, 5, 80, 25 reaches outside of the image"),
    "no area": (xml(of_object("red", (10, 5, 10, 25))), "object 1: its box 11, 6, 10, 25 has no area"),
    "unknown class": (xml(of_object("blue", (1, 1, 9, 9))), "object 1: its class 'blue' is none of those known: red"),
    "second": (xml(of_object("red", (1, 1, 9, 9)) + of_object("red", (1, 1, 99, 9))), "object 2: its box 1, 1, 99, 9"),
    "no number": (
        xml("<object><name>red</name><bndbox><xmin>x</xmin></bndbox></object>"),
        "object 1: its bndbox/xmin is 'x', which is no number",
    ),
    "nan": (xml(of_object("red", (1, 1, 9, 9)).replace(">9<", ">nan<")), "are no numbers"),
    "no size": ("<annotation/>", "the file: its size/height is missing"),
    "cut short": (xml(of_object("red", (1, 1, 9, 9)))[:-20], "the file: it is no whole XML"),
    "nothing": ("", "the file: it is no whole XML"),
    "entities": (
        '<!DOCTYPE a [<!ENTITY x "ha"><!ENTITY y "&x;&x;&x;">]>' + xml("<object><name>&y;</name></object>"),
        r"the file: it declares a document type \(DOCTYPE\)",
    ),
    "another file": (
        '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]>' + xml("<object><name>&x;</name></object>"),
        r"the file: it declares a document type \(DOCTYPE\)",
    ),
}


@pytest.mark.parametrize("name", BROKEN_VOC)
def test_a_broken_annotation_of_voc_is_named(name, voc):
    text, why = BROKEN_VOC[name]
    (Path(voc.root) / "Annotations" / "a.xml").write_text(text)
    with pytest.raises(DataError, match=f"a.xml: .*{why}.*; mend or delete it, or leave such images out"):
        voc.load()
    with pytest.warns(UserWarning, match="1 of 4 images have a broken annotation and are left out"):
        dataset = replace(voc, {"on_broken": "skip"}).load()
    assert sum(dataset.skipped.values()) == 1
    assert len(dataset.train) + len(dataset.test) == 3


def test_an_image_that_is_missing_or_of_another_size(voc):
    annotations = Path(voc.root) / "Annotations"
    (annotations / "z.xml").write_text(xml(""))
    with pytest.raises(DataError, match="z.xml: its image: there is none called 'z'"):
        voc.load()
    (annotations / "z.xml").unlink()
    (annotations / "a.xml").write_text(xml("", width=WIDTH - 1))
    with pytest.raises(DataError, match="a.png: it is 60x40, its annotation says 59x40: its boxes would be off"):
        examples(voc.load())
    (annotations / "a.xml").unlink()
    with pytest.warns(UserWarning, match="1 images in .* have no annotation and are not used"):
        voc.load()


def change(key: str, place: int, **fields: Any):
    def changed(content: dict[str, Any]) -> None:
        content[key][place].update(fields)

    return changed


BROKEN_COCO = {
    "outside": (change("annotations", 0, bbox=[50, 5, 20, 20]), "annotation 1: its box 50, 5, 70, 25 reaches outside"),
    "no area": (change("annotations", 0, bbox=[5, 5, 0, 9]), "annotation 1: its box 5, 5, 5, 14 has no area"),
    "three numbers": (
        change("annotations", 0, bbox=[5, 5, 9]),
        r"annotation 1: its bbox is \[5, 5, 9\]; it must be x, y",
    ),
    "unknown class": (
        change("annotations", 0, category_id=4),
        "annotation 1: its class 4 is none of those known: 3, 7",
    ),
    "duplicate": (change("annotations", 4, id=4), "annotation 4: its id is there twice"),
    "image missing": (change("images", 0, file_name="z.png"), "image 10: its file 'z.png' is missing"),
    "no size": (change("images", 0, width=None), "image 10: its height and width are 40, None"),
}


@pytest.mark.parametrize("name", BROKEN_COCO)
def test_a_broken_entry_of_coco_is_named(name, coco):
    content = coco_json()
    changed, why = BROKEN_COCO[name]
    changed(content)
    (Path(coco.root) / "all.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match=f"all.json: {why}"):
        coco.load()
    with pytest.warns(UserWarning, match="1 of 4 images have a broken annotation and are left out"):
        dataset = replace(coco, {"on_broken": "skip"}).load()
    assert len(dataset.train) + len(dataset.test) == 3


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{", "all.json is no whole JSON"),
        ("[" * 100_000, "all.json is no whole JSON"),
        ("[]", "'images' must be a list of objects"),
        (json.dumps({**coco_json(), "categories": []}), "there are no categories"),
        (
            json.dumps({**coco_json(), "categories": [{"id": 7, "name": "a"}, {"id": 7, "name": "b"}]}),
            "category 7, 'b': its id or name is there twice",
        ),
        (json.dumps({**coco_json(), "images": coco_json()["images"][:1] * 2}), "image 10: its id: it is there twice"),
        (json.dumps({**coco_json(), "images": coco_json()["images"][1:]}), "annotation 1: its image 10 is none of"),
    ],
)
def test_a_file_that_is_none_of_coco(text, why, coco):
    (Path(coco.root) / "all.json").write_text(text)
    with pytest.raises(DataError, match=why):
        coco.load()


def test_crowds_of_coco(coco):
    content = coco_json()
    content["annotations"][0]["iscrowd"] = 1
    (Path(coco.root) / "all.json").write_text(json.dumps(content))
    assert sum(example["box_crowd"].sum() for example in examples(coco.load())) == 1


def segmented(content: dict[str, Any]) -> dict[str, Any]:
    """A triangle in each box by its corners, but of the last annotation, whose box is full, by runs."""
    for row in content["annotations"]:
        x, y, width, height = row["bbox"]
        row["segmentation"] = [[x, y, x + width, y, x, y + height]]
    full = np.zeros((HEIGHT, WIDTH), bool)
    full[y : y + height, x : x + width] = True
    ends = np.flatnonzero(np.diff(np.concatenate([[False], full.T.reshape(-1), [False]]).astype(int)))
    runs = np.diff([0, *ends, full.size]).tolist()
    content["annotations"][-1]["segmentation"] = {"counts": runs, "size": [HEIGHT, WIDTH]}
    return content


def test_masks_of_coco(coco):
    """In the box and above its diagonal; also where images are cut out and resized."""
    path = Path(coco.root) / "all.json"
    path.write_text(json.dumps(segmented(coco_json())))
    for changes, scale in (({}, 1), ({"size": (20, 30), "fit": "squash"}, 2)):
        dataset = replace(coco, {"masks": True, **changes}).load()
        found = 0
        for example in examples(dataset):
            masks = packed_masks.unpacked(example["box_mask"], 2)
            for box, valid, mask in zip(example["boxes"], example["box_valid"], masks, strict=True):
                assert mask.any() == valid
                if not valid:
                    continue
                found += 1
                rows, columns = np.mgrid[: HEIGHT // scale, : WIDTH // scale] + 0.5
                across, down = (columns - box[0]) / (box[2] - box[0]), (rows - box[1]) / (box[3] - box[1])
                full = (across >= 0) & (across < 1) & (down >= 0) & (down < 1)
                is_full = np.array_equal(box * scale, BOXES["d"][1])
                expected = full if is_full else full & (across + down < 1)
                np.testing.assert_array_equal(mask, expected)
        assert found == 5
    moved = segmented(coco_json())
    moved["annotations"][0]["segmentation"][0][0] += 1
    before = replace(coco, {"masks": True}).load()
    path.write_text(json.dumps(moved))
    assert replace(coco, {"masks": True}).load().fingerprint != before.fingerprint
    assert coco.load().fingerprint == before_masks(coco, path)


def before_masks(coco, path: Path) -> str:
    path.write_text(json.dumps(coco_json()))
    return coco.load().fingerprint


@pytest.mark.parametrize(
    ("segmentation", "why"),
    [
        (None, "its segmentation is None; it must be polygons"),
        ([[1, 2, 3, 4]], r"its segmentation has \[1, 2, 3, 4\]; a polygon is x and y of three corners or more"),
        ([[1, 2, 3, 4, 5, "6"]], "a polygon is x and y"),
        ([[1, 2, 3, 4, 5, float("nan")]], "a polygon is x and y"),
        ({"counts": [1, 2], "size": [HEIGHT, WIDTH]}, r"counts, \[1, 2\], do not fill an image of 60x40"),
        ({"counts": [2400], "size": [WIDTH, HEIGHT]}, r"is of \[60, 40\] pixels, its image is \[40, 60\] high"),
        ({"counts": "P", "size": [HEIGHT, WIDTH]}, "counts are cut short"),
        ({"counts": "!", "size": [HEIGHT, WIDTH]}, "counts have '!', which is none"),
        ({"counts": [3000, -600], "size": [HEIGHT, WIDTH]}, "do not fill"),
    ],
)
def test_a_broken_segmentation_is_named(segmentation, why, coco):
    content = segmented(coco_json())
    content["annotations"][2]["segmentation"] = segmentation
    (Path(coco.root) / "all.json").write_text(json.dumps(content))
    coco.load()
    with pytest.raises(DataError, match=f"all.json: annotation 3: .*{why}"):
        replace(coco, {"masks": True}).load()
    with pytest.warns(UserWarning, match="1 of 4 images have a broken annotation"):
        assert replace(coco, {"masks": True, "on_broken": "skip"}).load().skipped


@pytest.mark.parametrize("seed", range(3))
def test_a_polygon_holds_the_pixels_whose_middles_are_in_it(seed):
    """By matplotlib, of corners between pixels and outside of the image, and sides that cross each other."""
    from matplotlib.path import Path as Outline

    rng = np.random.default_rng(seed)
    corners = rng.uniform(-6, 30, (7 if seed else 3, 2))
    rows, columns = np.mgrid[:24, :20] + 0.5
    points = np.stack([columns, rows], -1).reshape(-1, 2)
    if seed:  # A star about a point, which crosses nothing: matplotlib winds.
        turns = np.sort(rng.uniform(0, 2 * np.pi, 7))
        corners = np.stack([10 + 12 * rng.random(7) * np.cos(turns), 12 + 14 * rng.random(7) * np.sin(turns)], -1)
    expected = Outline([*corners, corners[0]], closed=True).contains_points(points).reshape(24, 20)
    assert expected.any()
    np.testing.assert_array_equal(filled(corners, 24, 20), expected)


@pytest.mark.torch
def test_runs_are_those_of_pycocotools():
    mask = pytest.importorskip("pycocotools.mask")
    rng = np.random.default_rng(0)
    for share in (0.02, 0.5, 1.0):
        own = rng.random((40, 50)) < share
        said = mask.encode(np.asfortranarray(own, np.uint8))
        text = said["counts"].decode()
        np.testing.assert_array_equal(segments_of({"counts": text, "size": [40, 50]}, (40, 50)).runs, own)
        # Of polygons pycocotools rounds corners to fifths of a pixel: a share of the outline differs.
    polygon = [[5.2, 4.1, 40.7, 9.9, 30.3, 35.5, 8.8, 30.1]]
    theirs = mask.decode(mask.merge(mask.frPyObjects(polygon, 40, 50))).astype(bool)
    ours = filled(np.array(polygon).reshape(-1, 2), 40, 50)
    assert (theirs & ours).sum() / (theirs | ours).sum() > 0.97


def test_the_fingerprint_is_of_the_boxes_too(voc):
    before = voc.load().train.fingerprint
    (Path(voc.root) / "Annotations" / "d.xml").write_text(xml(of_object("red", (4, 4, 21, 20))))
    for stem in "abc":
        (Path(voc.root) / "Annotations" / f"{stem}.xml").write_text(xml(of_object("red", (4, 4, 21, 20))))
    assert voc.load().train.fingerprint != before


@pytest.mark.slow
@pytest.mark.skipif(not BCCD.is_file(), reason="needs the blood cells (Shenggan/BCCD_Dataset) beside the checkout")
def test_blood_cells():
    """364 images with 4,888 boxes; two images have a box without area (counted with another reader)."""
    data = Voc(root=str(BCCD), classes=("RBC", "WBC", "Platelets"), size=(48, 64), fit="squash")
    with pytest.raises(DataError, match=r"BloodImage_00338.xml: object 13: its box .* has no area.*and 1 more"):
        data.load()
    with pytest.warns(UserWarning, match="2 of 364 images have a broken annotation"):
        dataset = replace(data, {"on_broken": "skip"}).load()
    assert (len(dataset.train), len(dataset.test)) == (290, 72)
