"""TensorBoard: event files in `<run>/tensorboard`, and the experiment as hyper-parameters.

`tensorboard --logdir <study>/trials` shows the trials of a study beside each other, by id.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, ClassVar

from cnnjax.events import Started
from cnnjax.loggers.logger import Logger, Outcome, flat, own_folder


class TensorBoard(Logger, name="tensorboard"):
    """Where a training continues, TensorBoard is told to forget the steps that come again (its "purge step")."""

    needs: ClassVar[Mapping[str, str]] = {"tensorboard": "tensorboard>=2.20"}
    _writer: Any

    def open(self, started: Started) -> None:
        from tensorboard.compat.proto.event_pb2 import SessionLog
        from tensorboard.plugins.hparams import summary_v2 as hparams
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        self._writer = EventFileWriter(str(own_folder(started, "tensorboard")))
        self._add(step=started.step + 1, session_log=SessionLog(status=SessionLog.START))
        values = {"study": started.study, **flat(started.config)}
        self._add(summary=hparams.hparams_pb(values, trial_id=started.trial))

    def write(self, step: int, numbers: Mapping[str, float]) -> None:
        from tensorboard.compat.proto.summary_pb2 import Summary

        values = [Summary.Value(tag=name, simple_value=value) for name, value in numbers.items()]
        self._add(step=step, summary=Summary(value=values))

    def flush(self) -> None:
        self._writer.flush()

    def close(self, outcome: Outcome, reason: str) -> None:
        if outcome != "stopped":
            self._add(summary=_session_end(succeeded=outcome == "done"))
        self._writer.close()

    def _add(self, **fields: Any) -> None:
        from tensorboard.compat.proto.event_pb2 import Event

        self._writer.add_event(Event(wall_time=time.time(), **fields))


def _session_end(*, succeeded: bool) -> Any:
    """What the page of hyper-parameters shows as the trial's status."""
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2

    status = api_pb2.STATUS_SUCCESS if succeeded else api_pb2.STATUS_FAILURE
    end = plugin_data_pb2.SessionEndInfo(status=status, end_time_secs=time.time())
    about = metadata.create_summary_metadata(plugin_data_pb2.HParamsPluginData(session_end_info=end))
    value = Summary.Value(tag=metadata.SESSION_END_INFO_TAG, metadata=about, tensor=metadata.NULL_TENSOR)
    return Summary(value=[value])
