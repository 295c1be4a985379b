"""The workspace of `tape_workspace`."""

from tape_workspace import heard, put_pipeline, put_tape, workspace

__all__ = ["heard", "put_pipeline", "put_tape", "workspace"]
