"""What this package registers. Nothing is imported before it is used."""

from __future__ import annotations

from vpcore import Component, hookimpl


@hookimpl
def vp_signals() -> tuple[Component, ...]:
    """Return the signals of this package."""
    home = "vpcore_signals_ml.signals"
    return (
        Component("gbm_mf", f"{home}:GbmMf", "Boosted trees on leans of the flow, returns and spread, walk-forward."),
        Component("gbm_snap", f"{home}:GbmSnap", "Boosted trees on the cells around the mid, walk-forward."),
        Component("knn_cl", f"{home}:KnnCl", "Nearest neighbours on a compact state, walk-forward."),
        Component("logit", f"{home}:Logit", "Logistic regression on the features of gbm_mf (baseline)."),
        Component("lsvm_der", f"{home}:LsvmDer", "Linear SVM on slopes of asymmetries, learning between its fits."),
        Component("pca_ad", f"{home}:PcaAd", "Lean at the touch where the profile is unusual (PCA)."),
        Component("svm_sp", f"{home}:SvmSp", "Linear SVM on the profile of pressure minus vacuum, walk-forward."),
    )
