"""What was compiled is remembered: safely against processes that write at once or are killed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from cnnjax.nn import convolve
from cnnjax.run import compiling

SCRIPT = """
import jax, jax.numpy as jnp
from cnnjax.run import compiling
compiling.SECONDS_WORTH = 0.0
made = compiling.compiled(jax.jit(lambda x: jnp.sin(x) @ jnp.cos(x).T).lower(jnp.ones((4, 4))), {})
print(made(jnp.ones((4, 4))).sum(), compiling.remember_compiled())
"""


def begin(cache: Path, *, warnings: str = "error", **env: str) -> subprocess.Popen:
    own = {name: value for name, value in os.environ.items() if not name.startswith(("JAX_", "XLA_"))}
    own |= {"XDG_CACHE_HOME": str(cache), "JAX_PLATFORMS": "cpu", **env}
    command = [sys.executable, "-W", warnings, "-c", SCRIPT]
    return subprocess.Popen(command, env=own, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def done(process: subprocess.Popen) -> tuple[str, str]:
    out, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    number, _, place = out.strip().partition(" ")
    return number, place


def entries(cache: Path) -> set[Path]:
    return set((cache / "cnnjax" / "xla").rglob("jit__lambda-*-cache"))


def test_processes_that_begin_at_once_share_what_they_compile(tmp_path):
    results = {done(process) for process in [begin(tmp_path) for _ in range(3)]}
    assert len(results) == 1
    (first,) = entries(tmp_path)
    assert first.is_relative_to(results.pop()[1])
    before = first.stat().st_mtime_ns
    done(begin(tmp_path))
    assert entries(tmp_path) == {first}
    assert first.stat().st_mtime_ns == before, "it was read, not compiled again"


def test_an_entry_that_was_begun_and_not_finished_is_made_again(tmp_path):
    expected = done(begin(tmp_path))
    (entry,) = entries(tmp_path)
    whole = entry.read_bytes()
    entry.write_bytes(whole[: len(whole) // 2])
    entry.with_name(entry.name.removesuffix("-cache") + "-atime").unlink()
    assert done(begin(tmp_path)) == expected
    assert len(entry.read_bytes()) > len(whole) // 2, "it is whole again"


@pytest.mark.slow
def test_the_users_own_choice_stands(tmp_path):
    own = tmp_path / "own"
    assert done(begin(tmp_path, JAX_COMPILATION_CACHE_DIR=str(own)))[1] == "None"
    assert done(begin(tmp_path, JAX_ENABLE_COMPILATION_CACHE="0"))[1] == "None"
    assert not entries(tmp_path)
    (tmp_path / "file").write_text("")
    assert done(begin(tmp_path / "file", warnings="ignore"))[1] == "None", (
        "no folder can be made there: it goes on without"
    )


def test_convolutions_are_xlas_own():
    """Not YNNPACK's; and what an XLA does not know of the options does not stop it."""
    lowered = jax.jit(convolve).lower(jnp.ones((16, 56, 56, 64)), jnp.ones((3, 3, 64, 64)))
    assert "ynn" not in compiling.compiled(lowered).as_text()
    if jax.__version__ == "0.10.2":
        assert "ynn_fusion" in lowered.compile().as_text(), "the option has no use"


@pytest.mark.parametrize("options", [{"xla_cpu_no_such_option": True}, {"xla_cpu_experimental_ynn_fusion_type": "X"}])
def test_options_that_an_xla_does_not_know_are_left_out(options):
    lowered = jax.jit(jnp.sin).lower(jnp.ones(3))
    assert compiling.compiled(lowered, options)(jnp.ones(3)).shape == (3,)


def test_an_unknown_option_takes_no_other_with_it():
    lowered = jax.jit(convolve).lower(jnp.ones((16, 56, 56, 64)), jnp.ones((3, 3, 64, 64)))
    assert "ynn" not in compiling.compiled(lowered, {"xla_cpu_no_such_option": True}).as_text()


def test_jit_compiles_with_our_options():
    kernel = jnp.ones((3, 3, 2, 2))

    def convolve(x, strides):
        return jax.lax.conv_general_dilated(x, kernel, strides, "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))

    ours = compiling.jit(convolve, static_argnums=1)
    x = jnp.arange(32.0).reshape(1, 4, 4, 2)
    assert "ynn" not in ours.lower(x, (2, 2)).compile().as_text()
    assert jnp.allclose(ours(x, (2, 2)), convolve(x, (2, 2)))
