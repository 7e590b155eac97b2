"""What one architecture compiles to, shared by every trial that differs only in lanes."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property, lru_cache, partial
from itertools import islice
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from cnnjax.analysis import Analysis
from cnnjax.analysis.layers import volume
from cnnjax.energy import working
from cnnjax.experiment import Experiment, blank_state, check, functions_of, input_shape_of
from cnnjax.experiment.sizes import Size, Span, sizes_of, training_spans
from cnnjax.lanes import lane_values
from cnnjax.lowering import lowering
from cnnjax.records.used_run import UsedRun
from cnnjax.run.compiling import compiled, planned_memory
from cnnjax.run.devices import here
from cnnjax.run.feed import Resident, Steps, Streamed, first_batch, make_feed, of_each, placed, put, with_partners
from cnnjax.run.hardware import Hardware
from cnnjax.run.packing import Packing
from cnnjax.run.room import check_images, check_room
from cnnjax.run.taken import Taken
from cnnjax.run.teachers import loaded_teachers, on_devices
from cnnjax.run.together import of_first
from cnnjax.run.weights import check_initial, initial_weights
from cnnjax.training.estimate import begun_anew, ended, estimate_step
from cnnjax.training.evaluated import evaluations
from cnnjax.training.fitting import first_tries, fit_step, fits
from cnnjax.training.parallel import bound, check_batch_size, distribute, put_whole
from cnnjax.training.sharding import split_shardings
from cnnjax.training.state import TrainState
from cnnjax.training.step import (
    StepFunctions,
    Sums,
    eval_step,
    gathered_of,
    in_order,
    init_state,
    prediction_step,
    state_from,
    train_step,
    with_weights_of,
)

BRIEF = 1e12
"""Multiply-accumulates of a training that takes a CPU some seconds, so that compiling is a good part of it."""

MUCH = 5e8
"""Multiply-accumulates of evaluations that take a CPU half a second or longer by code that is not optimized."""

MANY = 1e6
"""Parameters that take longer to draw, by code that is not optimized, than it takes to optimize it."""

MOST_STEPS = 64
"""Steps that one call takes at most."""

LONG = 1e10
"""Multiply-accumulates of a step that takes a CPU so long that calling it costs nothing; accelerators take more."""

ACCELERATED = 100
"""How many times as many are LONG for those."""

# For XLA:CPU, of programs that run a few times.
UNOPTIMIZED = {"xla_cpu_use_fusion_emitters": False, "xla_backend_optimization_level": 0}
LITTLE_OPTIMIZED = UNOPTIMIZED | {"xla_backend_optimization_level": 1}


class Program:
    """The compiled steps of an experiment's architecture for `packed` trials at once (1: a single training).

    States and index rows of a packed program have a leading axis of trials. Images of each size that the training sees
    have a training step of their own. packed: a `Packing`, or a number of trials under vmap. trains: whether a training
    step will be taken, for which there must be memory.
    """

    def __init__(
        self,
        experiment: Experiment,
        *,
        packed: int | Packing = 1,
        hardware: Hardware = Hardware(),
        trains: bool = True,
    ):
        self.packing = packed if isinstance(packed, Packing) else Packing(packed)
        self.experiment, self.packed, self.hardware = experiment, self.packing.width, hardware
        self.mesh = hardware.mesh()
        check_batch_size(experiment.batch_size, devices=self.mesh.size, accumulate=experiment.accumulate)
        self.teachers = loaded_teachers(experiment)
        teachers = {name: loaded.teacher for name, loaded in self.teachers.items()}
        if trains:
            check_images(experiment, here(hardware))
        self.checked = check(experiment, devices=self.mesh.size, teachers=teachers)
        if trains:
            check_room(experiment, here(hardware), teachers, self.checked)
        self.analysis: Analysis = self.checked.analysis
        check_initial(experiment)
        self.initial = None if experiment.initial is None else initial_weights(experiment.initial)
        self.feed = make_feed(experiment, self.mesh, packed=self.packed, hardware=hardware)
        self.sizes = self.feed.sizes
        self.length = self.checked.length
        self.steps = self.length.steps
        self.functions: StepFunctions = functions_of(experiment, self.length, teachers=teachers)
        self.spans: tuple[Span, ...] = training_spans(experiment, experiment.data.load(), self.length)
        self.fixed = on_devices(self.teachers, self.mesh)
        self.compile_seconds, self.compilations = 0.0, 0
        self.input_seconds = 0.0  # making rows and waiting for them
        self.compile_told = 0.0  # of these, what some result has
        self.pace = 1  # steps that the next call takes, if it can (`Pace.wanted`)

    @property
    def used_runs(self) -> dict[str, UsedRun]:
        """The runs whose weights are used, by what they are to the training: "initial", or the method's name."""
        teachers = {name: loaded.teacher for name, loaded in self.teachers.items()}
        used = {name: UsedRun(path=teacher.folder, checksum=teacher.checksum) for name, teacher in teachers.items()}
        if self.initial is not None:
            used["initial"] = UsedRun(path=self.initial.path, checksum=self.initial.checksum)
        return used

    def init(self, experiments: Sequence[Experiment]) -> TrainState:
        """The state before the first step, one lane per experiment: each lane bitwise as if it were alone."""
        return self.place([self.first_state(experiment) for experiment in experiments])

    def first_state(self, experiment: Experiment) -> TrainState:
        """The state of one trial before its first step, on the host."""
        state = jax.device_get(self._init(lane_values(experiment)))
        if self.initial is not None:
            # Once for each trial, so it is not compiled.
            variables = self.initial.merged(state.variables, self.experiment.data.load().classes)
            state = jax.device_get(state_from(self.functions, state.lane, variables))
        return self._fitted(state, experiment) if fits(self.functions) else state

    def blank(self) -> TrainState:
        """A state of one trial with the shapes and types of any other, on the host."""
        return blank_state(self.checked.state)

    def prepare(self) -> None:
        """Compile the training steps before there is a state, where the feed's rows cost nothing to have."""
        if isinstance(self.feed, Streamed) or "train" in self._compiled:
            return
        state = jax.tree.map(
            lambda x, where: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=where),
            self._shapes,
            self._shardings or jax.tree.map(lambda _: placed(self.mesh), self._shapes),
        )
        rows = self._rows([self.experiment] * self.packed, 0, 1)
        for size in sizes_of(self.spans):
            self._training_step(size, state, rows)

    def place(self, states: Sequence[TrainState]) -> TrainState:
        """States of single trials, on the host, as one state on every device of the mesh, packed if the program is.

        Of several processes the first one's counts: another kind of processor may draw other last bits.
        """
        state = states[0] if self.packed == 1 else jax.tree.map(lambda *x: np.stack(x), *states)
        whole = of_first(state)
        if self._shardings is None:
            return put(whole, self.mesh)
        return jax.tree.map(put_whole, whole, self._shardings)

    def of_slot(self, state: TrainState, slot: int) -> TrainState:
        """The state of the trial in a slot of a packed state, whole on every device, bit for bit."""
        return self._moved("of_slot", _of_slot, state, slot)

    def in_slot(self, state: TrainState, slot: int, own: TrainState) -> TrainState:
        """The packed state with that of one trial, on the host or whole on the devices, in a slot, bit for bit.

        The given packed state is used up.
        """
        return self._moved("in_slot", _in_slot, state, slot, put(own, self.mesh))

    def _moved(self, name: str, move: Callable, state: TrainState, slot: int, *own: TrainState) -> TrainState:
        arguments = (state, put(np.int32(slot), self.mesh), *own)
        if name not in self._compiled:
            where = (self._shardings if own else None) or placed(self.mesh)
            moved = jax.jit(move, donate_argnums=(0,) if own else (), out_shardings=where)
            with self._compiling():
                self._compiled[name] = compiled(moved.lower(*arguments), UNOPTIMIZED)
        return self._compiled[name](*arguments)

    @cached_property
    def _shardings(self) -> TrainState | None:
        """How a state lies on the devices; None where it is whole on each."""
        if not self.hardware.shard_state or self.mesh.size == 1:
            return None
        return split_shardings(self._shapes, self.mesh, packed=self.packed > 1)

    @property
    def _shapes(self) -> TrainState:
        """Of a state, of all lanes."""
        lanes = () if self.packed == 1 else (self.packed,)
        return jax.tree.map(lambda x: jax.ShapeDtypeStruct(lanes + x.shape, x.dtype), self.checked.state)

    @property
    def _init_one(self) -> Callable:
        return partial(init_state, self.functions, image_shape=input_shape_of(self.experiment))

    @cached_property
    def _init(self) -> Callable:
        # Runs once a trial, so that optimizing it may take longer than it then saves.
        options = LITTLE_OPTIMIZED if self.analysis.params > MANY else UNOPTIMIZED
        with self._compiling():
            return compiled(jax.jit(self._init_one).lower(lane_values(self.experiment)), options)

    @contextlib.contextmanager
    def _compiling(self) -> Iterator[None]:
        """Counts a compilation, and its seconds."""
        start = time.perf_counter()
        with working():
            yield
        self.compile_seconds += time.perf_counter() - start
        self.compilations += 1

    def _fitted(self, state: TrainState, experiment: Experiment) -> TrainState:
        """The first state (host arrays) with weights fitted to the first batch, on one device whatever the mesh."""
        tries, more = first_tries(self.functions, input_shape_of(experiment)), True
        batch = jax.device_get(first_batch(experiment))
        if "fit" not in self._compiled:
            with self._compiling():
                lowered = jax.jit(partial(fit_step, self.functions)).lower(state, tries, batch)
                self._compiled["fit"] = compiled(lowered, UNOPTIMIZED if self._is_brief else {})
        while more:
            state, tries, more = self._compiled["fit"](state, tries, batch)
        return jax.device_get(state_from(self.functions, state.lane, state.variables))

    def rows(self, experiments: Sequence[Experiment], step: Steps) -> dict[str, jax.Array]:
        """What the feed gives the step number `step`, counted from 0."""
        return self.feed.rows(experiments, step)

    def fetch(self, data: dict[str, jax.Array], rows: dict[str, jax.Array]) -> dict[str, jax.Array]:
        """The batch of the rows, inside the step; where examples are mixed, with their partners."""
        batch = self.feed.fetch(data, rows)
        mixing = self.experiment.mixing
        return batch if mixing is None or "valid" in batch else with_partners(batch, mixing.partners)

    def close(self) -> None:
        """End what the feed does ahead of the training."""
        self.feed.close()

    def size_at(self, step: int) -> Size:
        """(height, width) of the images that step number `step`, counted from 0, trains on."""
        return self.span_at(step).size

    def span_at(self, step: int) -> Span:
        """The steps of one size of images that step number `step` is one of, or would be beyond the last."""
        return next((span for span in self.spans if step <= span.last), self.spans[-1])

    @cached_property
    def chunk(self) -> int | None:
        """How many steps one call takes at most; None where each is a call of its own.

        That depends on the experiment and the devices alone, so that a training that goes on runs what it ran before.
        Chunks are for resident data and short steps; not for pmap, several hosts, and networks whose convolutions are
        not cnnjax's on a CPU (`chunks.convolves`).
        """
        on_cpu = self.mesh.devices.flat[0].platform == "cpu"
        macs = 3 * self.analysis.training_macs * self.experiment.batch_size
        alone = self.hardware.parallel == "pmap" or self.mesh.is_multi_process or isinstance(self.feed, Streamed)
        slow = on_cpu and self.checked.foreign
        return None if alone or slow or macs > (LONG if on_cpu else ACCELERATED * LONG) else MOST_STEPS

    def train(self, state: TrainState, rows: dict[str, jax.Array], size: Size | None = None) -> tuple[TrainState, Sums]:
        """One step of every lane, on images of that size (None: the only one); the given state is used up."""
        if self.chunk is not None and isinstance(self.feed, Resident):
            rows = self.feed.stacked([np.asarray(rows["index"])], self.chunk)
        state, sums = self._taken(state, rows, size)
        return state, sums if self.chunk is None else jax.tree.map(lambda x: x[0], sums)

    def take(
        self, state: TrainState, experiments: Sequence[Experiment], step: Steps, count: int
    ) -> tuple[TrainState, Taken]:
        """`count` steps of every lane, from number `step`, counted from 0, on: of one size, and no more than `chunk`.

        The given state is used up. Cut as they may be, steps give bitwise the same.
        """
        start, firsts = time.perf_counter(), of_each(step, self.packed)
        rows = self._rows(experiments, firsts, count)
        self.input_seconds += time.perf_counter() - start
        state, sums = self._taken(state, rows, self.size_at(firsts[0]))
        return state, Taken(sums, firsts, count, in_chunk=self.chunk is not None)

    def advance(self, state: TrainState, experiments: Sequence[Experiment], first: int, last: int) -> TrainState:
        """The state after all steps from number `first` until `last` of them were taken, in as few calls as it takes.

        The given state is used up. Nothing is looked at: for timings.
        """
        while first < last:
            count = min(self.chunk or 1, last - first, self.span_at(first).last + 1 - first)
            state, _ = self.take(state, experiments, first, count)
            first += count
        return state

    def _rows(self, experiments: Sequence[Experiment], step: Steps, count: int) -> dict[str, jax.Array]:
        """What the compiled training step takes: the rows of one step, or of a chunk."""
        if self.chunk is None or isinstance(self.feed, Streamed):
            return self.feed.rows(experiments, step)
        return self.feed.chunk(experiments, step, count, self.chunk)

    def _taken(self, state: TrainState, rows: dict[str, jax.Array], size: Size | None) -> tuple[TrainState, Sums]:
        (size,) = sizes_of(self.spans) if size is None else (size,)
        return self._training_step(size, state, rows)(state, self.feed.data, rows, self.fixed)

    def _training_step(self, size: Size, state: TrainState, rows: dict[str, jax.Array]) -> Callable:
        """The compiled step for images of that size; state and rows may be shapes."""
        name = "train" if size == self.spans[0].size else f"train {volume(size)}"
        return self._step(name, train_step, self._functions_at(size), state, rows)

    @property
    def memory(self) -> int | None:
        """Bytes that the largest training step compiled so far takes on each device, as XLA plans it: what it is given
        (the state, resident data, rows), what it returns beside that, and what is in between. None where it does not
        say."""
        steps = [step for name, step in self._compiled.items() if name.partition(" ")[0] == "train"]
        known = [size for step in steps if (size := planned_memory(step)) is not None]
        return max(known, default=None)

    def _functions_at(self, size: Size) -> StepFunctions:
        """Those whose training step sees images of that size."""
        if size == self.spans[0].size:
            return self.functions
        teachers = {name: loaded.teacher for name, loaded in self.teachers.items()}
        return functions_of(self.experiment, self.length, size=size, teachers=teachers)

    def evaluate(self, state: TrainState, split: str, *, most: int | None = None) -> Sums:
        """Detailed sums (host arrays) over one of "train", "validation", "test"; see `with_weights_of`.

        With them, what the task gathers of each example, in the order of the split. most: batches that are looked at;
        None for all.
        """
        total: Any = None
        each: list[dict[str, np.ndarray]] = []
        for rows in islice(self.feed.evaluation(split), most):
            # Sums stay on the device; only so many batches are begun that the one before last is done.
            jax.block_until_ready(total)
            sums = self._step("eval", eval_step, self.functions, state, rows)(state, self.feed.data, rows, self.fixed)
            sums, gathered = gathered_of(sums)
            if gathered:
                each.append(jax.device_get(gathered))
            total = sums if total is None else _added(total, sums)
        return jax.device_get(total) | (in_order(each, axis=self._lanes) if each else {})

    def predictions(self, state: TrainState, split: str) -> dict[str, np.ndarray]:
        """What `prediction_step` tells of each example of the split, in the order of the split, on the host; see
        `with_weights_of`. Outputs are rounded to float16; those beyond its range are the largest that it has."""
        told: list[dict[str, np.ndarray]] = []
        for rows in self.feed.evaluation(split):
            step = self._step("predictions", prediction_step, self.functions, state, rows)
            found = jax.device_get(step(state, self.feed.data, rows, {}))
            told.append({name: _half(x) if name == "outputs" else x for name, x in found.items()})
        whole = in_order(told, axis=self._lanes)
        return {name: x for name, x in whole.items() if name != "count"}

    @property
    def _lanes(self) -> int:
        """How many axes of trials there are before that of examples."""
        return int(self.packed > 1)

    def estimated(self, state: TrainState, experiments: Sequence[Experiment]) -> TrainState:
        """The state with batch statistics estimated anew for the weights that need it; as it is where none do."""
        # Of the images that the training ends with.
        functions = self._functions_at(self.spans[-1].size)
        for name in state.estimated:
            state, step = begun_anew(state, name), partial(estimate_step, name=name)
            for rows in self.feed.first_batches(experiments, self._statistics_batches):
                estimate = self._step(f"estimate {name}", step, functions, state, rows)
                made = estimate(state, self.feed.data, rows, {})
                state = state.replace(estimated={**state.estimated, name: jax.block_until_ready(made)})
            state = ended(state, name)
        return state

    @property
    def _statistics_batches(self) -> int:
        every = max(1, self.sizes["train"] // self.experiment.batch_size)
        return min(self.experiment.statistics_batches or every, every)

    def with_weights_of(self, state: TrainState, method: str | None) -> TrainState:
        """The state with what that method, or the optimizer, evaluates in the place of the trained weights.

        None: as it is.
        """
        return state if method is None else self._weights_of(method)(state)

    @cached_property
    def _weights_of(self) -> Callable[[str], Callable[[TrainState], TrainState]]:
        @lru_cache
        def compiled_for(method: str) -> Callable[[TrainState], TrainState]:
            one = partial(with_weights_of, self.functions, name=method)
            return jax.jit(jax.vmap(one) if self.packed > 1 else one, out_shardings=self._shardings)

        return compiled_for

    def compiled(self, name: str) -> Any:
        """The compiled "train" (for images of the first size; `train 28x28` for others) or "eval" step, once called."""
        return self._compiled[name]

    def _step(
        self, name: str, step: Callable, functions: StepFunctions, state: TrainState, rows: dict[str, jax.Array]
    ) -> Callable:
        """`step` of these functions, compiled once under that name."""
        if name not in self._compiled:
            self._compiled[name] = self._compile(step, functions, state, rows)
        return self._compiled[name]

    def _lowering(self) -> contextlib.AbstractContextManager[Any]:
        return lowering("products") if self.packing.way == "products" else contextlib.nullcontext()

    @property
    def _is_brief(self) -> bool:
        """Whether the whole training is so short that compiling counts."""
        macs = 3 * self.analysis.training_macs * self.experiment.batch_size * self.steps * self.packed
        return macs < BRIEF

    @property
    def _evaluates_much(self) -> bool:
        """Whether all evaluations of a training together take longer, unoptimized, than optimizing them."""
        epochs = -(-self.steps * self.experiment.batch_size // self.sizes["train"])
        images = (epochs + 1) * self.sizes["validation"] + self.sizes["test"]
        measured = len(evaluations(self.experiment.methods, self.experiment.optim))
        return self.analysis.macs * images * measured * self.packed > MUCH

    @cached_property
    def _compiled(self) -> dict[str, Callable]:
        return {}

    def _compile(
        self, step: Callable, functions: StepFunctions, state: TrainState, rows: dict[str, jax.Array]
    ) -> Callable:
        """(state, data, rows, fixed) -> what the step returns; a training step uses the state up.

        fixed: the variables of other runs' networks, which training and evaluation read.
        """
        trains, reads = step is train_step, step in (train_step, eval_step)
        mapped = distribute(
            bound(step, functions, self.fetch),
            self.mesh,
            kind=self.hardware.parallel,
            packed=self.packed > 1,
            donate=trains,
            chunk=self.chunk if trains else None,
            shardings=self._shardings,
        )
        if self.hardware.parallel == "pmap":
            return mapped
        often = trains or (step is eval_step and self._evaluates_much)
        options = UNOPTIMIZED if self._is_brief and not often else {}
        # The mesh in context tells batch normalization by device how many devices there are.
        with self._compiling(), jax.set_mesh(self.mesh), self._lowering():
            return compiled(mapped.lower(state, self.feed.data, rows, self.fixed if reads else {}), options)


def _half(x: np.ndarray) -> np.ndarray:
    most = np.finfo(np.float16).max
    return np.clip(np.asarray(x, np.float32), -most, most).astype(np.float16)


@jax.jit
def _added(total: Sums, sums: Sums) -> Sums:
    return jax.tree.map(jnp.add, total, sums)


def _of_slot(state: TrainState, slot: jax.Array) -> TrainState:
    return jax.tree.map(lambda x: jax.lax.dynamic_index_in_dim(x, slot, keepdims=False), state)


def _in_slot(state: TrainState, slot: jax.Array, own: TrainState) -> TrainState:
    return jax.tree.map(lambda x, y: jax.lax.dynamic_update_index_in_dim(x, y, slot, 0), state, own)
