"""Time one study of 36 small trainings: plain Flax processes, two at a time, against one `cnnjax sweep`.

Both sides train the same trials (features 8/16/32 x kernel 3/5 x pool max/average x seeds 0..2 on scikit-learn's
digits) in the same run on the same machine, cold: every repetition gives each side an empty output folder and an empty
cache folder. JAX's persistent compilation cache is off on the plain side, as it is unless somebody turns it on. With
--warm each repetition runs both sides once more, with all that they compile in their caches: cnnjax's own from its
cold run, and for the plain processes JAX's persistent cache, told to keep everything, which one process of each arm
has filled, untimed. Python remembers the bytecode of modules on both sides, as it does unless somebody turns it off.
Odd repetitions run the plain side first, even ones the other. Wall seconds are from the first process's start to
the last one's end, imports included.

Both sides train and test on the same examples: cnnjax's split of the digits is given to the plain processes. (Another
split, as stratified and as random, moves the mean test accuracy by a percent, several times what seeds do.) The
comparison is refused (exit status 1) when a trial is missing or failed, or when parameters, numbers of examples,
epochs, batch size or learning rate differ. Mean test accuracies are printed with their difference and its standard
error, which is of seeds within arms: the two sides draw different random numbers, so they agree only up to that.

    python benchmarks/study_vs_processes.py --repeats 3 --json /tmp/study.json
    python benchmarks/study_vs_processes.py --small
"""

import argparse
import datetime
import itertools
import json
import math
import os
import platform
import shlex
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PLAIN = ROOT / "benchmarks" / "plain_flax.py"
OURS = "cnnjax sweep experiments/digits/study.py"
PACKAGES = ("cnnjax", "jax", "jaxlib", "flax", "optax", "numpy", "scikit-learn")
POLL_SECONDS = 0.2
SPLIT_OF_CNNJAX = """
import json, flax.linen, optax
from sklearn.datasets import load_digits
from cnnjax.data.digits import Digits
from cnnjax.data.splits import Carving, splits

row = {image.tobytes(): number for number, image in enumerate(load_digits().images.astype("uint8"))}
parts = splits(Digits().load(), Carving(validation=0.1))
names = ("train", "validation", "test")
print(json.dumps({name: [row[image.tobytes()] for image in getattr(parts, name).images] for name in names}))
"""


class Refused(Exception):
    """The two sides can't be compared; the message says why."""


@dataclass(frozen=True)
class Size:
    features: tuple[int, ...] = (8, 16, 32)
    kernel_sizes: tuple[int, ...] = (3, 5)
    pools: tuple[str, ...] = ("max", "average")
    seeds: int = 3
    epochs: int = 20

    def trials(self):
        """Return the (features, kernel_size, pool, seed) of every trial."""
        return list(itertools.product(self.features, self.kernel_sizes, self.pools, range(self.seeds)))


SMALL = Size(features=(8,), kernel_sizes=(3,), seeds=1, epochs=2)
SMALL_OVERRIDES = "model.features=8 model.kernel_size=3 model.pool=max,average epochs=2 --seeds 1"


@dataclass(frozen=True)
class Outcome:
    test_accuracy: float
    same: dict  # what must not differ between the sides


@dataclass(frozen=True)
class Cost:
    wall_seconds: float
    cpu_seconds: float
    peak_tree_bytes: int | None  # highest sum of resident sets over all processes at one moment; None without /proc
    largest_process_bytes: int  # highest resident set of any one process


# ---- processes


def resident_bytes_below(root):
    """Sum of the resident sets of all descendants of process `root`; pages they share count once for each."""
    children, pages = {}, {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            pages[int(folder.name)] = int((folder / "statm").read_text().split()[1])
        except (OSError, IndexError):  # it ended meanwhile
            continue
        children.setdefault(parent, []).append(int(folder.name))
    below = list(children.get(root, ()))
    for pid in below:
        below.extend(children.get(pid, ()))
    return sum(pages[pid] for pid in below) * os.sysconf("SC_PAGE_SIZE")


class PeakMemory:
    """Polls the memory of this process's descendants while the `with` block runs; `bytes` is the highest sum seen."""

    def __init__(self):
        self.bytes = 0 if Path("/proc/self/statm").exists() else None
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._poll, daemon=True)

    def _poll(self):
        while not self._done.wait(POLL_SECONDS):
            self.bytes = max(self.bytes, resident_bytes_below(os.getpid()))

    def __enter__(self):
        if self.bytes is not None:
            self._thread.start()
        return self

    def __exit__(self, *_):
        self._done.set()
        if self.bytes is not None:
            self._thread.join()


def execute(command, env, log):
    """Run `command` to its end from the repository's root and return its resource usage, that of its children with it.

    Raises Refused with the last lines of its output if it fails.
    """
    with log.open("wb") as sink:
        try:
            process = subprocess.Popen(command, cwd=ROOT, env=env, stdout=sink, stderr=subprocess.STDOUT)
        except FileNotFoundError as error:
            raise Refused(f"no such command: {command[0]}") from error
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-20:])
        raise Refused(f"exit status {process.returncode} from: {shlex.join(command)}\n{tail}")
    return usage


def environment_of(cache, *, share_compiled):
    environment = os.environ | {
        "XDG_CACHE_HOME": str(cache),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
    }
    for name in ("JAX_COMPILATION_CACHE_DIR", "PYTHONDONTWRITEBYTECODE"):
        environment.pop(name, None)
    shared = {"JAX_COMPILATION_CACHE_DIR": str(cache / "jax"), "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    return environment | (shared if share_compiled else {})


def measured(commands, env, folder, workers):
    """Run the commands, `workers` at a time, and return their Cost."""
    logs = [folder / f"log_{index}.txt" for index in range(len(commands))]
    started = time.perf_counter()
    with PeakMemory() as memory, ThreadPoolExecutor(workers) as pool:
        usages = list(pool.map(execute, commands, itertools.repeat(env), logs))
        wall_seconds = time.perf_counter() - started
    kilobyte = 1 if sys.platform == "darwin" else 1024  # ru_maxrss is in bytes there
    return Cost(
        wall_seconds=wall_seconds,
        cpu_seconds=sum(usage.ru_utime + usage.ru_stime for usage in usages),
        peak_tree_bytes=memory.bytes,
        largest_process_bytes=max(usage.ru_maxrss for usage in usages) * kilobyte,
    )


# ---- the two sides: each returns its Cost and {trial: Outcome}


def split_of_cnnjax():
    """Return the rows of scikit-learn's digits in each part of cnnjax's split.

    Run once before anything is timed, it also brings the libraries into the file cache, which else would favour
    whichever side comes second.
    """
    done = subprocess.run([sys.executable, "-c", SPLIT_OF_CNNJAX], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise Refused(f"cannot read cnnjax's split of the digits\n{done.stderr}")
    return json.loads(done.stdout)


def run_plain(size, split, folder, env, workers):
    folder.mkdir()
    split_file = folder / "split.json"
    split_file.write_text(json.dumps(split))
    commands, files = [], {}
    for trial in size.trials():
        features, kernel_size, pool, seed = trial
        files[trial] = folder / f"{features}_{kernel_size}_{pool}_{seed}.json"
        options = f"--features {features} --kernel-size {kernel_size} --pool {pool} --seed {seed}".split()
        options += ["--epochs", str(size.epochs), "--split", str(split_file), "--out", str(files[trial])]
        commands.append([sys.executable, str(PLAIN), *options])
    cost = measured(commands, env, folder, workers)
    outcomes = {}
    for trial, file in files.items():
        result = json.loads(file.read_text())
        shared = {name: result["arguments"][name] for name in ("epochs", "batch_size", "learning_rate")}
        shared |= {"params": result["params"], "examples": result["examples"]}
        outcomes[trial] = Outcome(result["test_accuracy"], shared)
    return cost, outcomes


def run_ours(command, folder, env):
    folder.mkdir()
    out = folder / "out"
    words = [word.replace("{out}", str(out)) for word in shlex.split(command)]
    if "{out}" not in command:
        words += ["--out", str(out)]
    cost = measured([words], env, folder, workers=1)
    outcomes = {}
    for file in sorted(out.glob("trials/*/result.json")):
        result = json.loads(file.read_text())
        if result["status"] != "done":
            raise Refused(f"trial {result['id']} of cnnjax: status {result['status']}")
        config = result["config"]
        model = config["model"]
        trial = (model["features"], model["kernel_size"], model["pool"], result["seed"])
        shared = {"epochs": config["epochs"], "batch_size": config["batch_size"]}
        shared |= {"learning_rate": config["optim"]["learning_rate"]}
        shared |= {"params": result["params"], "examples": result["examples"]}
        outcomes[trial] = Outcome(result["metrics"]["test_accuracy"], shared)
    return cost, outcomes


def check_same_trials(plain, ours):
    """Raise Refused unless both sides have the same trials, alike in what can be compared."""
    if missing := sorted(set(plain) - set(ours)):
        raise Refused(f"cnnjax has no result of {len(missing)} of {len(plain)} trials, the first being {missing[0]}")
    if surplus := sorted(set(ours) - set(plain)):
        raise Refused(f"cnnjax has {len(surplus)} trials that plain Flax has not, the first being {surplus[0]}")
    for trial in plain:
        for name, value in plain[trial].same.items():
            if value != ours[trial].same[name]:
                raise Refused(f"trial {trial}: {name} is {value} in plain Flax, {ours[trial].same[name]} in cnnjax")


# ---- numbers


def accuracy(outcomes):
    """Mean test accuracy over all trials and its standard error from the spread of the seeds within each arm.

    The error is None with fewer than two seeds an arm.
    """
    arms = {}
    for (*arm, _seed), outcome in outcomes.items():
        arms.setdefault(tuple(arm), []).append(outcome.test_accuracy)
    mean = statistics.fmean(outcome.test_accuracy for outcome in outcomes.values())
    freedom = len(outcomes) - len(arms)
    if not freedom:
        return mean, None
    squares = sum((value - statistics.fmean(values)) ** 2 for values in arms.values() for value in values)
    return mean, math.sqrt(squares / freedom / len(outcomes))


def compare_accuracy(plain, ours):
    (plain_mean, plain_error), (ours_mean, ours_error) = accuracy(plain), accuracy(ours)
    difference = ours_mean - plain_mean
    error = None if plain_error is None else math.hypot(plain_error, ours_error)
    return {
        "n": len(plain),
        "plain_mean": plain_mean,
        "cnnjax_mean": ours_mean,
        "difference": difference,
        "standard_error": error,
        "within_two_standard_errors": None if error is None else abs(difference) <= 2 * error,
    }


def spread(values):
    return {"n": len(values), "median": statistics.median(values), "min": min(values), "max": max(values)}


def summarize(costs):
    summary = {}
    for name in ("", " warm") if "plain warm" in costs[0] else ("",):
        ratios = [pair[f"plain{name}"].wall_seconds / pair[f"cnnjax{name}"].wall_seconds for pair in costs]
        summary[f"wall_ratio{name}"] = spread(ratios)
    for side in costs[0]:
        peaks = [pair[side].peak_tree_bytes for pair in costs]
        summary[side] = {
            "wall_seconds": spread([pair[side].wall_seconds for pair in costs]),
            "cpu_seconds": spread([pair[side].cpu_seconds for pair in costs]),
            "peak_tree_bytes": None if None in peaks else max(peaks),
            "largest_process_bytes": max(pair[side].largest_process_bytes for pair in costs),
        }
    return summary


# ---- where it ran


def cpu_model():
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def git(*words):
    done = subprocess.run(["git", "--no-optional-locks", *words], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else None


def environment():
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "commit": git("rev-parse", "--short=12", "HEAD"),
        "uncommitted_changes": bool(git("status", "--porcelain")),
        "cpu": cpu_model(),
        "cores": cores,
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "load_average_at_start": os.getloadavg()[0],
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": {name: metadata.version(name) for name in PACKAGES},
    }


# ---- output


COLUMNS = (
    "date",
    "commit",
    "CPU",
    "trials",
    "repeats",
    "plain, s",
    "cnnjax, s",
    "plain / cnnjax",
    "cnnjax peak memory",
    "mean test accuracy, plain / cnnjax",
    "difference ± standard error",
    "versions",
)


def of_range(numbers, digits):
    median, low, high = (f"{numbers[name]:.{digits}f}" for name in ("median", "min", "max"))
    return median if numbers["n"] == 1 else f"{median} ({low} to {high})"


def gigabytes(count):
    return "unknown" if count is None else f"{count / 1e9:.2f} GB"


def difference_text(agreement):
    error = agreement["standard_error"]
    return f"{agreement['difference']:+.4f} ± " + ("unknown (one seed)" if error is None else f"{error:.4f}")


def markdown_row(report):
    where, summary, agreement = report["environment"], report["summary"], report["accuracy"]
    versions = ("jax", "flax", "optax")
    cells = (
        where["date"][:10],
        f"{where['commit']}{'+' if where['uncommitted_changes'] else ''}",
        f"{where['cpu']}, {where['cores']} cores",
        agreement["n"],
        len(report["repeats"]),
        of_range(summary["plain"]["wall_seconds"], 1),
        of_range(summary["cnnjax"]["wall_seconds"], 1),
        of_range(summary["wall_ratio"], 2),
        gigabytes(summary["cnnjax"]["peak_tree_bytes"]),
        f"{agreement['plain_mean']:.4f} / {agreement['cnnjax_mean']:.4f}",
        difference_text(agreement),
        ", ".join(f"{name} {where['versions'][name]}" for name in versions),
    )
    rows = (COLUMNS, ["---"] * len(COLUMNS), cells)
    return "\n".join("| " + " | ".join(str(cell) for cell in row) + " |" for row in rows)


def print_report(report):
    for side in report["repeats"][0]:
        numbers = report["summary"][side]
        print(
            f"{side:11s}  wall {of_range(numbers['wall_seconds'], 1)} s,"
            f" processor {of_range(numbers['cpu_seconds'], 1)} s,"
            f" peak resident {gigabytes(numbers['peak_tree_bytes'])} over all its processes,"
            f" {gigabytes(numbers['largest_process_bytes'])} in the largest"
        )
    agreement = report["accuracy"]
    for name in report["summary"]:
        if name.startswith("wall_ratio"):
            when = name.removeprefix("wall_ratio").strip() or "cold"
            ratio = of_range(report["summary"][name], 2)
            print(f"wall, plain / cnnjax, {when}: {ratio}, n = {len(report['repeats'])}")
    print(
        f"mean test accuracy over {agreement['n']} trials: plain {agreement['plain_mean']:.4f},"
        f" cnnjax {agreement['cnnjax_mean']:.4f}, difference {difference_text(agreement)}"
    )
    if agreement["within_two_standard_errors"] is False:
        print("the accuracies differ by more than two standard errors: explain that before quoting the times")
    print()
    print(markdown_row(report))


def repetition(number, size, split, command, workers, warm):
    """Run both sides once, or, if `warm`, twice, each in folders of its own.

    Returns (Cost, outcomes) by side: "plain", "cnnjax", "plain warm", "cnnjax warm".
    """
    order = ("plain", "cnnjax") if number % 2 else ("cnnjax", "plain")
    done = {}

    def ran(side, *arguments):
        done[side] = run_plain(*arguments) if side.startswith("plain") else run_ours(*arguments)
        print(f"repetition {number}, {side}: {done[side][0].wall_seconds:.1f} s", file=sys.stderr)

    with tempfile.TemporaryDirectory(prefix="study_") as top:
        top = Path(top)
        env = environment_of(top / "cache", share_compiled=False)
        cached = environment_of(top / "plain_cache", share_compiled=True)
        for side in order:
            ran(side, *((size, split, top / side, env, workers) if side == "plain" else (command, top / side, env)))
        for side in order if warm else ():
            if side == "plain":
                run_plain(replace(size, seeds=1), split, top / "filling", cached, workers)
                ran("plain warm", size, split, top / "plain_warm", cached, workers)
            else:
                ran("cnnjax warm", command, top / "cnnjax_warm", env)
    for name in ("", " warm") if warm else ("",):
        check_same_trials(done[f"plain{name}"][1], done[f"cnnjax{name}"][1])
    return dict(sorted(done.items(), key=lambda each: ("warm" in each[0], not each[0].startswith("plain"))))


def run(args):
    size = SMALL if args.small else Size()
    command = args.ours or (f"{OURS} {SMALL_OVERRIDES}" if args.small else OURS)
    report = {"environment": environment(), "size": asdict(size), "cnnjax_command": command, "workers": args.workers}
    split = split_of_cnnjax()
    repeats = [repetition(number + 1, size, split, command, args.workers, args.warm) for number in range(args.repeats)]
    # Repetitions train the same seeds again, so they say more about time and nothing more about accuracy.
    plain, ours = (repeats[0][side][1] for side in ("plain", "cnnjax"))
    costs = [{side: cost for side, (cost, _) in repeat.items()} for repeat in repeats]
    return report | {
        "repeats": [{side: asdict(cost) for side, cost in pair.items()} for pair in costs],
        "summary": summarize(costs),
        "accuracy": compare_accuracy(plain, ours),
        "trials": [
            {
                **dict(zip(("features", "kernel_size", "pool", "seed"), trial, strict=True)),
                "params": plain[trial].same["params"],
                "plain_test_accuracy": plain[trial].test_accuracy,
                "cnnjax_test_accuracy": ours[trial].test_accuracy,
            }
            for trial in plain
        ],
    }


def positive(text):
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is less than 1")
    return number


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=positive, default=1, help="times that both sides are measured")
    parser.add_argument("--workers", type=positive, default=2, help="plain processes at a time")
    parser.add_argument("--warm", action="store_true", help="also both sides with what they compile in their caches")
    parser.add_argument("--small", action="store_true", help="two arms, one seed, two epochs: does it run at all?")
    parser.add_argument(
        "--ours",
        metavar="COMMAND",
        help=f"the other side's command (default '{OURS}'); {{out}} in it is its output folder, else --out is appended",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every number there")
    args = parser.parse_args()
    try:
        report = run(args)
    except Refused as reason:
        sys.exit(f"not comparable: {reason}")
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps(report, indent=2) + "\n")
    print_report(report)


if __name__ == "__main__":
    main()
