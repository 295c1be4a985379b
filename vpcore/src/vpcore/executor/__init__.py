"""Who does the work of a sweep: the base class `Executor`, this process, and processes of this machine."""

from __future__ import annotations

from vpcore.executor.local import ExecutorLost, LocalExecutor, WorkerDied
from vpcore.executor.protocol import Executor, adapted
from vpcore.executor.serial import SerialExecutor

__all__ = ["Executor", "ExecutorLost", "LocalExecutor", "SerialExecutor", "WorkerDied", "adapted"]
