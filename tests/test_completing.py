"""What shells complete: fields and choices of the file that is named, which is parsed and never run."""

from __future__ import annotations

import os
import pty
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import get_args, get_type_hints

import pytest
from typer import Context
from typer.main import get_command

from cnnjax import Options
from cnnjax.cli import app, completing
from cnnjax.documents.formats import FORMATS
from cnnjax.launch.launcher import names as launcher_names
from tests.abuse.test_options import commands

FILE = """from cnnjax import SGD, Experiment, Model, SmallCNN, Study
raise SystemExit("it was run")
class Mine(Model):
    width: int = 3
net = SmallCNN(kernel_size=7)
experiment = Experiment(model=net, optim=SGD(learning_rate=0.25), epochs=9)
"""


@pytest.fixture(scope="module", autouse=True)
def remembered(tmp_path_factory):
    """The table is made once, in a cache of these tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield completing.table()


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "study.py"
    path.write_text(FILE)
    return path


CASES = [
    ("model.ker", ["model.kernel_size=", "model.kernel_size=7"]),
    ("model.pool=", ["max", "average", "blur", "stride", "none"]),
    ("model.pool=bl", ["blur"]),
    ("epo", ["epochs=", "epochs=9"]),
    ("epochs=", ["9"]),
    ("optim.learning", ["optim.learning_rate=", "optim.learning_rate=0.25"]),
    ("optim.learning_rate=", ["0.25"]),
    ("optim=ada", ["adafactor", "adam", "adamw"]),
    ("optim.nesterov=", ["true", "false"]),
    ("modle.", []),
    ("model.nothing=", []),
]


@pytest.mark.parametrize(("word", "expected"), CASES)
def test_fields_and_choices_of_a_file(file, word, expected):
    found = list(completing.candidates(file, word))
    if "=" in word:
        assert {each.partition("=")[2] for each in found} == set(expected)
        assert all(each.startswith(word) for each in found)
    else:
        assert found == expected


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("model.pool=max,av", ["model.pool=max,average"]),
        ("model.pool=max,none,", [f"model.pool=max,none,{each}" for each in ("average", "blur", "stride")]),
        ("model.pool=av", ["model.pool=average"]),
    ],
)
def test_of_several_values_the_last_is_completed(file, word, expected):
    assert sorted(completing.candidates(file, word, several=True)) == expected
    if "," in word:
        assert completing.candidates(file, word) == []


def test_fields_of_the_files_classes_have_the_values_of_their_types(tmp_path):
    path = tmp_path / "own.py"
    fields = "    residual: bool = True\n    kind: Literal['a', 'b'] | None = None\n    depth: Annotated[int, 1] = 3\n"
    own = FILE.replace("    width: int = 3\n", fields)
    path.write_text(own.replace("SmallCNN(kernel_size=7)", "Mine(residual=False)"))
    assert list(completing.candidates(path, "model.residual=")) == ["model.residual=true", "model.residual=false"]
    assert list(completing.candidates(path, "model.kind=")) == ["model.kind=a", "model.kind=b"]
    assert list(completing.candidates(path, "model.depth=")) == ["model.depth="]


def test_classes_of_the_file_have_their_own_fields(tmp_path):
    path = tmp_path / "own.py"
    path.write_text(FILE.replace("net = SmallCNN(kernel_size=7)", "net = Mine(width=5)"))
    assert list(completing.candidates(path, "model.wi")) == ["model.width=", "model.width=5"]
    assert list(completing.candidates(path, "model.width=")) == ["model.width=5"]


def test_a_file_that_is_none_or_broken_gives_what_cnnjax_has(tmp_path):
    assert list(completing.candidates(None, "optim.learning_r")) == [
        "optim.learning_rate=",
        "optim.learning_rate=0.1",
    ]
    (tmp_path / "broken.py").write_text("def (")

    class Context:
        params = {"file": tmp_path / "broken.py"}  # noqa: RUF012

    assert completing.overrides(Context(), "epo") == []  # pyright: ignore[reportArgumentType]


def test_the_table_is_that_of_the_classes(remembered):
    from cnnjax import Experiment, Model, SmallCNN

    assert set(remembered["classes"]["SmallCNN"]) == set(SmallCNN.model_fields)
    assert set(remembered["classes"]["Experiment"]) == set(Experiment.model_fields)
    assert {*Model.members, *Model.presets} <= set(remembered["unions"]["Model"]) | {"mine", "lazy"}


@pytest.mark.parametrize(
    ("words", "place", "incomplete", "expected"),
    [
        ("cnnjax train F model.pool = bl", 5, "bl", ["blur"]),
        ("cnnjax train F model.pool =", 4, "=", ["max", "average", "blur", "stride", "none"]),
        ("cnnjax train F epo", 3, "epo", ["epochs=", "epochs=9"]),
    ],
)
def test_bash_makes_words_at_equals_signs(file, monkeypatch, words, place, incomplete, expected):
    monkeypatch.setenv("COMP_WORDS", words)
    monkeypatch.setenv("COMP_CWORD", str(place))

    class Context:
        params = {"file": file}  # noqa: RUF012

    assert completing.overrides(Context(), incomplete) == expected  # pyright: ignore[reportArgumentType]


def test_names_of_options():
    from cnnjax.study.designed import NAMES

    # Written twice, since completing imports no study.
    assert completing.DESIGNS == NAMES
    assert completing.designs("so") == ["sobol"]


def offered():
    """What options offer, by command and option, of those that offer anything."""
    found = {}
    for words, command in commands(get_command(app)):
        for each in command.params:
            if each.param_type_name == "option":
                values = [item.value for item in each.shell_complete(Context(command), "")]
                found |= {f"{words} {each.opts[0]}": values} if values else {}
    return found


@pytest.mark.parametrize(
    ("line", "incomplete", "expected"),
    [
        ("cnnjax train F --stale=ke", "ke", ["--stale=keep"]),
        ("cnnjax train F --stale ke", "ke", ["keep"]),
        ("cnnjax train F epochs=9 --stale ", "", ["stop", "rerun", "keep", "separate"]),
    ],
)
def test_zsh_and_fish_replace_the_whole_word(monkeypatch, line, incomplete, expected):
    monkeypatch.setenv("_TYPER_COMPLETE_ARGS", line)
    [command] = [command for name, command in commands(get_command(app)) if name == "train"]
    [stale] = [each for each in command.params if each.name == "stale"]
    assert [item.value for item in stale.shell_complete(Context(command), incomplete)] == expected


def test_options_offer_what_is_taken():
    found = offered()
    stale = get_args(get_type_hints(Options)["stale"])
    assert found["train --stale"] == list(stale)
    assert found["predict --stale"] == found["evaluate --stale"] == found["work --stale"] == ["stop", "keep"]
    assert set(found["sweep --launcher"]) == set(launcher_names())
    assert set(found["train --log"]) == set(found["work --log"]) == {"tensorboard", "wandb", "mlflow"}
    assert found["describe --format"] == list(FORMATS)
    assert found["train --parallel"] == found["work --parallel"] == ["jit", "shard_map", "pmap"]
    assert found["predict --weights"] == ["raw"], "names of methods are the run's"
    assert found["sweep --match"] == ["macs", "params"]
    assert "describe --against" not in found, "FILE and RUN are no words to type"


def test_recipes_and_networks():
    assert "digits/pooling" in completing.recipe_names("digits/")
    assert "resnet50" in completing.networks("resnet5")


INSTALLED = {
    "bash": ".bash_completions/cnnjax.sh",
    "zsh": ".zfunc/_cnnjax",
    "fish": ".config/fish/completions/cnnjax.fish",
}


@pytest.mark.parametrize("shell", INSTALLED)
def test_it_is_installed_for_a_shell(shell, tmp_path, remembered):
    if shutil.which(shell) is None:
        pytest.skip(f"there is no {shell}")
    environ = os.environ | {"HOME": str(tmp_path), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    line = "cnnjax --install-completion && echo done"
    done = subprocess.run([shell, "-c", line], env=environ, capture_output=True, text=True)
    assert done.stdout.endswith("done\n"), done.stdout + done.stderr
    assert "cnnjax" in (tmp_path / INSTALLED[shell]).read_text()


def test_zsh_answers_the_first_tab(tmp_path, remembered):
    zsh = shutil.which("zsh")
    if zsh is None:
        pytest.skip("there is no zsh")
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environ = os.environ | {"HOME": str(tmp_path), "ZDOTDIR": str(tmp_path), "PATH": path, "TERM": "dumb"}
    for _ in range(2):  # as well where it was installed before
        subprocess.run([zsh, "-c", "cnnjax --install-completion && true"], env=environ, capture_output=True, check=True)
    ours, theirs = pty.openpty()
    with subprocess.Popen([zsh, "-i"], env=environ, stdin=theirs, stdout=theirs, stderr=theirs) as shell:
        os.write(ours, b"cnnjax stat\t")
        shown, until = b"", time.monotonic() + 30
        while b"cnnjax status " not in shown and time.monotonic() < until:
            if select.select([ours], [], [], 0.5)[0]:
                shown += os.read(ours, 4096)
        shell.kill()
    assert b"cnnjax status " in shown, shown


@pytest.mark.parametrize(
    ("words", "place", "answer"),
    [
        ("cnnjax train {file} model.ker", 3, "model.kernel_size= model.kernel_size=7"),
        ("cnnjax sweep {file} model.pool = max,av", 5, "max,average"),
        ("cnnjax train {file} --stale ", 4, "stop rerun keep separate"),
        ("cnnjax train --stale = keep {file} --log = ten", 8, "tensorboard"),
        ("cnnjax train --stale = keep {file} model.pool = bl", 8, "blur"),
        ("cnnjax train {file} --stale =", 4, "stop rerun keep separate"),
        ("cnnjax train {file} --log tensorboard --log w", 6, "wandb"),
    ],
)
def test_a_shell_gets_its_answer_without_jax(file, words, place, answer):
    """And without a line of the file being run, which would end the process with a message."""
    code = (
        "import os, sys; sys.argv = ['cnnjax']; import atexit\n"
        "atexit.register(lambda: sys.stderr.write('jax' if 'jax' in sys.modules else 'none'))\n"
        "from cnnjax.cli import main; main()"
    )
    environ = os.environ | {
        "_CNNJAX_COMPLETE": "complete_bash",
        "COMP_WORDS": words.format(file=file).replace(" ", "\n"),  # as bash gives them
        "COMP_CWORD": f"{place}",
    }
    done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True)
    assert done.stdout.split() == answer.split()
    assert done.stderr == "none"
