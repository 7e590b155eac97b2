"""Loggers: sinks that send a trial's numbers to TensorBoard, W&B or MLflow. One file each."""

from cnnjax.loggers.logger import Guarded, Logger
from cnnjax.loggers.registry import logger_class, logger_classes
