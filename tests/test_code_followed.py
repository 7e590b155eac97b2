"""What the digest of the user's own code follows: each way in which code refers to code, and what it holds."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

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
        loaded = set(sys.modules)
        importlib.invalidate_caches()
        try:
            return code_of(load(folder / "exp.py").experiment)
        finally:
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
