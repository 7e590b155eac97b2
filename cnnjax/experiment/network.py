"""The network of an experiment: the one its data and its loss ask for."""

from __future__ import annotations

import flax.linen as linen

from cnnjax.data.example_form import ExampleForm
from cnnjax.errors import ConfigError
from cnnjax.experiment.experiment import Experiment
from cnnjax.losses import SoftmaxCrossEntropy


def network_of(experiment: Experiment, form: ExampleForm | None = None) -> linen.Module:
    """The network for examples of that form (None: of the experiment's data), with its number of outputs.

    Raises ConfigError where they do not agree; the softmax loss takes more outputs than there are classes.
    """
    form = experiment.data.load() if form is None else form
    try:
        return experiment.model.model_copy(update={"num_classes": outputs_of(experiment, form)}).build()
    except ConfigError as error:
        raise ConfigError(f"model: {error}") from None


def outputs_of(experiment: Experiment, form: ExampleForm) -> int:
    """How many outputs an image the network has. Raises ConfigError where the loss cannot take them."""
    needed, spare = outputs_needed(experiment, form)
    chosen = experiment.model.num_classes
    outputs = needed if chosen is None else chosen
    if outputs < needed or (outputs > needed and not spare):
        raise ConfigError(f"model.num_classes = {chosen}: {form.name} with loss {experiment.loss.tag} needs {needed}")
    return outputs


def outputs_needed(experiment: Experiment, form: ExampleForm) -> tuple[int, bool]:
    """How many outputs an image the loss needs, and whether it takes more."""
    needed = experiment.loss.outputs(len(form.classes) or None, target_shape=form.target_shape)
    return needed, bool(form.classes) and isinstance(experiment.loss, SoftmaxCrossEntropy)
