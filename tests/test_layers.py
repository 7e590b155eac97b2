"""The layers: who may import whom, that importing does no work, and that the pure ones stay pure."""

from __future__ import annotations

import ast
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "cnnjax"
# Lowest first. Modules of one row are siblings: they do not import each other, but where `|` says so.
LAYERS = [
    {"exits"},
    {"errors"},
    {"streams", "visible"},
    {
        "config",
        "arithmetic",
        "aliasing",
        "files",
        "machine",
        "energy",
        "interrupts",
        "lowering",
        "calling",
        "events",
        "hosts",
        "console",
    },
    {"statistics"},
    {"lanes", "code", "documents", "cards", "cache", "boxes", "box_masks"},
    {"records"},
    {"lease"},
    {"nn", "analysis", "data", "optim", "losses", "metrics", "initialization"},
    {"models", "training", "loggers"},
    {"tasks", "convert"},
    {"experiment"},
    {"run"},
    {"study"},
    {"launch"},
    {"reporting", "progress", "inspection", "doctor"},
    {"recipes", "notebook"},
    {"cli"},
    {"__init__", "__main__"},
]
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
# reporting reads files alone, so that a report needs no class of an experiment and no JAX.
REPORTING_MAY = {
    "errors",
    "visible",
    "console",
    "config",
    "aliasing",
    "files",
    "code",
    "records",
    "lease",
    "documents",
    "cards",
    "statistics",
}
REPORTING_MAY |= {"reporting"}


def part_of(path: Path) -> str:
    relative = path.relative_to(PACKAGE).with_suffix("")
    return relative.parts[0]


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "cnnjax":
            steps = node.module.split(".")[1:]
            found |= {steps[0]} if steps else {alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("cnnjax.")}
    return found


FILES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_imports_only_what_stands_below_it(path):
    part = part_of(path)
    if part in ("__init__", "cli"):
        return
    for other in imports(path):
        assert other == part or LEVEL[other] < LEVEL[part], f"{part} imports {other}"
        assert part != "reporting" or other in REPORTING_MAY, f"reporting imports {other}"


def module_of(path: Path) -> str:
    names = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(names[:-1] if names[-1] == "__init__" else names)


MODULES = {module_of(path): path for path in FILES}


def imported_modules(path: Path) -> set[str]:
    """The modules of cnnjax that a file imports: at its top, inside functions, and for type checkers alone."""
    named = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            submodules = {f"{node.module}.{alias.name}" for alias in node.names}
            named |= {name if name in MODULES else node.module for name in submodules}
        elif isinstance(node, ast.Import):
            named |= {alias.name for alias in node.names}
    return named & set(MODULES)


def circles(graph: dict[str, set[str]]) -> list[set[str]]:
    """The sets of nodes that all reach each other."""

    def reached_from(start: str) -> set[str]:
        reached, ahead = set(), [start]
        while ahead:
            new = graph[ahead.pop()] - reached
            reached |= new
            ahead += new
        return reached

    reached = {name: reached_from(name) for name in graph}
    found = (frozenset(other for other in reached[name] if name in reached[other]) for name in graph)
    return [set(circle) for circle in dict.fromkeys(found) if circle]


def test_circles_are_found():
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b", "d"}, "d": set()}) == [{"b", "c"}]


@pytest.mark.quick
def test_no_files_import_each_other_in_a_circle():
    found = circles({name: imported_modules(path) for name, path in MODULES.items()})
    assert not [sorted(circle) for circle in found]


PURE = ["nn", "models", "losses", "metrics", "optim", "initialization", "training", "arithmetic", "calling"]
IMPURE = {"time", "os", "sys", "logging", "pathlib", "subprocess", "threading"}


@pytest.mark.parametrize(
    "path", [p for p in FILES if part_of(p) in PURE], ids=lambda path: str(path.relative_to(PACKAGE))
)
def test_the_core_does_no_input_output_time_or_printing(path):
    tree = ast.parse(path.read_text())
    modules = {
        name.split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names])
    }
    calls = {node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    assert not modules & IMPURE
    assert not calls & {"print", "open", "input", "exec", "eval"}


def loaded_by(statement: str) -> set[str]:
    code = f"{statement}\nimport sys\nprint(' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.quick
def test_importing_needs_no_jax():
    low = "cnnjax.config, cnnjax.arithmetic, cnnjax.files, cnnjax.records.record"
    assert "jax" not in loaded_by(f"import cnnjax, cnnjax.cli, cnnjax.reporting, {low}")


def test_what_a_training_prints_needs_nothing_of_reports():
    """A second of every `cnnjax train`."""
    reports = {"pandas", "matplotlib", "scipy.stats", "cnnjax.reporting"}
    assert not reports & loaded_by("import cnnjax.cli.train, cnnjax.run.train, cnnjax.progress.parts")


def test_importing_everything_touches_no_device():
    code = (
        "import cnnjax; [getattr(cnnjax, name) for name in cnnjax.__all__]\n"
        "from jax._src import xla_bridge; assert not xla_bridge.backends_are_initialized()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_nothing_unpickles_or_evaluates():
    for path in FILES:
        text = path.read_text()
        for word in ("pickle.load", "allow_pickle=True", "yaml.load("):
            assert word not in text, f"{path} has {word}"
        for call in text.split("torch.load(")[1:]:
            assert "weights_only=True" in call.split("\n")[0], f"{path} loads more than tensors"


def test_type_checkers_see_every_public_name():
    """They read `__all__` as it is written, and the imports that are made for them alone."""
    import cnnjax

    tree = ast.parse((PACKAGE / "__init__.py").read_text())
    [written] = [
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
    ]
    [block] = [node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    imported = {alias.name for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert set(written) == imported == set(cnnjax._HOME)
    assert (PACKAGE / "py.typed").is_file()


def test_the_wheel_holds_the_mark_of_a_typed_package(tmp_path):
    wheel = pytest.importorskip("hatchling.builders.wheel")
    [path] = wheel.WheelBuilder(str(PACKAGE.parent)).build(directory=str(tmp_path), versions=["standard"])
    assert {"cnnjax/py.typed", "cnnjax/__init__.py"} <= set(zipfile.ZipFile(path).namelist())
