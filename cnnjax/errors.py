"""Errors a user can mend. The command line prints their message without a traceback."""

from __future__ import annotations


class CnnjaxError(Exception):
    """A mistake or a circumstance the user can mend; the message says how."""


class ConfigError(CnnjaxError, ValueError):
    """A configuration is wrong: the message names the path, the value and the rule."""


class ShapeError(ConfigError):
    """A layer does not fit its input: the message gives the layer and the arithmetic."""


class DataError(CnnjaxError):
    """A data set is missing, damaged or not what the experiment expects."""


class RunError(CnnjaxError):
    """A run directory cannot be used, or a run cannot go on."""


class DiskFull(RunError):
    """There is no room to write: a study stops, since every other trial would fail too."""


class Interrupted(CnnjaxError):
    """The user asked to stop; everything is saved."""
