"""What this package registers. Nothing is imported before it is used."""

from __future__ import annotations

from vpcore import Component, hookimpl


@hookimpl
def vp_signals() -> tuple[Component, ...]:
    """Return the signals of this package."""
    linear, trees = "vpcore_signals_ml.linear_signals", "vpcore_signals_ml.tree_signals"
    memory, anomaly = "vpcore_signals_ml.neighbour_signal", "vpcore_signals_ml.anomaly_signal"
    return (
        Component("gbm_mf", f"{trees}:GbmMf", "Boosted trees on leans of the flow, returns and spread, walk-forward."),
        Component("gbm_snap", f"{trees}:GbmSnap", "Boosted trees on the cells around the mid, walk-forward."),
        Component("knn_cl", f"{memory}:KnnCl", "Nearest neighbours on a compact state, walk-forward."),
        Component("logit", f"{linear}:Logit", "Logistic regression on the features of gbm_mf (baseline)."),
        Component("lsvm_der", f"{linear}:LsvmDer", "Linear SVM on slopes of asymmetries, learning between its fits."),
        Component("pca_ad", f"{anomaly}:PcaAd", "Lean at the touch where the profile is unusual (PCA)."),
        Component("svm_sp", f"{linear}:SvmSp", "Linear SVM on the profile of pressure minus vacuum, walk-forward."),
    )
