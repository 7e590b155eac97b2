"""`python -m cnnjax.study.traced_apart NUMBER`: traces experiments, whose code may end this process.

stdin is JSON: the experiment file that defines their classes, how many devices they are for, and their fields. After
each experiment a byte is written to the open file of that number.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys

from cnnjax import interrupts


def main() -> None:
    """Trace them all. What is wrong with one in other ways is said by the plan that asks."""
    interrupts.follow_parent()
    from cnnjax.experiment import Experiment, check
    from cnnjax.run.teachers import teachers_of
    from cnnjax.study.file import load

    asked, done = json.load(sys.stdin), int(sys.argv[1])
    load(asked["file"])
    for fields in asked["experiments"]:
        with contextlib.suppress(Exception):
            experiment = Experiment.from_json(json.dumps(fields))
            check(experiment, devices=asked["devices"], teachers=teachers_of(experiment))
        os.write(done, b".")


if __name__ == "__main__":
    main()
