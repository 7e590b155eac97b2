"""Pictures of `cnnjax inspect` in a report: which are shown, of what, and how large; over fabricated folders."""

from __future__ import annotations

import io
import os
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cnnjax.documents.document import Remarks
from cnnjax.records.inspect_json import FOLDER, InspectRecord, PictureEntry
from cnnjax.reporting import collect, find, report
from cnnjax.reporting import inspected as here
from cnnjax.reporting.inspected import fitted, inspected, shown
from cnnjax.reporting.panels.flips import flips_panel
from cnnjax.reporting.panels.inspected import inspected_panel
from tests.test_kept_answers import kept_study
from tests.test_reporting import change_result, make_study, set_metrics, study_path, write_json

POOL = {"model.pool": ["max", "average"]}


def picture(width: int = 300, height: int = 200, *, noise: bool = False) -> bytes:
    rng = np.random.default_rng(width)
    pixels = rng.integers(0, 256, (height, width, 3)) if noise else np.full((height, width, 3), 200)
    buffer = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def inspect(
    out: Path, trial: dict, names: tuple[str, ...] = ("filters",), *, png: bytes | None = None, **facts
) -> Path:
    """Writes pictures of a trial as `cnnjax inspect` does."""
    folder = study_path(out, trial, FOLDER)
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / f"{name}.png").write_bytes(png or picture())
    pictures = {name: PictureEntry(file=f"{name}.png", title=f"The {name} <b>") for name in names}
    facts = {"run": str(folder.parent), "step": 184, "checksum": 5, "pictures": pictures} | facts
    InspectRecord(**facts).write(InspectRecord.at(folder))
    return folder


def test_the_chosen_arm_s_pictures_come_first_and_say_what_they_are_of(tmp_path: Path) -> None:
    trials = make_study(tmp_path, axes=POOL)
    for trial in trials[3:]:
        set_metrics(tmp_path, trial, validation_accuracy=0.999)
    inspect(tmp_path, trials[0])
    inspect(tmp_path, trials[4], ("filters", "saliency"), step=100, weights="ema", remarks=("of one view",))
    made = shown(collect(tmp_path))
    assert not made.notes
    one, two = trials[4]["id"], trials[0]["id"]
    names = [(one, "filters"), (one, "saliency"), (two, "filters")]
    assert [each.name for each in made.pictures] == [f"inspect_{trial}_{name}" for trial, name in names]
    caption = made.pictures[0].caption
    assert f"trial {one}, arm 2 (pool=average), seed 1, the weights of ema after step 100 of 184; made " in caption
    assert "Note: of one view." in caption
    assert "the trained weights after step 184 of 184" in made.pictures[2].caption


def test_a_result_without_steps_has_its_pictures(tmp_path: Path) -> None:
    trials = make_study(tmp_path, axes=POOL)
    change_result(tmp_path, trials[0], steps=None)
    inspect(tmp_path, trials[0], step=0)
    [made] = shown(collect(tmp_path)).pictures
    assert "the trained weights after step 0; made" in made.caption


def test_pictures_of_the_result_s_checkpoint_are_shown_whatever_the_times_of_files(tmp_path: Path) -> None:
    """Which copies do not keep."""
    trials = make_study(tmp_path, axes=POOL)
    change_result(tmp_path, trials[0], checkpoint=5)
    stale(tmp_path, trials[0], inspect(tmp_path, trials[0], made="2026-01-02 03:04 UTC"))
    [made] = shown(collect(tmp_path)).pictures
    assert "after step 184 of 184; made 2026-01-02 03:04 UTC" in made.caption


def test_they_are_in_the_page_and_beside_markdown(tmp_path: Path) -> None:
    trials = make_study(tmp_path, axes=POOL)
    inspect(tmp_path, trials[0])
    summary = report(tmp_path)
    name = f"figures/inspect_{trials[0]['id']}_filters.png"
    assert name in [str(path.relative_to(summary.folder)) for path in summary.files]
    assert (summary.folder / name).read_bytes() == picture()
    assert f"({name})" in (summary.folder / "report.md").read_text()
    page = summary.page.read_text()
    [image] = re.findall(r"<img [^>]*>", page)
    assert 'src="data:image/png;base64,' in image
    assert 'alt="The filters &lt;b&gt;"' in image
    assert "width=" in image
    again = find(collect(tmp_path), forms=("svg",))
    assert again.pictures[f"inspect_{trials[0]['id']}_filters"].files.keys() == {"png"}


def test_without_pictures_there_is_no_section(tmp_path: Path) -> None:
    make_study(tmp_path, axes=POOL)
    assert inspected_panel(collect(tmp_path)) is None


def stale(out: Path, trial: dict, folder: Path) -> None:
    os.utime(InspectRecord.at(folder), (1, 1))


def of_another_checkpoint(out: Path, trial: dict, folder: Path) -> None:
    change_result(out, trial, checkpoint=6)
    os.utime(InspectRecord.at(folder), (9e9, 9e9))


def of_more_steps(out: Path, trial: dict, folder: Path) -> None:
    inspect(out, trial, step=999)


def damaged(out: Path, trial: dict, folder: Path) -> None:
    InspectRecord.at(folder).write_text("{")


def newer(out: Path, trial: dict, folder: Path) -> None:
    write_json(InspectRecord.at(folder), {"version": 99})


def no_file(out: Path, trial: dict, folder: Path) -> None:
    (folder / "filters.png").unlink()


def no_picture(out: Path, trial: dict, folder: Path) -> None:
    (folder / "filters.png").write_bytes(b"no picture")


def elsewhere(out: Path, trial: dict, folder: Path) -> None:
    (folder / "filters.png").unlink()
    (out / "secret.png").write_bytes(picture())
    inspect(out, trial, pictures={"filters": PictureEntry(file="../../../secret.png", title="x")})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            stale,
            "The pictures of trial {id} are of other weights than the result, or are not known to be of these: they",
        ),
        (of_more_steps, "The pictures of trial {id} are of other weights"),
        (of_another_checkpoint, "The pictures of trial {id} are of other weights"),
        (damaged, "inspect.json"),
        (newer, "version 99"),
        (no_file, "filters.png cannot be read"),
        (no_picture, "filters.png cannot be read"),
        (elsewhere, "secret.png cannot be read"),
    ],
)
def test_what_cannot_be_shown_is_said(tmp_path: Path, change, said: str) -> None:
    trials = make_study(tmp_path, axes=POOL)
    change(tmp_path, trials[0], inspect(tmp_path, trials[0]))
    table = collect(tmp_path)
    made = shown(table)
    assert not made.pictures
    [note] = made.notes
    assert said.format(id=trials[0]["id"]) in note
    finding = inspected_panel(table)
    assert finding is not None
    assert not finding.section({}).is_empty


def test_a_large_picture_is_made_to_fit(tmp_path: Path) -> None:
    png, width = fitted(picture(1500, 900, noise=True))
    assert len(png) <= 1.3 * here.LARGEST
    with Image.open(io.BytesIO(png)) as made:
        assert here.NARROWEST <= made.width <= here.WIDEST
        assert made.height / made.width == pytest.approx(0.6, abs=0.01)
    assert width <= here.ON_PAGE
    assert fitted(picture()) == (picture(), 300)


def test_what_a_page_has_no_room_for_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trials = make_study(tmp_path, axes=POOL)
    for trial in trials[:3]:
        set_metrics(tmp_path, trial, validation_accuracy=0.999)
    monkeypatch.setattr(here, "ROOM", 2 * len(picture()) + 10)
    folder = inspect(tmp_path, trials[0], ("filters", "saliency", "cka"))
    inspect(tmp_path, trials[3])
    table = collect(tmp_path)
    assert [own.trial for own in inspected(table)[0]] == [trials[0]["id"], trials[3]["id"]]
    made = shown(table)
    assert [each.name.split("_", 2)[2] for each in made.pictures] == ["filters", "saliency"]
    assert made.notes[0] == f"For lack of room the page leaves out cka of trial {trials[0]['id']}: {folder}."
    assert made.notes[1].startswith(f"For lack of room the page leaves out filters of trial {trials[3]['id']}: ")


def test_pictures_of_examples_that_flip_stand_where_these_are_listed(tmp_path: Path) -> None:
    trials, *_ = kept_study(tmp_path, axes=POOL)
    before = flips_panel(collect(tmp_path))
    assert before is not None
    assert before.data is not None
    lost = before.data["examples"]["lost"]
    command = " ".join(block.lines[0] for block in before.blocks if isinstance(block, Remarks))
    folders = " ".join(str(tmp_path / "trials" / trial["id"]) for trial in (trials[3], trials[0]))
    assert f"`cnnjax inspect {folders} --only examples --example {lost[0]}," in command
    assert not list(before.sketches)

    entry = PictureEntry(file="examples.png", title="Examples", part="test", images=(lost[0], 399))
    others = PictureEntry(file="examples.png", title="Examples", part="validation", images=tuple(lost))
    inspect(tmp_path, trials[3], ("examples",), pictures={"examples": entry})
    inspect(tmp_path, trials[0], ("examples",), pictures={"examples": others})
    table = collect(tmp_path)
    flips, rest = flips_panel(table), inspected_panel(table)
    assert flips is not None
    assert rest is not None
    assert [sketch.name for sketch in flips.sketches] == [f"inspect_{trials[3]['id']}_examples"]
    assert [sketch.name for sketch in rest.sketches] == [f"inspect_{trials[0]['id']}_examples"]


def test_of_many_trials_a_few_have_their_pictures_on_the_page(tmp_path: Path) -> None:
    trials = make_study(tmp_path, axes=POOL)
    for trial in trials:
        inspect(tmp_path, trial)
    made = shown(collect(tmp_path))
    assert len(made.pictures) == 4
    [note] = made.notes
    assert note.startswith("For lack of room the page leaves out the pictures of 2 trials (")


def test_examples_have_room_before_all_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trials = make_study(tmp_path, axes=POOL)
    monkeypatch.setattr(here, "ROOM", 2 * len(picture()) + 10)
    inspect(tmp_path, trials[0], ("filters", "cka", "examples"))
    inspect(tmp_path, trials[3], ("filters", "examples"))
    made = shown(collect(tmp_path))
    assert {each.name for each in made.pictures} == {f"inspect_{trials[k]['id']}_examples" for k in (0, 3)}
