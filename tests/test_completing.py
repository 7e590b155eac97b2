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

import pytest

from cnnjax.cli import completing

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
    assert completing.costs("m") == ["macs"]


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


def test_a_shell_gets_its_answer_without_jax(file):
    """And without a line of the file being run, which would end the process with a message."""
    code = (
        "import os, sys; sys.argv = ['cnnjax']; import atexit\n"
        "atexit.register(lambda: sys.stderr.write('jax' if 'jax' in sys.modules else 'none'))\n"
        "from cnnjax.cli import main; main()"
    )
    environ = os.environ | {
        "_CNNJAX_COMPLETE": "complete_bash",
        "COMP_WORDS": f"cnnjax train {file} model.ker",
        "COMP_CWORD": "3",
    }
    done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True)
    assert done.stdout.split() == ["model.kernel_size=", "model.kernel_size=7"]
    assert done.stderr == "none"
