"""`make bench-peers`: the same data through nautilus_trader, hftbacktest and vectorbt, beside this project.

`queue` compares fill times with hftbacktest's, order by order (queue_study.py); it needs the real sample.

They live in an environment of their own, build/peers: their pins and this project's exclude each other. One that cannot
be installed, or does not run, is skipped with the reason. Each measurement is a process of its own, in turn with ours.
Names of peers as arguments measure those, and leave what was measured of the others.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import data
import jobs_data
import queue_study
from harness import human

from vpcore.backtest.metrics import trial_figures
from vpcore.backtest.trial import Trial
from vpcore.backtest.triple_barrier import MARKET_COLUMNS, Market
from vpcore.rules import TradeRules

ENVIRONMENT = data.ROOT / "build" / "peers"
PYTHON = ENVIRONMENT / "bin" / "python"
NEEDS = {
    "nautilus": ("nautilus_trader==1.221.0",),
    "hftbacktest": ("hftbacktest==2.4.4", "databento"),
    "vectorbt": ("vectorbt==1.0.0", "plotly<6"),  # its themes name what plotly 6 no longer has
    "queue": ("hftbacktest==2.4.4", "databento"),
}
SAMPLE = data.ROOT.parent / "shared" / "data" / "esh4-glbx-mdp3-20231225.mbo.dbn.zst"
SAMPLE_START_NS = 1_703_545_200 * 10**9  # 2023-12-25 18:00 in New York
SAMPLE_END_NS = SAMPLE_START_NS + 3540 * 10**9
ROUNDS = 11
RUNS = 4
"""Runs of this project in a round: one alone takes 60 ms, too short to measure."""
HOLD = 1200


def install(wanted: list[str]) -> dict[str, str]:
    """Make the environment; return the peers that cannot be installed, with the reason."""
    if not PYTHON.exists():
        subprocess.run([sys.executable, "-m", "venv", str(ENVIRONMENT)], check=True)
    missing = {}
    for peer in wanted:
        packages = NEEDS[peer]
        done = subprocess.run(
            [str(PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages],
            capture_output=True,
            text=True,
        )
        if done.returncode:
            missing[peer] = (done.stderr.strip().splitlines() or ["pip failed"])[-1]
    return missing


def measure(peer: str, file: Path) -> dict[str, Any]:
    done = subprocess.run(
        [str(PYTHON), str(Path(__file__).with_name("peer.py")), peer, str(file)], capture_output=True, text=True
    )
    if done.returncode:
        raise RuntimeError((done.stderr.strip().splitlines() or ["no message"])[-1])
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def market_arrays() -> tuple[Path, Any]:
    """Write the mid's path and 1,000 entries for vectorbt; return the file and our evaluation of the same."""
    dataset = jobs_data.dataset("hour")
    market = Market.from_bins({name: dataset.bin(name) for name in MARKET_COLUMNS}, dataset.tick_int)
    rng = np.random.default_rng(5)
    bins = np.sort(rng.choice(market.n_bins, 1000, replace=False))
    pairs = np.array([(tp, sl) for tp in range(2, 27) for sl in range(2, 42)])
    path = data.BENCH / "peers.npz"
    np.savez(
        path, mid=market.mid2 / 8.0, high=market.mid2_high / 8.0, low=market.mid2_low / 8.0, bins=bins, pairs=pairs
    )
    values = np.zeros(market.n_bins)
    values[bins] = 1.0
    trials = [Trial(0.5, 0, int(tp), int(sl)) for tp, sl in pairs]

    def ours() -> Any:
        fresh = replace(market)  # which has no touch times yet
        rules = TradeRules(tp_ticks=1, sl_ticks=1, max_hold_bins=HOLD, latency_bins=0, price="mid", warmup_bins=0)
        return trial_figures(fresh, values, trials, rules)

    return path, (ours, len(trials))


def compare_queues(missing: dict[str, str]) -> list[dict[str, Any]]:
    """Print why fill times differ from hftbacktest's and return the table, without rows if it cannot be made."""
    reason = missing.get("queue", "" if SAMPLE.exists() else f"it needs {SAMPLE.name}, which is not here")
    try:
        found = [] if reason else queue_study.study(SAMPLE, "ESH4", SAMPLE_START_NS, SAMPLE_END_NS)
    except RuntimeError as error:
        found, reason = [], str(error)
    print(queue_study.table(found) if found else f"queue: skipped: {reason}", end="\n\n", flush=True)
    return found


def measure_rates(peers: list[str], missing: dict[str, str]) -> list[dict[str, Any]]:
    """Time each peer in turn with our work on the same data."""
    file = data.market("minute")
    n = jobs_data.read_all(file)
    decoding = ("decode + engine, all columns", lambda: jobs_data.decode_and_run(file), n, "records")
    jobs: dict[str, Any] = {
        "nautilus": (file, decoding, "load + L3 book, no mechanics"),
        "hftbacktest": (file, decoding, "convert + replay L3, no mechanics"),
    }
    if "vectorbt" in peers:
        arrays, (evaluation, n_pairs) = market_arrays()
        barriers = ("1,000 barrier pairs x 1,000 entries", evaluation, n_pairs, "pairs")
        jobs["vectorbt"] = (arrays, barriers, "from_signals, one column per pair")
    rows: list[dict[str, Any]] = []
    for peer, (argument, (job, run, work, unit), theirs) in jobs.items():
        if peer not in peers:
            continue
        if peer in missing:
            print(f"{peer}: skipped, it cannot be installed: {missing[peer]}")
            continue
        run()
        mine, other, parts, peak = [], [], [], 0.0
        try:
            for _ in range(ROUNDS):
                began = time.process_time()
                for _ in range(RUNS):
                    run()
                mine.append(RUNS * work / (time.process_time() - began))
                found = measure(peer, argument)
                other.append(found["work"] / sum(found["seconds"].values()))
                parts.append({name: found["work"] / spent for name, spent in found["seconds"].items()})
                peak = max(peak, found["peak_mb"])
        except (RuntimeError, ValueError) as error:
            print(f"{peer}: skipped, it does not run: {error}")
            continue
        ratios = sorted(a / b for a, b in zip(mine, other, strict=True))
        each = ", ".join(f"{name} {human(statistics.median(p[name] for p in parts))}" for name in parts[0])
        rows.append(
            {
                "peer": f"{peer}: {theirs} ({each})",
                "job": job,
                "unit": unit,
                "rate": statistics.median(mine),
                "alternative_rate": statistics.median(other),
                "ratio": statistics.median(ratios),
                "ratio_min": ratios[0],
                "ratio_max": ratios[-1],
                "peak_mb": peak,
            }
        )
    return rows


def main() -> None:
    wanted = sys.argv[1:] or list(NEEDS)
    if unknown := set(wanted) - set(NEEDS):
        sys.exit(f"There is no peer {', '.join(sorted(unknown))}. Peers: {', '.join(NEEDS)}.")
    missing = install(wanted)
    out = data.BENCH / "peers.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    before = json.loads(out.read_text()) if out.exists() else {}
    found = (compare_queues(missing) if "queue" in wanted else []) or before.get("queue", [])
    rows = [row for row in before.get("rows", []) if row["peer"].partition(":")[0] not in wanted]
    if peers := [peer for peer in wanted if peer != "queue"]:
        rows += measure_rates(peers, missing)
    print("| job | rate | peer | its rate | ratio (min – max) |\n|---|---|---|---|---|")
    for row in rows:
        print(
            f"| {row['job']} | {human(row['rate'])} {row['unit']}/s | {row['peer']} | "
            f"{human(row['alternative_rate'])} | {row['ratio']:.3g} ({row['ratio_min']:.3g} – {row['ratio_max']:.3g}) |"
        )
    out.write_text(json.dumps({"rows": rows, "queue": found, "skipped": missing}, indent=1) + "\n")


if __name__ == "__main__":
    main()
