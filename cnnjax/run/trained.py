"""A trained network in your hands: its weights, its module, and what it says of images."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import flax.linen as linen
import jax
import jax.numpy as jnp
import numpy as np

from cnnjax.errors import ConfigError, RunError
from cnnjax.experiment import Experiment
from cnnjax.records.resolved import Resolved
from cnnjax.run.compiling import compiled
from cnnjax.run.directory import RunDirectory, directory_in
from cnnjax.run.images import checked
from cnnjax.run.resolve import recorded_form, recorded_functions, recorded_network, recorded_task, resolved_of
from cnnjax.run.stale import refuse_stale
from cnnjax.run.weights import check_estimated, chosen_weights, restore, weights_of
from cnnjax.tasks import Answered, Task
from cnnjax.training.state import TrainState, split_variables
from cnnjax.training.step import StepFunctions, evaluation_outputs

MOST_TOGETHER = 256
"""Images of a batch, where the caller does not say."""

INPUT_VALUES = 2**24
"""Numbers that the views of such a batch have at most."""


@dataclass(frozen=True, eq=False, repr=False)
class Trained:
    """The network of a run with the weights of one of its checkpoints.

    step: of the checkpoint, as steps of training taken. state: host arrays. resolved: what the run recorded of its
    images, classes and outputs. weights: the name of the training method whose weights these are ("ema" for the moving
    average); None are those that the optimizer trained. checksum: of the checkpoint.
    """

    path: Path
    step: int
    experiment: Experiment
    resolved: Resolved
    network: linen.Module
    state: TrainState
    weights: str | None = None
    checksum: int = 0

    @property
    def params(self) -> Any:
        """The parameters, by module."""
        return self.variables["params"]

    @property
    def batch_stats(self) -> Any:
        """The running statistics, by module."""
        return self.variables["batch_stats"]

    @cached_property
    def variables(self) -> dict[str, Any]:
        """All collections, as `network.apply` takes them. The network sees normalized images; `predict` does that."""
        return weights_of(self.experiment, self.network, self.state, self.weights)

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes in the order of the outputs, numbers where none are known; empty without classes."""
        return self.resolved.class_names if self.resolved.labelled else ()

    @property
    def is_finished(self) -> bool:
        """Whether the weights are those at the end of the training."""
        return self.step >= self.resolved.steps

    def described(self) -> str:
        """`runs/baseline, step 120 of 300`."""
        of = "" if self.is_finished else f" of {self.resolved.steps}: its training is not finished"
        return f"{self.path}, step {self.step}{f', {self.weights} weights' if self.weights else ''}{of}"

    def __repr__(self) -> str:
        shape = "x".join(map(str, self.resolved.input_shape))
        return f"<Trained {self.experiment.model.tag} on {self.resolved.data} ({shape}): {self.described()}>"

    def predict(self, images: Any, *, batch_size: int | None = None) -> Answered:
        """What the network says of images, computed as in the evaluation of its training.

        images: one [H, W, C] or several [N, H, W, C] of the recorded shape (`resolved.input_shape`); uint8 in
        0..`resolved.maximum`, or floats in 0..1, which are shares of full brightness. Not normalized: that is done
        here. Of a network for sound, clips [T] or [N, T], int16 or floats in -1..1 (rounded to 16 bits), or the images
        that its front end makes of them. batch_size: images computed together, which changes nothing but round-off;
        each size is compiled once.

        Raises DataError, saying what the network takes, where images have another form, and RunError where outputs are
        not finite.
        """
        if batch_size is not None and not (isinstance(batch_size, int) and batch_size >= 1):
            raise ConfigError(f"batch_size = {batch_size!r}: must be a whole number, at least 1")
        array = checked(images, self.resolved)
        size = batch_size or min(self.most_together, 2 ** math.ceil(math.log2(len(array))))
        parts = [self._answers(array[start : start + size], size) for start in range(0, len(array), size)]
        answers = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        for name in answers:
            if not (finite := np.isfinite(answers[name]).reshape(len(array), -1).all(1)).all():
                raise RunError(
                    f"{self.described()}: the outputs for image {int(np.flatnonzero(~finite)[0])} are not finite: the "
                    "training diverged; load an earlier step, or train it again"
                )
        return self.task.answered(answers, self.experiment.loss, self.classes)

    def sample(self, count: int, *, seed: int = 0) -> np.ndarray:
        """So many new images, float32 [count, H, W, C] in 0..1, of codes drawn with `seed` from the prior (`vae`).

        Raises ConfigError where the task makes none.
        """
        if not (isinstance(count, int) and count >= 1):
            raise ConfigError(f"count = {count!r}: must be a whole number, at least 1")
        form, loss = recorded_form(self.resolved), self.experiment.loss
        key = jax.random.key(seed)
        return np.asarray(self.task.sampled(self.network, self.variables, count, key, loss=loss, form=form))

    def fused(self) -> Trained:
        """The same network with the branches of each block as one convolution, which computes the same (RepVGG).

        Its parameters are fewer, and it is for evaluation, prediction and export. Raises ConfigError where the
        architecture has no such form.
        """
        model, variables = self.experiment.model.fuse(self.variables)
        experiment = self.experiment.model_copy(update={"model": model})
        network = recorded_network(experiment, self.resolved)
        state = self.state.replace(**split_variables(variables), opt_state=(), methods={}, estimated={})
        made = replace(self, experiment=experiment, network=network, state=state)
        # They are those of the method already.
        vars(made)["variables"] = variables
        return made

    def answer(self, variables: Any, images: jax.Array) -> dict[str, jax.Array]:
        """What the task says of images [B, H, W, C] of 0..maximum, or clips int16 [B, T], as arrays by name; pure, to
        be traced."""
        return self._functions.answer(evaluation_outputs(self._functions, variables, images), images)

    @cached_property
    def says(self) -> tuple[str, ...]:
        """The names of the arrays of `answer`."""
        image = jax.ShapeDtypeStruct((1, *self.resolved.input_shape), jnp.uint8)
        return tuple(jax.eval_shape(self.answer, self.variables, image))

    @cached_property
    def task(self) -> Task:
        """What it was trained for."""
        return recorded_task(self.experiment, self.resolved)

    @cached_property
    def _functions(self) -> StepFunctions:
        return recorded_functions(self.experiment, self.resolved).bound(self.state.lane)

    @cached_property
    def _on_device(self) -> Any:
        return jax.device_put(self.variables, jax.local_devices()[0])

    @cached_property
    def _compiled(self) -> dict[Any, Any]:
        return {}

    @cached_property
    def most_together(self) -> int:
        """How many images `predict` computes together by default: fewer where they are large."""
        image = jax.ShapeDtypeStruct((1, *self.resolved.input_shape), jnp.uint8)
        values = math.prod(jax.eval_shape(self._functions.views, image).shape)
        return max(1, min(MOST_TOGETHER, 2 ** int(math.log2(max(1, INPUT_VALUES // values)))))

    def _answers(self, images: np.ndarray, size: int) -> dict[str, np.ndarray]:
        """Of at most `size` images, which are filled up to that many."""
        if np.issubdtype(images.dtype, np.floating):
            images = images * np.float32(self.resolved.maximum)
        filled = np.concatenate([images, np.zeros((size - len(images), *images.shape[1:]), images.dtype)])
        key = filled.shape, filled.dtype
        if key not in self._compiled:
            lowered = jax.jit(self.answer).lower(self._on_device, jax.ShapeDtypeStruct(filled.shape, filled.dtype))
            self._compiled[key] = compiled(lowered)
        answers = jax.device_get(self._compiled[key](self._on_device, filled))
        return {name: array[: len(images)] for name, array in answers.items()}


def load_run(run: Path | str, *, step: int | None = None, stale: str = "stop", weights: str | None = None) -> Trained:
    """The trained network of a run, without its data.

    run: its folder; of a study, trials/<id>. step: of a checkpoint; by default the newest. stale: "keep" takes the
    user's own code of now where other code trained it. weights: a training method's ("ema") or "raw", those that the
    optimizer trained; by default those whose results stand without a method's name. Raises RunError where there is no
    checkpoint or it is damaged, where the code changed, or where the training failed and no step is given; ConfigError
    where the run has no such weights.
    """
    directory = directory_in(Path(run))
    experiment = directory.experiment()
    method = chosen_weights(experiment, weights)
    refuse_stale(directory, experiment, stale)
    if step is None:
        _refuse_diverged(directory)
    resolved = resolved_of(directory, experiment)
    state, notes = restore(directory, experiment, step=step)
    if method is not None:
        check_estimated(state, method)
    network = recorded_network(experiment, resolved)
    return Trained(directory.path, int(state.step), experiment, resolved, network, state, method, notes.checksum)


def _refuse_diverged(directory: RunDirectory) -> None:
    result = directory.finished()
    if result is not None and result.status == "failed" and not result.crashed:
        raise RunError(
            f"{directory.path} failed: {result.error}; its checkpoints, if there are any, are from before: to "
            "use one all the same, give its step (--step)"
        )
