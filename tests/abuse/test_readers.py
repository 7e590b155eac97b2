"""Everything that is read from disk, and that none of it runs code."""

from __future__ import annotations

import ast
import functools
import json
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cnnjax.cache import recall, recall_arrays
from cnnjax.convert.weights_file import read_weights
from cnnjax.data.bands import decode_bands
from cnnjax.errors import CnnjaxError
from cnnjax.launch.cancel import cancel
from cnnjax.loggers.registry import logger_class
from cnnjax.recipes.init import neighbours
from cnnjax.records.checkpoint_notes import CheckpointNotes
from cnnjax.records.metrics_jsonl import read_rows
from cnnjax.records.predictions_npz import KeptPredictions
from cnnjax.records.record import Record
from cnnjax.run import small_checkpoint
from cnnjax.run.checkpoint import Checkpoints
from cnnjax.run.directory import RunDirectory
from cnnjax.run.stale import kept
from tests.test_small_checkpoint import STATES

PACKAGE = Path(__file__).parents[2] / "cnnjax"

# --- the list

JSON = "JSON"
TEXT = "text or bytes, which are looked at and no more"
NUMPY = "NumPy's form, allow_pickle=False"
SOURCE = "Python as a tree (ast), which is not run"
OWN = "modules of cnnjax and of what is installed, by names that the code lists"

READERS: dict[str, tuple[set[str], str]] = {
    "__init__.py": ({"import_module"}, OWN),
    "cli/completing.py": (
        {"ast.parse", "read_text"},
        "an experiment file as a tree (ast), which is not run",
    ),
    "cli/cluster_options.py": ({"read_text", "tomllib.loads"}, "TOML"),
    "code/held.py": ({"ast.literal_eval"}, "a literal of the user's source"),
    "code/module.py": ({"ast.parse", "read_text"}, SOURCE),
    "config/base.py": ({"json.loads"}, JSON),
    "config/text.py": ({"ast.literal_eval", "json.loads"}, "a word of the command line: JSON or a literal"),
    "convert/kinds.py": ({"open", "ZipFile"}, "the first bytes of a file of weights, and names in it"),
    "convert/weights_file.py": (
        {"open", "safe_open", "torch.load", "import pickle"},
        "safetensors; torch.load(weights_only=True), of whose errors pickle has the name",
    ),
    "data/archive.py": ({"open", "tarfile.open", "ZipFile"}, "archives of images; no names lead out of them"),
    "data/bands.py": ({"Image.open", "read_array"}, "pages of TIFF, and NumPy's form, allow_pickle=False"),
    "cache.py": ({"np.load", "read_json"}, "JSON, and NumPy's form, allow_pickle=False"),
    "data/coco.py": ({"json.loads"}, JSON),
    "data/csv_table.py": ({"csv.reader", "csv.DictReader"}, "CSV"),
    "data/decode.py": ({"unpack"}, "headers of images"),
    "data/digits.py": ({"open", "np.loadtxt"}, "numbers that scikit-learn comes with"),
    "data/loader.py": (
        {"read_text", "spec_from_file_location"},
        "in a worker process, the experiment file of its parent",
    ),
    "data/pillow.py": ({"Image.open"}, "images of the formats that are listed"),
    "data/prepare.py": ({"tfds.builder"}, "a set of TFDS's own, after data/trust.py"),
    "data/prepared_sets.py": ({"read_whole", "json.loads"}, JSON),
    "data/sound/wav.py": ({"unpack"}, "headers of WAV files; samples are numbers"),
    "data/store.py": ({"os.open"}, "bytes of images and tables"),
    "data/tfds.py": ({"tfds.builder"}, "a prepared set, after data/trust.py"),
    "data/voc.py": ({"ElementTree.fromstring"}, "XML without a document type, so that it names no other file"),
    "data/trust.py": ({"read_whole", "json.loads"}, "JSON, for the classes that it names (tests/test_trust.py)"),
    "doctor/facts.py": ({"read_text"}, "the kernel's account of memory and of its pages, as words and numbers"),
    "documents/html.py": ({"read_text"}, "style and script of cnnjax's own"),
    "documents/svg.py": ({"ElementTree.fromstring"}, "a picture that was just drawn"),
    "files.py": ({"json.loads", "open_there", "read_whole", "os.open"}, JSON),
    "hosts/agree.py": ({"json.loads"}, "JSON of another process"),
    "hosts/cue.py": ({"json.loads"}, "JSON of another process"),
    "hosts/meeting.py": ({"json.loads"}, "JSON of another process"),
    "inspection/corruptions.py": ({"Image.open"}, "an image that was just written"),
    "inspection/stylize.py": ({"read_bytes"}, "images, decoded by data/decode.py"),
    "inspection/inspect.py": ({"import_module"}, OWN),
    "notebook.py": ({"read_bytes"}, "pictures that inspect just wrote, shown as they are"),
    "launch/begin_search.py": ({"json.loads"}, "what was just written"),
    "launch/isolated.py": ({"read_text"}, TEXT),
    "launch/launcher.py": ({"import_module"}, OWN),
    "launch/ray_cluster.py": ({"import_module", "json.loads"}, OWN),
    "launch/ray_launcher.py": ({"import_module"}, OWN),
    "launch/slurm_launcher.py": ({"import_module"}, OWN),
    "launch/slurm_worker.py": ({"import_module"}, OWN),
    "launch/status.py": ({"read_whole"}, JSON),
    "launch/worker_process.py": ({"read_text"}, TEXT),
    "lease.py": ({"open_there", "os.open", "read_text"}, JSON),
    "loggers/mlflow_log.py": ({"import_module", "read_text"}, TEXT),
    "loggers/registry.py": ({"import_module"}, OWN),
    "loggers/tensorboard_log.py": ({"import_module"}, OWN),
    "loggers/wandb_log.py": ({"import_module", "read_text"}, TEXT),
    "energy.py": ({"read_text"}, "the kernel's account of energy and of the processors' time, as numbers"),
    "machine.py": ({"read_text"}, TEXT),
    "recipes/init.py": ({"ast.parse", "read_text", "read_bytes"}, SOURCE),
    "records/folders.py": ({"read_whole"}, TEXT),
    "records/metrics_jsonl.py": ({"open_there", "read_whole"}, JSON),
    "records/predictions_npz.py": ({"open_there", "np.load"}, NUMPY),
    "records/record.py": ({"read_whole", "model_validate_json"}, JSON),
    "records/trial_result.py": ({"read_whole"}, TEXT),
    "reporting/inspected.py": ({"Image.open", "read_bytes"}, "PNG"),
    "reporting/writing.py": ({"read_whole"}, JSON),
    "run/checkpoint.py": (
        {"CheckpointManager", "StandardCheckpointHandler"},
        "Orbax's form: JSON and Zarr arrays; handlers are given to it and not taken from the file",
    ),
    "run/compiling.py": ({"read_text"}, "one of JAX's own modules, for its digest"),
    "run/environment.py": ({"read_text", "read_bytes"}, TEXT),
    "run/images.py": ({"open", "read_array", "read_bytes"}, "bytes of images"),
    "run/small_checkpoint.py": ({"open", "os.open", "KvStore.open"}, "OCDBT, bytes by name"),
    "run/weights.py": ({"read_bytes"}, "for a checksum"),
    "streams.py": ({"os.open"}, "nothing: the null device, where a closed stream is to be"),
    "study/data_pictures.py": ({"read_bytes"}, "bytes of images"),
    "study/deaths.py": ({"json.loads"}, "what was just written"),
    "study/edits.py": ({"json.loads"}, "what was just written"),
    "study/file.py": (
        {"exec", "source_to_code", "spec_from_file_location"},
        "an experiment file, which is a program: the one that is named on the command line, or by the study of whose "
        "work.json `cnnjax work` is asked to be a worker",
    ),
    "study/traced_apart.py": ({"json.load"}, "JSON of the process that starts it"),
}
"""What reads, by file of the package: its calls, what it reads, and why no code comes of it."""

RUNS = {"exec", "eval", "compile", "__import__", "import_module", "exec_module", "run_path", "spec_from_file_location"}
RUNS |= {"source_to_code"}
PARSES = {"json.load", "json.loads", "tomllib.load", "tomllib.loads", "ast.parse", "ast.literal_eval", "csv.reader"}
PARSES |= {"csv.DictReader", "ElementTree.fromstring", "ElementTree.parse", "torch.load", "torch.jit.load", "os.open"}
PARSES |= {
    "np.load",
    "np.loadtxt",
    "np.genfromtxt",
    "np.fromfile",
    "np.memmap",
    "Image.open",
    "tarfile.open",
    "ts.open",
}
PARSES |= {"gzip.open", "bz2.open", "lzma.open", "zipfile.ZipFile", "KvStore.open", "tfds.builder", "tfds.load"}
PARSES |= {
    "tfds.builder_from_directory",
    "pd.read_csv",
    "pd.read_pickle",
    "pd.read_json",
    "pd.read_hdf",
    "msgpack_restore",
}
READS = {"read_text", "read_bytes", "open", "unpack", "safe_open", "model_validate_json", "from_bytes_msgpack"}
READS |= {"read_array"}  # of np.lib.format
READS |= {"open_there", "read_whole", "read_json"}  # of cnnjax.files
READS |= {"ZipFile", "CheckpointManager", "StandardCheckpointHandler", "PyTreeCheckpointHandler", "deserialize"}
FORMS = {"pickle", "cPickle", "_pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib", "yaml", "runpy", "h5py"}
"""Modules whose forms can hold code, or whose import says that a file is read."""

NO_FILES = {
    "analysis/equation.py": {"unpack"},  # of an equation
    "loggers/logger.py": {"open"},  # of a logger
}


def dotted(node: ast.AST) -> str:
    if isinstance(node, ast.Name):
        return node.id
    return f"{dotted(node.value)}.{node.attr}" if isinstance(node, ast.Attribute) else ""


def reads(path: Path) -> set[str]:
    """The calls in a module that read files, parse what was read or run code, and imports of forms that can hold it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            name = dotted(node.func)
            last, two = name.rpartition(".")[2], ".".join(name.split(".")[-2:])
            if two in PARSES:
                found.add("open" if two == "gzip.open" else last if last == "ZipFile" else two)
            # `re.compile`, and `.compile` of XLA's, are others.
            elif last in READS or (name if last == "compile" else last) in RUNS:
                found.add(last)
        if isinstance(node, ast.Import):
            found |= {f"import {each.name}" for each in node.names if each.name.split(".")[0] in FORMS}
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in FORMS:
            found.add(f"import {node.module}")
    return found


def test_every_reader_of_files_is_in_the_list():
    found = {}
    for path in PACKAGE.rglob("*.py"):
        name = str(path.relative_to(PACKAGE))
        calls = reads(path) - NO_FILES.get(name, set())
        if calls:
            found[name] = calls
    known = {name: calls for name, (calls, _) in READERS.items()}
    assert found == known, "say in READERS what it reads and why no code comes of it, and give HOSTILE a row"


def test_only_an_experiment_file_is_run():
    running = {name for name, (calls, _) in READERS.items() if calls & {"exec", "eval", "compile", "run_path"}}
    assert running == {"study/file.py"}


def test_the_list_would_see_a_new_reader(tmp_path):
    for text in ("import yaml", "import pickle as p", "x = pickle.load(f)\nimport pickle", "eval(t)", "np.load(p)"):
        (tmp_path / "new.py").write_text(text)
        assert reads(tmp_path / "new.py"), text


# --- hostile files


class Bomb:
    """Leaves a mark where it is unpickled."""

    def __init__(self, mark: Path):
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.mark,)


def arrays(path: Path, mark: Path) -> None:
    content: dict[str, Any] = {"test/correct": np.array([Bomb(mark)], dtype=object)}
    with path.open("wb") as file:
        np.savez(file, version=np.int64(1), id=np.str_("a"), **content)


def objects(path: Path, mark: Path) -> None:
    np.save(path, np.array([[Bomb(mark)]], dtype=object), allow_pickle=True)


def pickled(path: Path, mark: Path) -> None:
    path.write_bytes(pickle.dumps(Bomb(mark)))


def yaml_text(path: Path, mark: Path) -> None:
    path.write_text(f"!!python/object/apply:os.system ['touch {mark}']\n")


def torch_file(path: Path, mark: Path) -> None:
    torch = pytest.importorskip("torch")
    torch.save({"weight": torch.zeros(2), "more": Bomb(mark)}, path)


def torch_of_old(path: Path, mark: Path) -> None:
    torch = pytest.importorskip("torch")
    torch.save({"more": Bomb(mark)}, path, _use_new_zipfile_serialization=False)


def header(path: Path, mark: Path) -> None:
    text = json.dumps(
        {"__metadata__": {"__reduce__": f"touch {mark}"}, "w": {"dtype": "O", "shape": [1], "data_offsets": [0, 8]}}
    )
    path.write_bytes(len(text).to_bytes(8, "little") + text.encode() + bytes(8))


def python(path: Path, mark: Path) -> None:
    path.write_text(f"import hostile_log\nopen({str(mark)!r}, 'w').close()\n")


def config(path: Path, mark: Path) -> None:
    path.write_text(json.dumps({"model": {"name": "hostile_log.Net", "__class__": "hostile_log.Net"}}))


def jobs(path: Path, mark: Path) -> None:
    (path.parent / "study.json").write_text('{"name": "s", "axes": {}, "seeds": [0], "base": {}}')
    entry = {"launcher": "../../hostile_log", "jobs": ["1"], "submitted": 0.0, "token": "t"}
    path.write_text(json.dumps({"submissions": [entry]}))


def code(path: Path, mark: Path) -> None:
    entry = {"name": "f", "kind": "function", "file": "a.py", "line": 1, "digest": "a"}
    lines = [f"open({str(mark)!r}, 'w').close()"]
    record = {"recorded": "2026-01-31T12:00:00", "digest": "abc", "definitions": [{**entry, "source": lines}]}
    path.write_text(json.dumps(record))


def checkpoint(path: Path, mark: Path) -> None:
    """One whose JSON names a class of somebody's wherever it names any."""
    small_checkpoint.write(path / "3", STATES["momentum"], CheckpointNotes().to_json())
    about = path / "3" / "_CHECKPOINT_METADATA"
    said = json.loads(about.read_text())
    said["item_handlers"] = dict.fromkeys(said["item_handlers"], "hostile_log.Handler")
    said["custom_metadata"] = {"__class__": "hostile_log.Handler"}
    about.write_text(json.dumps(said))
    tree = path / "3" / "state" / "_METADATA"
    tree.write_text(tree.read_text().replace('"np.ndarray"', '"hostile_log.Array"'))


def pickled_row(path: Path, mark: Path) -> None:
    path.write_bytes(pickle.dumps(Bomb(mark)) + b"\n")


def predictions(path: Path) -> object:
    return KeptPredictions.read(path, id="a")


def record_of(path: Path) -> object:
    return Record.read(path, remedy="delete it")


def restored(path: Path) -> object:
    checkpoints = Checkpoints(path, read_only=True)
    try:
        checkpoints.notes()
        return checkpoints.restore(STATES["momentum"])
    finally:
        checkpoints.close()


Make = Callable[[Path, Path], None]
HOSTILE: dict[str, tuple[Make, str, Callable[[Path], object], str | None]] = {
    "predictions with objects": (arrays, "predictions.npz", predictions, "is damaged"),
    "predictions pickled": (pickled, "predictions.npz", predictions, "is damaged"),
    "bands with objects": (objects, "a.npy", lambda path: decode_bands(path.read_bytes()), "not a whole .npy file"),
    "bands pickled": (pickled, "a.npy", lambda path: decode_bands(path.read_bytes()), "not a whole TIFF"),
    "remembered arrays with objects": (arrays, "a.npz", recall_arrays, None),
    "remembered arrays pickled": (pickled, "a.npz", recall_arrays, None),
    "remembered JSON pickled": (pickled, "a.json", recall, None),
    "a record pickled": (pickled, "result.json", record_of, "is damaged"),
    "a record as YAML": (yaml_text, "result.json", record_of, "is damaged"),
    "rows pickled": (pickled_row, "metrics.jsonl", read_rows, "is damaged"),
    "rows as YAML": (yaml_text, "metrics.jsonl", read_rows, "is damaged"),
    "weights with objects": (torch_file, "w.pt", read_weights, "refused: it holds objects"),
    "weights with objects, as torch wrote them before 1.6": (
        torch_of_old,
        "w.pt",
        read_weights,
        "refused: it holds objects",
    ),
    "weights pickled": (pickled, "w.pt", read_weights, "refused|not a whole file|needs torch"),
    "safetensors pickled": (pickled, "w.safetensors", read_weights, "not a"),
    "safetensors with a header of objects": (header, "w.safetensors", read_weights, "not a readable safetensors"),
    "a config that names a class": (
        config,
        "config.json",
        lambda path: RunDirectory(path.parent).experiment(),
        "config.json",
    ),
    "jobs of a launcher elsewhere": (jobs, "jobs.json", lambda path: cancel(path.parent), "launcher"),
    "kept code": (code, "abc.json", lambda path: kept(path.parent, "abc"), None),
    "a recipe that is copied": (python, "exp.py", neighbours, None),
    "a logger of another module": (python, "hostile_log.py", lambda path: logger_class("hostile"), "logger"),
    "a checkpoint that names classes": (checkpoint, "checkpoints", restored, "is damaged"),
}
"""Case: (what writes it, its name, what reads it, the error; None where it is read as data or left out)."""


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_file_runs_nothing(tmp_path, monkeypatch, case):
    make, name, read, said = HOSTILE[case]
    mark, folder = tmp_path / "mark", tmp_path / "given"
    folder.mkdir()
    # Beside it lies a module that it may name, where Python finds it.
    (folder / "hostile_log.py").write_text(f"open({str(mark)!r}, 'w').close()\n")
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delitem(sys.modules, "hostile_log", raising=False)
    make(folder / name, mark)
    if said is None:
        read(folder / name)
    else:
        with pytest.raises(CnnjaxError, match=said):
            read(folder / name)
    assert not mark.exists()
    assert "hostile_log" not in sys.modules


@pytest.mark.parametrize("way", [pickle.load, functools.partial(np.load, allow_pickle=True)])
def test_such_a_file_would_run_code_elsewhere(tmp_path, way):
    """Else the rows above would show nothing."""
    pickled(tmp_path / "given", tmp_path / "mark")
    with (tmp_path / "given").open("rb") as file:
        way(file)
    assert (tmp_path / "mark").exists()
