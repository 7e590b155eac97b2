"""What there is on this machine: packages, processor, memory, folders, limits. Looks, and judges nothing.

Neither JAX nor TensorFlow is imported: what JAX says of devices comes from a process of its own (`measure`).
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import platform
import re
import resource
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

from cnnjax.cache import folder
from cnnjax.data.prepared_sets import Prepared, default_data_dir, prepared, unfinished
from cnnjax.doctor.measure import Measured, measured
from cnnjax.energy import counters_of
from cnnjax.errors import RunError
from cnnjax.machine import STARTED, address_space, cores, cores_by_quota, physical_memory

REQUIREMENT = re.compile(r"(?P<name>[A-Za-z0-9._-]+)(?:\[(?P<with>[^]]*)\])?\s*(?:>=\s*(?P<least>[0-9.]+))?")
EXTRA = re.compile(r"""extra\s*==\s*['"](?P<extra>[^'"]+)['"]""")
CUDA = re.compile(r"(jaxlib|jax-cuda\d+-(plugin|pjrt)|nvidia-(cuda-runtime|cudnn|nccl)(-cu\d+)?|libtpu)$")
VARIABLES = re.compile(r"(JAX|XLA|CNNJAX|TFDS|CUDA_VISIBLE|TPU|LIBTPU|NCCL|OMP_NUM|GLIBC_TUNABLES|XDG_CACHE)")
"""Of the environment: what begins so changes what a training does, and is shown."""
HUGE = Path("/sys/kernel/mm/transparent_hugepage/enabled")
GPUS, TPUS = ("/dev", "nvidia[0-9]*"), ("/dev", "accel[0-9]*")


@dataclass(frozen=True)
class Package:
    """One that cnnjax asks for. version: the one that is installed, None for none. least: the oldest that will do."""

    name: str
    version: str | None
    least: str | None = None

    @property
    def fits(self) -> bool:
        """Whether it is there and new enough."""
        return self.version is not None and (self.least is None or release(self.version) >= release(self.least))

    @property
    def text(self) -> str:
        """scipy>=1.15."""
        return f"{self.name}>={self.least}" if self.least else self.name


@dataclass(frozen=True)
class Place:
    """A folder that is written to, or will be. refusal: why nothing can be written, or "". free: bytes on its disk,
    None where the system does not tell. held: bytes of files below it; None where nobody looked."""

    what: str
    path: Path
    refusal: str = ""
    free: int | None = None
    held: int | None = None


@dataclass(frozen=True)
class Limits:
    """What the system grants this process. cores: that it may run on. quota: how many cores' time it gets, None for all
    of them. load: how many processes wanted a core in the last minute, of the whole machine. memory: bytes that it may
    use. available: bytes that are free now. addresses (`ulimit -v`), files (`ulimit -n`): None for no limit.
    huge_pages: when Linux gives pages of 2 MiB ("always", "madvise", "never"), "" where it does not tell."""

    cores: int
    quota: float | None
    load: float
    memory: int
    available: int | None
    addresses: int | None
    files: int | None
    huge_pages: str


@dataclass(frozen=True)
class Facts:
    """All of it.

    needed: packages that cnnjax asks for; extras: those of each optional extra; accelerators: what JAX has its devices
    from. programs: commands and modules, and whether they are here. data: the folder of prepared sets; sets: name,
    version and what is wrong, or "", of each; unfinished: what killed preparations left. gpus, tpus: how many Linux
    has, whether or not JAX sees them. counters: of energy. environ: variables that change a training.
    """

    python: str
    cnnjax: str
    system: str
    needed: tuple[Package, ...]
    extras: Mapping[str, tuple[Package, ...]]
    accelerators: tuple[Package, ...]
    limits: Limits
    places: tuple[Place, ...]
    data: Path
    sets: tuple[tuple[str, str, str], ...]
    unfinished: tuple[Path, ...]
    programs: Mapping[str, bool]
    gpus: int
    tpus: int
    counters: tuple[str, ...]
    environ: Mapping[str, str] = field(default_factory=dict)
    measured: Measured | None = None


def look(*, measure: bool = True, data_dir: Path | None = None) -> Facts:
    """Everything but what judges. measure: ask JAX for its devices and their speed, which takes some seconds."""
    needed, extras = requirements(metadata.requires("cnnjax") or ())
    try:
        data = data_dir or default_data_dir()
    except RunError:  # There is no home.
        data = Path("tensorflow_datasets")
    return Facts(
        python=platform.python_version(),
        cnnjax=metadata.version("cnnjax"),
        system=platform.platform(),
        needed=needed,
        extras=extras,
        accelerators=_accelerators(),
        limits=_limits(),
        places=_places(data),
        data=data,
        sets=tuple((each.name, each.version, each.damage) for each in _sets(data)),
        unfinished=tuple(unfinished(data)),
        programs={name: shutil.which(name) is not None for name in ("git", "sbatch", "nvidia-smi", "pdflatex")}
        | {name: importlib.util.find_spec(name) is not None for name in ("submitit", "ray")},
        gpus=_count(*GPUS),
        tpus=_count(*TPUS),
        counters=tuple(counter.name for counter in counters_of("gpu" if _count(*GPUS) else "cpu")),
        environ={name: os.environ[name] for name in sorted(os.environ) if VARIABLES.match(name) and name != STARTED},
        measured=measured() if measure else None,
    )


def requirements(lines: Iterable[str]) -> tuple[tuple[Package, ...], dict[str, tuple[Package, ...]]]:
    """The packages that a distribution's requirements name, and those of each extra, with what is installed of them."""
    needed: list[Package] = []
    extras: dict[str, list[Package]] = {}
    for line in lines:
        text, _, marker = line.partition(";")
        found, extra = REQUIREMENT.match(text.strip()), EXTRA.search(marker)
        if found is None:
            continue
        package = Package(found["name"], _version(found["name"]), found["least"])
        wanted = needed if extra is None else extras.setdefault(extra["extra"], [])
        wanted += [package, *_with(package, found["with"])]
    return tuple(needed), {name: tuple(packages) for name, packages in extras.items()}


def _with(package: Package, extra: str | None) -> tuple[Package, ...]:
    """What a package asks for under an extra of its own, as jax[cuda13] does."""
    if extra is None or package.version is None:
        return ()
    return requirements(metadata.requires(package.name) or ())[1].get(extra, ())


def release(version: str) -> tuple[int, ...]:
    """The numbers of a version, by which releases are in order: (0, 10, 2) of 0.10.2rc1."""
    leading = re.match(r"\d+(\.\d+)*", version)
    numbers = [int(number) for number in leading[0].split(".")] if leading else []
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _accelerators() -> tuple[Package, ...]:
    """Packages that JAX has its accelerators from."""
    found = {dist.metadata["Name"]: dist.version for dist in metadata.distributions() if dist.metadata["Name"]}
    return tuple(Package(name, found[name]) for name in sorted(found) if CUDA.match(name.lower()))


def _limits() -> Limits:
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    huge = ""
    with contextlib.suppress(OSError):
        huge = HUGE.read_text().partition("[")[2].partition("]")[0]
    return Limits(
        cores=cores(),
        quota=cores_by_quota(),
        load=os.getloadavg()[0],
        memory=physical_memory(),
        available=_available(),
        addresses=address_space(),
        files=None if files == resource.RLIM_INFINITY else files,
        huge_pages=huge,
    )


def _available() -> int | None:
    with contextlib.suppress(OSError, ValueError):
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return None


def _places(data: Path) -> tuple[Place, ...]:
    """The folders that cnnjax and its libraries write to."""
    found = [place("this folder", Path.cwd())]
    try:
        found.append(place("temporary files", Path(tempfile.gettempdir())))
    except OSError as error:
        found.append(Place("temporary files", Path("/tmp"), error.strerror or type(error).__name__))
    try:
        cache = folder("")
    except RunError:
        return (*found, Place("home", Path("~"), "this user has none"))
    chosen = os.environ.get("JAX_COMPILATION_CACHE_DIR")
    found += [place("cache", cache, count=True), place("compiled programs", Path(chosen or cache / "xla"), count=True)]
    return (*found, place("prepared data", data))


def place(what: str, path: Path, *, count: bool = False) -> Place:
    """A folder, tried by a file that is written there and removed; of one that is not there yet, the nearest above.

    count: whether to add up the files below it.
    """
    there = path
    while not there.exists() and there != there.parent:
        there = there.parent
    refusal, free = "", None
    try:
        with tempfile.TemporaryFile(dir=there) as file:
            file.write(b"cnnjax")
            file.flush()
    except OSError as error:
        refusal = error.strerror or type(error).__name__
    with contextlib.suppress(OSError):
        free = shutil.disk_usage(there).free
    return Place(what, path, refusal, free, _held(path) if count else None)


def _held(path: Path) -> int:
    held = 0
    for folder_, _, names in os.walk(path):
        for name in names:
            with contextlib.suppress(OSError):
                held += os.lstat(os.path.join(folder_, name)).st_size
    return held


def _sets(data: Path) -> list[Prepared]:
    with contextlib.suppress(OSError):
        return prepared(data)
    return []


def _count(root: str, pattern: str) -> int:
    with contextlib.suppress(OSError):
        return len(list(Path(root).glob(pattern)))
    return 0
