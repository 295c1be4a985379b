"""Machine-learning signals for vpcore."""
