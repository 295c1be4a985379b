"""The worker process of `LocalExecutor`: ``python -m vpcore.executor.child FD``."""

from __future__ import annotations

import gc
import os
import pickle
import queue
import sys
import threading
import traceback
from multiprocessing.connection import Connection
from typing import Any


def _listen(connection: Connection, tasks: queue.SimpleQueue[bytes]) -> None:
    try:
        while True:
            tasks.put(connection.recv_bytes())
    except (EOFError, OSError):
        os._exit(0)  # the parent is done, or dead; nobody is left to answer, whatever is being computed


def _answer(payload: bytes) -> bytes:
    try:
        function, args, kwargs = pickle.loads(payload)
        return pickle.dumps((True, function(*args, **kwargs), ""))
    except Exception as error:
        trace = traceback.format_exc()
        answer: Any = (False, error, trace)
        try:
            data = pickle.dumps(answer)
            pickle.loads(data)
        except Exception:  # an exception that does not survive pickling
            data = pickle.dumps((False, RuntimeError(f"{type(error).__name__}: {error}"), trace))
        return data


def main() -> None:
    """Answer tasks until the pipe ends."""
    gc.set_threshold(50_000, 10, 10)  # imports and datasets make objects that stay: a search among them finds nothing
    connection = Connection(int(sys.argv[1]))
    tasks: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(connection, tasks), daemon=True).start()
    while True:
        connection.send_bytes(_answer(tasks.get()))


if __name__ == "__main__":
    main()
