"""Experiments: from axes to runs, to shared work, to stored results and their ranking."""
