"""Batches of a part that is read as training goes: made ahead of it by threads, or by processes of their own (Grain).

Batch i is a function of i alone, so it does not matter how many make them, nor where a training begins again.
"""

from __future__ import annotations

import hashlib
import importlib.abc
import importlib.util
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from cnnjax.code import texts
from cnnjax.data.examples import Generators, Part
from cnnjax.data.order import Order
from cnnjax.errors import DataError
from cnnjax.machine import cores

EXPERIMENT = "cnnjax_experiment_"
"""What the names of experiment files' modules begin with."""

AHEAD = 2
"""Batches that wait for the training, besides those being made."""


class Batches(Protocol):
    """What batch `number` consists of."""

    def __call__(self, number: int) -> tuple[np.ndarray, Generators | None]:
        """The indices of its examples, and the generator of the one at a place, where something is random."""
        ...


@dataclass(frozen=True)
class Share:
    """What host number `host` of `hosts` makes of every batch: a slice, in the order of the hosts."""

    host: int = 0
    hosts: int = 1

    def of(self, rows: np.ndarray) -> np.ndarray:
        """This host's share of a batch's rows."""
        return rows[self.first(len(rows)) : self.first(len(rows)) + len(rows) // self.hosts]

    def first(self, batch_size: int) -> int:
        """The position in the batch where this host's share begins."""
        return self.host * (batch_size // self.hosts)


@dataclass(frozen=True)
class TrainingBatches:
    """The batches of a training, or a host's share of each."""

    order: Order
    share: Share = Share()

    def __call__(self, number: int) -> tuple[np.ndarray, Generators]:
        first = self.share.first(self.order.batch_size)
        return self.share.of(self.order.indices(number)), lambda place: self.order.generator(number, first + place)


@dataclass(frozen=True)
class BatchesInOrder:
    """All examples in their order, in batches of `batch_size`; the last is filled up with its last example."""

    examples: int
    batch_size: int
    share: Share = Share()

    def __len__(self) -> int:
        return -(-self.examples // self.batch_size)

    def __call__(self, number: int) -> tuple[np.ndarray, None]:
        return np.minimum(self._places(number), self.examples - 1), None

    def mask(self, number: int) -> np.ndarray:
        """bool [B]: which are examples, and not filled up."""
        return self._places(number) < self.examples

    def _places(self, number: int) -> np.ndarray:
        first = number * self.batch_size
        return self.share.of(np.arange(first, first + self.batch_size, dtype=np.int32))


class Loader:
    """Batches first, first + 1, ... as mappings by entry name, each made once, by `threads` threads or `workers`
    processes.

    names: of the entries that are needed; None for all. threads: None for one per core, or one per worker process where
    there are `workers`. Close it, or use it as a context, to end them.
    """

    def __init__(
        self,
        part: Part,
        batches: Batches,
        *,
        first: int = 0,
        last: int,
        workers: int = 0,
        threads: int | None = None,
        names: Sequence[str] | None = None,
    ):
        import grain
        from absl import flags

        if not flags.FLAGS.is_parsed():
            flags.FLAGS.mark_as_parsed()  # Grain asks for its own; there are none but ours here
        self.workers = workers
        threads = threads or (1 if workers else cores())
        made: Any = grain.MapDataset.range(first, last).map(_Make(_Modules.loaded(), part, batches, names))
        made = made.to_iter_dataset(grain.ReadOptions(num_threads=threads, prefetch_buffer_size=threads + AHEAD))
        if workers:
            options = grain.MultiprocessingOptions(num_workers=workers, per_worker_buffer_size=AHEAD)
            made = made.mp_prefetch(options, worker_init_fn=_serve)
        self._made = iter(made)

    def __iter__(self) -> Iterator[dict[str, np.ndarray]]:
        return self

    def __next__(self) -> dict[str, np.ndarray]:
        try:
            made = next(self._made)
        except RuntimeError as error:
            if self.workers and "terminated" in str(error):
                code = next((word for word in str(error).split() if word.strip("-.").isdecimal()), "unknown")
                raise DataError(
                    f"one of {self.workers} processes that read images has ended (exit code {code.strip('.')}; -9 is "
                    "killed, often for want of memory): the same command continues; --workers 0 reads in threads"
                ) from None
            raise
        # Shared memory is given back before the next batch, not when the last user of an array is gone.
        return {name: np.array(array) for name, array in made.items()} if self.workers else made

    def close(self) -> None:
        """End the threads or processes; what they made ahead is thrown away."""
        self._made.close()

    def __enter__(self) -> Loader:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def _serve(worker: int, workers: int) -> None:
    """Make this process one that ends with the one that began it, however that ends, and leaves requests to stop to it.

    Ctrl-C and the signals of clusters reach all processes of a training.
    """

    def end() -> None:
        parent = multiprocessing.parent_process()
        if parent is not None:
            parent.join()
            os._exit(1)

    for number in (signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=end, daemon=True).start()


@dataclass(frozen=True)
class _Make:
    """A function that can be sent to another process."""

    modules: _Modules  # first, so that classes of the others are found when they are unpacked
    part: Part
    batches: Batches
    names: Sequence[str] | None

    def __call__(self, number: int) -> dict[str, np.ndarray]:
        return self.part.batch(*self.batches(number), names=self.names)


class _Modules(importlib.abc.MetaPathFinder):
    """Finds experiment files' modules by their paths, in another process too: a part may be of a class of theirs.

    files: by module, its path and a digest of the text that the first process runs, which another one must run too.
    """

    def __init__(self, files: dict[str, tuple[str, str]]):
        self.files = files

    @classmethod
    def loaded(cls) -> _Modules:
        """Those of this process, and the modules of the user's that they import."""
        return cls({name: (os.path.abspath(file), _digest(text)) for name, (file, text) in texts().items()})

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> Any:
        if fullname not in self.files:
            return None
        file, digest = self.files[fullname]
        if _digest(Path(file).read_text(encoding="utf-8")) != digest:
            raise DataError(f"{file} was changed while it was used; run the same command again")
        return importlib.util.spec_from_file_location(fullname, file) if fullname.startswith(EXPERIMENT) else None

    def __reduce__(self) -> tuple[Any, ...]:
        return _installed, (self.files,)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _installed(files: dict[str, tuple[str, str]]) -> _Modules:
    modules = _Modules(files)
    # First, so that no module is imported unseen.
    sys.meta_path.insert(0, modules)
    # Where an experiment's file was run, its neighbours could be imported too.
    own = [file for name, (file, _) in files.items() if name.startswith(EXPERIMENT)]
    sys.path += [folder for folder in map(os.path.dirname, own) if folder not in sys.path]
    return modules
