"""Statistics on arrays: rotation test, bootstrap, intervals, multiple testing, Sharpe ratios, overfitting."""
