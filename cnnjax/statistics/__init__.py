"""What a study's numbers say, as pure functions of arrays and pandas frames: no files, no JAX, no tables of a study.

One file a kind of statistic. Each result is a frozen dataclass with its `n`, a `method` that names test and source,
and, where nothing can be said, NaN with the reason in `why`. docs/statistics.md says what each answers and from how
many seeds on it may be read; benchmarks/calibration.py measures that.
"""
