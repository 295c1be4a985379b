"""vpcore."""
