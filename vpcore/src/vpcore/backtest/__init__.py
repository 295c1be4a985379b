"""From signal values to trades, and from trades to figures. Arrays in, never a signal."""
