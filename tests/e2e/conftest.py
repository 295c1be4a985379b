"""The workspace of `sweep_workspace`."""

from __future__ import annotations

from sweep_workspace import edit, frames, importable, make_proven, make_workspace, proofs

__all__ = ["edit", "frames", "importable", "make_proven", "make_workspace", "proofs"]
