"""Extent of the stored diagnostics of learning signals. A module of its own, because specifications import it."""

from __future__ import annotations

from typing import Literal

Extent = Literal["none", "basic", "full"]
"""Computed diagnostics: none, the cheap part, all."""
