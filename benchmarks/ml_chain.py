"""Every learning signal through the commands, on an hour: run, compare, promote, online-sim from bins and from records.

    python benchmarks/ml_chain.py FOLDER            a synthetic hour (alpha 0.6)
    python benchmarks/ml_chain.py FOLDER --real     ES of Christmas evening 2023, where the sample file is present

FOLDER is a workspace, made if it is not there. A line of a Markdown table is printed per signal; CPU seconds and peak
memory are those of the whole processes, workers included.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

VP = str(Path(sys.executable).with_name("vp"))
REPOSITORY = Path(__file__).resolve().parents[1]
SIGNALS = ("logit", "svm_sp", "lsvm_der", "knn_cl", "gbm_mf", "gbm_snap", "pca_ad")
HEAD = (
    "signal", "run: CPU s", "MB", "AUC (95 %)", "fits", "compare: CPU s", "promote", "online-sim: CPU s", "p99 ms",
    "longest refit ms", "live, from records: p99 ms", "equal",
)  # fmt: skip


def vp(root: Path, *arguments: str, may: int = 0) -> tuple[str, str, float, int]:
    """Run a command; return what it printed, what it said, its CPU seconds and the peak of its largest process, MB."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        process = subprocess.Popen([VP, *arguments, "--root", str(root)], stdout=out, stderr=err)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        err.seek(0)
        printed, said = out.read(), err.read()
    if process.returncode not in (0, may):
        raise SystemExit(f"vp {' '.join(arguments)} ended with {process.returncode}: {said}")
    return printed, said, used.ru_utime + used.ru_stime, used.ru_maxrss // 1024


def prepare(root: Path, real: bool) -> None:
    """Make the workspace, its market and its serving spec."""
    if (root / "configs" / "serving" / "chain.yaml").exists():
        return
    subprocess.run([VP, "init", "--nested", str(root)], check=True, capture_output=True)
    if real:
        sample = REPOSITORY.parent / "shared" / "data" / "esh4-glbx-mdp3-20231225.mbo.dbn.zst"
        shutil.copy(sample, root / "lake" / "raw")
        shutil.copy(REPOSITORY / "configs" / "pipelines" / "es_xmas_open.yaml", root / "configs" / "pipelines")
    else:
        vp(root, "synth", "--minutes", "60", "--seed", "7", "--alpha", "0.6", "--pipeline", "hour")
    pipeline = "es_xmas_open" if real else "hour"
    serving = f"name: chain\npipeline: {pipeline}\nsignal: {{name: logit}}\n"
    (root / "configs" / "serving" / "chain.yaml").write_text(serving)


def chain(root: Path, signal: str) -> list[str]:
    """Return the cells of a signal."""
    (root / "configs" / "experiments" / f"{signal}.yaml").write_text(
        f"name: {signal}\nserving: chain\nsignals: [{signal}]\n"
        "eval: {tp_ticks: [2], sl_ticks: [2], price: mid, max_hold_bins: 1200, cooldown_bins: [30]}\n"
        "select: {min_signals: 0}\nparallel: {executor: local, max_workers: 1}\n"
    )
    _, _, run_cpu, peak = vp(root, "run", signal, "--force", "--json")
    out, _, compare_cpu, _ = vp(root, "compare", signal, "--json")
    best = json.loads(out)["rows"][0]
    found: dict[str, Any] = json.loads(vp(root, "results", "show", best["run_id"], "--json")[0])["diagnostics"][0]
    named = ("promote", signal, "--run-id", best["run_id"], "--row", best["row"], "--alias", signal)
    refused = "Not promoted" in vp(root, *named, may=1)[1]
    vp(root, *named, "--force", "--why", "a study of what it costs")
    out, _, sim_cpu, _ = vp(root, "online-sim", "--serving", signal, "--bin-budget-ms", "100000", "--json")
    sim = json.loads(out)
    live = json.loads(
        vp(root, "online-sim", "--serving", signal, "--from-raw", "--bin-budget-ms", "100000", "--json")[0]
    )
    return [
        f"`{signal}`",
        f"{run_cpu:.1f}",
        str(peak),
        "{:.3f} ({:.3f} to {:.3f})".format(*found["auc"]),
        str(len(found["retrains"])),
        f"{compare_cpu:.1f}",
        "refused, forced" if refused else "published",
        f"{sim_cpu:.1f}",
        f"{sim['stages_us']['total']['p99'] / 1000:.2f}",
        f"{max(sim['retrain_us'], default=0) / 1000:.0f}",
        f"{live['stages_us']['latency']['p99'] / 1000:.2f}",
        "yes" if sim["stream_equals_batch"] and live["stream_equals_batch"] else "no",
    ]


def main() -> None:
    """Print the table."""
    root = Path(sys.argv[1])
    prepare(root, "--real" in sys.argv[2:])
    print(f"| {' | '.join(HEAD)} |\n|{'---|' * len(HEAD)}", flush=True)
    began = time.perf_counter()
    for signal in SIGNALS:
        print(f"| {' | '.join(chain(root, signal))} |", flush=True)
    print(f"{time.perf_counter() - began:.0f} s; load {os.getloadavg()[0]:.1f}", file=sys.stderr)


if __name__ == "__main__":
    main()
