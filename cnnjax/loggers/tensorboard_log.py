"""TensorBoard: event files in `<run>/tensorboard`, and the experiment as hyper-parameters.

`tensorboard --logdir <study>/trials` shows the trials of a study beside each other, by id.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from importlib import import_module
from typing import Any, ClassVar

from cnnjax.events import Started
from cnnjax.loggers.logger import Logger, Outcome, flat, own_folder


class TensorBoard(Logger, name="tensorboard"):
    """Where a training continues, TensorBoard is told to forget the steps that come again (its "purge step")."""

    needs: ClassVar[Mapping[str, str]] = {"tensorboard": "tensorboard>=2.20"}
    _writer: Any

    def open(self, started: Started) -> None:
        writer = import_module("tensorboard.summary.writer.event_file_writer")
        session_log, hparams = _messages().SessionLog, import_module("tensorboard.plugins.hparams.summary_v2")
        self._writer = writer.EventFileWriter(str(own_folder(started, "tensorboard")))
        self._add(step=started.step + 1, session_log=session_log(status=session_log.START))
        values = {"study": started.study, **flat(started.config)}
        self._add(summary=hparams.hparams_pb(values, trial_id=started.trial))

    def write(self, step: int, numbers: Mapping[str, float]) -> None:
        summary = _summary()
        values = [summary.Value(tag=name, simple_value=value) for name, value in numbers.items()]
        self._add(step=step, summary=summary(value=values))

    def flush(self) -> None:
        self._writer.flush()

    def close(self, outcome: Outcome, reason: str) -> None:
        if outcome != "stopped":
            self._add(summary=_session_end(succeeded=outcome == "done"))
        self._writer.close()

    def _add(self, **fields: Any) -> None:
        self._writer.add_event(_messages().Event(wall_time=time.time(), **fields))


def _messages() -> Any:
    return import_module("tensorboard.compat.proto.event_pb2")


def _summary() -> Any:
    return import_module("tensorboard.compat.proto.summary_pb2").Summary


def _session_end(*, succeeded: bool) -> Any:
    """What the page of hyper-parameters shows as the trial's status."""
    api, metadata, plugin = (
        import_module(f"tensorboard.plugins.hparams.{name}") for name in ("api_pb2", "metadata", "plugin_data_pb2")
    )
    status = api.STATUS_SUCCESS if succeeded else api.STATUS_FAILURE
    end = plugin.SessionEndInfo(status=status, end_time_secs=time.time())
    about = metadata.create_summary_metadata(plugin.HParamsPluginData(session_end_info=end))
    summary = _summary()
    value = summary.Value(tag=metadata.SESSION_END_INFO_TAG, metadata=about, tensor=metadata.NULL_TENSOR)
    return summary(value=[value])
