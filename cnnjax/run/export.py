"""A trained network as a file for other programs: StableHLO, safetensors, or a state dict of PyTorch."""

from __future__ import annotations

import importlib.util
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import jax
import numpy as np
from flax import traverse_util

from cnnjax.config import plain
from cnnjax.convert import to_torch
from cnnjax.errors import CnnjaxError, ConfigError, RunError, WeightsError, unknown
from cnnjax.files import write_files
from cnnjax.lowering import lowering
from cnnjax.models.heads.classifier import is_under_head
from cnnjax.records.exported import Exported, Format
from cnnjax.run.images import taken
from cnnjax.run.resolve import recorded_input
from cnnjax.run.trained import Trained

SUFFIXES: dict[str, Format] = {
    ".stablehlo": "stablehlo",
    ".safetensors": "safetensors",
    ".pt": "torch",
    ".pth": "torch",
}
PLATFORMS = ("cpu", "cuda", "tpu")
KNOWN_PLATFORMS = ("cpu", "cuda", "rocm", "tpu")
_NEEDED = {"stablehlo": ("flatbuffers", "flatbuffers"), "torch": ("torch", "'cnnjax[torch]'")}


def export(
    trained: Trained,
    out: Path | str,
    *,
    form: str | None = None,
    platforms: Sequence[str] | None = None,
    batch_size: int | None = None,
    replace: bool = False,
) -> Exported:
    """Write a trained network to the file `out`, and beside it `out`.json (`Exported`), which is returned.

    form: by default as the suffix of `out` says (`SUFFIXES`).
    - "stablehlo": a program of `jax.export`, the weights within: images uint8 [b, H, W, C], or clips of sound int16 [b,
      T], -> float32 probabilities [b, classes], or outputs [b, K] where those are none (`Predictions`); of a task that
      says several things of an image (boxes, sentences) a dictionary of arrays [b, ...], which are those that
      `Trained.predict` makes its answer of. Resizing to the size of evaluation, normalization and test-time views are
      part of it. platforms: that it can run on, by default "cpu", "cuda" and "tpu". batch_size: of a program for one
      size of batch; by default it takes any.
    - "safetensors": the arrays by dotted names, `params.conv.kernel`, with the content of `out`.json as metadata.
    - "torch": the state dict of the network's counterpart in torchvision or timm, which takes normalized images.

    Raises ConfigError where that cannot be written, RunError where `out` exists and shall not be replaced; nothing is
    written then.
    """
    out = Path(out)
    chosen = check_output(out, form, platforms=platforms, batch_size=batch_size, replace=replace)
    content, program = b"", dict[str, Any](input_shape=None, output=None, platforms=None)
    if chosen == "stablehlo":
        content, program = _stablehlo(trained, tuple(platforms or PLATFORMS), batch_size)
    exported = Exported(
        format=chosen,
        step=trained.step,
        **({} if trained.weights is None else {"weights": trained.weights}),
        **program,
        jax=jax.__version__,
        resolved=trained.resolved,
        experiment=plain(trained.experiment),
    )
    if chosen == "safetensors":
        content = _safetensors(trained, exported)
    elif chosen == "torch":
        content = _torch(trained)
    # Both or none; the program or the weights last: where they are, all is there.
    write_files({_beside(out): exported.file_text().encode(), out: content})
    return exported


def check_output(
    out: Path, form: str | None, *, platforms: Sequence[str] | None, batch_size: int | None, replace: bool
) -> Format:
    """The format to write. Raises ConfigError or RunError for what can be refused before a run is read."""
    if out.is_dir():
        raise RunError(f"{out} is a folder; name a file in it, such as {out / 'network.stablehlo'}")
    chosen = _format(out, form)
    if chosen != "stablehlo" and (platforms is not None or batch_size is not None):
        raise ConfigError(f"platforms and a batch size are of programs (stablehlo): {chosen} holds weights")
    if batch_size is not None and batch_size < 1:
        raise ConfigError(f"batch_size = {batch_size}: must be at least 1")
    for platform in platforms or ():
        if platform == "gpu":
            raise ConfigError("platform = 'gpu': it is cuda or rocm")
        if platform not in KNOWN_PLATFORMS:
            raise ConfigError(unknown("platform", platform, KNOWN_PLATFORMS))
    if platforms is not None and not platforms:
        raise ConfigError("no platform is named to run on")
    package, install = _NEEDED.get(chosen, ("", ""))
    if package and importlib.util.find_spec(package) is None:
        raise ConfigError(f"writing {chosen} needs {package}: pip install {install}")
    for path in (out, _beside(out)):
        if path.exists() and not replace:
            raise RunError(f"{path} exists: choose another name, or replace it with --replace")
    return chosen


def _format(out: Path, form: str | None) -> Format:
    if form is None and out.suffix == ".onnx":
        raise ConfigError(
            f"{out}: ONNX is not written. A whole program is .stablehlo; weights alone are .safetensors, or .pt for "
            "PyTorch, which can write ONNX of a network of its own"
        )
    if form is None and out.suffix not in SUFFIXES:
        raise ConfigError(f"{out}: its suffix says no format; end it in {', '.join(SUFFIXES)}, or give --format")
    chosen = SUFFIXES[out.suffix] if form is None else form
    if chosen not in get_args(Format):
        raise ConfigError(unknown("format", chosen, get_args(Format)))
    if (other := SUFFIXES.get(out.suffix)) not in (None, chosen):
        raise ConfigError(f"{out} would be taken for {other}, but its format shall be {chosen}: end it otherwise")
    return chosen  # pyright: ignore[reportReturnType]


def _beside(out: Path) -> Path:
    return out.with_name(f"{out.name}.json")


# --- StableHLO


def _stablehlo(trained: Trained, platforms: tuple[str, ...], batch_size: int | None) -> tuple[bytes, dict[str, Any]]:
    """The serialized program, and what the record says of it."""
    from jax import export as jax_export

    form, dtype = taken(trained.resolved)
    output = None
    if not trained.task.says_by_name:
        output = next((name for name in ("probabilities", "outputs") if name in trained.says), None)

    def program(images: jax.Array) -> Any:
        answer = trained.answer(trained.variables, images)
        return answer if output is None else answer[output]

    def exported(batch: Any) -> Any:
        images = jax.ShapeDtypeStruct((batch, *form), dtype)
        # Convolutions as XLA's own: what this machine's processor likes best is not for others.
        with lowering("xla"):
            return jax_export.export(jax.jit(program), platforms=platforms)(images)

    if batch_size is not None:
        made, batch = exported(batch_size), batch_size
    else:
        batch = "b"
        try:
            made = exported(jax_export.symbolic_shape(batch)[0])
        except Exception as error:
            raise _no_symbolic_batch(error, lambda: exported(1)) from error
    shape = (batch, *form)
    said: dict[str, Any] = {"input_shape": shape, "output": output, "platforms": platforms}
    if output is None:
        said["outputs"] = tuple(sorted(trained.says))
    return bytes(made.serialize()), said


def _no_symbolic_batch(error: Exception, with_one: Any) -> CnnjaxError:
    """Why a program for any batch cannot be made: the network asks how large it is, or cannot be exported at all."""
    reason = " ".join(f"{error}".split("\n")[0].split())[:200]
    try:
        with_one()
    except Exception:
        return ConfigError(f"the network cannot be exported: {type(error).__name__}: {reason}")
    return ConfigError(
        f"the network needs to know how many images a batch has ({reason}): export it for one number, --batch-size N"
    )


# --- weights


def _safetensors(trained: Trained, exported: Exported) -> bytes:
    from safetensors.numpy import save

    flat: Any = traverse_util.flatten_dict(jax.tree.map(np.asarray, trained.variables), sep=".")
    if len(flat) != len(jax.tree.leaves(trained.variables)):
        raise ConfigError("two arrays of the network have one dotted name: name its modules without dots")
    arrays = {name: np.ascontiguousarray(array) for name, array in flat.items()}
    return save(arrays, metadata={"cnnjax": json.dumps(exported.to_json(), allow_nan=False)})


def _torch(trained: Trained) -> bytes:
    import torch  # pyright: ignore[reportMissingImports]

    model = trained.experiment.model.model_copy(update={"num_classes": trained.resolved.outputs})
    try:
        tensors = to_torch(model, trained.variables, input_shape=recorded_input(trained.experiment, trained.resolved))
    except ConfigError as error:
        raise ConfigError(f"{error}; .safetensors holds any network's weights") from None
    except WeightsError:
        if not is_under_head(trained.variables):
            raise
        raise ConfigError(
            f"the network is {model.tag} under a head that task = {trained.task.tag!r} puts on it, and only whole "
            "models have names in PyTorch; .safetensors holds any network's weights, .stablehlo is the whole network"
        ) from None
    content = io.BytesIO()
    torch.save({name: torch.tensor(array) for name, array in tensors.items()}, content)
    return content.getvalue()
