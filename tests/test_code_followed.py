"""What the digest of the user's own code follows: each way in which code refers to code, and what it holds."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest
from flax import linen

from cnnjax.code import changes, code_of
from cnnjax.study.file import load

HEAD = "import flax.linen as nn\nimport jax\nfrom cnnjax import *\n"
NET = """
class Net(nn.Module):
    @nn.compact
    def __call__(self, x, train=False):
        return nn.Dense(2, name="logits")({use}.mean((1, 2)))

class Mine(Model):
    def network(self):
        return Net()

experiment = Experiment(model=Mine())
"""
ACT = "import flax.linen as nn\ndef act(x):\n    return nn.relu(x)\n"


def net(imports: str, use: str = "act(x)") -> str:
    return HEAD + imports + NET.format(use=use)


@pytest.fixture
def compared(tmp_path):
    """`compared(files, file, old, new)`: the code of exp.py in `files` before and after `old` is made `new`."""

    def code(folder: Path, files: dict[str, str]):
        for name, text in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text)
        loaded, relu = set(sys.modules), linen.relu
        importlib.invalidate_caches()
        try:
            return code_of(load(folder / "exp.py").experiment)
        finally:
            linen.relu = relu  # some files put their own in its place, which no other test may see
            for name in set(sys.modules) - loaded:
                if str(folder) in str(
                    getattr(sys.modules[name], "__path__", getattr(sys.modules[name], "__file__", ""))
                ):
                    del sys.modules[name]

    def compare(files, file, old, new):
        assert old in files[file]
        before = code(tmp_path / "before", files)
        return before, code(tmp_path / "after", files | {file: files[file].replace(old, new)})

    return compare


BRANCHES = "if True:\n    import fast as layers\nelse:\n    import slow as layers\n"
TWICE = (
    "def f(x):\n    def g(x):\n        from fast import act\n        return act(x)\n    from slow import act\n"
    "    return act(g(x))\n"
)


@pytest.mark.parametrize(
    ("files", "edited"),
    [
        (
            {"exp.py": net("import lib\n", "lib.act(x)"), "lib/__init__.py": "from .a import *\n", "lib/a.py": ACT},
            "lib/a",
        ),
        ({"exp.py": net("from a import *\n"), "a.py": "from b import *\n", "b.py": ACT}, "b"),
        ({"exp.py": net("try:\n    from b import *\nexcept ImportError:\n    pass\n"), "b.py": ACT}, "b"),
        ({"exp.py": net(BRANCHES, "layers.act(x)"), "fast.py": ACT, "slow.py": ACT}, "fast"),
        ({"exp.py": net(TWICE, "f(x)"), "fast.py": ACT, "slow.py": ACT}, "fast"),
        ({"exp.py": net("import a\n", 'getattr(a, "act")(x)'), "a.py": "import b\n" + ACT, "b.py": "import a\n"}, "a"),
    ],
    ids=["star of a package", "star of a star", "star in try", "import in if", "two local imports", "circular"],
)
def test_imports_of_every_kind_are_followed(compared, files, edited):
    before, after = compared(files, f"{edited}.py", "nn.relu", "nn.tanh")
    assert changes(before, after) == [f"function act in {Path(edited).name}.py changed"]
    assert before.digest != after.digest


def test_of_a_module_that_is_imported_in_a_branch_only_what_is_used_counts(compared):
    files = {"exp.py": net(BRANCHES, "layers.act(x)"), "fast.py": ACT, "slow.py": ACT + "def other(x):\n    return 1\n"}
    before, after = compared(files, "slow.py", "return 1", "return 2")
    assert before.digest == after.digest


def test_a_constant_that_a_function_sets_is_followed(compared):
    files = {"exp.py": net("def begin():\n    global SCALE\n    SCALE = 3\nbegin()\n", "(x * SCALE)")}
    before, after = compared(files, "exp.py", "SCALE = 3", "SCALE = 4")
    assert "constant SCALE in exp.py changed" in changes(before, after)


def test_a_docstring_that_takes_the_place_of_pass_changes_nothing(compared):
    before, after = compared({"exp.py": net("class act:\n    pass\n")}, "exp.py", "pass", "'What it is.'")
    assert before.digest == after.digest


READ = "from pathlib import Path\nW = float(Path(__file__).with_name('w.txt').read_text())\n"
HELD = {
    "attribute of a class": ("class C:\n    w = W\n", "(x * C.w)"),
    "field of a module": (
        "class C(nn.Module):\n    w: float = W\n    def __call__(self, x): return x * self.w\n",
        "C()(x)",
    ),
    "default of an argument": ("def f(x, w=W): return x * w\n", "f(x)"),
    "default of a method": ("class C:\n    def f(self, x, *, w=W): return x * w\n", "C().f(x)"),
    "partial": ("from functools import partial\ndef f(x, w): return x * w\nF = partial(f, w=W)\n", "F(x)"),
    "closure": ("def make(w): return lambda x: x * w\nF = make(W)\n", "F(x)"),
    "object": ("from types import SimpleNamespace\nS = SimpleNamespace(w=[W])\n", "(x * S.w[0])"),
    "own object": ("class C:\n    def __init__(self, w): self.w = w\nc = C(W)\n", "(x * c.w)"),
    "array": ("import jax.numpy as jnp\nS = jnp.asarray(W)\n", "(x * S)"),
}


@pytest.mark.parametrize("kind", HELD)
def test_what_is_computed_when_the_code_is_loaded_counts(compared, kind):
    text, use = HELD[kind]
    text = text.replace("W", "float(Path(__file__).with_name('w.txt').read_text())")
    before, after = compared({"exp.py": net(READ + text, use), "w.txt": "1"}, "w.txt", "1", "2")
    assert len(changes(before, after)) == 1
    assert changes(before, before) == []


METHOD = "class C:\n    k = 2\n    def act(self, x): return x * self.k\n"
RELU = "def mine(x): return nn.relu(x)\n"
SELF = "def mine(self, x): return nn.relu(x)\n"
PATCHES = {
    "a function of a module": ("import b\n" + RELU + "b.act = mine\n", "b.act(x)"),
    "a wrapped function": (
        "import b, functools\ndef mine(f):\n    @functools.wraps(f)\n    def inner(x): return nn.relu(f(x))\n"
        "    return inner\nb.act = mine(b.act)\n",
        "b.act(x)",
    ),
    "a method": ("import b\n" + SELF + "b.C.act = mine\n", "b.C().act(x)"),
    "a method by setattr": ("from b import C\n" + SELF + "for n in ('act',): setattr(C, n, mine)\n", "C().act(x)"),
    "a method of its own": ("class D: pass\n" + SELF + "setattr(D, 'act', mine)\n", "D().act(x)"),
    "flax": (RELU.replace("nn", "jax.nn") + "nn.relu = mine\n", "nn.relu(x)"),
}


@pytest.mark.parametrize("kind", PATCHES)
def test_what_is_put_in_the_place_of_something_else_is_followed(compared, kind):
    text, use = PATCHES[kind]
    files = {"exp.py": net(text, use), "b.py": METHOD + "def act(x): return x\n"}
    before, after = compared(files, "exp.py", "nn.relu(", "nn.tanh(")
    assert "function mine in exp.py changed" in changes(before, after)


def test_attributes_that_are_set_from_elsewhere_count(compared):
    files = {"exp.py": net("import b\nb.C.k = 3\n", "b.C().act(x)"), "b.py": METHOD}
    before, after = compared(files, "exp.py", "k = 3", "k = 4")
    assert {"class C in b.py changed", "patch b.C.k in exp.py changed"} <= set(changes(before, after))


def test_patches_of_modules_that_are_imported_for_them_are_followed(compared):
    patches = "import flax.linen as nn\n" + RELU.replace("nn.relu", "nn.silu") + "nn.relu = mine\n"
    files = {"exp.py": net("import patches\n", "nn.relu(x)"), "patches.py": patches}
    before, after = compared(files, "patches.py", "nn.silu", "nn.gelu")
    assert "function mine in patches.py changed" in changes(before, after)


def test_what_takes_the_place_of_a_method_of_cnnjax_is_followed(compared):
    text = HEAD + "def mine(self, count=1): return nn.relu\n"
    text += "kept, SmallCNN.extra = SmallCNN.extra if hasattr(SmallCNN, 'extra') else None, mine\n"
    before, after = compared(
        {"exp.py": text + "experiment = Experiment(model=SmallCNN())\n"}, "exp.py", "nn.relu", "nn.tanh"
    )
    del importlib.import_module("cnnjax").SmallCNN.extra
    assert changes(before, after) == ["function mine in exp.py changed"]


REGISTRIES = {
    "class": ("class R:\n    table = {}\n", "R.table['act'] = act", "b.R.table['act'](x)"),
    "object": (
        "class Table:\n    def __init__(self): self._held = {}\n    def add(self, f): self._held[f.__name__] = f\n"
        "R = Table()\n",
        "R.add(act)",
        "b.R._held['act'](x)",
    ),
}


@pytest.mark.parametrize("kind", REGISTRIES)
def test_registries_that_others_fill_are_followed(compared, kind):
    table, add, use = REGISTRIES[kind]
    files = {"exp.py": net("import b, c\n", use), "b.py": table, "c.py": "from b import R\n" + ACT + add + "\n"}
    before, after = compared(files, "c.py", "nn.relu", "nn.tanh")
    assert "function act in c.py changed" in changes(before, after)


def test_the_base_of_a_class_made_by_type_is_followed(compared):
    base = HEAD + "class Base(Model):\n    def network(self): return nn.relu\n"
    made = "import b\ndef make(name): return type(name, (b.Base,), {})\nexperiment = Experiment(model=make('Made')())\n"
    before, after = compared({"exp.py": HEAD + made, "b.py": base}, "b.py", "nn.relu", "nn.tanh")
    assert "class Base in b.py changed" in changes(before, after)


TYPED = """
import flax.linen as nn
from cnnjax import Model
import typed_helpers
from typed_helpers import act
class Base(nn.Module):
    def head(self, x): return nn.Dense(2)(x)
class Net(Base):
    @nn.compact
    def __call__(self, x): return self.head(act(typed_helpers.other(x)))
class Typed(Model):
    width: int = 3
    def network(self): return Net()
"""


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("act(typed", "nn.relu(typed"),
        ("Dense(2)", "Dense(3)"),
        ("int = 3", "int = 4"),
        ("x - 1", "x - 2"),
        ("x * 2", "x * 3"),
    ],
    ids=["call", "base class", "field", "imported function", "function of a module"],
)
def test_a_notebook_counts_all_that_its_classes_use(tmp_path, monkeypatch, old, new):
    def typed(old, new):
        helpers = "def act(x): return x - 1\ndef other(x): return x * 2\n".replace(old, new)
        (tmp_path / "typed_helpers.py").write_text(helpers)
        sys.modules.pop("typed_helpers", None)
        importlib.invalidate_caches()
        space = {"__name__": "typed_in"}
        exec(TYPED.replace(old, new), space)
        return code_of(space["Typed"]()).digest

    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    try:
        assert typed("", "") == typed("", "") != typed(old, new)
    finally:
        sys.modules.pop("typed_helpers", None)


def test_a_helper_that_is_typed_anew_is_seen_though_the_class_stays(monkeypatch):
    import types

    main = types.ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", main)
    exec(
        "from cnnjax import Model\ndef act(): return 1\nclass Typed(Model):\n    def network(self): return act()",
        vars(main),
    )
    before = code_of(vars(main)["Typed"]()).digest
    exec("def act(): return 2", vars(main))
    assert code_of(vars(main)["Typed"]()).digest != before
