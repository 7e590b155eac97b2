"""An experiment with what its checks look up again and again, and the answers that experiments share."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from copy import copy
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Generic, TypeVar

import flax.linen as linen

from cnnjax.code import code_of
from cnnjax.config import classes, program_text
from cnnjax.data import Dataset
from cnnjax.errors import CnnjaxError
from cnnjax.experiment.experiment import Experiment
from cnnjax.experiment.network import network_of, outputs_of, task_of
from cnnjax.tasks import Task

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Subject:
    """An experiment, its data set, its network and the user's code that it runs, each found once."""

    experiment: Experiment

    @cached_property
    def dataset(self) -> Dataset:
        """The examples. Raises DataError."""
        return self.experiment.data.load()

    @cached_property
    def task(self) -> Task:
        """What the network is trained for. Raises ConfigError."""
        return task_of(self.experiment, self.dataset)

    @cached_property
    def network(self) -> linen.Module:
        """The network. Raises ConfigError."""
        return network_of(self.experiment, self.dataset)

    @cached_property
    def classes(self) -> frozenset[type]:
        """The classes of all configs in the experiment."""
        return classes(self.experiment)

    @cached_property
    def code(self) -> str | None:
        """The digest of the user's own code that it runs; None for none."""
        return code_of(self.experiment).digest

    @cached_property
    def made(self) -> Hashable:
        """What a user's class makes may change while it goes by the same name, in a notebook: this changes with it."""
        return self.classes, self.code, type(self.network)

    @cached_property
    def same_network(self) -> Hashable:
        """Equal for experiments whose networks are the same, but for the values of lanes."""
        outputs = outputs_of(self.experiment, self.dataset)
        return program_text(self.experiment.model), outputs, self.task, self.made

    @cached_property
    def same_program(self) -> Hashable:
        """Equal for experiments that compile to the same steps on as many devices and the same teachers."""
        return program_text(self.experiment), self.experiment.data, self.made


class Remembered(Generic[T]):
    """The latest answers to one kind of question, at most `size`; an error is an answer too, and is raised again."""

    def __init__(self, size: int):
        self._size, self._answers, self._lock = size, dict[Hashable, T | CnnjaxError](), threading.Lock()

    def __call__(self, key: Hashable, ask: Callable[[], T]) -> T:
        """What `ask` returned, or raised, when it was asked with an equal key before; else it is called."""
        with self._lock:
            known = key in self._answers
            answer: Any = self._answers.pop(key, None)
            if known:
                self._keep(key, answer)
        if isinstance(answer, CnnjaxError):
            raise copy(answer)
        return answer if known else self._asked(key, ask)

    def _asked(self, key: Hashable, ask: Callable[[], T]) -> T:
        try:
            answer = ask()
        except CnnjaxError as error:
            with self._lock:
                self._keep(key, copy(error))  # without its cause, whose frames hold all that was traced
            raise
        with self._lock:
            self._keep(key, answer)
        return answer

    def _keep(self, key: Hashable, answer: T | CnnjaxError) -> None:
        self._answers[key] = answer
        while len(self._answers) > self._size:
            del self._answers[next(iter(self._answers))]

    def forget(self) -> None:
        """Drop all answers."""
        with self._lock:
            self._answers.clear()
