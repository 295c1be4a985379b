"""MLflow tracker for vpcore, and vp mlflow-ui."""
