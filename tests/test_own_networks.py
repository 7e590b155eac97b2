"""Networks of other people: how they are called, what they draw, keep and return; what cannot be is refused."""

from __future__ import annotations

import functools
import re
from typing import Any

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax import SGD, Experiment, Hardware, Model, Options, Study, Synthetic, plan, train
from cnnjax.analysis.memory import training_memory
from cnnjax.calling import apply, init
from cnnjax.config import replace
from cnnjax.data import Augmentation, Mixup
from cnnjax.errors import ConfigError, RunError
from cnnjax.events import StepTaken
from cnnjax.experiment import check
from cnnjax.losses import Loss
from cnnjax.optim import Optim
from cnnjax.records.checkpoint_notes import CheckpointNotes
from cnnjax.run.checkpoint import Checkpoints
from cnnjax.run.evaluate import evaluate
from cnnjax.run.program import Program
from cnnjax.training.state import TrainState
from tests.marks import slow

DATA = Synthetic(height=4, width=4, channels=1, classes=3, examples=20, test_examples=8)
IMAGES = jnp.ones((2, 4, 4, 1))
KEY = jax.random.key(0)
ONE = Options(Hardware(devices=1))

Module = nn.Module | type[nn.Module]


class Own(Model, tag="own_network"):
    """A network by its name in MODULES."""

    module: str

    def network(self):
        made = MODULES[self.module]
        return made() if isinstance(made, type) else made


class First(Own, tag="own_first"):
    """The same, of whose outputs the first are the logits."""

    def logits(self, outputs):
        return outputs[0]


MODULES: dict[str, Any] = {}


def registered(made):
    MODULES[made.__name__] = made
    return made


def experiment(module, *, model=Own, **changes):
    base = Experiment(
        model=model(module=module), data=DATA, optim=SGD(learning_rate=0.1), batch_size=8, steps=2, validation=0
    )
    return base.model_copy(update=changes)


def trained(chosen, **hardware):
    """(state after two steps, on the host; loss of the last; sums of the test part)."""
    program = Program(chosen, hardware=Hardware(**{"devices": 1, **hardware}))
    state, sums = program.init([chosen]), {}
    for step in range(2):
        state, sums = program.train(state, program.rows([chosen], step))
    return jax.device_get(state), float(sums["loss"]), program.evaluate(state, "test")


# --- how it is called


def dropped(self, x, train):
    return nn.Dense(3, name="logits")(nn.Dropout(0.5, deterministic=not train)(x.reshape(len(x), -1)))


@registered
class Train(nn.Module):
    @nn.compact
    def __call__(self, x, train):
        return dropped(self, x, train)


@registered
class KeywordTrain(nn.Module):
    @nn.compact
    def __call__(self, x, *, train: bool):
        return dropped(self, x, train)


@registered
class Training(nn.Module):
    @nn.compact
    def __call__(self, x, training=False):
        return dropped(self, x, training)


@registered
class IsTraining(nn.Module):
    @nn.compact
    def __call__(self, x, other=None, is_training=True):
        return dropped(self, x, is_training)


@registered
class Deterministic(nn.Module):
    @nn.compact
    def __call__(self, x, deterministic=True):
        return dropped(self, x, not deterministic)


@registered
class Several(nn.Module):
    @nn.compact
    def __call__(self, x, train, deterministic, **others):
        assert train != deterministic
        return dropped(self, x, train)


@registered
class Field(nn.Module):
    train: bool = False

    @nn.compact
    def __call__(self, x):
        return dropped(self, x, self.train)


@registered
class Merged(nn.Module):
    deterministic: bool | None = None

    @nn.compact
    def __call__(self, x, deterministic=None):
        return dropped(self, x, not nn.merge_param("deterministic", self.deterministic, deterministic))


MODULES["MergedField"] = Merged(deterministic=True)
MODULES["Jitted"] = nn.jit(KeywordTrain, static_argnames=("train",))()
MODULES["Sequential"] = nn.Sequential([Train(), nn.relu])
TOLD = list(MODULES)


@registered
class Untold(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dense(3)(nn.Dense(4)(x.reshape(len(x), -1)))


@pytest.mark.parametrize("name", TOLD)
def test_a_module_is_told_that_it_is_trained_by_whatever_name_it_has_for_it(name):
    module = Own(module=name).network()
    variables = init(module, KEY, IMAGES)
    one, other = (
        apply(module, variables, IMAGES, train=True, streams=lambda name, k=k: k)[0] for k in jax.random.split(KEY)
    )
    assert (one != other).any(), "dropout"
    outputs, left = apply(module, variables, IMAGES)
    assert left == {}
    np.testing.assert_array_equal(outputs, apply(module, variables, IMAGES)[0])


@pytest.mark.parametrize("name", ["Train", "Deterministic"])
def test_such_a_module_is_trained_evaluated_and_started_from(name, tmp_path):
    chosen = experiment(name)
    result = train(chosen, tmp_path / "run", options=ONE)
    assert result["status"] == "done"
    assert evaluate(tmp_path / "run", hardware=ONE.hardware)["test"]["loss"] == pytest.approx(
        result["metrics"]["test_loss"]
    )
    again = replace(chosen, {"initial": str(tmp_path / "run"), "seed": 1})
    started = Program(again, hardware=ONE.hardware).init([again]).params
    chex.assert_trees_all_equal(jax.device_get(started), trained(chosen)[0].params)


class Unset(nn.Module):
    @nn.compact
    def __call__(self, x, is_train=False):
        return nn.Dense(3)(x.reshape(len(x), -1))


class PassesOn(nn.Module):
    @nn.compact
    def __call__(self, x, **arguments):
        return Train()(x, **{"train": False, **arguments})


class ByPosition(nn.Module):
    @nn.compact
    def __call__(self, x, train, /):
        return dropped(self, x, train)


class AsksMore(nn.Module):
    @nn.compact
    def __call__(self, x, temperature):
        return nn.Dense(3)(x.reshape(len(x), -1))


class Silent(nn.Module):
    pass


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (Unset, r"Unset.__call__ \(.*test_own_networks.py line \d+\) has is_train = False, which nothing would set"),
        (PassesOn, r"PassesOn.__call__ \(.* line \d+\) takes \*\*arguments"),
        (ByPosition, r"ByPosition.__call__ \(.* line \d+\) asks for train"),
        (AsksMore, r"AsksMore.__call__ \(.* line \d+\) asks for temperature"),
        (Silent, r"Silent has no __call__"),
        (nn.Sequential([nn.relu, Training()]), r"nn.Sequential cannot pass training to layers\[1\], Training.__call__"),
        (nn.remat(Train, static_argnums=(2,))(), r"CheckpointTrain: fails on its input 1: .*static_argnums"),
        (lambda: 3, r"Own.network\(\) returns 3; it must return a module of flax.linen"),
    ],
)
def test_what_cannot_be_told_is_refused_with_the_line(made, words, monkeypatch):
    monkeypatch.setitem(MODULES, "refused", made)
    if not isinstance(made, type | nn.Module):
        monkeypatch.setattr(Own, "network", lambda self: made())
    with pytest.raises(ConfigError, match=words):
        check(experiment("refused"))


# --- what it draws


@registered
class Noisy(nn.Module):
    """Draws from streams of three names, and leaves what it drew in the outputs."""

    @nn.compact
    def __call__(self, x, train):
        logits = nn.Dense(3, kernel_init=nn.initializers.zeros)(x.reshape(len(x), -1))
        if train:
            names = ("noise", "augment", "dropout")
            logits += jnp.stack([jax.random.normal(self.make_rng(name)) for name in names])[None]
        return logits


@registered
class Asking(nn.Module):
    @nn.compact
    def __call__(self, x):
        logits = nn.Dense(3, kernel_init=nn.initializers.zeros)(x.reshape(len(x), -1))
        return logits + (jax.random.normal(self.make_rng("noise")) if self.has_rng("noise") else 0.0)


class Deep(nn.Module):
    @nn.compact
    def __call__(self, x, _):
        return x + nn.Dense(16)(x) * jax.random.uniform(self.make_rng("depth")), None


@registered
class Scanned(nn.Module):
    """Lets one stream into its loop, so that no other can stand for it."""

    @nn.compact
    def __call__(self, x, train):
        over = {"variable_axes": {"params": 0}, "split_rngs": {"params": True, "depth": True}, "length": 2}
        x = x.reshape(len(x), -1)
        return nn.Dense(3)(nn.scan(Deep, **over)()(x, None)[0] if train or self.is_initializing() else x)


@registered
class AlwaysNoisy(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dense(3)(x.reshape(len(x), -1)) + jax.random.normal(self.make_rng("noise"))


def keys_by_name(name):
    return jax.random.fold_in(KEY, len(name))


def test_every_stream_has_a_key_by_its_name():
    module = Noisy()
    outputs, _ = apply(module, init(module, KEY, IMAGES), IMAGES, train=True, streams=keys_by_name)

    class Only(nn.Module):
        name_drawn: str

        @nn.compact
        def __call__(self, x):
            return jax.random.normal(self.make_rng(self.name_drawn))

    alone: Any = [
        Only(name).apply({}, IMAGES, rngs={name: keys_by_name(name)}) for name in ("noise", "augment", "dropout")
    ]
    np.testing.assert_array_equal(outputs[0], jnp.stack(alone))


def test_a_loop_that_lets_one_stream_in_gets_it():
    module = Scanned()
    variables = init(module, KEY, IMAGES, streams=keys_by_name)
    one, other = (
        apply(module, variables, IMAGES, train=True, streams=lambda name, k=k: k)[0] for k in jax.random.split(KEY)
    )
    assert (one != other).any()
    check(experiment("Scanned"))


def test_a_stream_that_is_asked_for_is_there_in_training_only():
    module = Asking()
    variables = init(module, KEY, IMAGES)
    assert apply(module, variables, IMAGES, train=True, streams=keys_by_name)[0].any()
    assert not apply(module, variables, IMAGES)[0].any()


def test_the_streams_of_a_step_follow_from_its_seed():
    first, again, other = (trained(experiment("Noisy", seed=seed))[1] for seed in (0, 0, 1))
    assert first == again != other
    assert np.isfinite(trained(experiment("Noisy"), devices=2, parallel="shard_map")[1])


def test_random_numbers_in_evaluation_are_refused():
    words = r"AlwaysNoisy.__call__ \(.*\) draws random numbers \(noise\) where it is not trained"
    with pytest.raises(ConfigError, match=words):
        check(experiment("AlwaysNoisy"))


# --- what it keeps


@registered
class Keeps(nn.Module):
    """A mean of its inputs in a collection of its own, a count, and things that are left for whoever looks."""

    @nn.compact
    def __call__(self, x, train):
        mean = self.variable("ema", "mean", jnp.zeros, ())
        count = self.variable("counters", "steps", lambda: jnp.int32(0))
        x = x.reshape(len(x), -1)
        self.sow("intermediates", "x", x)
        self.sow("losses", "penalty", x.sum(), reduce_fn=jnp.add, init_fn=lambda: 0.0)
        self.sow("seen", "x", x)
        self.perturb("x", x)
        if train:
            mean.value = 0.5 * mean.value + 0.5 * x.mean()
            count.value += 1
        return nn.Dense(3)(x + mean.value)


@registered
class Spectral(nn.Module):
    @nn.compact
    def __call__(self, x, train):
        x = x.reshape(len(x), -1)
        return nn.SpectralNorm(nn.Dense(3), collection_name="spectral")(x, update_stats=train)


@pytest.fixture(scope="module")
def kept():
    return trained(experiment("Keeps"))


def test_any_collection_is_kept_and_what_is_sown_is_not(kept):
    state, _, _ = kept
    assert set(state.collections) == {"ema", "counters"}
    assert state.collections["counters"]["steps"] == 2
    program = Program(experiment("Keeps"), hardware=Hardware(devices=1))
    batches = [program.fetch(program.feed.data, program.rows([program.experiment], step)) for step in range(2)]
    means = [program.functions.inputs(batch, KEY, jnp.int32(step))[0].mean() for step, batch in enumerate(batches)]
    np.testing.assert_allclose(state.collections["ema"]["mean"], 0.25 * means[0] + 0.5 * means[1], rtol=1e-5)


@pytest.mark.parametrize("parallel", ["jit", "shard_map", "pmap"])
def test_what_is_kept_agrees_over_devices(kept, parallel):
    state, loss, _ = trained(experiment("Keeps"), devices=2, parallel=parallel)
    # Sums in another order.
    chex.assert_trees_all_close(state.collections, kept[0].collections, rtol=1e-5)
    # Under shard_map and pmap a step sees the mean of its own part, as batch statistics by device do.
    assert loss == pytest.approx(kept[1], rel=1e-5 if parallel == "jit" else 0.1)


def test_parts_of_a_batch_change_what_is_kept_one_after_the_other():
    assert trained(experiment("Keeps", accumulate=2))[0].collections["counters"]["steps"] == 4


def test_a_killed_training_goes_on_with_what_it_kept_and_another_starts_from_it(tmp_path):
    class Stop(Exception):
        pass

    def stop(event):
        if isinstance(event, StepTaken):
            raise Stop

    chosen = experiment("Spectral")
    options = Options(ONE.hardware, checkpoint_steps=1)
    with pytest.raises(Stop):
        train(chosen, tmp_path / "killed", options=options, sinks=[stop])
    train(chosen, tmp_path / "killed", options=options)
    train(chosen, tmp_path / "whole", options=options)
    for name in ("metrics.jsonl", "evaluation.json"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    kept, _, _ = trained(chosen)
    again = replace(chosen, {"initial": str(tmp_path / "whole"), "seed": 1})
    started = Program(again, hardware=ONE.hardware).init([again])
    chex.assert_trees_all_equal(jax.device_get(started).collections, kept.collections)
    assert set(kept.collections) == {"spectral"}
    with pytest.raises(RunError, match=r"do not fit this network[\s\S]*SpectralNorm_0"):
        Program(experiment("Untold", initial=str(tmp_path / "whole")))


def test_a_state_without_other_collections_is_saved_as_it_always_was(tmp_path):
    """The names of its arrays, of which the checksum is made, are those that earlier runs have on disk."""
    fields: Any = (np.asarray(1), {"w": np.ones(2)}, {}, (), {"seed": np.asarray(0)})
    state = TrainState(*fields)
    paths = [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(state)]
    assert paths == [".step", ".params['w']", ".lane['seed']"]
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, state, CheckpointNotes())
    notes = checkpoints.notes()
    # Of the same state, as saved before there were collections.
    assert notes is not None
    assert notes.checksum == 24386538
    chex.assert_trees_all_equal(checkpoints.restore(state)[0], state)
    checkpoints.close()


class Grows(nn.Module):
    @nn.compact
    def __call__(self, x):
        seen = self.variable("cache", "x", lambda: x)
        seen.value = x
        return nn.Dense(3)(x.reshape(len(x), -1))


class MadeLate(nn.Module):
    @nn.compact
    def __call__(self, x, train):
        self.variable("ema", "a", lambda: jnp.zeros(1))
        if train:
            self.variable("ema", "b", lambda: jnp.zeros(1))
        return nn.Dense(3)(x.reshape(len(x), -1))


class ParameterMadeLate(nn.Module):
    @nn.compact
    def __call__(self, x, train):
        x = x.reshape(len(x), -1)
        return nn.Dense(3)(nn.Dense(16)(x) if train else x)


# --- what it returns


@registered
class Two(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.Dense(3)(x.reshape(len(x), -1))
        return x, {"twice": 2 * x}


@registered
class Synchronized(nn.Module):
    """As Flax's own ResNet for ImageNet."""

    @nn.compact
    def __call__(self, x, train):
        x = nn.BatchNorm(use_running_average=not train, axis_name="batch")(nn.Conv(4, (3, 3))(x))
        return nn.Dense(3)(nn.relu(x).mean((1, 2)))


def test_logits_are_found_in_what_is_returned():
    state, loss, test = trained(experiment("Two", model=First))
    logits = Two().apply({"params": state.params}, jnp.zeros((1, 4, 4, 1)))[0]
    assert logits.shape == (1, 3)
    assert np.isfinite(loss)
    assert test["count"] == 8


def test_the_memory_of_a_step_is_told_of_such_networks_too():
    for module, logits in ((Two(), lambda outputs: outputs[0]), (Synchronized(), lambda outputs: outputs)):
        assert training_memory(module, (4, 4, 1), batch_size=2, logits=logits).total > 0


@registered
class Plain(nn.Module):
    @nn.compact
    def __call__(self, x, train):
        x = nn.BatchNorm(use_running_average=not train)(nn.Conv(4, (3, 3))(x))
        return nn.Dense(3)(nn.relu(x).mean((1, 2)))


@pytest.fixture(scope="module")
def plain():
    state, _, _ = trained(experiment("Plain"))
    return state.params, state.batch_stats


@pytest.mark.parametrize(("devices", "parallel"), [(1, "jit"), (2, "jit"), *slow((2, "shard_map"), (2, "pmap"))])
def test_statistics_over_the_axis_of_the_batch_are_those_of_the_whole_batch(plain, devices, parallel):
    state, _, _ = trained(experiment("Synchronized"), devices=devices, parallel=parallel)
    if devices == 1:
        chex.assert_trees_all_equal((state.params, state.batch_stats), plain)
    # Sums in another order.
    chex.assert_trees_all_close((state.params, state.batch_stats), plain, rtol=2e-4, atol=2e-6)


def dense(change, **fields):
    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            return change(nn.Dense(fields.get("features", 3))(x.reshape(len(x), -1)))

    return Net


class Maps(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Conv(3, (3, 3))(x)


class WholeNumbers(nn.Module):
    @nn.compact
    def __call__(self, x):
        scale = self.param("scale", lambda key: jnp.ones((), jnp.int32))
        return nn.Dense(3)(x.reshape(len(x), -1)) * scale


class HalfParameters(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dense(3, param_dtype=jnp.bfloat16)(x.reshape(len(x), -1))


class Block(nn.Module):
    """Told in which mode it runs, or not. `fixed`: its BatchNorm and its dropout are not."""

    fixed: bool | None = None

    @nn.compact
    def __call__(self, x, train: bool = False):
        train = train if self.fixed is None else not self.fixed
        x = nn.BatchNorm(use_running_average=not train)(nn.Dense(4, use_bias=False)(x.reshape(len(x), -1)))
        return nn.Dropout(0.5, deterministic=not train)(x)


class Outer(nn.Module):
    """calls: what each block is told beside x. own: whether it has batch statistics of its own, which move."""

    calls: Any
    own: bool = False
    fixed: bool | None = None

    @nn.compact
    def __call__(self, x, train: bool = False):
        x = nn.BatchNorm(use_running_average=not train)(x) if self.own else x
        for told in self.calls:
            x = Block(self.fixed)(x, **{name: train if value is None else value for name, value in told.items()})
        return nn.Dense(3, name="logits")(x)


class Dropped(nn.Module):
    deterministic: bool

    @nn.compact
    def __call__(self, x):
        return nn.Dense(3)(nn.Dropout(0.5)(x.reshape(len(x), -1), deterministic=True))


class Late(nn.Module):
    """Fails in training only."""

    @nn.compact
    def __call__(self, x, train):
        logits = nn.Dense(3)(x.reshape(len(x), -1))
        return undefined(logits) if train else logits  # noqa: F821 # pyright: ignore[reportUndefinedVariable]


class OtherAxis(nn.Module):
    @nn.compact
    def __call__(self, x, train):
        x = nn.BatchNorm(use_running_average=not train, axis_name="devices")(x)
        return nn.Dense(3)(x.reshape(len(x), -1))


class Moody(nn.Module):
    width: int

    @nn.compact
    def __call__(self, x):
        return nn.Dense(3)(nn.Dense(self.width)(x.reshape(len(x), -1)))


@functools.cache
def window(size):
    return jnp.hanning(size)


class Cached(nn.Module):
    """Keeps what `jax.jit` traces: Flax's own `init` would compute it first."""

    @nn.compact
    def __call__(self, x):
        return nn.Dense(3)((x * window(x.shape[1])[None, :, None, None]).reshape(len(x), -1))


def moody():
    return Moody(next(WIDTHS))


WIDTHS = iter(range(2, 100))
LINE = r".*test_own_networks.py line \d+"


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (Two, r"model: Own: the network returns \(float32\[8,3\], {'twice': float32\[8,3\]}\), .*return outputs\[0\]"),
        (dense(lambda x: {"logits": x}), r"return outputs\['logits'\]"),
        (Maps, r"outputs are \[B,H,W,C\] maps, float32\[8,4,4,3\]; pool them .* logits\(outputs\)"),
        (dense(lambda x: x.mean()), r"outputs are float32\[\], not \[B,K\]"),
        (dense(lambda x: x[:, 0]), r"outputs are float32\[8\], not \[B,K\]"),
        (dense(lambda x: x[:1]), r"outputs are float32\[1,3\] for 8 images"),
        (dense(lambda x: x, features=2), r"outputs are float32\[8,2\], but 3 an image are needed"),
        (dense(lambda x: x.astype(jnp.int32)), r"outputs are int32\[8,3\]; they must be real floating-point"),
        (dense(lambda x: x + 0j), r"outputs are complex64\[8,3\]; they must be real floating-point"),
        (dense(lambda x: None), r"the network returns None, not an array"),
        (WholeNumbers, r"the parameter scale is int32"),
        (HalfParameters, r"changes opt_state.*from bfloat16\[3\] to float32\[3\]; keep parameters float32"),
        (Late, rf"the training step fails: NameError: name 'undefined' is not defined \(in Late.__call__, {LINE}\)"),
        (moody, r"Own.network\(\) made a network of [\d,]+ parameters, and then one of [\d,]+"),
        (Cached, rf"an array that is kept .* \(in window, {LINE}\); make it with NumPy"),
        (OtherAxis, r"the training step fails: NameError: .*devices.*leave axis_name out"),
        (
            Grows,
            rf"Grows.__call__ \({LINE}\) changes the variable cache.x from float32\[1, 4, 4, 1\] to float32\[8, 4",
        ),
        (MadeLate, rf"MadeLate.__call__ \({LINE}\) makes the variable ema.b in training only"),
        (ParameterMadeLate, rf"the training step fails: ScopeParam.*ParameterMadeLate.__call__, {LINE}"),
        (
            lambda: Outer([{}, {}]),
            rf"model: a training step leaves all batch statistics as they were, .*Block.__call__ \({LINE}\) has train "
            "= False, and is called without it; pass train on",
        ),
        (
            lambda: Outer([{"train": None}], fixed=False),
            r"the evaluation step fails: Modify.*BatchNorm is in training mode in evaluation: give it use_running_av",
        ),
    ],
)
@pytest.mark.usefixtures("standard_promotion")
def test_what_cannot_be_trained_is_refused_before_it_costs(made, words, monkeypatch):
    monkeypatch.setattr(Own, "network", lambda self: made())
    with pytest.raises(ConfigError, match=words):
        check(experiment(f"refused {words}"))


TOLD_TWICE, ALL_STAY = [{"train": None}] * 2, "a training step leaves all batch statistics as they were"


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize(
    ("made", "said"),
    [
        (lambda: Outer(TOLD_TWICE), ""),
        (
            lambda: Outer([{}, {"train": None}]),
            r"^Block.__call__ .* train = False, and is called without it in training",
        ),
        (lambda: Outer([{}], own=True), r"^Block.__call__ .* train = False, and is called without it in training"),
        (
            lambda: Outer([{"train": False}], own=True),
            "a training step draws no random numbers, so dropout is always off",
        ),
        (lambda: Outer([{"train": False}]), rf"^Block_0.BatchNorm_0: {ALL_STAY}"),
        (lambda: Outer(TOLD_TWICE, fixed=True), rf"^Block_0.BatchNorm_0: {ALL_STAY}"),
        (lambda: Dropped(deterministic=True), "Dropout_0: a training step draws no random numbers, so dropout is alw"),
    ],
)
def test_layers_that_are_as_in_evaluation_in_training_are_warned_of(made, said, accumulate, monkeypatch):
    monkeypatch.setattr(Own, "network", lambda self: made())
    # The task's look at the network is remembered by its config.
    chosen = experiment(f"{made.__code__.co_firstlineno} {said}", accumulate=accumulate)
    found = [each for each in check(chosen).analysis.warnings if "as in evaluation" in each]
    if said:
        assert re.search(said, found[0])
    else:
        assert not found


def test_frozen_batch_statistics_are_no_mistake(monkeypatch):
    monkeypatch.setattr(Own, "network", lambda self: Outer([{}]))
    probe = SGD(learning_rate=0.1, groups="linear_probe")
    assert not [each for each in check(experiment("frozen", optim=probe)).analysis.warnings if ALL_STAY in each]


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_outputs_are_trained(dtype, monkeypatch):
    monkeypatch.setitem(MODULES, "half", dense(lambda x: x.astype(dtype)))
    assert np.isfinite(trained(experiment("half"))[1])


# --- the whole step is traced


class BadLoss(Loss, tag="own_bad_loss"):
    def per_example(self, logits, targets):
        return logits @ targets


class RefusingLoss(Loss, tag="own_refusing_loss"):
    def per_example(self, logits, targets):
        raise ConfigError("not today")


class ScalarLoss(Loss, tag="own_scalar_loss"):
    def __call__(self, logits, labels):
        return jnp.square(logits).mean()


class MeanLoss(Loss, tag="own_mean_loss"):
    def per_example(self, logits, targets):
        return jnp.square(logits - targets).mean()


class OutputsLoss(Loss, tag="own_outputs_loss"):
    def __call__(self, logits, labels):
        return jnp.square(logits)


class BadOptim(Optim, tag="own_bad_optim"):
    learning_rate: float = 0.1

    def direction(self):
        return None.missing  # type: ignore[attr-defined]


class BadAugmentation(Augmentation, tag="own_bad_augmentation"):
    def apply(self, image, key):
        return image[:2] @ key


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"loss": BadLoss()}, "BadLoss.per_example"),
        ({"optim": BadOptim()}, "BadOptim.direction"),
        ({"augment": (BadAugmentation(),)}, "BadAugmentation.apply"),
    ],
)
def test_whatever_fails_in_a_step_fails_in_the_plan_with_its_line(changes, where):
    with pytest.raises(ConfigError, match=rf"fails: .*\(in {where}, {LINE}\)"):
        plan(Study(experiment("Untold", **changes), seeds=1), hardware=ONE.hardware)


ONE_EACH = "; return one loss for each example, \\[B\\] \\(the mean is taken afterwards\\)"


@pytest.mark.parametrize(
    ("loss", "said"),
    [
        (BadLoss(), rf"^loss: the training step fails: .*\(in BadLoss.per_example, {LINE}\)"),
        (RefusingLoss(), rf"^loss: not today \(in RefusingLoss.per_example, {LINE}\)"),
        (ScalarLoss(), rf"^loss: ScalarLoss returned a scalar{ONE_EACH}"),
        (MeanLoss(), rf"^loss: MeanLoss returned a scalar{ONE_EACH}"),
        (OutputsLoss(), rf"^loss: OutputsLoss returned an array of shape \[8, 3\] for 8 examples{ONE_EACH}"),
    ],
)
def test_what_is_wrong_with_a_loss_is_said_of_the_loss(loss, said):
    with pytest.raises(ConfigError, match=said):
        check(experiment("Untold", loss=loss))
    mixed = experiment("Untold", loss=loss, mixing=Mixup())
    with pytest.raises(ConfigError, match=said):
        check(mixed)


def test_a_program_is_traced_once(monkeypatch):
    from cnnjax.training import rehearsal

    traced = []
    real = rehearsal.train_step
    monkeypatch.setattr(rehearsal, "train_step", lambda *given: traced.append(1) or real(*given))
    base = experiment("Untold", steps=3)
    plan(Study(base, axes={"optim.learning_rate": [0.1, 0.2, 0.3]}, seeds=2), hardware=ONE.hardware)
    assert len(traced) == 1
