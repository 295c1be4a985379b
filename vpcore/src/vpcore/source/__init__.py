"""Sources: where market-by-order records come from."""

from __future__ import annotations

from vpcore.source.protocol import FileInfo, RecordChunk, RecordStream, Source, SourceRequest

__all__ = ["FileInfo", "RecordChunk", "RecordStream", "Source", "SourceRequest"]
