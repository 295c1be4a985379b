"""Optuna sampler for vpcore: combinations proposed from results."""
