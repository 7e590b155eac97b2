"""Programs that differ in the widths of their networks alone: tracing the steps of one tells of all.

That a step fails has one of these reasons: a layer does not fit its input, which the analysis of each network finds; a
user's code, and that is always traced; what task, loss, mixing, methods and optimizer make of the outputs and of the
parameters by their names and places, which are alike in a family. Left to the training is what fails in training alone
by the number of channels, of which cnnjax's own layers have nothing.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from cnnjax.analysis import Analysis, LayerRow
from cnnjax.config import diff, leaves, program_text
from cnnjax.experiment.subject import Subject
from cnnjax.models import Model

Families = set[Hashable]
"""The families of which the steps of one program were traced."""


def family_of(subject: Subject, analysis: Analysis) -> Hashable | None:
    """Equal for programs that differ in widths alone; None where each must be traced by itself.

    That is where code of a user's runs, and where the first weights depend on more than their shapes.
    """
    experiment = subject.experiment
    own = all(cls.__module__.startswith("cnnjax.") for cls in subject.classes)
    if not own or subject.code is not None or experiment.initial is not None or experiment.initialization is not None:
        return None
    others = tuple((name, program_text(value)) for name, value in experiment if name not in ("model", "seed"))
    rows = tuple(map(_form, analysis.layers))
    return others, _without_widths(experiment.model), analysis.input_shape, rows, subject.made


def _form(layer: LayerRow) -> Hashable:
    """What a layer is, but for its channels."""
    places = layer.output_shape[:-1], layer.input_shape and layer.input_shape[:-1]
    window = layer.kernel_size, layer.strides, layer.padding, layer.dilation, layer.input_dilation
    return layer.path, layer.op, places, window, layer.params > 0


_WIDTHS: dict[Hashable, frozenset[str]] = {}
"""The paths of a model's widths, by its class and all its paths."""


def _without_widths(model: Model) -> Hashable:
    """The model's class and its values by path, but for the numbers that its widths are."""
    found: dict[str, Any] = leaves(model)
    form = type(model), *found
    if form not in _WIDTHS:
        wider = next(model.rescaled(2.0), model)
        _WIDTHS[form] = frozenset(diff(model, wider))
    kept = {path: value for path, value in found.items() if path not in _WIDTHS[form] or not _is_width(value)}
    return type(model), tuple(kept.items())


def _is_width(value: Any) -> bool:
    values = value if isinstance(value, tuple) else (value,)
    return all(isinstance(each, int) and not isinstance(each, bool) for each in values)
