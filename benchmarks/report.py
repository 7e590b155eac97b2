"""How long is the report of a large study, how much memory does it take, and how large is its page?

Nothing is trained: a plan of 50 arms (features x learning rate x pooling of a small CNN on the digits) and 10 seeds is
written as a sweep writes it, and every trial gets the files of a finished one (result.json, config.json, resolved.json,
environment.json, evaluation.json, a metrics.jsonl of 20 epochs, predictions.npz) with made-up numbers. `cnnjax report`
then runs as a process of its own; the processor's seconds are its own and its children's, user and system, so that they
do not hang on what else the machine does.

    python benchmarks/report.py                              # the measurement
    python benchmarks/report.py --seeds 1 --epochs 2         # does it run?
    python benchmarks/report.py --profile /tmp/report.prof   # once more in this process, under cProfile
"""

import argparse
import cProfile
import json
import os
import pstats
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from cnnjax import SGD, Digits, Experiment, SmallCNN, Study
from cnnjax.config import plain
from cnnjax.launch.study_files import write_plan
from cnnjax.records.config_json import ConfigRecord
from cnnjax.records.environment_json import EnvironmentRecord
from cnnjax.records.metrics_jsonl import EpochRow
from cnnjax.records.predictions_npz import KeptPredictions
from cnnjax.records.resolved import Resolved
from cnnjax.records.result_json import EvaluationRecord, ResultRecord
from cnnjax.records.specification import Specification
from cnnjax.study.plan import plan

AXES = {
    "model.features": [4, 8, 12, 16, 24],
    "optim.learning_rate": [0.02, 0.03, 0.05, 0.08, 0.12],
    "model.pool": ["max", "average"],
}
CLASSES = tuple(map(str, range(10)))
EXAMPLES = {"train": 1294, "validation": 144, "test": 359}
STEPS = 21
METRICS = (
    Specification(name="accuracy", total="correct", unit="share", higher_is_better=True, printed=".2%", binomial=True),
    Specification(
        name="top5_accuracy", total="correct_top5", unit="share", higher_is_better=True, printed=".2%", binomial=True
    ),
    Specification(name="loss", total="loss", unit="nats", higher_is_better=False, printed=".4f"),
    Specification(
        name="expected_calibration_error", total="bin_correct", unit="share", higher_is_better=False, printed=".4f"
    ),
)
ENVIRONMENT = {
    "cnnjax": "0.1.0",
    "commit": "0123456789ab",
    "command": "cnnjax sweep study.py",
    "python": "3.11.2",
    "versions": {"jax": "0.10.2", "flax": "0.12.8", "numpy": "2.4.6"},
    "hardware": "made up, 2 cores",
    "devices": ("cpu",),
}


def fabricate(out, *, seeds, epochs, predictions=True):
    """Writes the study into `out`; how many trials it has."""
    base = Experiment(
        model=SmallCNN(features=16), data=Digits(), optim=SGD(learning_rate=0.05), validation=0.1, epochs=epochs
    )
    planned = plan(Study(base, axes=AXES, seeds=seeds))
    write_plan(planned, out, name="large", question="How long does a report of so many trials take?")
    generator = np.random.default_rng(0)
    offsets = generator.normal(0, 0.004, seeds)
    for trial in planned.trials:
        level = (
            0.96 + 0.0008 * trial.experiment.model.features - 0.15 * abs(trial.experiment.optim.learning_rate - 0.05)
        )
        level += 0.004 * (trial.experiment.model.pool == "max") + offsets[trial.experiment.seed]
        finish(out / "trials" / trial.id, trial, level, epochs, generator, predictions=predictions)
    return len(planned.trials)


def finish(folder, trial, level, epochs, generator, *, predictions):
    """Writes what a finished trial leaves, its accuracies about `level`."""
    folder.mkdir(parents=True, exist_ok=True)
    right = {part: generator.random(n) < level for part, n in EXAMPLES.items()}
    target = {part: np.arange(n) % len(CLASSES) for part, n in EXAMPLES.items()}
    said = {part: np.where(right[part], target[part], (target[part] + 1) % len(CLASSES)) for part in EXAMPLES}
    evaluation = {part: evaluated(right[part], target[part], said[part]) for part in ("validation", "test")}
    metrics = {"train_loss": 0.03, "train_accuracy": float(right["train"].mean())}
    metrics |= {f"{part}_{metric.name}": evaluation[part][metric.name] for part in evaluation for metric in METRICS}
    ResultRecord(
        id=trial.id,
        codes=(None,),
        status="done",
        seed=trial.experiment.seed,
        params=trial.params,
        macs=trial.macs,
        steps=STEPS * epochs,
        examples=EXAMPLES,
        train_seconds=2.0 + generator.random(),
        compile_seconds=0.5,
        seconds={"compile": 0.5, "input": 0.1, "step": 1.5 + generator.random(), "evaluation": 0.3, "idle": 0.2},
        data_fingerprint="0123456789ab",
        metrics=metrics,
        config=plain(trial.experiment),
    ).write(ResultRecord.at(folder))
    EvaluationRecord.of(evaluation).write(EvaluationRecord.at(folder))
    ConfigRecord.model_validate(plain(trial.experiment)).write(ConfigRecord.at(folder))
    EnvironmentRecord.model_validate(ENVIRONMENT).write(EnvironmentRecord.at(folder))
    resolved(trial, epochs).write(Resolved.at(folder))
    fade = np.exp(-np.arange(1, epochs + 1) / 3) * (1 + 0.1 * generator.normal(size=epochs))
    rows = [
        EpochRow(
            step=STEPS * (epoch + 1),
            epoch=epoch + 1,
            learning_rate=0.05,
            train_loss=0.03 + 2 * fade[epoch],
            train_accuracy=1 - 0.7 * fade[epoch],
            validation_loss=0.1 + 2 * fade[epoch],
            validation_accuracy=min(max(metrics["validation_accuracy"] - 0.6 * fade[epoch], 0.1), 1.0),
        )
        for epoch in range(epochs)
    ]
    EpochRow.at(folder).write_text("".join(json.dumps(row.to_json()) + "\n" for row in rows))
    if predictions:
        outputs = 8 * np.eye(len(CLASSES))[said["test"]] + generator.normal(size=(EXAMPLES["test"], len(CLASSES)))
        arrays = {"target": target["test"], "outputs": outputs.astype(np.float16), "correct": right["test"].astype(int)}
        KeptPredictions(trial.id, {"test": arrays}).write(KeptPredictions.at(folder))


def evaluated(right, target, said):
    """What evaluation.json says of a part."""
    confusion = np.zeros((len(CLASSES), len(CLASSES)), int)
    np.add.at(confusion, (target, said), 1)
    counts = confusion.sum(axis=1)
    return {
        "count": len(right),
        "loss": 0.1 + float(1 - right.mean()),
        "accuracy": float(right.mean()),
        "top5_accuracy": 1.0,
        "per_class_accuracy": (np.diag(confusion) / counts).tolist(),
        "per_class_count": counts.tolist(),
        "confusion": confusion.tolist(),
        "expected_calibration_error": 0.02,
    }


def resolved(trial, epochs):
    """What resolved.json says of a trial."""
    return Resolved(
        id=trial.id,
        data="digits",
        fingerprint="0123456789ab",
        classes=CLASSES,
        target_shape=(),
        input_shape=(8, 8, 1),
        dtype="uint8",
        maximum=16,
        mean=(0.3,),
        std=(0.4,),
        fit=None,
        space="rgb",
        test_time={"name": "none"},
        outputs=len(CLASSES),
        kind="softmax",
        loss={"name": "softmax"},
        metrics=METRICS,
        chosen_by="accuracy",
        task={"name": "classification"},
        examples=EXAMPLES["train"],
        steps=STEPS * epochs,
    )


def measured(out):
    """Processor's seconds, seconds by the clock and MiB at most of one `cnnjax report`."""
    begun = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "cnnjax", "report", str(out)], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"cnnjax report ended with {os.waitstatus_to_exitcode(status)}")
    return usage.ru_utime + usage.ru_stime, time.perf_counter() - begun, usage.ru_maxrss / 1024


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--no-predictions", action="store_true", help="trials keep no predictions")
    parser.add_argument("--out", type=Path, help="keep the study here")
    parser.add_argument("--profile", type=Path, help="write a profile, and print what takes longest")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        out = options.out or Path(folder) / "large"
        predictions = not options.no_predictions
        trials = fabricate(out, seeds=options.seeds, epochs=options.epochs, predictions=predictions)
        runs = [measured(out) for _ in range(options.repeats)]
        page = (out / "report" / "index.html").stat().st_size
        whole = sum(path.stat().st_size for path in (out / "report").rglob("*") if path.is_file())
        for name, values in zip(
            ("processor, s", "clock, s", "memory at most, MiB"), zip(*runs, strict=True), strict=True
        ):
            print(f"{name}: {statistics.median(values):.1f} ({min(values):.1f} to {max(values):.1f}, n={len(values)})")
        print(f"{trials} trials; page {page / 1e6:.2f} MB; whole report {whole / 1e6:.2f} MB")
        if options.profile:
            from cnnjax.reporting import report

            profile = cProfile.Profile()
            profile.runcall(report, out)
            profile.dump_stats(options.profile)
            pstats.Stats(profile).sort_stats("cumulative").print_stats(60)


if __name__ == "__main__":
    main()
