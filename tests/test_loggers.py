"""TensorBoard, W&B and MLflow themselves, offline: what each has of a study, read back as the library reads it."""

from __future__ import annotations

import json
import signal
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cnnjax import SGD, Experiment, Hardware, Options, SmallCNN, Study, Synthetic, sweep
from cnnjax.errors import ConfigError

pytestmark = pytest.mark.loggers

# 9 training examples in batches of 4: 3 steps an epoch, of which the last begins the next, and 5 in all.
TINY = Experiment(
    model=SmallCNN(features=2, dense=0),
    data=Synthetic(height=4, width=4, classes=2, examples=12, test_examples=4),
    batch_size=4,
    epochs=2,
    validation=3,
    optim=SGD(learning_rate=0.01),
)
# An arm that is well and one that diverges.
STUDY = Study(TINY, axes={"optim.learning_rate": [0.01, 1e30]}, seeds=2)


@dataclass
class Held:
    """What a library has of a trial: its numbers, (step, value) by name, and the library's words for the rest."""

    numbers: dict[str, list[tuple[int, float]]]
    learning_rate: float
    status: Any


def tensorboard(out: Path, run: Path) -> Held:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams import metadata
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    held = EventAccumulator(str(run / "tensorboard")).Reload()

    def session(tag: str) -> Any:
        return HParamsPluginData.FromString(held.SummaryMetadata(tag).plugin_data.content)

    start = session(metadata.SESSION_START_INFO_TAG).session_start_info
    assert start.group_name == run.name
    assert start.hparams["study"].string_value == "mine"
    return Held(
        {tag: [(each.step, each.value) for each in held.Scalars(tag)] for tag in held.Tags()["scalars"]},
        start.hparams["optim.learning_rate"].number_value,
        session(metadata.SESSION_END_INFO_TAG).session_end_info.status,
    )


def wandb(out: Path, run: Path) -> Held:
    held, config, numbers = None, {}, {}
    for file in sorted(run.glob("wandb/offline-run-*/*.wandb")):
        for record in wandb_records(file):
            match record.WhichOneof("record_type"):
                case "run":
                    config = {item.key: json.loads(item.value_json) for item in record.run.config.update}
                    assert (record.run.project, record.run.display_name) == ("mine", run.name)
                    assert record.run.run_id == (run / "wandb/id").read_text().strip()
                    assert record.run.run_group == f"optim.learning_rate={config['axis/optim.learning_rate']}"
                case "history":
                    items = {item.key or ".".join(item.nested_key): item for item in record.history.item}
                    row = {name: json.loads(item.value_json) for name, item in items.items()}
                    for name, value in row.items():
                        numbers.setdefault(name, []).append((row["_step"], value))
                case "exit":
                    held = record.exit.exit_code
    return Held(numbers, config["optim.learning_rate"], held)


def wandb_records(file: Path) -> Iterator[Any]:
    """The messages of a .wandb file: LevelDB's log format, in blocks of 32 KiB, after a header of 7 bytes."""
    from wandb.proto.wandb_internal_pb2 import Record

    content, at, parts = file.read_bytes(), 7, b""
    while at + 7 <= len(content):
        left = 32768 - at % 32768
        if left < 7:
            at += left
            continue
        length, kind = struct.unpack("<HB", content[at + 4 : at + 7])
        parts += content[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):
            yield Record.FromString(parts)
            parts = b""


def mlflow(out: Path, run: Path) -> Held:
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{out / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("mine")
    [held] = client.search_runs([experiment.experiment_id], f"tags.`cnnjax.trial` = '{run.name}'")
    assert held.info.run_name == run.name
    assert held.data.params["axis.optim.learning_rate"] == held.data.params["optim.learning_rate"]
    histories = {name: client.get_metric_history(held.info.run_id, name) for name in held.data.metrics}
    return Held(
        {name: sorted((each.step, each.value) for each in history) for name, history in histories.items()},
        float(held.data.params["optim.learning_rate"]),
        held.info.status,
    )


@dataclass
class Library:
    """read: (study's folder, run directory) -> what is held. done, failed: its words for those. loses: whether a kill
    takes away what the library itself had not written yet."""

    read: Callable[[Path, Path], Held]
    done: Any
    failed: Any
    loses: bool = False


LIBRARIES = {
    "tensorboard": Library(tensorboard, done=1, failed=2),
    "wandb": Library(wandb, done=0, failed=1, loses=True),
    "mlflow": Library(mlflow, done="FINISHED", failed="FAILED"),
}


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    for variable, value in {
        "WANDB_MODE": "offline",
        "WANDB_ERROR_REPORTING": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
    }.items():
        monkeypatch.setenv(variable, value)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


KILLED = """
import os, signal, sys
from cnnjax.events import StepTaken
from tests.test_loggers import STUDY, logged, sweep

def kill(event):
    if isinstance(event, StepTaken) and event.step == 4:
        os.kill(os.getpid(), signal.SIGKILL)

sweep(STUDY, sys.argv[1], name="mine", options=logged(sys.argv[2]), sinks=[kill], pack=1)
"""
"""Its newest checkpoint is of step 2."""


def logged(name: str) -> Options:
    return Options(Hardware(devices=1), checkpoint_steps=2, log=(name,), log_every=1)


@pytest.mark.parametrize("name", LIBRARIES)
def test_a_study_that_was_killed_and_continued(name, tmp_path):
    pytest.importorskip(name)
    library, out = LIBRARIES[name], tmp_path / "study"
    killed = subprocess.run([sys.executable, "-c", KILLED, out, name], cwd=Path(__file__).parents[1], check=False)
    assert killed.returncode == -signal.SIGKILL
    # The others train together, so that several records are open at once.
    outcome = sweep(STUDY, out, name="mine", options=logged(name), pack=3)
    assert (len(outcome.done), len(outcome.failed)) == (2, 2)
    plain = sweep(STUDY, tmp_path / "plain", options=Options(Hardware(devices=1)), pack=1)
    for trial in outcome.plan.trials:
        run = out / "trials" / trial.id
        held = library.read(out, run)
        assert held.learning_rate == pytest.approx(trial.arm["optim.learning_rate"])
        if trial.id in outcome.failed:
            assert held.status == library.failed
            continue
        assert held.status == library.done
        numbers = {tag: dict(pairs) for tag, pairs in held.numbers.items()}
        assert not {tag for tag, pairs in held.numbers.items() if len(pairs) != len(numbers[tag])}, "steps stand twice"
        lost = library.loses and trial.id == killed_first(outcome)
        assert sorted(numbers["step/loss"]) == ([3, 4, 5] if lost else [1, 2, 3, 4, 5])
        for row in map(json.loads, (run / "metrics.jsonl").read_text().splitlines()):
            for tag in ("train_loss", "validation_accuracy", "learning_rate", "epoch"):
                assert numbers[tag][row["step"]] == pytest.approx(row[tag], rel=1e-6)
        result = json.loads((run / "result.json").read_text())
        assert numbers["test_loss"] == {5: pytest.approx(result["metrics"]["test_loss"], rel=1e-6)}
        assert sorted(numbers["machine/examples_per_second"]) == [3, 5]
        assert np.mean(list(numbers["machine/host_memory_bytes"].values())) > 1e7
    first = killed_first(outcome)
    same = [folder / "trials" / first / "metrics.jsonl" for folder in (out, plain.out)]
    assert same[0].read_bytes() == same[1].read_bytes()


def killed_first(outcome) -> str:
    return outcome.plan.trials[0].id


def test_wandb_without_a_login_is_refused_before_anything_is_trained(monkeypatch, tmp_path):
    library = pytest.importorskip("wandb")
    library.teardown()
    for name in ("WANDB_MODE", "WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"needs a login: run `wandb login`, or set WANDB_MODE=offline"):
        Options(log=("wandb",))
    library.teardown()


def test_mlflow_is_sent_where_it_is_told(monkeypatch, tmp_path):
    pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    study = Study(TINY, seeds=1)
    with pytest.warns(UserWarning, match="the logger mlflow failed and is switched off"):
        outcome = sweep(study, tmp_path, options=Options(Hardware(devices=1), log=("mlflow",)))
    assert outcome.complete
