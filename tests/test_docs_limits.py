"""docs/limits.md: what it says is not there, or is all there is, the code and the files say too."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

from cnnjax import Experiment
from cnnjax.launch import launcher
from cnnjax.run.export import SUFFIXES

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/limits.md").read_text()


def test_precisions_are_those_two():
    found = get_args(Experiment.model_fields["precision"].annotation)
    assert " or ".join(f"`{each}`" for each in found) in PAGE


def test_networks_leave_in_these_formats():
    assert set(SUFFIXES.values()) == {"stablehlo", "safetensors", "torch"}


def test_launchers_and_loggers_are_those():
    assert set(launcher.names()) == {"local", "none", "slurm", "ray"}
    loggers = {path.stem.removesuffix("_log") for path in (ROOT / "cnnjax/loggers").glob("*_log.py")}
    assert loggers == {"tensorboard", "wandb", "mlflow"}


def test_no_record_of_imagenet_and_of_cifar_only_narrow_forms():
    assert not list((ROOT / "experiments/imagenet").rglob("*.json"))
    assert all("narrow" in path.stem for path in (ROOT / "experiments").glob("cifar*/**/*.json"))
    assert not re.search(r"\d+(\.\d+)? ?(%|s|ms|GB|images/s)\b", PAGE), "figures stand in the results alone"
