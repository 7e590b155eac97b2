"""Which tests `make test` leaves to `make test-all`: those that take long, as measured, listed in long.txt.

A line is a test, or a test and how many of its cases stay in `make test`: as many as a second goes through.
`make times` runs what `make test` runs and adds what took long there; a line that is taken away is measured again.
"""

from __future__ import annotations

import json
import os
import resource
import sys
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

LONG = Path(__file__).with_name("long.txt")
SECOND = 1.0
"""Of a processor: what a test, and the cases of a test together, may take."""


def listed() -> dict[str, int]:
    """How many cases of each listed test `make test` runs; the others are not listed."""
    lines = [line.split() for line in LONG.read_text().splitlines()]
    return {name: int(count[0]) if count else 0 for name, *count in lines}


def left_out(names: Iterable[str]) -> set[str]:
    """Those of the names of cases, in their order, that `make test` leaves to `make test-all`."""
    kept, out = listed(), set()
    for name in names:
        test = name.split("[")[0]
        if test in kept:
            kept[test] -= 1
            if kept[test] < 0:
                out.add(name)
    return out


def seconds() -> float:
    """Of a processor, that this process and its ended children have taken."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def note(name: str, taken: float) -> None:
    """A line in the file that CNNJAX_TIMES names: the workers of a run write to one."""
    with open(os.environ["CNNJAX_TIMES"], "a") as file:
        file.write(json.dumps([name, taken]) + "\n")


def lengthened(times: Iterable[tuple[str, float]], kept: dict[str, int]) -> dict[str, int]:
    """`kept` with what took longer than a second. Of a file whose tests all take longer, the quickest stays."""
    tests: dict[str, list[float]] = defaultdict(list)
    for name, taken in times:
        tests[name.split("[")[0]].append(taken)
    files: dict[str, list[str]] = defaultdict(list)
    for test in tests:
        files[test.split("::")[0]].append(test)
    result = dict(kept)
    for inside in files.values():
        long = {test for test in inside if min(tests[test]) > SECOND}
        if long == set(inside):
            stays = min(long, key=lambda test: min(tests[test]))
            long.remove(stays)
            if len(tests[stays]) > 1:
                result[stays] = 1
        for test in long:
            result[test] = 0
        for test in set(inside) - long:
            # The first case often pays for what the others find compiled.
            if len(tests[test]) > 1 and sum(tests[test]) > SECOND:
                result[test] = max(1, int(SECOND * len(tests[test]) / sum(tests[test])))
    return result


def main(measured: str) -> None:
    times = [json.loads(line) for line in Path(measured).read_text().splitlines()]
    kept = lengthened(times, listed())
    LONG.write_text("".join(f"{name} {count}\n" if count else f"{name}\n" for name, count in sorted(kept.items())))
    print(f"{len(times)} cases took {sum(taken for _, taken in times):.0f} seconds; {len(kept)} tests are in {LONG}")


if __name__ == "__main__":
    main(sys.argv[1])
