"""Small checkpoints are Orbax's: it reads them, and describes the same tree by the same JSON."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
import pytest

from cnnjax.records.checkpoint_notes import CheckpointNotes
from cnnjax.run import small_checkpoint
from cnnjax.run.checkpoint import Checkpoints
from cnnjax.training.state import TrainState

PARAMS = {"conv": {"kernel": np.arange(6, dtype=np.float32).reshape(1, 2, 3)}, "scale.1": np.array([0.1])}
OTHERS = {
    "nothing": None,
    "empty": {},
    "pair": (np.array([True, False]), []),
    "half": np.array([[1.5]], np.float16),
    "none": (),
    "columns": np.asfortranarray(np.arange(6, dtype=np.uint8).reshape(2, 3)),
}


def state(optimizer: optax.GradientTransformation, step: int = 3) -> TrainState:
    made = jax.tree.map(np.asarray, jax.device_get(optimizer.init(jax.tree.map(np.float32, PARAMS))))
    return TrainState(
        step=np.array(step, np.int32),  # pyright: ignore[reportArgumentType]
        params=PARAMS,
        batch_stats={},
        opt_state=made,
        lane={"optim.learning_rate": np.array(0.5, np.float32), "seed": np.array(7, np.uint32)},  # pyright: ignore[reportArgumentType]
        collections=OTHERS,
    )


STATES = {
    "momentum": state(optax.chain(optax.identity(), optax.sgd(0.1, momentum=0.9))),
    "schedule": state(optax.adamw(lambda step: 0.1 / (1 + step))),
    "masked": state(optax.masked(optax.adam(0.1), {"conv": True, "scale.1": False})),
}


@pytest.fixture(params=STATES.values(), ids=list(STATES))
def both(request, tmp_path) -> tuple[TrainState, Path, Path]:
    """A state, its small checkpoint of step 3 and Orbax's own."""
    ours, orbax = tmp_path / "ours", tmp_path / "orbax"
    small_checkpoint.write(ours / "3", request.param, {"a": 1})
    with ocp.CheckpointManager(orbax) as manager:
        content = ocp.args.Composite(state=ocp.args.StandardSave(request.param), notes=ocp.args.JsonSave({"a": 1}))
        manager.save(3, args=content)
    return request.param, ours, orbax


def test_orbax_describes_the_tree_alike(both):
    _, ours, orbax = both
    for name in ("state/_METADATA", "notes/metadata"):
        assert json.loads((ours / "3" / name).read_text()) == json.loads((orbax / "3" / name).read_text())
    one, other = (json.loads((folder / "3" / "_CHECKPOINT_METADATA").read_text()) for folder in (ours, orbax))
    assert one.keys() == other.keys()
    assert one["item_handlers"] == other["item_handlers"]


def test_orbax_reads_it_bit_for_bit(both):
    saved, ours, orbax = both
    content = ocp.args.Composite(state=ocp.args.StandardRestore(saved), notes=ocp.args.JsonRestore())
    for folder in (ours, orbax):
        with ocp.CheckpointManager(folder) as manager:
            restored = manager.restore(3, args=content)
        assert restored["notes"] == {"a": 1}
        assert jax.tree.structure(restored["state"]) == jax.tree.structure(saved)
        jax.tree.map(np.testing.assert_array_equal, restored["state"], saved)
        assert jax.tree.map(lambda x: x.dtype, restored["state"]) == jax.tree.map(lambda x: x.dtype, saved)


@pytest.mark.parametrize(
    "leaf",
    [
        jnp.zeros(2),
        np.zeros((0, 3)),
        np.float32(1),
        1.0,
        np.asarray(jnp.zeros(2, jnp.bfloat16)),
        np.zeros(2**20 + 1, "f4"),
    ],
    ids=["on a device", "nothing in it", "NumPy scalar", "number", "bfloat16", "large"],
)
def test_orbax_writes_what_is_large_or_special(leaf):
    assert not small_checkpoint.is_small({"a": np.zeros(2), "b": leaf})
    assert small_checkpoint.is_small({"a": np.zeros(2)})


def test_the_newest_are_kept_however_they_were_written(tmp_path, monkeypatch):
    held, saved = Checkpoints(tmp_path / "run", keep=2), STATES["momentum"]
    assert held.latest() is None
    assert not (tmp_path / "run").exists()
    for step, most in ((1, small_checkpoint.SMALL), (2, 0), (4, 0), (5, small_checkpoint.SMALL)):
        monkeypatch.setattr(small_checkpoint, "SMALL", most)
        held.save(step, saved.replace(step=np.array(step, np.int32)), CheckpointNotes(id="x", seconds=float(step)))
        assert held.latest() == step
    held.close()
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["4", "5"]
    again = Checkpoints(tmp_path / "run", read_only=True)
    for step in (4, 5):
        restored, notes = again.restore(saved, step=step)
        assert (int(restored.step), notes.seconds) == (step, step)


def test_what_a_killed_process_left_is_no_checkpoint(tmp_path):
    unfinished = tmp_path / "run" / f"1{small_checkpoint.UNFINISHED}"
    (unfinished / "state").mkdir(parents=True)
    assert Checkpoints(tmp_path / "run", read_only=True).latest() is None
    assert unfinished.exists(), "who reads leaves it alone: it may be being written"
    held = Checkpoints(tmp_path / "run")
    assert held.latest() is None
    assert not unfinished.exists()
