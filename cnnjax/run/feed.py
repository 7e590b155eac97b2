"""What a step is given: rows of examples that live on the device, or batches that are streamed to it.

Either way the batch of a step is a function of (seed, step), on any number of devices and hosts.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from functools import cache, lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, Sharding, SingleDeviceSharding

from cnnjax.config import replace
from cnnjax.data.dataset import Dataset
from cnnjax.data.entries import PARTNERS
from cnnjax.data.examples import Part
from cnnjax.data.loader import Batches, BatchesInOrder, Loader, Share, TrainingBatches
from cnnjax.data.order import Order
from cnnjax.data.splits import Carving, Splits, splits
from cnnjax.errors import ConfigError
from cnnjax.experiment import Experiment, carving_of, entries_used, length_of, parts_of
from cnnjax.experiment.sizes import decodes_at_its_sizes, training_spans
from cnnjax.hosts import from_first
from cnnjax.nn.mesh import manual_axes
from cnnjax.run.hardware import Hardware
from cnnjax.training.chunks import COUNT
from cnnjax.training.parallel import put_whole, replicated, rows_sharding

SPLITS = ("train", "validation", "test")
ON_DEVICE = 2
"""Streamed batches that are on the device, or on the way there, while a step runs."""

MANY = 5000
"""Images for which it pays to begin processes, which takes some seconds; fewer are read by threads."""

Arrays = dict[str, jax.Array]
Steps = int | Sequence[int]
"""The number of a step, counted from 0: of all trials that train together, or of each."""


def of_each(step: Steps, trials: int) -> Sequence[int]:
    """The number of the step of each of so many trials."""
    return step if isinstance(step, Sequence) else [step] * trials


def is_streamed(experiment: Experiment, hardware: Hardware) -> bool:
    """Whether the data are too large to live on the device, or decoded anew each time."""
    dataset = experiment.data.load()
    return dataset.train.redrawn or not hardware.has_room(dataset.nbytes)


def make_feed(experiment: Experiment, mesh: Mesh, *, packed: int, hardware: Hardware) -> Resident | Streamed:
    """The feed of `packed` trials of the experiment's program. Raises ConfigError where streamed ones are packed."""
    # Hosts may have more or less memory.
    if not from_first(is_streamed(experiment, hardware), what="whether the data are streamed"):
        return Resident(experiment, mesh, packed=packed)
    if packed > 1:
        raise ConfigError(
            f"pack = {packed}: {experiment.data.load().name} is streamed, so one trial at a time: --pack 1"
        )
    return Streamed(experiment, mesh, workers=hardware.workers)


def order_of(experiment: Experiment, examples: int) -> Order:
    """The order in which an experiment sees its training part of so many examples."""
    common = experiment.random_numbers == "common"
    return Order(experiment.seed, experiment.batch_size, examples, experiment.repeats, experiment.dealt, common)


def placed(mesh: Mesh) -> Sharding:
    """The sharding of arrays that are the same on every device of the mesh."""
    return replicated(mesh) if mesh.size > 1 else SingleDeviceSharding(mesh.devices.flat[0])


def first_batch(experiment: Experiment) -> Arrays:
    """The whole batch of the first step, on the host, with the entries of partners where examples are mixed."""
    part, _, _ = next(_decoded_alike(experiment, parts_of(experiment).train, 0, 1))
    indices, generator = TrainingBatches(order_of(experiment, len(part)))(0)
    names = tuple(entries_used(experiment, experiment.data.load()))
    rows = {"index": indices, "position": np.arange(experiment.batch_size, dtype=np.int32)}
    batch: Any = part.batch(indices, generator, names=names) | rows
    return batch if experiment.mixing is None else with_partners(batch, experiment.mixing.partners)


def put(tree: Any, mesh: Mesh) -> Any:
    """The arrays, which every process holds, on every device of the mesh."""
    return jax.tree.map(partial(put_whole, sharding=placed(mesh)), tree)


def put_rows(rows: np.ndarray, mesh: Mesh, *, axis: int = 0) -> jax.Array:
    """The rows of a batch, which every process holds, over whose devices the examples on that axis are split."""
    if mesh.size == 1:
        return jax.device_put(rows, mesh.devices.flat[0])
    return put_whole(rows, rows_sharding(mesh, axis=axis))


def put_share(rows: np.ndarray, mesh: Mesh) -> jax.Array:
    """A batch of which each process holds its own rows, in the order of the processes, on their devices."""
    if mesh.size == 1:
        return jax.device_put(rows, mesh.devices.flat[0])
    return jax.make_array_from_process_local_data(rows_sharding(mesh), rows)


def with_partners(batch: Arrays, partners: int = 1) -> Arrays:
    """The batch, and the entries of each example's partners (`data.entries.PARTNERS`).

    One is the example at the mirrored position of the whole batch; several are those at the next positions, after the
    last of which comes the first. In shard_map or pmap the batch is this device's part, and partners come from the
    devices that have those positions.
    """
    if partners == 1:
        return batch | {f"{PARTNERS[0]}{name}": _mirrored(array) for name, array in batch.items()}
    return batch | {
        f"{PARTNERS[ahead - 1]}{name}": _ahead(array, ahead)
        for ahead in range(1, partners + 1)
        for name, array in batch.items()
    }


def _mirrored(x: jax.Array) -> jax.Array:
    for axis in manual_axes():
        devices = jax.lax.axis_size(axis)
        x = jax.lax.ppermute(x, axis, [(device, devices - 1 - device) for device in range(devices)])
    return jnp.flip(x, 0)


def _ahead(x: jax.Array, positions: int) -> jax.Array:
    """Of each position what stands so many positions later in the whole batch."""
    axes = manual_axes()
    devices = jax.lax.axis_size(axes) if axes else 1
    further, rows = divmod(positions, len(x))

    def of_later(part: jax.Array, count: int) -> jax.Array:
        if not count % devices:
            return part
        return jax.lax.ppermute(part, axes, [((device + count) % devices, device) for device in range(devices)])

    return jnp.concatenate([of_later(x[rows:], further), of_later(x[:rows], further + 1)])


def _decoded_alike(experiment: Experiment, part: Part, first: int, last: int) -> Iterator[tuple[Part, int, int]]:
    """Steps `first` to `last`, the last one left out, in runs whose images are of one size, with what decodes them."""
    if not decodes_at_its_sizes(experiment):
        yield part, first, last
        return
    spans = training_spans(experiment, experiment.data.load(), length_of(experiment, len(part)))
    for span in spans:
        end = last if span is spans[-1] else min(last, span.last + 1)
        if max(first, span.first) < end:
            yield part.at_size(span.size), max(first, span.first), end


def _evaluation_size(experiment: Experiment, sizes: dict[str, int], mesh: Mesh) -> int:
    size = max(experiment.batch_size, min(sizes["validation"] or sizes["test"], 256))
    return size + -size % mesh.size


def sizes_of(parts: Splits) -> dict[str, int]:
    """Examples of each part."""
    return {name: len(part) if (part := getattr(parts, name)) is not None else 0 for name in SPLITS}


class Resident:
    """All parts on every device; a step is given the rows of its examples.

    data: the entries that are used, such as "image" uint8 [N, H, W, C] and "label" [N, ...], of all parts, in the order
    of SPLITS.
    """

    def __init__(self, experiment: Experiment, mesh: Mesh, *, packed: int):
        self.experiment, self.mesh, self.packed = experiment, mesh, packed
        self.sizes = sizes_of(parts_of(experiment))
        with _ONE_AT_A_TIME:
            dataset = experiment.data.load()
            self.data = _on_devices(dataset, carving_of(experiment), tuple(entries_used(experiment, dataset)), mesh)
        self._positions = put_rows(np.arange(experiment.batch_size, dtype=np.int32), mesh)
        self._evaluated: dict[str, list[Arrays]] = {}

    @staticmethod
    def fetch(data: Arrays, rows: Arrays) -> Arrays:
        """The batch of the rows, inside the step."""
        return {name: array[rows["index"]] for name, array in data.items()} | rows

    def rows(self, experiments: Sequence[Experiment], step: Steps) -> Arrays:
        """What to train on at `step`: int32 indices [B] (packed: [lanes, B]) and positions [B] in the batch."""
        return {"index": self._put_index(self._indices(experiments, step)), "position": self._positions}

    def chunk(self, experiments: Sequence[Experiment], first: Steps, count: int, most: int) -> Arrays:
        """What to train on at `count` steps from `first` on, as `training.chunks` takes it: as `rows`, with `most`
        indices on an axis before the others."""
        return self.stacked([self._indices(experiments, first, number) for number in range(count)], most)

    def stacked(self, indices: Sequence[np.ndarray], most: int) -> Arrays:
        """The indices of single steps, on the host, as those of a chunk."""
        held = np.zeros((most, *indices[0].shape), np.int32)
        held[: len(indices)] = indices
        axis = held.ndim - 1
        return {
            "index": put_rows(held, self.mesh, axis=axis),
            "position": self._positions,
            COUNT: put(np.int32(len(indices)), self.mesh),
        }

    def _indices(self, experiments: Sequence[Experiment], step: Steps, later: int = 0) -> np.ndarray:
        """int32 [B] (packed: [lanes, B]), on the host, so many steps later than `step`."""
        pairs = zip(experiments, of_each(step, len(experiments)), strict=True)
        own = [order_of(experiment, self.sizes["train"]).indices(step + later) for experiment, step in pairs]
        return own[0] if self.packed == 1 else np.stack(own)

    def first_batches(self, experiments: Sequence[Experiment], count: int) -> Iterator[Arrays]:
        """The rows of the first `count` batches of a training that repeats no example."""
        once = [replace(experiment, {"repeats": 1, "dealt": 1}) for experiment in experiments]
        for step in range(count):
            yield self.rows(once, step)

    def evaluation(self, split: str) -> Iterator[Arrays]:
        """The rows of a part's batches: "position" is an example's place in the part, "valid" says which count."""
        # The same every time: put on the devices once.
        if split not in self._evaluated:
            self._evaluated[split] = list(self._rows_in_order(split))
        return iter(self._evaluated[split])

    def _rows_in_order(self, split: str) -> Iterator[Arrays]:
        size = _evaluation_size(self.experiment, self.sizes, self.mesh)
        first = sum(self.sizes[name] for name in SPLITS[: SPLITS.index(split)])
        batches = BatchesInOrder(self.sizes[split], size)
        for number in range(len(batches)):
            position = batches(number)[0]
            yield {
                "index": self._put_index(self._for_every_trial(first + position)),
                "position": put_rows(position, self.mesh),
                "valid": put_rows(batches.mask(number), self.mesh),
            }

    def _for_every_trial(self, indices: np.ndarray) -> np.ndarray:
        return indices if self.packed == 1 else np.stack([indices] * self.packed)

    def _put_index(self, indices: np.ndarray) -> jax.Array:
        return put_rows(indices, self.mesh, axis=indices.ndim - 1)

    def close(self) -> None:
        """Does nothing: no thread or file is open."""


_ONE_AT_A_TIME = threading.Lock()


def _on_devices(dataset: Dataset, carving: Carving, names: tuple[str, ...], mesh: Mesh) -> Arrays:
    """The entries `names` of all parts of the data (`parts_of`) on every device.

    Put there once for all experiments that have the same.
    """
    return _kept_on(mesh)(dataset, carving, names)


@cache
def _kept_on(mesh: Mesh) -> Callable[[Dataset, Carving, tuple[str, ...]], Arrays]:
    """What puts data on the devices of the mesh, where the last two stay."""
    return lru_cache(maxsize=2)(partial(_put_all, mesh))


def _put_all(mesh: Mesh, dataset: Dataset, carving: Carving, names: tuple[str, ...]) -> Arrays:
    parts = splits(dataset.held, carving)
    held: Any = [part for part in vars(parts).values() if part is not None]
    return put({name: np.concatenate([part.values[name] for part in held]) for name in names}, mesh)


class Streamed:
    """Batches that threads or processes make ahead of time. Every host makes its own part of each."""

    def __init__(self, experiment: Experiment, mesh: Mesh, *, workers: int):
        self.experiment, self.mesh, self.workers = experiment, mesh, workers
        self.parts = parts_of(experiment)
        self.sizes = sizes_of(self.parts)
        self.names = tuple(entries_used(experiment, experiment.data.load()))
        self.data: Arrays = {}
        hosts = sorted({device.process_index for device in mesh.devices.flat})
        self._share = Share(hosts.index(jax.process_index()), len(hosts))
        self._stream, self._next = iter(()), (-1, -1)

    @staticmethod
    def fetch(data: Arrays, rows: Arrays) -> Arrays:
        """The batch: the rows as they are."""
        return rows

    def rows(self, experiments: Sequence[Experiment], step: Steps) -> Arrays:
        """What to train on at `step`: the entries that are used, such as images uint8 [B, H, W, C], indices and
        positions [B].

        Steps that follow one another are made ahead; another step begins anew.
        """
        (experiment,), (step,) = experiments, of_each(step, 1)
        if self._next != (experiment.seed, step):
            self.close()
            last = max(step + 1, length_of(experiment, self.sizes["train"]).steps)
            self._stream = self._training(experiment, _decoded_alike(experiment, self.parts.train, step, last))
        self._next = (experiment.seed, step + 1)
        return next(self._stream)

    def first_batches(self, experiments: Sequence[Experiment], count: int) -> Iterator[Arrays]:
        """The first `count` batches of a training that repeats no example."""
        (experiment,) = experiments
        return self._training(replace(experiment, {"repeats": 1, "dealt": 1}), [(self.parts.train, 0, count)])

    def _training(self, experiment: Experiment, runs: Iterable[tuple[Part, int, int]]) -> Iterator[Arrays]:
        batches = TrainingBatches(order_of(experiment, self.sizes["train"]), self._share)
        position = self._share.of(np.arange(experiment.batch_size, dtype=np.int32))
        ahead: deque[Arrays] = deque()
        made = (each for part, first, last in runs for each in self._made(part, batches, first, last))
        for number, entries in made:
            rows = {**entries, "index": batches(number)[0], "position": position}
            ahead.append({name: put_share(array, self.mesh) for name, array in rows.items()})
            if len(ahead) == ON_DEVICE:
                yield ahead.popleft()
        yield from ahead

    def evaluation(self, split: str) -> Iterator[Arrays]:
        """A part's batches: "position" is an example's place in the part, "valid" says which count."""
        part = getattr(self.parts, split)
        batches = BatchesInOrder(len(part), _evaluation_size(self.experiment, self.sizes, self.mesh), self._share)
        for number, entries in self._made(part, batches, 0, len(batches)):
            rows = {**entries, "position": batches(number)[0], "valid": batches.mask(number)}
            yield {name: put_share(array, self.mesh) for name, array in rows.items()}

    def _made(self, part: Part, batches: Batches, first: int, last: int) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
        """(its number, the entries of its examples that are used) of each batch."""
        workers = self.workers_for(part)
        with Loader(part, batches, first=first, last=last, workers=workers, names=self.names) as loader:
            yield from enumerate(loader, first)

    def workers_for(self, part: Part) -> int:
        """How many processes read a part: 0 where starting them takes longer than they save."""
        return self.workers if len(part) >= MANY else 0

    def close(self) -> None:
        """End the threads or processes that read."""
        if isinstance(self._stream, Generator):
            self._stream.close()
        self._stream, self._next = iter(()), (-1, -1)
