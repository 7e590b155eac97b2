"""Compiling, and remembering what was compiled in the user's cache folder, so that a second start need not."""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import re
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import filelock
import jax

from cnnjax.cache import folder
from cnnjax.run.program_cache import check_programs, remove_torn, say_not_kept

V = TypeVar("V")
CACHE_BYTES = 4 * 2**30
"""What was compiled may take this much; the least recently used goes first."""

XLA_CPU = {
    "xla_cpu_experimental_ynn_fusion_type": "LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT,LIBRARY_FUSION_TYPE_REDUCE",
}
"""Options for every program on a CPU: XLA's own convolutions, not YNNPACK's, which takes two to three times as long."""

SECONDS_WORTH = 0.3
"""Programs that compile faster than this are not remembered."""


def compiled(lowered: Any, options: Mapping[str, Any] = {}) -> Callable:
    """The compiled program; `options` are XLA:CPU's, beside `XLA_CPU`, and for others left out."""
    remember_compiled()
    return _with_known(lambda known: lowered.compile(compiler_options=known or None), {**XLA_CPU, **options})


def planned_memory(program: Any) -> int | None:
    """Bytes that a compiled program takes on each device: arguments, results that are not written over these, and
    temporaries; None where it does not tell (pmap, a backend that does not plan)."""
    plan = program.memory_analysis() if isinstance(program, jax.stages.Compiled) else None
    if plan is None:
        return None
    kept = plan.output_size_in_bytes - plan.alias_size_in_bytes
    return plan.argument_size_in_bytes + kept + plan.temp_size_in_bytes


def jit(function: Callable, **options: Any) -> Any:
    """`jax.jit` with what cnnjax compiles with: on a CPU the options `XLA_CPU`, elsewhere none.

    For networks of `cnnjax.models.build` in a loop of your own. options: those of `jax.jit`; its `compiler_options`
    come before cnnjax's. `cnnjax train` also has memory in pages of 2 MiB, which Linux gives to a process only when it
    starts: `GLIBC_TUNABLES=glibc.malloc.hugetlb=1 python script.py`. What it returns cannot be called within another
    `jax.jit`.
    """
    chosen = {**_known_options(), **(options.pop("compiler_options", None) or {})}
    return jax.jit(function, compiler_options=chosen or None, **options)


@cache
def _known_options() -> dict[str, Any]:
    """Those of `XLA_CPU` that XLA knows here; none on other backends."""
    lowered = jax.jit(lambda x: x).lower(0.0)

    def known(options: dict[str, Any]) -> dict[str, Any]:
        lowered.compile(compiler_options=options)
        return options

    return _with_known(known, XLA_CPU)


def _with_known(compile_with: Callable[[dict[str, Any]], V], options: Mapping[str, Any]) -> V:
    """What `compile_with` makes with those of XLA:CPU's options that this version has; other backends get none."""
    known = dict(options) if jax.default_backend() == "cpu" else {}
    while True:
        try:
            return compile_with(known)
        except jax.errors.JaxRuntimeError as error:
            unknown = re.search(r"(?:No such compile option: '|While setting option )(\w+)", str(error))
            if unknown is None or known.pop(unknown[1], None) is None:
                raise


@cache
def remember_compiled() -> Path | None:
    """Use JAX's persistent compilation cache from now on, in a folder for this kind of processor; returns it.

    It is left as it is where the user has chosen (JAX_COMPILATION_CACHE_DIR), or switched it off
    (JAX_ENABLE_COMPILATION_CACHE=0). Several processes may write there at once.
    """
    if jax.config.jax_compilation_cache_dir or not jax.config.jax_enable_compilation_cache:  # pyright: ignore[reportAttributeAccessIssue]
        return None
    place = folder("xla") / _processor()
    try:
        place.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(place / ".lockfile", timeout=10):
            remove_torn(place)
    except OSError as error:
        # A home that cannot be written to, a full disk, or another process at work: only time is lost.
        say_not_kept(place, error)
        return None
    check_programs()
    jax.config.update("jax_compilation_cache_dir", str(place))
    jax.config.update("jax_compilation_cache_max_size", CACHE_BYTES)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", SECONDS_WORTH)
    return place


def _processor() -> str:
    """Names processors that run each other's programs: compiled for one, a program may crash on another. Programs of
    another version of JAX, or kept in another way, are apart too."""
    text = f"with digests {platform.machine()}"
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        text += "".join(sorted({line for line in lines if line.startswith(("model name", "flags", "Features"))}))
    return hashlib.blake2b(text.encode() + os.fsencode(jax.__version__), digest_size=6).hexdigest()
