"""benchmarks/gpu.py runs, tiny, without a GPU, and names what it cannot measure; reports of 500 trials stay small."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

pytestmark = pytest.mark.benchmark

GPU = Path(__file__).parents[1] / "benchmarks" / "gpu.py"
PARAMETERS = {"resnet50-256": 25_557_032, "convnext-tiny-256": 28_589_128, "vgg16-256": 138_357_544}


def gpu(out, *words):
    command = [sys.executable, str(GPU), "--small", "--out", str(out), *words]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    log = (out / "log.txt").read_text() if (out / "log.txt").exists() else ""
    return json.loads((out / "gpu.json").read_text())["records"], (out / "gpu.md").read_text(), log


def test_gpu_benchmark_measures_every_side(tmp_path):
    records, text, log = gpu(tmp_path)
    failed = [record for record in records if "failed" in record]
    assert not failed, log
    skipped = {record["side"].partition(" ")[0] for record in records if "skipped" in record}
    assert skipped == (set() if find_spec("torch") else {"pytorch"})
    counted = [record for record in records if record["what"] in PARAMETERS and "skipped" not in record]
    assert {record["what"] for record in counted} == set(PARAMETERS)
    assert all(record["params"] == PARAMETERS[record["what"]] for record in counted)
    trained = [record for record in records if record["what"] == "resnet18-cifar-512" and "seconds" in record]
    assert {"cnnjax", "flax"} <= {record["side"] for record in trained}
    assert len({record["params"] for record in trained}) == 1
    assert "| resnet18-cifar-512 | cnnjax |" in text


def test_gpu_benchmark_names_what_does_not_fit(tmp_path):
    records, text, _ = gpu(tmp_path, "--minutes", "0", "--only", "resnet50-256", ":flax")
    assert {record["what"] for record in records} == {"matmul", "resnet50-256", "resnet18-cifar-512"}
    assert all("skipped" in record for record in records)
    assert "- resnet50-256, flax: skipped: 0 s left" in text


def test_the_report_of_500_trials_is_small_and_takes_little_memory():
    """Its seconds are measured in benchmarks/RESULTS.md; here only what no other load of the machine changes."""
    command = [sys.executable, str(GPU.with_name("report.py")), "--repeats", "1"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    said = dict(re.findall(r"(memory at most, MiB|page)[: ]+([0-9.]+)", done.stdout))
    assert float(said["memory at most, MiB"]) < 1024
    assert float(said["page"]) < 6
    assert "500 trials" in done.stdout
