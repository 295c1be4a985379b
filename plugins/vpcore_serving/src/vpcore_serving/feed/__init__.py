"""Feeds: where a live pipeline's records come from."""

from __future__ import annotations

from vpcore_serving.feed.protocol import Batch, Feed, FeedRequest, Lost, SequenceWatch

__all__ = ["Batch", "Feed", "FeedRequest", "Lost", "SequenceWatch"]
