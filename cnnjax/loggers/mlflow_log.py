"""MLflow: a run for each trial, in an experiment for each study.

MLFLOW_TRACKING_URI says where; without it, `<study>/mlflow.db` (SQLite), which
`mlflow ui --backend-store-uri sqlite:///<study>/mlflow.db` shows.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping
from importlib import import_module
from typing import Any, ClassVar

from cnnjax.events import Started
from cnnjax.files import write_text
from cnnjax.loggers.logger import Logger, Outcome, flat

_SETTING_UP = threading.Lock()
"""Two threads must not make one database or one experiment at once."""

_MOST = 500
"""Numbers sent at once; MLflow takes 1000."""

_STATUS = {"done": "FINISHED", "failed": "FAILED", "stopped": "KILLED"}


class MLflow(Logger, name="mlflow"):
    """A training that continues goes on in its run, and does not send again the steps that the run has.

    The run's id is kept in `<run>/mlflow_run`. Numbers are sent together, at the end of an epoch and with a checkpoint.
    """

    needs: ClassVar[Mapping[str, str]] = {
        "mlflow": "mlflow-skinny>=3.4",
        "sqlalchemy": "sqlalchemy>=2",
        "alembic": "alembic>=1.10",
    }
    _client: Any

    def open(self, started: Started) -> None:
        # An outage is to switch the logger off soon, and not to hold up a training for minutes.
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
        client = import_module("mlflow.tracking").MlflowClient
        uri = os.environ.get("MLFLOW_TRACKING_URI")
        with _SETTING_UP:
            self._client = client(tracking_uri=uri or f"sqlite:///{started.out.resolve() / 'mlflow.db'}")
            self._run, self._sent = self._find(started) or (self._create(started, local=not uri), 0)
        self._held: list[Any] = []

    def write(self, step: int, numbers: Mapping[str, float]) -> None:
        if step <= self._sent:
            return
        now = int(time.time() * 1000)
        self._held += [_entities().Metric(name, float(value), now, step) for name, value in numbers.items()]
        if len(self._held) >= _MOST:
            self.flush()

    def flush(self) -> None:
        if self._held:
            self._client.log_batch(self._run, metrics=self._held)
            self._held = []

    def close(self, outcome: Outcome, reason: str) -> None:
        self.flush()
        if reason:
            self._client.set_tag(self._run, "cnnjax.error", reason)
        self._client.set_terminated(self._run, _STATUS[outcome])

    def _find(self, started: Started) -> tuple[str, int] | None:
        """The run that the run directory names, with the newest step it has; None where there is none."""
        kept = started.folder / "mlflow_run"
        if not kept.exists():
            return None
        run = kept.read_text().strip()
        self._client.update_run(run, status="RUNNING")
        histories = [self._client.get_metric_history(run, name) for name in ("step/loss", "train_loss")]
        return run, max((metric.step for history in histories for metric in history), default=0)

    def _create(self, started: Started, *, local: bool) -> str:
        found = self._client.get_experiment_by_name(started.study)
        artifacts = (started.out.resolve() / "mlartifacts").as_uri() if local else None
        experiment = found.experiment_id if found else self._client.create_experiment(started.study, artifacts)
        tags = {"cnnjax.trial": started.trial, "cnnjax.folder": str(started.folder.resolve())}
        run = self._client.create_run(experiment, run_name=started.trial, tags=tags).info.run_id
        self._log_params(run, started)
        write_text(started.folder / "mlflow_run", f"{run}\n")
        return run

    def _log_params(self, run: str, started: Started) -> None:
        values = flat(started.config) | {f"axis.{path}": value for path, value in started.arm.items()}
        params = [_entities().Param(name, str(value)) for name, value in values.items()]
        # MLflow takes 100 at once.
        for first in range(0, len(params), 100):
            self._client.log_batch(run, params=params[first : first + 100])


def _entities() -> Any:
    return import_module("mlflow.entities")
