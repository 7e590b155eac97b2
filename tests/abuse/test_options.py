"""Numbers on the command line that are none, or out of all bounds: every command refuses them by name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from typer.main import get_command

from cnnjax import Hardware, Options
from cnnjax.cli import app
from cnnjax.errors import ConfigError


def commands(command: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Every command with its words."""
    if not hasattr(command, "commands"):
        yield name.strip(), command
    else:
        for word, inner in command.commands.items():
            yield from commands(inner, f"{name} {word}")


def kind(parameter: Any) -> type:
    return parameter.type_descriptor.annotation


NUMERIC = {
    f"{name} {parameter.opts[0]}": (name, command, parameter)
    for name, command in commands(get_command(app))
    for parameter in command.params
    if parameter.param_type_name == "option" and kind(parameter) in (int, float)
}
NO_NUMBERS = ["nan", "-nan", "inf", "-inf", "1e400", "ten", "", " ", "1,5", "0x10", "--", "٣x"]


def refused(run: Any, case: str, value: object) -> str:
    """What is said of a value; nothing where the option takes it."""
    name, command, parameter = NUMERIC[case]
    needed = ["nowhere" for each in command.params if each.param_type_name == "argument" and each.required]
    code, out, err = run(*name.split(), *needed, f"{parameter.opts[0]}={value}")
    assert code in (1, 2), err
    assert not out
    said = " ".join(err.split())
    return said if code == 2 and f"Invalid value for '{parameter.opts[0]}'" in said else ""


def test_all_are_found():
    assert len(NUMERIC) > 50
    assert {kind(parameter) for _, _, parameter in NUMERIC.values()} == {int, float}


@pytest.mark.parametrize("case", NUMERIC)
def test_a_number_has_bounds_and_what_is_out_of_them_is_refused(run, case):
    _, _, parameter = NUMERIC[case]
    assert parameter.min is not None, "say the least that it may be"
    assert kind(parameter) is int or parameter.max is not None, "say the most, or infinity is a value"
    beyond = [parameter.min - 1, -1, *([] if parameter.max is None else [parameter.max * 2])]
    for value in (
        *NO_NUMBERS,
        *beyond,
        *([0] if parameter.min > 0 else []),
        *([1.5] if kind(parameter) is int else []),
    ):
        assert refused(run, case, value), value
    bound = refused(run, case, parameter.min - 1)
    assert f"{parameter.min:g}" in bound, bound
    assert not refused(run, case, parameter.min)


WRITTEN = {
    "--halving": ["0:3", "2:1", "2:nan", "nan", "inf:3", "", ":", "2:", "-1:3", "ten", "1e400"],
    "--asha": ["0:3", "2:1", "2:inf", "", "ten"],
    "--sequential-seeds": ["0", "-3", "nan", "5:0", "5:-1", "5:nan", "5:inf", "5:1e400", "", "ten"],
    "--optuna": ["tpe:0", "tpe:-1", "tpe:nan", "tpe:", "", "tpe:ten", "none:3"],
    "--budget": [
        "params=0",
        "params=-1",
        "hours=0",
        "hours=nan",
        "hours=inf",
        "hours=1e400",
        "params=",
        "params=ten",
        "",
    ],
    "--device-memory": ["0GB", "-1GB", "nanGB", "inf", "", "GB", "1e400GB"],
    "--time": ["0", "-1", "nan", "ten", "", "1e400"],
    "--mem": ["0", "-1G", "nan", "ten", ""],
    "--cpus": [0, -1, "1.5"],
}


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "exp.py"
    path.write_text(
        "from cnnjax import Experiment, SmallCNN, Study, Synthetic\n"
        "experiment = Experiment(model=SmallCNN(features=2, dense=0), data=Synthetic(height=8, width=8, channels=1,\n"
        "    classes=2, examples=40, test_examples=12), batch_size=12, epochs=4)\n"
        'study = Study(experiment, axes={"model.features": [2, 3]}, seeds=1)\n'
    )
    return path


@pytest.mark.parametrize("option", WRITTEN)
def test_what_has_a_number_in_it_is_refused_by_name(run, file, option):
    needed = {"--time": ("--launcher", "slurm"), "--mem": ("--launcher", "slurm"), "--cpus": ("--launcher", "slurm")}
    more = needed.get(option, ("--device-kind", "h100") if option == "--device-memory" else ())
    for value in WRITTEN[option]:
        code, out, err = run("sweep", file, "--dry-run", *more, f"{option}={value}")
        assert (code in (1, 2), out) == (True, ""), value
        assert option.removeprefix("--") in err.lower(), (value, err)
        assert "--debug shows where" not in err, (value, err)


BAD_OPTIONS: list[dict[str, Any]] = [
    *({"checkpoint_seconds": value} for value in (0, -1, float("nan"), float("inf"))),
    *({"checkpoint_steps": value} for value in (0, -1, 1.5, float("nan"), "ten", True)),
    *({"log_every": value} for value in (0, -1, 1.5, float("nan"))),
    *({"keep": value} for value in (0, -1, 1.5)),
]


@pytest.mark.parametrize("given", BAD_OPTIONS, ids=str)
def test_options_in_python_are_refused_too(given):
    [name] = given
    with pytest.raises(ConfigError, match=name):
        Options(Hardware(devices=1), **given)
