"""Small checkpoints, in the form that Orbax writes and reads, and in a tenth of the time that its writer takes.

That spends some 35 ms of the processor on a checkpoint whatever its size, more than a short training takes.
The form is that of its `StandardCheckpointHandler`: an OCDBT database (TensorStore) with a Zarr array of one chunk for
each leaf, and JSON beside it that says how the leaves are nested.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
import tensorstore as ts

from cnnjax.errors import RunError
from cnnjax.files import LARGEST, names_in

SMALL = 4 * 2**20
"""Bytes of arrays that are written here; more is written by Orbax."""

UNFINISHED = ".orbax-checkpoint-tmp"
"""What the names of folders end with that Orbax takes for unfinished."""

WHOLE = ("metadata", "_METADATA", "_CHECKPOINT_METADATA", "manifest.ocdbt")
"""Files of a checkpoint that are read whole."""

_PLAIN = "biuf"
"""Kinds of numbers (NumPy's letters) that Zarr has names for; bfloat16 is none of them."""


def is_small(state: Any) -> bool:
    """Whether `write` can write the state: few bytes, in NumPy arrays of ordinary numbers."""
    leaves = jax.tree.leaves(state)
    plain = all(type(leaf) is np.ndarray and leaf.dtype.kind in _PLAIN and leaf.size for leaf in leaves)
    return plain and sum(leaf.nbytes for leaf in leaves) <= SMALL


def write(folder: Path, state: Any, notes: dict[str, Any]) -> None:
    """Write the checkpoint `folder`, whole or not at all: `state` (see `is_small`) and `notes` (JSON)."""
    begun, scratch = time.time_ns(), folder.with_name(f"{folder.name}{UNFINISHED}")
    try:
        (scratch / "notes").mkdir(parents=True)
        (scratch / "state").mkdir()
        leaves = jax.tree_util.tree_leaves_with_path(state, is_leaf=_is_empty)
        _write_arrays(scratch / "state", {".".join(_names(path)): leaf for path, leaf in leaves if not _is_empty(leaf)})
        _write_text(scratch / "state" / "_METADATA", _nesting(leaves))
        _write_text(scratch / "notes" / "metadata", notes)
        _write_text(scratch / "_CHECKPOINT_METADATA", _checkpoint(begun))
        scratch.rename(folder)
        _sync(folder.parent)
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        raise


def read_through(folder: Path) -> None:
    """Read the arrays of the checkpoint `folder` one after the other, where they are few bytes.

    Orbax reads all at once; where one is damaged it does not wait for the others, each of which then prints a traceback
    (its event loop is closed). Raises what TensorStore does for the first that cannot be read.
    """
    state = folder / "state"
    if sum(file.stat().st_size for file in state.glob("**/d/*")) > 2 * SMALL:
        return
    store = ts.KvStore.open({"driver": "ocdbt", "base": f"file://{state}/"}).result()
    for name in store.list().result():
        store.read(name).result()


def check_files(folder: Path) -> None:
    """Raise RunError where what stands in a folder of checkpoints, Orbax's too, is not what they consist of: a file in
    place of a checkpoint, a pipe in place of a file, which reading would wait for, or one beyond all measure."""
    again = "delete it, and the training goes on from an earlier checkpoint, or begins again"
    for step in (folder / name for name in names_in(folder, remedy=again) if name.isdigit()):
        if not step.is_dir():
            raise RunError(f"{step} is no folder; {again}")
        for above, _, names in os.walk(step):
            for path in (Path(above, name) for name in names):
                # Of what is gone by now Orbax knows what to say.
                if path.exists() and not path.is_file():
                    raise RunError(f"checkpoint {step} is damaged: {path} is no regular file; {again}")
                if path.name in WHOLE and path.is_file() and path.stat().st_size > LARGEST:
                    raise RunError(f"checkpoint {step} is damaged: {path} has {path.stat().st_size:,} bytes; {again}")


def remove(folder: Path) -> None:
    """Delete a checkpoint; killed meanwhile, it leaves none that seems whole."""
    scratch = folder.with_name(f"{folder.name}{UNFINISHED}")
    folder.rename(scratch)
    _clear(scratch)


def clear(folder: Path) -> None:
    """Delete what killed processes began to write in a folder of checkpoints, Orbax's saves included."""
    # Orbax would do so in the background, where it could meet the next save.
    for scratch in folder.glob(f"*{UNFINISHED}*"):
        _clear(scratch)


def _clear(scratch: Path) -> None:
    """Delete a folder, or a link that stands in its place: what that points to is somebody else's."""
    if scratch.is_symlink():
        scratch.unlink()
    else:
        shutil.rmtree(scratch)


def _write_arrays(folder: Path, arrays: dict[str, np.ndarray]) -> None:
    """Write arrays by name, all in one file."""
    database = {"driver": "ocdbt", "base": f"file://{folder}/"}
    store, transaction, writes = ts.KvStore.open(database).result(), ts.Transaction(), []
    changed = store.with_transaction(transaction)
    for name, array in arrays.items():
        shape = list(array.shape)
        about = {
            "chunks": shape,
            "compressor": None,
            "dimension_separator": ".",
            "dtype": array.dtype.str,
            "fill_value": None,
            "filters": None,
            "order": "C",
            "shape": shape,
            "zarr_format": 2,
        }
        chunk = ".".join("0" * array.ndim) or "0"
        writes.append(changed.write(f"{name}/.zarray", json.dumps(about, separators=(",", ":"))))
        writes.append(changed.write(f"{name}/{chunk}", array.tobytes()))
    transaction.commit_async().result()
    for write in writes:
        write.result()


def _nesting(leaves: list[tuple[Any, Any]]) -> dict[str, Any]:
    """The tree as Orbax's JSON describes it: of each leaf the keys that lead to it, and what kind it is."""
    tree = {}
    for path, leaf in leaves:
        kinds = [1 if isinstance(key, jax.tree_util.SequenceKey) else 2 for key in path]
        keys = [{"key": name, "key_type": kind} for name, kind in zip(_names(path), kinds, strict=True)]
        kind = _empty_kind(leaf) if _is_empty(leaf) else "np.ndarray"
        value = {"value_type": kind, "skip_deserialize": kind != "np.ndarray"}
        tree[str(_names(path))] = {"key_metadata": keys, "value_metadata": value}
    return {
        "tree_metadata": tree,
        "use_ocdbt": True,
        "use_zarr3": False,
        "store_array_data_equal_to_fill_value": True,
        "custom_metadata": None,
    }


def _checkpoint(begun: int) -> dict[str, Any]:
    handlers = {"notes": ocp.JsonCheckpointHandler, "state": ocp.StandardCheckpointHandler}
    return {
        "item_handlers": {item: f"{kind.__module__}.{kind.__qualname__}" for item, kind in handlers.items()},
        "metrics": {},
        "performance_metrics": {},
        "init_timestamp_nsecs": begun,
        "commit_timestamp_nsecs": time.time_ns(),
        "custom_metadata": {},
    }


def _names(path: Any) -> tuple[str, ...]:
    return tuple(jax.tree_util.keystr((key,), simple=True) for key in path)


def _is_empty(node: Any) -> bool:
    """Whether a node of the tree has nothing in it: None, or a container of nothing."""
    return node is None or (isinstance(node, dict | list | tuple) and not node)


def _empty_kind(node: Any) -> str:
    """What Orbax calls such a node; a named tuple of nothing is to it None."""
    return {dict: "Dict", list: "List", tuple: "Tuple"}.get(type(node), "None")


def _write_text(path: Path, content: Any) -> None:
    with open(path, "x", encoding="utf-8") as file:
        file.write(json.dumps(content))
        file.flush()
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    """Have the names in a folder on disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
