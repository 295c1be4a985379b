"""How much is kept of what a learning signal says of its runs. Apart from the rest, because specifications name it."""

from __future__ import annotations

from typing import Literal

Extent = Literal["none", "basic", "full"]
"""What is computed: nothing, what costs next to nothing, everything."""
