"""Who does the work of a sweep: anything that implements `concurrent.futures.Executor`."""

from __future__ import annotations

from vpcore.executor.local import ExecutorLost, LocalExecutor, WorkerDied
from vpcore.executor.serial import SerialExecutor

__all__ = ["ExecutorLost", "LocalExecutor", "SerialExecutor", "WorkerDied"]
