"""Conformance suite for the authors of feeds, a pytest decorator as those of `vpcore.testing`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from vpcore.testing import suite
from vpcore_serving.feed.conformance import FEED_CHECKS

if TYPE_CHECKING:
    import pytest

    from vpcore_serving.feed import Feed, FeedRequest

__all__ = ["feed_checks"]


def feed_checks(
    make: Callable[[FeedRequest], Feed], request: Callable[[Path], FeedRequest], *, least: int = 1
) -> pytest.MarkDecorator:
    """Return a decorator that calls a test once per check of a feed.

    Parameters
    ----------
    make : callable
        The class, or a factory with the same argument.
    request : callable
        Takes an empty folder for files and returns a request that the feed can follow.
    least : int
        Records of the contract to read for a check; a feed that ends earlier may deliver fewer.
    """
    return suite(FEED_CHECKS, lambda check, folder: check(make, request(folder), least))
