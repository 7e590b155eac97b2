"""The digest of the user's own code: what changes it, what does not, and what the change is called."""

from __future__ import annotations

import importlib
import json
import sys

import pytest

from cnnjax import Experiment, SmallCNN
from cnnjax.code import Code, changes, code_of
from cnnjax.code.module import find
from cnnjax.errors import ConfigError
from cnnjax.records.code_json import CodeRecord
from cnnjax.study.file import load

LAYERS = '''
"""Layers."""
import flax.linen as nn
WIDTH = 3
TABLE = {}
def register(f):
    TABLE[f.__name__] = f
    return f
@register
def squash(x):
    return nn.tanh(x)
def act(x):
    "What it does."
    return nn.relu(x) * WIDTH
def unused(x):
    return x
'''
MODEL = """
import flax.linen as nn
from cnnjax import *
import layers
from layers import act as activation
from deep import blocks

PADDING = "SAME"
OTHER = 7

class Base(nn.Module):
    classes: int = 3
    def head(self, x):
        return nn.Dense(self.classes, name="logits")(x)

class Net(Base):
    @nn.compact
    def __call__(self, x, train=False):
        OTHER = 1
        x = activation(nn.Conv(4, (3, 3), padding=PADDING)(x))
        x = layers.TABLE["squash"](blocks.double(x)).mean((1, 2))
        return self.head(x)

class Mine(Model):
    width: int = 3
    def network(self):
        from late import SCALE
        return Net(self.num_classes)

class Another(Model):
    def network(self):
        return Net(2)

experiment = Experiment(model=Mine(), epochs=1)
study = Study(experiment, axes={"model.width": [3, 4]}, seeds=2)
"""
FILES = {
    "layers.py": LAYERS,
    "deep/__init__.py": "",
    "deep/blocks.py": "from .sums import twice\ndef double(x):\n    return twice(x)\n",
    "deep/sums.py": "def twice(x):\n    return x + x\n",
    "late.py": "SCALE = 2\n",
    "exp.py": MODEL,
}


@pytest.fixture
def written(tmp_path, monkeypatch):
    """`written(name, (old, new), ...)`: the code of the experiment in a new folder, with `old` made `new` in a file."""
    count = 0

    def make(file="", *edits, take=lambda file: file.experiment):
        nonlocal count
        count += 1
        folder = tmp_path / str(count)
        for name, text in FILES.items():
            for old, new in edits if name == file else ():
                assert old in text
                text = text.replace(old, new)
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text)
        for name in ("layers", "deep", "deep.blocks", "deep.sums", "late"):
            sys.modules.pop(name, None)
        importlib.invalidate_caches()
        return code_of(take(load(folder / "exp.py")))

    yield make
    for name in ("layers", "deep", "deep.blocks", "deep.sums", "late"):
        sys.modules.pop(name, None)


def test_classes_of_cnnjax_alone_have_no_code():
    assert code_of(Experiment(model=SmallCNN())) == Code()
    assert Code().digest is None


def test_the_code_is_all_that_the_classes_refer_to(written):
    names = {entry.name for entry in written().definitions}
    expected = {"Mine", "Net", "Base", "PADDING", "act", "WIDTH", "TABLE", "register", "squash", "double", "twice"}
    assert names == expected | {"SCALE"}


@pytest.mark.parametrize(
    ("file", "old", "new", "said"),
    [
        ("layers.py", "nn.relu(x)", "nn.tanh(x)", "function act in layers.py changed"),
        ("layers.py", "WIDTH = 3", "WIDTH = 4", "constant WIDTH in layers.py changed"),
        ("layers.py", "nn.tanh(x)", "nn.relu(x)", "function squash in layers.py changed"),
        ("layers.py", "@register\ndef squash", "def squash", "function squash in layers.py is gone"),
        ("deep/sums.py", "x + x", "x * 2.1", "function twice in sums.py changed"),
        ("late.py", "2", "3", "constant SCALE in late.py changed"),
        ("exp.py", "(3, 3)", "(5, 5)", "class Net in exp.py changed"),
        ("exp.py", '"SAME"', '"VALID"', "constant PADDING in exp.py changed"),
        ("exp.py", "classes: int = 3", "classes: int = 4", "class Base in exp.py changed"),
        ("exp.py", "width: int = 3", "width: int = 4", "class Mine in exp.py changed"),
        ("exp.py", "import act as", "import unused as", "function unused in layers.py is new"),
        ("layers.py", "import flax.linen as nn", "import jax.nn as nn", "function act in layers.py changed"),
        ("exp.py", "Net(self", "Base(self", "class Net in exp.py is gone"),
    ],
)
def test_an_edit_changes_the_digest_and_is_named(written, file, old, new, said):
    before, after = written(), written(file, (old, new))
    assert before.digest != after.digest
    assert said in changes(before, after)


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("layers.py", "nn.relu(x) * WIDTH", "(nn.relu(x)\n            * WIDTH)  # wider"),
        ("layers.py", '"What it does."', '"Something else."'),
        ("layers.py", "def unused(x):\n    return x", "def unused(x):\n    return 2 * x"),
        ("exp.py", "OTHER = 7", "OTHER = 8"),
        ("exp.py", "[3, 4]", "[3, 4, 5]"),
        ("exp.py", "epochs=1", "epochs=2"),
        ("exp.py", "return Net(2)", "return Net(3)"),
        ("exp.py", "experiment = ", "second = Experiment(model=Another())\nexperiment = "),
        ("exp.py", "import layers\n", "import os\nimport layers\n"),
        ("exp.py", "import act as", "import unused, act as"),
    ],
)
def test_what_the_trial_does_not_run_changes_nothing(written, file, old, new):
    assert written().digest == written(file, (old, new)).digest


def test_another_experiment_of_the_file_has_code_of_its_own(written):
    def another(file):
        return sys.modules[f"cnnjax_experiment_{file.name}"].Another()

    assert written("exp.py", ("return Net(2)", "return Net(3)"), take=another).digest != written(take=another).digest


def test_what_a_constant_holds_counts_and_where_files_are_does_not(written, monkeypatch):
    read = ("PADDING = ", "import os\nPADDING = os.environ['CNNJAX_TEST'] or ")
    monkeypatch.setenv("CNNJAX_TEST", "SAME")
    same, again = written("exp.py", read), written("exp.py", read)
    monkeypatch.setenv("CNNJAX_TEST", "VALID")
    other = written("exp.py", read)
    assert same.digest == again.digest != other.digest
    assert changes(same, other) == ["constant PADDING in exp.py changed"]
    here = ("PADDING = ", "PADDING = __file__ and ")
    assert written("exp.py", here, ("PADDING = __file__ and ", "PADDING = ")).digest == written().digest
    assert written("exp.py", ("OTHER = 7", "WHERE = __file__"), ("PADDING)", "PADDING, name=WHERE)")).digest == (
        written("exp.py", ("OTHER = 7", "WHERE = __file__"), ("PADDING)", "PADDING, name=WHERE)")).digest
    )


def test_a_class_made_by_a_function_is_told_by_what_it_was_made_with(written):
    made = (
        "experiment = ",
        "def make(f):\n    class Made(Model):\n        def network(self):\n            return f(1)\n    return Made\n"
        "Made = make(layers.act)\nexperiment = ",
    )
    use = ("model=Mine()", "model=Made()"), ('study = Study(experiment, axes={"model.width": [3, 4]}, seeds=2)', "")
    before = written("exp.py", made, *use)
    after = written("exp.py", made, *use, ("make(layers.act)", "make(layers.unused)"))
    assert {"make", "act"} <= {entry.name for entry in before.definitions}
    assert before.digest != after.digest


def test_code_is_written_with_its_sources_and_read_again(written):
    code = written()
    record = CodeRecord.of(code)
    held = record.to_json()
    assert CodeRecord.parse(json.loads(json.dumps(held)), "here", remedy="").code == code
    (net,) = [entry for entry in held["definitions"] if entry["name"] == "Net"]
    assert net["source"][0] == "class Net(Base):"
    assert net["line"] == FILES["exp.py"].splitlines().index("class Net(Base):") + 1


def test_a_class_without_a_file_counts_by_its_compiled_code():
    def typed(text):
        space = {"__name__": "typed_in"}
        exec(f"from cnnjax import Model\nclass Typed(Model):\n    def network(self):\n        return {text}\n", space)
        return space["Typed"]()

    assert code_of(typed("1 + self.x")).digest == code_of(typed("1 + self.x")).digest
    assert code_of(typed("1 + self.x")).digest != code_of(typed("2 + self.x")).digest
    assert code_of(typed("self.y")).digest != code_of(typed("self.x")).digest


def test_neighbours_of_two_files_are_not_taken_for_each_other(tmp_path):
    for folder, value in (("a", 1), ("b", 2)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "neighbour_of_two.py").write_text(f"VALUE = {value}\n")
        text = "from cnnjax import Experiment, SmallCNN\nfrom neighbour_of_two import VALUE\n"
        (tmp_path / folder / "exp.py").write_text(text + "experiment = Experiment(model=SmallCNN(features=VALUE))\n")
    try:
        assert load(tmp_path / "a" / "exp.py").experiment.model.features == 1
        with pytest.raises(ConfigError, match="neighbour_of_two"):
            load(tmp_path / "b" / "exp.py")
        assert load(tmp_path / "a" / "exp.py").experiment.model.features == 1
    finally:
        sys.modules.pop("neighbour_of_two", None)


@pytest.mark.parametrize("words", ["from parted_0", "from ."])
def test_a_package_that_imports_a_module_of_its_own_by_name(tmp_path, words):
    """As `from package import part` in package/__init__.py does: the name is the module's, not the package's own."""
    name = ["from parted_0", "from ."].index(words)
    package = tmp_path / f"parted_{name}"
    package.mkdir()
    (package / "part.py").write_text("import flax.linen as nn\ndef act(x):\n    return nn.relu(x)\n")
    (package / "__init__.py").write_text(f"{words} import part\n")
    (tmp_path / "exp.py").write_text(
        f"from cnnjax import Experiment, SmallCNN\nfrom parted_{name} import part\n"
        "class Mine(SmallCNN):\n    def network(self):\n        return part.act(self)\n"
        "experiment = Experiment(model=Mine())\n"
    )
    names = [entry.name for entry in code_of(load(tmp_path / "exp.py").experiment).definitions]
    assert names == ["Mine", "act"]


def test_a_module_counts_as_it_was_loaded(written, tmp_path):
    before = written()
    (tmp_path / "1" / "layers.py").write_text(LAYERS.replace("nn.relu", "nn.tanh"))
    # What this process imported is what it goes on to run.
    assert code_of(load(tmp_path / "1" / "exp.py").experiment).digest == before.digest


def test_a_text_is_parsed_once():
    """However often its module is found; another text is parsed anew."""
    before, again, other = (find("tests.marks"), find("tests.marks"), find("tests.stand_ins"))
    assert before is not None
    assert again is not None
    assert other is not None
    assert before.bindings is again.bindings
    assert set(before.bindings) == {"slow"}
    assert "stand_in" in other.bindings
