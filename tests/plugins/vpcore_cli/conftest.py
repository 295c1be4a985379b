"""Plugins as a stranger installs them."""

from stranger_plugins import install

__all__ = ["install"]
