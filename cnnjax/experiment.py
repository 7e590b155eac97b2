"""An experiment: one training, described whole by one frozen config."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import lru_cache, partial
from typing import Annotated, Any, Literal

import flax.linen as linen
import jax
import jax.numpy as jnp
import numpy as np
from pydantic import Field, model_validator

from cnnjax import metrics
from cnnjax.config import Config, bind, digest, lane, lane_fields, lanes, program_digest, refused
from cnnjax.data import Augmentation, Data, Dataset, Digits, Mixing, SingleView, TestTime
from cnnjax.data.order import steps_until
from cnnjax.data.splits import Splits, splits
from cnnjax.errors import CnnjaxError, ConfigError, DataError, ShapeError, users_line
from cnnjax.lanes import check_traced, lane_values, overridden_lanes, own_lanes
from cnnjax.losses import Loss, SoftmaxCrossEntropy
from cnnjax.models import Model
from cnnjax.models.outputs import logits_of
from cnnjax.optim import SGD, Optim
from cnnjax.training.rehearsal import rehearse, steps_alike
from cnnjax.training.state import TrainState, derive, example_keys
from cnnjax.training.step import Task, eval_step, init_state, train_step

Fraction = Annotated[float, Field(ge=0, lt=1)]
Count = Annotated[int, Field(ge=0)]


class Experiment(Config):
    """One training and its evaluation.

    model, data, optim, loss: what is trained, on what, how. augment: random changes of training images, in order;
    mixing: how each is then mixed with another of its batch, and their labels. test_time: the views of an image whose
    outputs are averaged in evaluation.
    epochs: passes over the training part; `steps`, where given, is the exact number of steps instead.
    batch_size: examples a step, over all devices; `accumulate` cuts it into parts whose gradients are averaged.
    precision: of the computation; parameters are float32 either way.
    validation: share (below 1) or count of training examples carved off for choosing; 0 for none. The split is the
    same for every seed. fraction, per_class: share of the rest, or examples of each class, to train on, for learning
    curves: validation and test stay the same, and more examples hold the fewer.
    repeats: how often in a row a batch holds each example, augmented each time anew (Hoffer et al. 2020); an epoch has
    as many examples as ever, so that it sees one in `repeats` of the training part.
    initial: folder of a run whose newest weights the training starts from; the logits of other classes, by
    number, name or order, start afresh. seed: of the initial weights, the order of examples, augmentation and dropout.
    """

    model: Model
    data: Data = Digits()
    optim: Optim = SGD()
    loss: Loss = SoftmaxCrossEntropy()
    augment: tuple[Augmentation, ...] = ()
    mixing: Mixing | None = None
    test_time: TestTime = SingleView()
    epochs: int = Field(default=10, ge=1)
    steps: int | None = Field(default=None, ge=1)
    batch_size: int = Field(default=64, ge=1)
    accumulate: int = Field(default=1, ge=1)
    precision: Literal["float32", "bfloat16"] = "float32"
    repeats: int = Field(default=1, ge=1)
    validation: Count | Fraction = 0.1
    fraction: float = Field(default=1.0, gt=0, le=1)
    per_class: int | None = Field(default=None, ge=1)
    initial: str | None = None
    seed: int = lane(0, ge=0, lt=2**32)

    @model_validator(mode="after")
    def _parts_divide_batch(self) -> Experiment:
        if self.batch_size % self.accumulate:
            raise ValueError(f"batch_size = {self.batch_size} is not divisible by accumulate = {self.accumulate}")
        if self.fraction < 1 and self.per_class is not None:
            raise ValueError(f"fraction = {self.fraction} and per_class = {self.per_class}: give one of both")
        return self

    @classmethod
    def check_lanes(cls) -> None:
        super().check_lanes()
        names = lane_fields(cls)
        if "seed" not in names:
            raise ConfigError(f"{cls.__name__}.seed must be a lane: seed: int = lane(0, ge=0, lt=2**32)")
        for name in names:
            if name != "seed":
                raise refused(cls, name, "the experiment's own fields say what is read and compiled")

    @property
    def id(self) -> str:
        """Twelve hex digits that name this experiment by its content."""
        return digest(self)

    @property
    def program(self) -> str:
        """Names what is compiled: equal for experiments that differ only in lanes (seed, learning rate, ...)."""
        return program_digest(self)

    def parts(self) -> Splits:
        """Training, validation and test examples. Raises DataError or ConfigError."""
        return _parts(self.data.load(), self.validation, self.fraction, self.per_class)

    def total_steps(self, examples: int) -> int:
        """Steps of the whole training, for `examples` training examples."""
        return self.steps or steps_until(self.epochs, batch_size=self.batch_size, examples=examples)

    def network(self) -> linen.Module:
        """The network for this data, with its number of outputs.

        Raises ConfigError where they do not agree; the softmax loss takes more outputs than there are classes.
        """
        return self._network(self.data.load())

    def _network(self, dataset: Dataset) -> linen.Module:
        outputs = self._chosen_outputs(dataset)
        try:
            return self.model.model_copy(update={"num_classes": outputs}).build()
        except ConfigError as error:
            raise ConfigError(f"model: {error}") from None

    def _chosen_outputs(self, dataset: Dataset) -> int:
        """How many outputs an image the network has. Raises ConfigError where the loss cannot take them."""
        needed, spare = self._outputs(dataset)
        chosen = self.model.num_classes
        outputs = needed if chosen is None else chosen
        if outputs < needed or (outputs > needed and not spare):
            raise ConfigError(f"model.num_classes = {chosen}: {dataset.name} with loss {self.loss.tag} needs {needed}")
        return outputs

    def _outputs(self, dataset: Dataset) -> tuple[int, bool]:
        """How many outputs an image the loss needs, and whether it takes more."""
        needed = self.loss.outputs(len(dataset.classes) or None, target_shape=dataset.train.labels.shape[1:])
        return needed, bool(dataset.classes) and isinstance(self.loss, SoftmaxCrossEntropy)

    def task(self, *, steps: int, examples: int) -> Task:
        """The pure functions a training step is made of."""
        return self._task(self.data.load(), steps=steps, examples=examples)

    def _task(self, dataset: Dataset, *, steps: int, examples: int, network: linen.Module | None = None) -> Task:
        network = self._network(dataset) if network is None else network

        # Every part is of `self`, so that those of a bound copy hold the values that are bound.
        def bound(lane: Mapping[str, jax.Array]) -> Task:
            same = None if any(path.startswith("model.") for path in lane) else network
            return bind(self, lane)._task(dataset, steps=steps, examples=examples, network=same)

        def measure(logits: jax.Array, **arrays: Any) -> dict[str, jax.Array]:
            # What is measured is which of the data's classes the network prefers, if it has outputs for more.
            classes = len(dataset.classes) or None
            predictions = self.loss.predictions(logits)[:, :classes]
            return metrics.measure(logits[:, :classes], classes=classes, predictions=predictions, **arrays)

        return Task(
            bound=bound,
            network=network,
            inputs=self._inputs(dataset, examples),
            views=self._views(dataset),
            loss=self.loss,
            measure=measure,
            optimizer=partial(self.optim.build, steps=steps, steps_per_epoch=max(1, examples // self.batch_size)),
            accumulate=self.accumulate,
            logits=self._logits(dataset),
        )

    def _logits(self, dataset: Dataset) -> Callable[[Any, int], jax.Array]:
        needed, spare = self._outputs(dataset)
        target_rank = max(1, dataset.train.labels.ndim - 1)

        def logits(outputs: Any, batch: int) -> jax.Array:
            return logits_of(self.model, outputs, batch=batch, needed=needed, spare=spare, target_rank=target_rank)

        return logits

    def augmented(
        self, images: jax.Array, keys: jax.Array, *, index: jax.Array, epoch: jax.Array, maximum: int = 255
    ) -> jax.Array:
        """The images as training sees them before normalization: uint8 [B, H, W, C] -> float32 in 0..1.

        keys [B]: each example's own. index, epoch [B]: of the examples in the training part, and of the pass over it.
        maximum: the pixel value of full brightness.
        """
        x = images.astype(jnp.float32) / maximum
        for position, augmentation in enumerate(self.augment):
            own = jax.vmap(lambda key, purpose=f"{position}": derive(key, purpose))(keys)
            x = jax.vmap(lambda image, key, i, e, a=augmentation: a.apply_in_epoch(image, key, index=i, epoch=e))(
                x, own, index, epoch
            )
        return x

    def _normalize(self, dataset: Dataset) -> Callable[[jax.Array], jax.Array]:
        dtype = jnp.dtype(self.precision)
        mean, std = (np.asarray(channels, np.float32) for channels in dataset.scale)

        def normalize(x: jax.Array) -> jax.Array:
            channels = (1,) * (x.ndim - 1) + (-1,)
            return ((x - mean.reshape(channels)) / std.reshape(channels)).astype(dtype)

        return normalize

    def _inputs(self, dataset: Dataset, examples: int) -> Callable[..., Any]:
        normalize = self._normalize(dataset)

        def inputs(batch: Mapping[str, jax.Array], key: jax.Array, step: jax.Array) -> Any:
            def seen(images: jax.Array, position: jax.Array, index: jax.Array) -> jax.Array:
                epoch = (step * self.batch_size + position) // self.repeats // examples
                keys = example_keys(derive(key, "augment"), position)
                return self.augmented(images, keys, index=index, epoch=epoch, maximum=dataset.maximum)

            x = seen(batch["images"], batch["position"], batch["index"])
            if self.mixing is None:
                return normalize(x), ((batch["labels"], 1.0),)
            other = seen(batch["partner_images"], batch["partner_position"], batch["partner_index"])
            keys = example_keys(derive(key, "mixing"), batch["position"])
            mixed, share = jax.vmap(self.mixing.mix)(x, other, keys)
            return normalize(mixed), ((batch["labels"], share), (batch["partner_labels"], 1 - share))

        return inputs

    def _views(self, dataset: Dataset) -> Callable[[jax.Array], jax.Array]:
        normalize = self._normalize(dataset)

        def views(images: jax.Array) -> jax.Array:
            x = images.astype(jnp.float32) / dataset.maximum
            return normalize(jax.vmap(self.test_time.views)(x))

        return views

    def check(self, *, devices: int = 1, training: bool = True) -> Any:
        """Trace the network on the data's images, training nothing; the analysis of its layers.

        Its warnings are of the network, and of its training with this batch size, on `devices`, for this data. With
        `training` a step of training and one of evaluation are traced too, as they will be compiled; once for all
        experiments of one program. Raises ConfigError, ShapeError (with the layer and the arithmetic) or DataError.
        """
        dataset, parts = self.data.load(), self.parts()
        self._check_labels(dataset)
        lane_values(self)  # Raises ConfigError for those that have none.
        if parts.validation is not None and not len(parts.validation):
            raise DataError(f"validation = {self.validation}: no example of {len(dataset.train)} is left for it")
        if self.batch_size > len(parts.train):
            raise ConfigError(f"batch_size = {self.batch_size}: there are only {len(parts.train)} training examples")
        network = self.network()
        analysis = self._analysis(network, dataset)
        self._check_views(analysis, dataset)
        if training:
            try:
                traced = _rehearsed(_ByProgram(self, type(network), len(parts.train), devices))
            except ConfigError:
                # Where a lane is at fault, that is the better message.
                self._check_own_lanes(dataset, examples=len(parts.train))
                raise
            self._check_same(analysis, traced)
        return replace(analysis, warnings=analysis.warnings + self._warnings(analysis, dataset, devices))

    def _analysis(self, network: linen.Module, dataset: Dataset) -> Any:
        """What `analyse` says of the network; what a user's module raises, with its line."""
        from cnnjax.analysis import analyse

        try:
            return analyse(network, dataset.image_shape)
        except CnnjaxError as error:
            message = f"{error}{users_line(error)}"
            kind = ShapeError if isinstance(error, ShapeError) else ConfigError
            raise kind(message if message.startswith("model") else f"model.{message}") from error.__cause__

    def _rehearse(self, examples: int, devices: int) -> TrainState:
        """The shapes of the state, once the steps are traced."""
        dataset = self.data.load()
        task = self.task(steps=self.total_steps(examples), examples=examples)
        try:
            return rehearse(
                task, self._lane_shapes(), self._batch(dataset), image_shape=dataset.image_shape, devices=devices
            )
        except ShapeError as error:
            raise ShapeError(f"model: {error}") from error.__cause__
        except ConfigError as error:
            raise ConfigError(f"model: {error}") from error.__cause__

    def steps_alike(self) -> tuple[str, dict[str, Any]]:
        """A digest of what its steps compute, and the values of the lanes that they read, the seed left out.

        Experiments on the same data for which both are equal are the same training: what else they say has no effect.
        """
        content, read = _steps_alike(_ByProgram(self, len(self.parts().train)))
        values = lane_values(self)
        return content, {path: float(values[path]) for path in sorted(read) if path != "seed"}

    def _lane_shapes(self) -> dict[str, jax.ShapeDtypeStruct]:
        return {path: jax.ShapeDtypeStruct(value.shape, value.dtype) for path, value in lane_values(self).items()}

    def _batch(self, dataset: Dataset) -> dict[str, jax.ShapeDtypeStruct]:
        """The shapes and types of what a training step is given."""
        labels = dataset.train.labels
        arrays = {
            "images": (dataset.image_shape, jnp.uint8),
            "labels": (labels.shape[1:], jax.dtypes.canonicalize_dtype(labels.dtype)),
            "position": ((), jnp.int32),
            "index": ((), jnp.int32),
        }
        if self.mixing is not None:
            arrays |= {f"partner_{name}": kind for name, kind in arrays.items()}
        return {name: jax.ShapeDtypeStruct((self.batch_size, *shape), dtype) for name, (shape, dtype) in arrays.items()}

    def _check_same(self, analysis: Any, state: TrainState) -> None:
        """Raise ConfigError where the network is another one each time it is made."""
        params = sum(leaf.size for leaf in jax.tree.leaves(state.params))
        if analysis.params != params:
            raise ConfigError(
                f"model: {type(self.model).__name__}.network() made a network of {analysis.params:,} parameters, and "
                f"then one of {params:,}: it must make the same one every time"
            )

    def _check_views(self, analysis: Any, dataset: Dataset) -> None:
        """Raise ConfigError unless the network that is trained can look at the views of `test_time`."""
        from cnnjax.analysis import analyse

        image = jax.ShapeDtypeStruct(dataset.image_shape, jnp.float32)
        view = jax.eval_shape(self.test_time.views, image).shape[1:]
        if view != dataset.image_shape and analyse(self.network(), view).params != analysis.params:
            raise ConfigError(
                f"test_time = {self.test_time.tag!r}: its views are {'x'.join(map(str, view))}, for which this network "
                "has layers of other sizes than for the images it is trained on; pool globally, or take other views"
            )

    def _check_own_lanes(self, dataset: Dataset, *, examples: int) -> None:
        """Raise ConfigError where a step needs the value of a lane in a class of a user's own."""
        own, labels = own_lanes(self), dataset.train.labels
        if not own:
            return
        task = self.task(steps=self.total_steps(examples), examples=examples)

        def steps(lane: Mapping[str, Any]) -> None:
            number = jnp.arange(self.batch_size, dtype=jnp.int32)
            batch = {
                "images": jnp.zeros((self.batch_size, *dataset.image_shape), jnp.uint8),
                "labels": jnp.zeros((self.batch_size, *labels.shape[1:]), labels.dtype),
                "index": number,
                "position": number,
            }
            state = init_state(task, lane, dataset.image_shape)
            eval_step(task, state, {**batch, "mask": number >= 0})
            train_step(task, state, batch | {f"partner_{name}": array for name, array in batch.items()})

        check_traced(lanes(self), steps, traced=own)

    def _warnings(self, analysis: Any, dataset: Dataset, devices: int) -> tuple[str, ...]:
        from cnnjax.analysis.lint import lint_training

        split = {"batch_size": self.batch_size, "accumulate": self.accumulate, "devices": devices}
        warnings = lint_training(analysis, **split)
        warnings += tuple(overridden_lanes(self))
        chosen, classes = self.model.num_classes, len(dataset.classes)
        if classes and chosen and chosen > classes:
            warnings += (
                f"model.num_classes = {chosen}: {dataset.name} has {classes} classes, so outputs {classes} to "
                f"{chosen - 1} never get an example and are not measured; leave num_classes unset",
            )
        return warnings

    def _check_labels(self, dataset: Dataset) -> None:
        if not dataset.classes and isinstance(self.loss, SoftmaxCrossEntropy):
            raise ConfigError(
                f"loss = 'softmax': {dataset.name} has targets, not classes; use loss=squared, poisson or sigmoid"
            )


class _ByProgram:
    """An experiment with what else its steps depend on; equal to others of one program."""

    def __init__(self, experiment: Experiment, *others: Any):
        self.experiment, self.others = experiment, others
        self._same = bind(experiment, dict.fromkeys(lanes(experiment), 0)), *others

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _ByProgram) and self._same == other._same

    def __hash__(self) -> int:
        return hash(self._same)


@lru_cache(maxsize=64)
def _rehearsed(program: _ByProgram) -> TrainState:
    _, examples, devices = program.others
    return program.experiment._rehearse(examples, devices)


@lru_cache(maxsize=256)
def _steps_alike(program: _ByProgram) -> tuple[str, frozenset[str]]:
    experiment, (examples,) = program.experiment, program.others
    task = experiment.task(steps=experiment.total_steps(examples), examples=examples)
    dataset = experiment.data.load()
    return steps_alike(task, experiment._lane_shapes(), experiment._batch(dataset), image_shape=dataset.image_shape)


@lru_cache(maxsize=2)
def _parts(dataset: Dataset, validation: float, fraction: float, per_class: int | None) -> Splits:
    return splits(dataset, validation, fraction=fraction, per_class=per_class)
