"""Generation of datasets from pipelines."""
