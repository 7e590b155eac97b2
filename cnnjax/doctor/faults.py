"""What is wrong, by what there is: each fault with what mends it. Looks at nothing itself."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from cnnjax.doctor.facts import Facts, Place
from cnnjax.machine import LEAST_SPACE

OLDEST, NEWEST = (3, 11), (3, 13)
"""Versions of Python that the tests ran on."""
LEAST_DISK = 10**9
"""Bytes: a study of small networks with their checkpoints and report."""
LEAST_FILES = 1024
"""Open files: workers that read images, and checkpoints, which TensorStore writes in many threads."""
BUSY = 1.5
"""As many processes for each core disturb what is measured."""


@dataclass(frozen=True)
class Fault:
    """text: what is wrong. mend: what to do about it. stops: whether nothing can be trained until that is done."""

    text: str
    mend: str
    stops: bool = False


def faults_of(facts: Facts) -> list[Fault]:
    """Everything that is wrong, what stops work first; empty where nothing is."""
    found = [*_packages(facts), *_devices(facts), *_limits(facts), *_places(facts), *_data(facts)]
    return sorted(found, key=lambda fault: not fault.stops)


def _packages(facts: Facts) -> Iterator[Fault]:
    version = tuple(int(number) for number in facts.python.split(".")[:2])
    if version < OLDEST:
        yield Fault(f"Python {facts.python} is too old", "install Python 3.11, 3.12 or 3.13", stops=True)
    if version > NEWEST:
        yield Fault(f"Python {facts.python} is newer than those that were tested", "3.11 to 3.13 were")
    for package in facts.needed:
        if not package.fits:
            state = "is not installed" if package.version is None else f"{package.version} is too old"
            yield Fault(f"{package.name} {state}", f"pip install '{package.text}'", stops=True)
    jax, jaxlib = (_version(facts, name) for name in ("jax", "jaxlib"))
    if jax and jaxlib and jax.split(".")[:2] != jaxlib.split(".")[:2]:
        yield Fault(f"jax {jax} and jaxlib {jaxlib} do not belong together", f"pip install jaxlib=={jax}", stops=True)


def _version(facts: Facts, name: str) -> str | None:
    if name == "jaxlib":
        return next((each.version for each in facts.accelerators if each.name == "jaxlib"), None)
    return next((package.version for package in facts.needed if package.name == name), None)


def _devices(facts: Facts) -> Iterator[Fault]:
    plugins = [each for each in facts.accelerators if each.name.startswith("jax-cuda") and each.name.endswith("plugin")]
    if len(plugins) > 1:
        names = " and ".join(f"{each.name} {each.version}" for each in plugins)
        yield Fault(f"{names} are both installed, and JAX takes either", f"pip uninstall {plugins[0].name}")
    jax = _version(facts, "jax")
    for plugin in plugins:
        if jax and plugin.version != jax:
            yield Fault(
                f"{plugin.name} {plugin.version} is of another version than jax {jax}, which may leave the GPU out",
                f"pip install '{plugin.name}=={jax}'",
            )
    told = facts.measured
    if told is None:
        return
    if told.error:
        yield Fault(f"JAX cannot be used: {told.error}", "python -c 'import jax; jax.devices()' shows all", stops=True)
        return
    for kind, count, extra in (("GPU", facts.gpus, "cuda"), ("TPU", facts.tpus, "tpu")):
        if count and told.platform == "cpu":
            yield Fault(f"there is a {kind}, and JAX sees only the processor", _unseen(facts, extra))


def _unseen(facts: Facts, extra: str) -> str:
    chosen = facts.environ.get("JAX_PLATFORMS")
    if chosen:
        return f"JAX_PLATFORMS={chosen} says so: unset it"
    if extra == "cuda" and facts.environ.get("CUDA_VISIBLE_DEVICES") == "":
        return "CUDA_VISIBLE_DEVICES is empty: unset it"
    return f"pip install 'cnnjax[{extra}]'"


def _limits(facts: Facts) -> Iterator[Fault]:
    limits = facts.limits
    if limits.addresses is not None and limits.addresses < LEAST_SPACE:
        text = f"ulimit -v leaves {limits.addresses / 1e9:.1f} GB of addresses, of which JAX takes {LEAST_SPACE / 1e9}"
        yield Fault(text, "ulimit -v unlimited", stops=True)
    if limits.files is not None and limits.files < LEAST_FILES:
        yield Fault(f"a process may have {limits.files} files open", f"ulimit -n {4 * LEAST_FILES}")
    if limits.quota is not None and limits.quota < 0.9 * limits.cores:
        text = f"the container sees {limits.cores} cores and gets the time of {limits.quota:g}"
        yield Fault(
            f"{text}: threads wait for each other", f"give it whole cores, such as --cpuset-cpus, or {_pinned(facts)}"
        )
    if limits.load > BUSY * limits.cores:
        text = f"{limits.load:.1f} processes want the {limits.cores} cores: measured seconds are theirs too"
        yield Fault(text, "measure when the machine is idle")
    if limits.available is not None and limits.available < 1e9:
        yield Fault(f"{limits.available / 1e9:.2f} GB of memory are free", "end what holds the rest")


def _pinned(facts: Facts) -> str:
    last = max(1, int(facts.limits.quota or 1)) - 1
    return f"run `taskset -c 0-{last} cnnjax ...`" if last else "run `taskset -c 0 cnnjax ...`"


def _places(facts: Facts) -> Iterator[Fault]:
    for place in facts.places:
        if place.refusal:
            yield Fault(f"{place.what}: {place.path} cannot be written ({place.refusal})", _elsewhere(place))
        elif place.free is not None and place.free < LEAST_DISK:
            text = f"{place.what}: {place.free / 1e9:.2f} GB are free where {place.path} is"
            yield Fault(text, "remove what is not needed, or " + _elsewhere(place))


def _elsewhere(place: Place) -> str:
    return {
        "this folder": "write elsewhere: --out DIR",
        "temporary files": "name another folder: export TMPDIR=DIR",
        "home": "export HOME=DIR",
        "prepared data": "name another folder: export TFDS_DATA_DIR=DIR; reading needs no right to write",
    }.get(place.what, "name another folder: export XDG_CACHE_HOME=DIR; without one all works, and is compiled anew")


def _data(facts: Facts) -> Iterator[Fault]:
    for name, version, damage in facts.sets:
        if damage:
            yield Fault(f"{name} {version} in {facts.data} is damaged: {damage}", f"cnnjax data prepare {name}")
    for path in facts.unfinished:
        yield Fault(f"{path} is what a preparation that was killed left", "remove it")
