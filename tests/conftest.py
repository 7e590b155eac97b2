"""Eight CPU devices, strict ranks and dtypes, and what is compiled once is compiled once for the whole run."""

from __future__ import annotations

import functools
import gc
import os
import signal
import sys
import tempfile
import threading
from importlib.metadata import version

if threading.current_thread() is threading.main_thread():
    # Under nohup, and behind `&`, signals are ignored, and processes that tests start inherit that: to stop them would
    # be in vain. With a handler they begin as usual, and these tests live on where a terminal closes.
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        signal.signal(signal.SIGHUP, lambda *_: None)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("MPLBACKEND", "agg")
os.environ.pop("COLUMNS", None)  # pytest-xdist gives its workers one, which no user exported
# Compiling is most of what the tests do: less optimized programs compile in half the time (make test-all compiles those
# of COMPILED as users do), and the workers of a run, with the processes that tests start, share what any of them has
# compiled.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=8"
if os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] == "1":
    # The kernels of a program are compiled together: three quarters of the time to compile.
    os.environ["XLA_FLAGS"] += " --xla_cpu_parallel_codegen_split_count=1"
    if version("jaxlib").startswith("0.10."):
        # A third to compile. A process with a flag that its XLA does not know ends at once.
        os.environ["XLA_FLAGS"] += " --xla_cpu_use_fusion_emitters=false"
if "PYTEST_XDIST_WORKER" not in os.environ:
    _PROGRAMS = tempfile.TemporaryDirectory(prefix="cnnjax-tests-")
    os.environ["JAX_COMPILATION_CACHE_DIR"] = _PROGRAMS.name
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"

import jax  # after the variables above, which it reads when it is imported
import pytest
import typer.main

from tests import long

COMPILED = [
    "test_compiling",
    "test_interrupts",
    "test_old_study",
    "test_own_networks",
    "test_readme",
    "test_run",
    "test_swa",
]
"""Files whose programs are those of trainings, whose bits depend on how they are compiled. In other files tests that
compare bits of trainings by different programs, or what XLA makes of a program, are marked `compiled`."""

BRIEF = [
    "test_augment",
    "test_augment_entries",
    "test_benchmarks",
    "test_captions",
    "test_colorization",
    "test_damaged",
    "test_deaths",
    "test_describe",
    "test_detection",
    "test_distillation",
    "test_docs_clusters",
    "test_docs_pages",
    "test_experiments",
    "test_export",
    "test_full_disk",
    "test_generation",
    "test_heads",
    "test_initialization",
    "test_inspection",
    "test_lanes",
    "test_linear_probe",
    "test_mask_rcnn",
    "test_masks",
    "test_match",
    "test_methods",
    "test_methods_everywhere",
    "test_models",
    "test_mosaic",
    "test_network_recipes",
    "test_nn_lowering",
    "test_nn_normalization",
    "test_nn_pooling",
    "test_notebooks",
    "test_recipes",
    "test_recipes_drawn",
    "test_recipes_exact",
    "test_recipes_schedules",
    "test_reconstruction",
    "test_repvgg",
    "test_resolution",
    "test_schedules",
    "test_segmentation",
    "test_sharding",
    "test_sigmoid_targets",
    "test_stream",
    "test_study",
    "test_super_resolution",
    "test_tasks",
    "test_timm_networks",
    "test_torch_airbench_steps",
    "test_torch_augment",
    "test_torch_augment_entries",
    "test_torch_crops",
    "test_torch_heads",
    "test_torch_losses",
    "test_torch_models",
    "test_torch_nn",
    "test_torch_optimizers",
    "test_torch_timm_augment",
    "test_torch_timm_operations",
    "test_torch_two_stage",
    "test_training",
    "test_transformations",
    "test_two_hosts",
    "test_two_stage",
    "test_unet",
    "test_weights",
]
"""Files whose programs run a few times, so that optimizing them takes longer than it saves, though tests are slow or
train; not those of their tests that are marked `compiled`, whose bits are compared."""

# Typer makes all commands anew from their signatures each time that one is called, which takes a tenth of a second.
typer.main.get_command = functools.cache(typer.main.get_command)

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    left_out = long.left_out(
        item.nodeid for item in items if not {"slow", "quick"} & {m.name for m in item.iter_markers()}
    )
    for item in items:
        if item.nodeid in left_out:
            item.add_marker("long")
        if item.path.stem in COMPILED:
            item.add_marker("compiled")
        if item.path.stem in BRIEF and item.get_closest_marker("compiled") is None:
            item.add_marker("brief")
        if item.get_closest_marker("xdist_group") is None:
            # What a file computes once, one worker computes once.
            item.add_marker(pytest.mark.xdist_group(item.path.stem))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_node_collection_finished(node, ids):
    """Groups are said by names that pytest-xdist writes into those of tests, which pytest 9.2 does not let it."""
    if node.config.getoption("dist") == "loadgroup" and not all("@" in name for name in ids):
        said = "this version of pytest scatters the tests of a group over the workers: install what pyproject.toml says"
        pytest.exit(said, returncode=pytest.ExitCode.USAGE_ERROR)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item):
    """For `make times`: what the test takes, with what its fixtures do."""
    begun = long.seconds()
    result = yield
    if "CNNJAX_TIMES" in os.environ and item.get_closest_marker("quick") is None:
        long.note(item.nodeid.rpartition("@")[0] or item.nodeid, long.seconds() - begun)
    return result


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item, nextitem):
    """What a file leaves, traces and compiled programs, is not searched for garbage again with every later test."""
    if nextitem is None or nextitem.path != item.path:
        gc.collect()
        gc.freeze()


@pytest.fixture(scope="module")
def unkept():
    """Programs are not kept, where no other test meets them: that takes an eighth of the time to compile them."""
    before = jax.config.jax_persistent_cache_min_compile_time_secs
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 1e9)
    yield
    jax.config.update("jax_persistent_cache_min_compile_time_secs", before)


@pytest.fixture
def standard_promotion():
    """JAX's usual promotion of dtypes, for networks of other people's layers: Flax's avg_pool divides by integers."""
    with jax.numpy_dtype_promotion("standard"):
        yield


@pytest.fixture
def run(capsys, monkeypatch, tmp_path):
    """`run("train", file)` calls the command in an empty folder: its exit code, stdout and stderr."""
    from cnnjax.cli import main

    monkeypatch.chdir(tmp_path)

    def call(*words):
        monkeypatch.setattr(sys, "argv", ["cnnjax", *map(str, words)])
        try:
            main()
            code = 0
        except SystemExit as stop:
            code = stop.code or 0
        return code, *capsys.readouterr()

    return call
