"""Databento .dbn and .dbn.zst files."""
