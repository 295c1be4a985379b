"""The world of `stored_world`, and the workspace of `sweep_workspace`."""

from stored_world import bare_world, specs, world
from sweep_workspace import edit, frames, importable, make_proven, make_workspace, proofs

__all__ = ["bare_world", "edit", "frames", "importable", "make_proven", "make_workspace", "proofs", "specs", "world"]
