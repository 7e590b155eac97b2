"""What is inspected: a run's network in use, and the examples of a part of its data."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from cnnjax.config import replace
from cnnjax.data import SingleView
from cnnjax.data.dataset import Dataset
from cnnjax.data.example_form import as_images
from cnnjax.data.examples import Part
from cnnjax.data.loader import BatchesInOrder, Loader
from cnnjax.errors import ConfigError, DataError
from cnnjax.experiment import parts_of
from cnnjax.inspection.batches import Batch
from cnnjax.inspection.kept_outputs import kept_outputs
from cnnjax.inspection.network import Network, spread
from cnnjax.records.resolved import Resolved
from cnnjax.run.feed import put_rows
from cnnjax.run.hardware import Hardware
from cnnjax.run.images import checked, images_of, listed, read, takes
from cnnjax.run.resolve import recorded_form, recorded_functions
from cnnjax.run.trained import Trained
from cnnjax.tasks import Binary, Classification, Predictions
from cnnjax.training.step import evaluation_outputs

PARTS = ("train", "validation", "test")
Told = Callable[[int, int, str], None]
"""Called with (batches done, batches in all, what is being done)."""


@dataclass(frozen=True)
class Options:
    """layers: by name; () takes some, spread over the depth. part: of the data. count: images that are shown, spread
    over the part. examples: places in the part, from 0, of the images to show instead. images: files or arrays to show
    in the place of a part's. units: of a layer that are shown, evenly spread. batch_size: None for up to 256; devices:
    None for all.
    """

    layers: tuple[str, ...] = ()
    part: str = "test"
    count: int = 8
    units: int = 16
    images: Any = None
    examples: tuple[int, ...] = ()
    batch_size: int | None = None
    devices: int | None = None

    def __post_init__(self) -> None:
        if self.part not in PARTS:
            raise ConfigError(f"part = {self.part!r}: must be {', '.join(PARTS)}")
        for name in ("count", "units"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} = {getattr(self, name)}: must be at least 1")
        if self.examples and self.images is not None:
            raise ConfigError("examples: these are of the part; leave out images")
        if any(place < 0 for place in self.examples):
            raise ConfigError(f"examples = {min(self.examples)}: places are counted from 0")
        if self.batch_size is not None and self.batch_size < 4:
            raise ConfigError(f"batch_size = {self.batch_size}: must be at least 4")


@dataclass(frozen=True, eq=False)
class Subject:
    """A trained network, with other runs that it is compared with."""

    trained: Trained
    options: Options
    others: tuple[Trained, ...] = ()
    told: Told = field(default=lambda done, total, what: None)

    @cached_property
    def network(self) -> Network:
        """As a function of images in 0..1 of the data's shape, seen in one view."""
        return network_of(self.trained)

    @property
    def classes(self) -> tuple[str, ...]:
        """Their names, empty without any."""
        return self.trained.classes

    @property
    def has_classes(self) -> bool:
        """Whether each image is of one class."""
        return isinstance(self.trained.task, Classification)

    @property
    def has_probabilities(self) -> bool:
        """Whether its outputs are the probabilities of one class among all."""
        return self.has_classes and (self.trained.resolved.kind == "softmax" or isinstance(self.trained.task, Binary))

    @property
    def has_maps(self) -> bool:
        """Whether its outputs are maps, so that no single number is asked about an image."""
        return self.trained.task.has_maps

    @property
    def remarks(self) -> tuple[str, ...]:
        """What is to be known of all pictures."""
        said = []
        if not isinstance(self.trained.experiment.test_time, SingleView):
            said.append("layers and gradients are those of one view of an image, not of all that its evaluation merges")
        if self.trained.resolved.fingerprint not in (None, self.dataset.fingerprint):
            said.append("the data are others now than those that it was trained on")
        return tuple(said)

    @cached_property
    def dataset(self) -> Dataset:
        """The run's data. Raises DataError where they are not there, or images are of another size."""
        dataset = self.trained.experiment.data.load()
        if dataset.image_shape != self.trained.resolved.input_shape:
            height, width, channels = dataset.image_shape
            raise DataError(f"images are [{height}, {width}, {channels}]; {takes(self.trained.resolved)}")
        return dataset

    def part(self, name: str | None = None) -> Part:
        """The examples of a part, by default the one that the options name. Raises DataError where it has none."""
        name = name or self.options.part
        assert self.dataset is not None
        part = getattr(parts_of(self.trained.experiment), name)
        if part is None or not len(part):
            raise DataError(f"the run has no {name} part: it was trained with validation = 0; take --part test")
        return part

    def check_examples(self) -> None:
        """Raise ConfigError where the part has no example at one of the places asked for."""
        most = max(self.options.examples, default=-1)
        if most >= 0 and most >= len(part := self.part()):
            raise ConfigError(f"examples = {most}: the {self.options.part} part has {len(part)}, counted from 0")

    @property
    def batch_size(self) -> int:
        """Images computed together: a multiple of the devices, not much more than there are."""
        devices = Hardware(self.options.devices).mesh().size
        size = self.options.batch_size or min(self.trained.most_together, max(4, len(self.part())))
        return size + -size % devices

    def batches(self, what: str, name: str | None = None) -> Iterator[Batch]:
        """All examples of a part in order, on the devices, images in 0..1."""
        part, mesh = self.part(name), Hardware(self.options.devices).mesh()
        order = BatchesInOrder(len(part), self.batch_size)
        form = recorded_form(self.trained.resolved)
        with Loader(part, order, last=len(order), names=("image",)) as loader:
            for number, made in enumerate(loader):
                self.told(number, len(order), what)
                images = np.asarray(as_images(form, made["image"]))
                arrays = images, order(number)[0].astype(np.int32), order.mask(number)
                yield Batch(*(put_rows(array, mesh) for array in arrays))
        self.told(len(order), len(order), what)

    @cached_property
    def shown(self) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
        """(images float32 [N, H, W, C] in 0..1, their places in the part or () of images given, a label for each)."""
        if self.options.images is not None:
            images, names = _given(self.options.images, self.trained)
            return images[: self.options.count], np.arange(0), names[: self.options.count]
        part = self.part()
        index = np.array(self.options.examples or spread(range(len(part)), self.options.count))
        images = part.stacked(index).astype(np.float32) / self.trained.resolved.maximum
        return images, index, tuple(map(self.labelled, index))

    def labelled(self, index: int, name: str | None = None) -> str:
        """The class of an example of the part, or its number."""
        part = self.part(name)
        return self.classes[int(part.labels[index])] if self.has_classes and part.has_label else f"{index}"

    @cached_property
    def targets(self) -> np.ndarray:
        """int32 [N], of the shown images the largest output; 0 of a network with one."""
        outputs = jax.jit(self.network.outputs)(jnp.asarray(self.shown[0]))
        return np.asarray(outputs.argmax(1), np.int32)

    def target_name(self, target: int) -> str:
        """What the output of that number stands for."""
        return self.classes[target] if self.has_classes and len(self.classes) == self._outputs else f"output {target}"

    @property
    def _outputs(self) -> int:
        return self.trained.resolved.outputs

    def logits(self, images: Any) -> np.ndarray:
        """float32 [N, C], of classes, as its evaluation merges them. images: as `Trained.predict` takes them."""
        answered = self.trained.predict(images, batch_size=self.batch_size)
        assert isinstance(answered, Predictions)
        return self._by_class(answered.logits)

    def _by_class(self, outputs: np.ndarray) -> np.ndarray:
        logits = outputs[:, : len(self.classes)]
        # One output is the log-odds of the second class.
        return np.concatenate([np.zeros_like(logits), logits], 1) if logits.shape[1] == 1 else logits

    def evaluated(self, name: str | None = None) -> tuple[np.ndarray, np.ndarray]:
        """(logits float32 [N, C], labels int [N]) of a part; computed once, or as predictions.npz has them."""
        name = name or self.options.part
        if name not in self._evaluated:
            labels, held = np.asarray(self.part(name).labels), self.kept(name)
            self._evaluated[name] = (self._computed(name) if held is None else self._by_class(held)), labels
        return self._evaluated[name]

    def kept(self, name: str | None = None) -> np.ndarray | None:
        """What the run kept of its outputs for a part, [N, K]; None where that is not of these weights and data."""
        name = name or self.options.part
        if name not in self._kept:
            changed = self.trained.resolved.fingerprint not in (None, self.dataset.fingerprint)
            labels = np.asarray(self.part(name).labels)
            self._kept[name] = None if changed else kept_outputs(self.trained, name, labels)
        return self._kept[name]

    @property
    def source(self) -> tuple[str, ...]:
        """A note on where the answers to the inspected part are from, where they are not computed here."""
        kept = "outputs as kept in predictions.npz, rounded to float16"
        return () if self.kept() is None else (kept,)

    def _computed(self, name: str) -> np.ndarray:
        part, size = self.part(name), self.batch_size
        made = []
        for start in range(0, len(part), size):
            self.told(start // size, -(-len(part) // size), f"{name} part")
            made.append(self.logits(part.stacked(np.arange(start, min(start + size, len(part))))))
        return np.concatenate(made)

    @cached_property
    def _kept(self) -> dict[str, np.ndarray | None]:
        return {}

    @cached_property
    def _evaluated(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        return {}


def network_of(trained: Trained) -> Network:
    """The network of a run as a function of images in 0..1 of its data's shape, seen in one view."""
    experiment, resolved = trained.experiment, trained.resolved
    if not isinstance(experiment.test_time, SingleView):
        experiment = replace(experiment, {"test_time": SingleView()})
    functions = recorded_functions(experiment, resolved).bound(trained.state.lane)

    def forward(variables: Any, images: jax.Array) -> jax.Array:
        return evaluation_outputs(functions, variables, images * resolved.maximum)

    image = jax.ShapeDtypeStruct((1, *resolved.input_shape), jnp.float32)
    seen: Any = jax.eval_shape(functions.views, image).shape[2:]
    variables = jax.device_put(trained.variables)
    return Network(functions.network, variables, resolved.input_shape, forward, seen)


def _given(images: Any, trained: Trained) -> tuple[np.ndarray, tuple[str, ...]]:
    """Images in 0..1 and their names: arrays, or files and folders. Raises DataError for those of another form."""
    resolved = trained.resolved
    if isinstance(images, Sequence) and all(isinstance(each, str | Path) for each in images):
        named = list(read(listed([Path(each) for each in images], resolved), resolved))
        for _, image in named:
            if isinstance(image, DataError):
                raise image
        return np.concatenate([_scaled(np.asarray(image)[None], resolved) for _, image in named]), tuple(
            Path(name).name for name, _ in named
        )
    array = _scaled(checked(images, resolved), resolved)
    return array, tuple(map(str, range(len(array))))


def _scaled(images: np.ndarray, resolved: Resolved) -> np.ndarray:
    """Examples [N, ...] as `checked` gives them, as float32 images in 0..1."""
    images = images_of(images, resolved)
    return (images / resolved.maximum if images.dtype == np.uint8 else images).astype(np.float32)
