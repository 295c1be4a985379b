"""From signal values to trades, and from trades to figures. Works on arrays only."""
