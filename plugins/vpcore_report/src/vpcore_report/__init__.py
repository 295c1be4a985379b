"""Reports and plots of stored rows."""
