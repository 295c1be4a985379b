"""Statistical signals for vpcore."""
