"""A report of metrics that are no accuracy: what they are is read from the runs, and arms are never compared across
kinds. The studies are written with records, by hand; nothing is trained."""

from __future__ import annotations

import dataclasses
import io
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from scipy import stats

from cnnjax.errors import NewerVersion
from cnnjax.progress.parts import parts_table
from cnnjax.records.config_json import ConfigRecord
from cnnjax.records.metrics_jsonl import EpochRow, append_row
from cnnjax.records.plan_json import PlanRecord, TrialEntry
from cnnjax.records.resolved import Resolved
from cnnjax.records.result_json import ResultRecord
from cnnjax.records.specification import Specification
from cnnjax.records.study_json import StudyRecord
from cnnjax.reporting import Summary, collect, measure, report, terminal_table
from cnnjax.reporting.headline import headline
from cnnjax.reporting.picture_curves import _label
from cnnjax.reporting.statistics import chosen
from cnnjax.reporting.units import unit, unit_of

LOSS = Specification(name="loss", total="loss", unit="nats", higher_is_better=False, printed=".4f")
IOU = Specification(
    name="mean_iou", total="intersection", unit="share", higher_is_better=True, printed=".1%", label="mean IoU"
)
DICE = Specification(name="dice", total="dice", unit="share", higher_is_better=True, printed=".1%", label="Dice")
DISTANCE = Specification(
    name="mean_absolute_error", total="absolute_error", unit="pixels", higher_is_better=False, printed=".2f"
)
ACCURACY = Specification(
    name="accuracy", total="correct", unit="share", higher_is_better=True, printed=".2%", binomial=True
)
EXAMPLES = {"train": 80, "validation": 20, "test": 30}


@dataclasses.dataclass
class Arm:
    """One value of the axis. validation, test: by metric, a value for each seed. metrics: what its trials recorded."""

    value: Any
    metrics: Sequence[Specification]
    validation: Mapping[str, Sequence[float]]
    test: Mapping[str, Sequence[float]]
    chosen_by: str = ""
    params: int = 1000
    task: str = ""


def resolved(arm: Arm, trial: str) -> Resolved:
    return Resolved(
        id=trial,
        data="shapes",
        fingerprint=None,
        classes=(),
        target_shape=(),
        input_shape=(8, 8, 1),
        dtype="uint8",
        maximum=255,
        mean=(0.5,),
        std=(0.25,),
        fit=None,
        space="rgb",
        test_time={"name": "single"},
        outputs=2,
        kind="softmax",
        loss={"name": "softmax"},
        metrics=tuple(arm.metrics),
        chosen_by=arm.chosen_by or arm.metrics[0].name,
        task={"name": arm.task} if arm.task else None,
        examples=80,
        steps=4,
    )


def write_study(out: Path, arms: Sequence[Arm], *, axis: str = "model.skips", recorded: bool = True) -> None:
    """A finished study of one axis, whose seeds are as many as each arm has values."""
    trials, seeds = [], range(len(next(iter(arms[0].test.values()))))
    for number, arm in enumerate(arms):
        for seed in seeds:
            name = f"{number:x}{seed:x}"
            trials.append(TrialEntry(id=name, arm={axis: arm.value}, seed=seed, params=arm.params, macs=arm.params * 9))
            folder = out / "trials" / name
            parts = {"train": {"loss": [0.5] * len(seeds)}, "validation": arm.validation, "test": arm.test}
            numbers = {f"{part}_{name}": v[seed] for part, values in parts.items() for name, v in values.items()}
            result = ResultRecord(
                id=name,
                status="done",
                seed=seed,
                params=arm.params,
                macs=arm.params * 9,
                steps=4,
                examples=EXAMPLES,
                train_seconds=1.0 + seed / 10,
                compile_seconds=1.0,
                metrics=numbers,
            )
            result.write(ResultRecord.at(folder))
            ConfigRecord.model_validate({"seed": seed}).write(ConfigRecord.at(folder))
            if recorded:
                resolved(arm, name).write(Resolved.at(folder))
            for epoch in (1, 2):
                held = {key: value for key, value in numbers.items() if not key.startswith("test_")}
                append_row(EpochRow.at(folder), EpochRow(step=epoch * 2, epoch=epoch, **held))
    values = [arm.value for arm in arms]
    StudyRecord(name="skips", axes={axis: values}, seeds=tuple(seeds), base={}).write(StudyRecord.at(out))
    PlanRecord(trials=tuple(trials)).write(PlanRecord.at(out))


def segmentation(skips: bool, iou: Sequence[float], params: int) -> Arm:
    values = {"mean_iou": iou, "dice": [value + 0.1 for value in iou], "loss": [1 - value for value in iou]}
    tested = {name: [value - 0.02 for value in v] for name, v in values.items()}
    return Arm(skips, (IOU, DICE, LOSS), values, tested, params=params)


WITHOUT, WITH = [0.61, 0.60, 0.62], [0.71, 0.74, 0.72]
FIELDS = ("n", "mean", "sd", "low", "high", "method")


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Summary:
    """Skip connections or none, by mean IoU."""
    out = tmp_path_factory.mktemp("shapes")
    write_study(out, [segmentation(False, WITHOUT, 900), segmentation(True, WITH, 1000)])
    return report(out)


def text_of(summary: Summary, name: str = "report.md") -> str:
    return (summary.folder / name).read_text(encoding="utf-8").replace("\\", "")


def test_arms_are_compared_by_the_metric_that_the_runs_say(shapes: Summary) -> None:
    by = measure(shapes.table)
    assert (by.choose, by.quote) == ("validation_mean_iou", "test_mean_iou")
    assert by.shown == ("validation_mean_iou", "test_mean_iou")
    assert by.compared is not None
    assert by.compared.label == "mean IoU"
    assert chosen(shapes.table) == 2
    data = json.loads(shapes.json)
    assert (data["choose_by"], data["quote"], data["chosen"]) == ("validation_mean_iou", "test_mean_iou", 2)


def test_a_mean_iou_has_the_t_interval_over_seeds(shapes: Summary) -> None:
    arm = json.loads(shapes.json)["arms"][1]
    for name, values in (("validation_mean_iou", WITH), ("test_dice", [value + 0.08 for value in WITH])):
        low, high = stats.ttest_1samp(values, 0).confidence_interval(0.95)
        np.testing.assert_allclose([arm[name]["low"], arm[name]["high"]], [low, high], rtol=1e-9)
        assert arm[name]["method"] == "Student t: seeds"
    text = text_of(shapes)
    assert "Student's t with n − 1 degrees of freedom, cut at 0 and 100%" in text
    assert "the choice of seeds, on these examples" in text
    assert "binomial" not in text


def test_its_words_percent_and_decimals_are_those_of_the_specification(shapes: Summary) -> None:
    text = text_of(shapes)
    low, high = stats.ttest_1samp(WITH, 0).confidence_interval(0.95)
    cell = f"72.3 ± 1.5** | **[{100 * low:.1f}, {100 * high:.1f}]"
    assert cell in text
    assert "validation mean IoU, % (to choose by)" in text
    assert "test mean IoU, % (to quote)" in text
    assert "highest mean validation mean IoU 72.3 ± 1.5" in text
    assert "## Mean IoU against cost" in text
    assert "Effects on test mean IoU, %" in text
    assert "accuracy" not in text_of(shapes, "index.html").split("<style")[0] + text
    screen = Console(width=140, file=io.StringIO(), force_terminal=False)
    screen.print(terminal_table(shapes.table))
    assert "validation mean IoU, %" in screen.file.getvalue()  # type: ignore[attr-defined]


def test_pictures_are_named_after_the_metric_and_those_of_another_are_removed(shapes: Summary, tmp_path: Path) -> None:
    drawn = {path.stem for path in shapes.files if path.suffix == ".png"}
    assert drawn == {
        "mean_iou_by_arm",
        "effects",
        "mean_iou_vs_params",
        "mean_iou_vs_macs",
        "learning_curves",
        "learning_curves_median",
    }
    write_study(tmp_path, [segmentation(False, WITHOUT, 900), segmentation(True, WITH, 1000)])
    report(tmp_path)
    assert (tmp_path / "report" / "figures" / "mean_iou_by_arm.png").exists()
    write_study(tmp_path, [regression("squared", [0.3, 0.4, 0.5]), regression("absolute", [0.2, 0.3, 0.4])])
    left = {path.name for path in (report(tmp_path).folder / "figures").iterdir()}
    assert "mean_absolute_error_by_arm.png" in left
    assert "mean_iou_by_arm.png" not in left


def test_curves_have_the_unit_at_their_axis() -> None:
    assert _label("validation_mean_iou", IOU, stacked=False) == "validation mean IoU (%)"
    assert _label("train_loss", LOSS, stacked=True) == "train\nloss (nats)"


def regression(rate: float | str, errors: Sequence[float], **changes: Any) -> Arm:
    values = {"mean_absolute_error": errors, "loss": [value / 9 for value in errors]}
    return dataclasses.replace(Arm(rate, (DISTANCE, LOSS), values, values), **changes)


def test_less_may_be_better_and_has_its_unit(tmp_path: Path) -> None:
    errors = [3.1, 3.3, 3.25]
    write_study(tmp_path, [regression(0.1, [4.0, 4.2, 4.1]), regression(0.2, errors)], axis="optim.learning_rate")
    summary = report(tmp_path)
    text = text_of(summary)
    assert chosen(summary.table) == 2
    assert "Arms are compared by mean absolute error, where less is better." in text
    low, high = stats.ttest_1samp(errors, 0).confidence_interval(0.95)
    assert f"lowest mean validation mean absolute error 3.22 ± 0.10 [{low:.2f}, {high:.2f}] pixels, n=3" in text
    assert "test mean absolute error, pixels (to quote)" in text
    assert "paired by seed, -0.88 ± 0.03 pixels" in text.replace("−", "-")
    assert (summary.folder / "figures" / "mean_absolute_error_by_arm.png").exists()


@pytest.mark.parametrize(
    ("printed", "largest", "shown"),
    [
        (".2f", 3.2, "1.23"),
        (".1f", 12.3, "1.2"),
        (".4f", 0.5, "1.2346"),
        (".4f", 2.3, "1.235"),
        (".2f", 1500, "1"),
        (".4f", 2e-5, "1.2345678"),
        (".2f", 0.004, "1.23457"),
    ],
)
def test_three_to_four_digits_of_the_largest_are_printed(printed: str, largest: float, shown: str) -> None:
    of = DISTANCE.model_copy(update={"printed": printed})
    assert unit_of(of, "test_mean_absolute_error", largest=largest).number(1.23456784) == shown


def test_what_a_method_measures_beside_is_shown_beside_and_chooses_nothing(tmp_path: Path) -> None:
    def arm(decay: float, raw: list[float], mean: list[float]) -> Arm:
        values = {"accuracy": raw, "ema_accuracy": mean, "loss": [0.1] * 3, "ema_loss": [0.1] * 3}
        return Arm(decay, (ACCURACY, LOSS), values, values)

    better = arm(0.9, [0.95, 0.90, 0.95], [0.80, 0.85, 0.80])
    write_study(tmp_path, [better, arm(0.99, [0.90, 0.85, 0.90], [0.95, 0.95, 1.0])], axis="methods.0.decay")
    summary = report(tmp_path)
    by = measure(summary.table)
    assert (by.choose, by.quote) == ("validation_accuracy", "test_accuracy")
    assert by.shown == ("validation_accuracy", "test_accuracy", "validation_ema_accuracy", "test_ema_accuracy")
    assert chosen(summary.table) == 1
    text = text_of(summary)
    assert "| validation ema accuracy, % | 95% interval over seeds |" in text
    assert "(validation n=20, test n=30)" in text
    assert "80.00 ± 0.00" not in text
    arms = json.loads(summary.json)["arms"]
    assert arms[0]["test_ema_accuracy"]["method"].startswith("exact binomial")
    assert unit(summary.table, "validation_ema_loss").label == "validation ema loss, nats"


def test_trials_of_different_metrics_are_shown_and_not_compared(tmp_path: Path) -> None:
    values = {"accuracy": [0.95, 0.9, 0.95], "loss": [0.1, 0.2, 0.1]}
    read = Arm("classification", (ACCURACY, LOSS), values, values)
    other = dataclasses.replace(segmentation(True, WITH, 1000), value="segmentation")
    write_study(tmp_path, [read, other], axis="task")
    summary = report(tmp_path)
    assert chosen(summary.table) is None
    assert headline(summary.table)[1] == (
        "The arms are not compared, and none is chosen: their trials are measured by different metrics, accuracy (arm "
        "1) and mean IoU (arm 2). A study of each kind alone compares its arms."
    )
    text = text_of(summary)
    assert "to choose by" not in text
    assert "## What each axis does" not in text
    assert "against cost" not in text
    assert "93.33 ± 2.89" in text
    assert "72.3 ± 1.5" in text
    assert "How each is made stands in arms.csv as its method" in text
    assert not [path for path in summary.files if path.suffix == ".png"]
    data = json.loads(summary.json)
    assert (data["choose_by"], data["quote"], data["chosen"]) == (None, None, None)
    assert (summary.folder / "effects.csv").read_text().count("\n") == 1
    screen = Console(width=160, file=io.StringIO(), force_terminal=False)
    screen.print(terminal_table(summary.table))


def test_arms_of_different_losses_are_not_compared_by_their_losses(tmp_path: Path) -> None:
    """The values of a squared and of an absolute loss are not of one kind."""
    for folder, metrics in (("two", (LOSS, DISTANCE)), ("one", (LOSS,))):
        few = [regression(name, errors, metrics=metrics) for name, errors in (("mse", [4.0] * 3), ("mae", [3.0] * 3))]
        write_study(tmp_path / folder, few, axis="loss")
    two, one = report(tmp_path / "two"), report(tmp_path / "one")
    said = (
        "The arms were trained with different losses, whose values are of different kinds: arms are compared by mean "
        "absolute error, where less is better."
    )
    assert said in headline(two.table)
    assert measure(two.table).choose == "validation_mean_absolute_error"
    assert chosen(one.table) is None
    assert "trained with different losses, whose values are of different kinds." in headline(one.table)[1]


def test_arms_whose_metric_has_another_unit_are_compared_by_the_next(tmp_path: Path) -> None:
    metres = DISTANCE.model_copy(update={"unit": "m"})
    few = [regression(0.1, [4.0, 4.2, 4.1]), regression(0.2, [3.0, 3.1, 3.2], metrics=(metres, LOSS))]
    write_study(tmp_path, few, axis="optim.learning_rate")
    table = collect(tmp_path)
    assert measure(table).choose == "validation_loss"
    assert any("mean absolute error is not in the same unit" in sentence for sentence in headline(table))


def test_other_digits_of_the_same_metric_do_not_part_arms(tmp_path: Path) -> None:
    fewer = ACCURACY.model_copy(update={"printed": ".1%"})
    values = {"accuracy": [0.95, 0.9, 0.95], "loss": [0.1, 0.2, 0.1]}
    few = [Arm(8, (ACCURACY, LOSS), values, values), Arm(16, (fewer, LOSS), values, values)]
    write_study(tmp_path, few, axis="model.features")
    assert measure(collect(tmp_path)).choose == "validation_accuracy"


@pytest.mark.parametrize("second", ["binary", "classification", ""])
def test_a_report_says_that_its_arms_have_different_tasks(tmp_path: Path, second: str) -> None:
    values = {"accuracy": [0.95, 0.9, 0.95], "loss": [0.1, 0.2, 0.1]}
    tasks = enumerate(("classification", second))
    few = [Arm(place, (ACCURACY, LOSS), values, values, task=name) for place, name in tasks]
    write_study(tmp_path, few, axis="task.of")
    said = [sentence for sentence in headline(collect(tmp_path)) if "different tasks" in sentence]
    assert bool(said) == (second == "binary")
    assert not said or "(binary, classification)" in said[0]


def test_runs_that_recorded_it_and_runs_of_before_are_one_study(tmp_path: Path) -> None:
    """As where a study is extended with a newer cnnjax."""
    values = {"accuracy": [0.95, 0.9, 0.95], "loss": [0.1, 0.2, 0.1]}
    write_study(tmp_path, [Arm(8, (ACCURACY, LOSS), values, values), Arm(16, (ACCURACY, LOSS), values, values)])
    whole = report(tmp_path).json
    for trial in ("00", "01", "12"):
        Resolved.at(tmp_path / "trials" / trial).unlink()
    assert report(tmp_path).json == whole


def test_a_damaged_or_newer_record_is_named(tmp_path: Path) -> None:
    write_study(tmp_path, [segmentation(False, WITHOUT, 900)])
    path = Resolved.at(tmp_path / "trials" / "00")
    path.write_text('{"version": 2}')
    with pytest.raises(NewerVersion, match=str(path)):
        report(tmp_path)
    path.write_text("[]")
    report(tmp_path)
    page = (tmp_path / "report" / "report.md").read_text()
    assert "1 damaged" in page
    assert re.search(r"resolved.json is damaged .*bring it back from a copy, or delete it", page)


def test_parts_of_an_evaluation_stand_in_order_of_importance() -> None:
    parts = {"test": {"count": 30, "loss": 0.25, "dice": 0.8, "mean_iou": 0.7, "ema_mean_iou": 0.72, "own": 1.0}}
    screen = Console(width=140, file=io.StringIO(), force_terminal=False)
    screen.print(parts_table(parts, (IOU, DICE, LOSS)))
    head, _, row = [line.split() for line in screen.file.getvalue().splitlines() if line.strip()]  # type: ignore[attr-defined]
    assert " ".join(head) == "part n mean IoU, % ema mean IoU, % Dice, % loss, nats own"
    assert row == ["test", "30", "70.0", "72.0", "80.0", "0.2500", "1.0000"]
