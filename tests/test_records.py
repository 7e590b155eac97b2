"""Records: what is written is read back, newer versions are refused, damage is named with its remedy."""

from __future__ import annotations

import ast
import importlib
import json
import pkgutil
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest

from cnnjax import records
from cnnjax.code import Code, Definition
from cnnjax.errors import NewerVersion, RunError
from cnnjax.records.adaptive_json import AdaptiveRecord, FindingEntry, ProposalEntry
from cnnjax.records.cancel_json import CancelRecord
from cnnjax.records.candidates_json import CandidateEntry, CandidatesRecord
from cnnjax.records.checkpoint_notes import CheckpointNotes
from cnnjax.records.code_json import CodeRecord
from cnnjax.records.config_json import ConfigRecord
from cnnjax.records.environment_json import EnvironmentRecord
from cnnjax.records.exported import Exported
from cnnjax.records.inspect_json import InspectRecord, PictureEntry
from cnnjax.records.jobs_json import JobsEntry, JobsRecord
from cnnjax.records.lease_json import LeaseRecord
from cnnjax.records.metrics_jsonl import EpochRow, append_row, keep_rows, read_rows
from cnnjax.records.plan_json import PlanRecord, PrunedEntry, TrialEntry
from cnnjax.records.record import Record
from cnnjax.records.reproduction_json import JudgedClaim, Measured, ReproductionRecord
from cnnjax.records.resolved import Resolved
from cnnjax.records.result_json import EvaluationRecord, ResultRecord
from cnnjax.records.source_json import SourceRecord
from cnnjax.records.specification import BEFORE, Specification, specification_of
from cnnjax.records.study_json import StudyRecord
from cnnjax.records.stylized import Stylized
from cnnjax.records.used_run import UsedRun
from cnnjax.records.work_json import WorkRecord


class Weather(Record):
    """A record of version 2: in version 1 degrees were called `heat`."""

    filename: ClassVar[str] = "weather.json"

    version: int = 2
    degrees: float
    days: tuple[str, ...] = ()
    note: str | None = None

    @classmethod
    def upgraded(cls, content: dict[str, Any], version: int) -> dict[str, Any]:
        return {"degrees": content["heat"]} | {name: value for name, value in content.items() if name != "heat"}


def test_a_record_writes_the_keys_it_was_given_and_its_version(tmp_path):
    path = Weather.at(tmp_path)
    Weather(degrees=3.5, days=("monday",)).write(path)
    assert json.loads(path.read_text()) == {"version": 2, "degrees": 3.5, "days": ["monday"]}
    assert Weather.read(path, remedy="delete it") == Weather(degrees=3.5, days=("monday",))


def test_there_is_no_record_where_there_is_no_file(tmp_path):
    assert Weather.read(Weather.at(tmp_path), remedy="delete it") is None


@pytest.mark.parametrize("version", [{}, {"version": 1}])
def test_an_earlier_version_is_upgraded(tmp_path, version):
    path = Weather.at(tmp_path)
    path.write_text(json.dumps(version | {"heat": 3.5}))
    assert Weather.read(path, remedy="delete it") == Weather(degrees=3.5)


def test_unknown_keys_are_kept(tmp_path):
    held = {"version": 2, "degrees": 3.5, "later": {"key": [1]}}
    assert Weather.parse(held, "here", remedy="delete it").to_json() == held


def test_a_newer_version_is_refused_in_one_sentence(tmp_path):
    path = Weather.at(tmp_path)
    path.write_text(json.dumps({"version": 3, "something": "else"}))
    with pytest.raises(NewerVersion) as refused:
        Weather.read(path, remedy="delete it")
    said = str(refused.value)
    assert said.startswith(f"{path} has version 3, and cnnjax ")
    assert said.endswith(" reads versions up to 2: install a newer cnnjax (nothing was changed)")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"degrees": ', "Expecting value"),
        ("[]", "it holds a list, not an object"),
        ("null", "it holds null, not an object"),
        ('{"version": "2", "degrees": 1.0}', "version = '2': must be a whole number from 1"),
        ('{"version": true, "degrees": 1.0}', "version = True"),
        ('{"version": 2}', "degrees: is required"),
        ('{"version": 2, "degrees": "warm"}', "degrees = 'warm': must be a valid number"),
        ('{"version": 2, "degrees": 1.0, "days": [1]}', "days.0 = 1: must be a valid string"),
    ],
)
def test_damage_is_named_with_file_key_rule_and_remedy(tmp_path, text, said):
    path = Weather.at(tmp_path)
    path.write_text(text)
    with pytest.raises(RunError) as damaged:
        Weather.read(path, remedy="delete it")
    assert str(damaged.value).startswith(f"{path} is damaged (")
    assert said in str(damaged.value)
    assert str(damaged.value).endswith("; delete it")


def test_a_number_that_is_not_finite_is_not_written(tmp_path):
    path = Weather.at(tmp_path)
    with pytest.raises(ValueError, match="Out of range"):
        Weather(degrees=float("nan")).write(path)
    assert not path.exists()


# --- each record


ACCURACY = Specification(
    name="accuracy", total="correct", unit="share", higher_is_better=True, printed=".2%", binomial=True
)


def resolved() -> Resolved:
    return Resolved(
        id="a1b2",
        data="digits",
        fingerprint="d1g1",
        classes=("0", "1"),
        target_shape=(),
        input_shape=(8, 8, 1),
        dtype="uint8",
        maximum=16,
        mean=(0.5,),
        std=(0.25,),
        fit=None,
        space="rgb",
        test_time={"name": "single_view"},
        outputs=2,
        kind="softmax",
        loss={"name": "softmax_cross_entropy"},
        metrics=(ACCURACY,),
        chosen_by="accuracy",
        examples=10,
        steps=4,
    )


TRIAL = TrialEntry(id="a1b2", arm={"model.features": 8}, seed=1, params=10, macs=20, steps=4, program="p")
ACT = Definition("act", "function", "exp.py", 3, "c0de", "def act(x):\n    return x")
RECORDS: list[tuple[Record, str, Any, str]] = [
    # the record; a key, a value it does not take, and what is said of it
    (StudyRecord(axes={"model.pool": ["max", None]}, seeds=(0, 1), base={"epochs": 2}), "seeds", 3, "valid array"),
    (
        AdaptiveRecord(
            design={"adaptive": "halving"},
            words="successive halving",
            effect="",
            metric="validation_accuracy",
            higher_is_better=True,
            proposals=(ProposalEntry(arm={"epochs": 3}, seed=0, trial="a", until=2),),
            findings=(FindingEntry(arm={}, best={}, n=3, verdict="worse"),),
        ),
        "metric",
        3,
        "string",
    ),
    (
        CandidatesRecord(base={}, arms=(CandidateEntry(first=TRIAL),), seeds=(0, 1), epochs=2),
        "epochs",
        "two",
        "integer",
    ),
    (PlanRecord(trials=(TRIAL,), pruned=(PrunedEntry(arm={}, seeds=(0,), reason="too large"),)), "trials", {}, "array"),
    (ConfigRecord.model_validate({"model": {"name": "small_cnn"}, "seed": 0}), "version", 0, "whole number from 1"),
    (EnvironmentRecord(cnnjax="0.1.0", commit=None, versions={"jax": "0.10.2"}), "cores", "two", "valid integer"),
    (
        ResultRecord(
            id="a1b2",
            codes=(None, "c0de"),
            status="done",
            seed=1,
            params=10,
            macs=20,
            teachers={"distillation": UsedRun(path="runs/teacher", checksum=9)},
            initial=UsedRun(path="runs/first", checksum=7),
            metrics={"test_loss": 0.5},
        ).sealed(),
        "status",
        "almost",
        "'done' or 'failed'",
    ),
    (EvaluationRecord(test={"count": 3, "confusion": [[1, 0], [1, 1]]}), "test", [], "must be an object"),
    (
        InspectRecord(
            run="runs/a",
            step=3,
            checksum=9,
            pictures={"filters": PictureEntry(file="filters.png", title="Filters", numbers={"largest": 0.5})},
        ),
        "pictures",
        [],
        "must be an object",
    ),
    (
        SourceRecord(architecture="lenet5", file="a.pth", sha256="ab", image_shape=(28, 28, 1), classes=10),
        "image_shape",
        [28, 28],
        "image_shape.2: is required",
    ),
    (
        ReproductionRecord(
            recipe="digits/baseline",
            form="f0",
            experiments=("a1b2",),
            recorded="2026-01-02T03:04:05+00:00",
            seeds=3,
            result=Measured(metric="test_accuracy", specification=ACCURACY, values={"0": 0.5}, n=1, mean=0.5),
            verdict="pass",
            claims=(
                JudgedClaim(
                    metric="test_loss",
                    n=0,
                    claim={},
                    word="holds",
                    verdict="holds",
                    settings=1,
                    said="+1",
                    remarks=("a",),
                ),
            ),
        ),
        "verdict",
        "nearly",
        "'pass' or 'fail'",
    ),
    (LeaseRecord(worker="a", host="h", pid=7, since="2026-01-31T12:00:00", seconds=60.0), "pid", "7", "valid integer"),
    (WorkRecord(cnnjax="0.1.0", folder="/", base={"seed": 0}, trials={"ab": {"seed": 1}}), "trials", [], "object"),
    (
        JobsRecord(submissions=(JobsEntry(launcher="slurm", jobs=("12_0",), submitted=1.5, token="ab"),)),
        "submissions",
        "12_0",
        "valid array",
    ),
    (CancelRecord(since="2026-01-31T12:00:00", by="cancelled by ann"), "by", 3, "valid string"),
    (CodeRecord.of(Code((ACT,))), "recorded", "now", "match pattern"),
    (CheckpointNotes(id="a1b2", scale=((0.5,), (0.2,)), classes=("a",)), "epoch_sums", None, "must be an object"),
    (resolved(), "outputs", "two", "valid integer"),
    (
        Stylized(
            content_file="a.png",
            style_file="b.png",
            run="runs/a",
            step=4,
            checksum=9,
            weights=None,
            content_layers=("conv2.relu",),
            style_layers=("conv1.relu",),
            content_weight=1.0,
            style_weight=100.0,
            variation=0.0,
            optimizer="lbfgs",
            rate=None,
            start="content",
            seed=0,
            size=(12, 16),
            losses={"total": (2.0, 1.0)},
        ),
        "step",
        "four",
        "step = 'four'",
    ),
    (
        Exported(
            format="safetensors",
            step=4,
            input_shape=None,
            output=None,
            platforms=None,
            jax="0.10.2",
            resolved=resolved(),
            experiment={"epochs": 2},
        ),
        "format",
        "onnx",
        "format = 'onnx'",
    ),
]
NAMES = [type(record).__name__ for record, *_ in RECORDS]


def test_every_record_is_in_the_table():
    for module in pkgutil.iter_modules(records.__path__, "cnnjax.records."):
        importlib.import_module(module.name)

    def below(kind: type[Record]) -> set[type[Record]]:
        return {kind}.union(*map(below, kind.__subclasses__()))

    ours = {kind for kind in below(Record) if kind.__module__.startswith("cnnjax.")} - {Record, EpochRow}
    assert {type(record) for record, *_ in RECORDS} == ours


@pytest.mark.parametrize(("record", "key", "value", "said"), RECORDS, ids=NAMES)
def test_a_record_is_read_as_it_was_written(tmp_path, record, key, value, said):
    record.write(tmp_path / "file")
    assert json.loads((tmp_path / "file").read_text())["version"] == 1
    assert type(record).read(tmp_path / "file", remedy="") == record
    # Files from before there were versions.
    (tmp_path / "file").write_text(json.dumps(record.content))
    assert type(record).read(tmp_path / "file", remedy="") == record


@pytest.mark.parametrize(("record", "key", "value", "said"), RECORDS, ids=NAMES)
def test_a_damaged_record_names_the_file_and_the_key(tmp_path, record, key, value, said):
    (tmp_path / "file").write_text(json.dumps(record.to_json() | {key: value}))
    with pytest.raises(RunError, match=f"file is damaged .*{key}.*; mend it$") as damaged:
        type(record).read(tmp_path / "file", remedy="mend it")
    assert said in str(damaged.value)
    for text in ("[1]", "null", json.dumps(record.to_json())[:-3]):
        (tmp_path / "file").write_text(text)
        with pytest.raises(RunError, match="file is damaged .*; mend it$"):
            type(record).read(tmp_path / "file", remedy="mend it")


@pytest.mark.parametrize(("record", "key", "value", "said"), RECORDS, ids=NAMES)
def test_a_record_of_a_newer_version_is_refused(tmp_path, record, key, value, said):
    (tmp_path / "file").write_text(json.dumps({"version": 2}))
    with pytest.raises(NewerVersion, match="has version 2, and cnnjax .* up to 1: install a newer cnnjax"):
        type(record).read(tmp_path / "file", remedy="")


def test_what_was_not_given_is_not_written():
    record = ResultRecord(id="a1b2", status="failed", seed=0, params=1, macs=2)
    assert record.to_json() == {"version": 1, "id": "a1b2", "status": "failed", "seed": 0, "params": 1, "macs": 2}


# --- metrics


def older(*names: str) -> dict[str, Any]:
    """resolved.json as it was before metrics were in order of importance, and one of them was chosen."""
    content = resolved().to_json()
    del content["chosen_by"]
    before = {each.name: each.to_json() for each in BEFORE}
    metrics = [{key: value for key, value in before[name].items() if key != "binomial"} for name in names]
    return content | {"metrics": metrics}


def test_metrics_of_an_older_run_are_completed():
    held = Resolved.parse(older("loss", "accuracy", "top5_accuracy", "expected_calibration_error"), "", remedy="")
    assert [(each.name, each.binomial) for each in held.metrics] == [
        ("accuracy", True),
        ("top5_accuracy", True),
        ("loss", False),
        ("expected_calibration_error", False),
    ]
    assert held.chosen == ACCURACY
    assert Resolved.parse(older("mean_squared_error", "loss"), "", remedy="").chosen.name == "loss"


def test_the_metric_chosen_by_is_one_of_the_metrics():
    with pytest.raises(RunError, match="chosen_by = 'mean_iou' is none of the metrics: accuracy"):
        Resolved.parse(resolved().to_json() | {"chosen_by": "mean_iou"}, "file", remedy="")


IOU = Specification(name="mean_iou", total="iou", unit="share", higher_is_better=True, printed=".1%", label="mean IoU")
PIXELS = Specification(name="distance", total="distance", unit="pixels", higher_is_better=False, printed=".2f")


@pytest.mark.parametrize(
    ("metric", "known", "found"),
    [
        ("test_accuracy", (), "accuracy"),
        ("test_accuracy", (IOU,), "accuracy"),
        ("accuracy", BEFORE, None),
        ("test_top5_accuracy", (), "top5_accuracy"),
        ("validation_ema_mean_iou", (IOU, PIXELS), "mean_iou"),
        ("validation_ema_top5_accuracy", BEFORE, "top5_accuracy"),
        ("test_pixel_accuracy", (), None),
        ("learning_rate", BEFORE, None),
    ],
)
def test_what_a_recorded_number_is(metric, known, found):
    assert getattr(specification_of(metric, known), "name", None) == found


def test_a_number_is_printed_with_its_unit():
    assert (ACCURACY.text(0.9653), IOU.text(0.5), PIXELS.text(3.2)) == ("96.53%", "50.0%", "3.20 pixels")
    assert (ACCURACY.words, IOU.words, IOU.symbol, PIXELS.symbol, PIXELS.decimals) == (
        "accuracy",
        "mean IoU",
        "%",
        "pixels",
        2,
    )


def test_what_was_measured_before_is_what_is_measured_of_labels_now():
    """A run without the record, and the same run with it, are reported alike."""
    from cnnjax.metrics import specifications

    recorded = {each.name: each for each in (*specifications(10), *specifications(None))}
    assert recorded == {each.name: each for each in BEFORE}


# --- metrics.jsonl


def test_rows_have_no_version_and_keep_their_bytes(tmp_path):
    path = EpochRow.at(tmp_path)
    row = {"step": 3, "epoch": 1, "learning_rate": 0.1, "train_loss": 1e-7, "validation_top5_accuracy": 1.0}
    append_row(path, EpochRow.model_validate(row))
    append_row(path, EpochRow.model_validate(row | {"step": 6}))
    assert path.read_text() == "".join(json.dumps(each) + "\n" for each in (row, row | {"step": 6}))
    assert [each.numbers for each in read_rows(path)] == [{"train_loss": 1e-7, "validation_top5_accuracy": 1.0}] * 2
    keep_rows(path, 3)
    assert path.read_text() == json.dumps(row) + "\n"


def test_rows_of_a_newer_version_are_refused(tmp_path):
    EpochRow.at(tmp_path).write_text('{"version": 2, "steps": 3}\n')
    with pytest.raises(NewerVersion, match="metrics.jsonl line 1 has version 2"):
        read_rows(EpochRow.at(tmp_path))


# --- a run and a study of a newer version


KEPT = Path(__file__).parent / "data" / "study_1"
RESULT = "study/trials/b3d8bc21ac89/result.json"


def train_again(folder: Path) -> None:
    from cnnjax.run.train import train
    from cnnjax.study.file import load

    train(load(folder / "experiment.py").experiment, folder / "run")


def sweep_again(folder: Path) -> None:
    from cnnjax.launch.sweep import sweep
    from cnnjax.run.options import Options
    from cnnjax.study.file import load

    sweep(load(folder / "experiment.py").study, folder / "study", options=Options(stale="rerun"), replace=True)


def report_it(folder: Path) -> None:
    from cnnjax.reporting import report

    report(folder / "study")


def evaluate_it(folder: Path) -> None:
    from cnnjax.run.evaluate import evaluate
    from cnnjax.study.file import load

    load(folder / "experiment.py")
    evaluate(folder / "run")


def predict_it(folder: Path) -> None:
    import cnnjax
    from cnnjax.study.file import load

    load(folder / "experiment.py")
    cnnjax.load(folder / "run")


def describe_it(folder: Path) -> None:
    from cnnjax.cli.app import app

    app(["describe", str(folder / "run"), "--file", str(folder / "experiment.py")], standalone_mode=False)


NEWER: list[tuple[str, Callable[[Path], None]]] = [
    ("run/config.json", train_again),
    ("run/result.json", train_again),
    ("study/study.json", sweep_again),
    ("study/plan.json", sweep_again),
    (RESULT, sweep_again),
    ("study/study.json", report_it),
    ("study/plan.json", report_it),
    (RESULT, report_it),
    ("study/trials/b3d8bc21ac89/environment.json", report_it),
    ("study/code/{code}.json", report_it),
    ("run/config.json", evaluate_it),
    ("run/result.json", evaluate_it),
    ("run/config.json", predict_it),
    ("run/config.json", describe_it),
]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != ".lock"}


@pytest.mark.parametrize(("name", "command"), NEWER, ids=lambda value: getattr(value, "__name__", value))
def test_a_newer_version_is_refused_and_nothing_is_changed(tmp_path, name, command):
    shutil.copytree(KEPT, tmp_path / "kept")
    path = tmp_path / "kept" / name.format(code=next((KEPT / "study" / "code").glob("*.json")).stem)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"version": 2}))
    before = contents(tmp_path)
    with pytest.raises(NewerVersion) as refused:
        command(tmp_path / "kept")
    assert str(refused.value).startswith(f"{path} has version 2, and cnnjax ")
    assert {name: held for name, held in contents(tmp_path).items() if "__pycache__" not in name} == before


# --- nobody else


PACKAGE = Path(__file__).parents[1] / "cnnjax"
FILES = {record.filename for record, *_ in RECORDS if "." in record.filename} | {EpochRow.filename}


def test_no_module_but_a_record_names_a_file():
    """Text that is a file's name and nothing else builds a path; in a sentence it may be named."""
    for path in PACKAGE.rglob("*.py"):
        if path.parent.name == "records":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                named = node.value.rpartition("/")[2]
                assert named not in FILES, f"{path} line {node.lineno} names {node.value!r}"


@pytest.mark.parametrize("package", ["run", "study", "launch", "reporting", "cli", "loggers"])
def test_json_of_runs_and_studies_is_read_and_written_by_records_alone(package):
    for path in (PACKAGE / package).rglob("*.py"):
        for name in ("read_json", "write_json"):
            assert name not in path.read_text(), f"{path} has {name}: its file would have no version"
