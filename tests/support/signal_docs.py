"""The generated tables of docs/reference/signals.md: parameters from the models, and figures of a dataset.

python tests/support/signal_docs.py                                     write the parameters anew
python tests/support/signal_docs.py --root WORKSPACE --dataset-id ID    and the figures of a dataset
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import numpy as np

DOCS = Path(__file__).resolve().parents[2] / "docs" / "reference" / "signals.md"


def replaced(text: str, name: str, table: str) -> str:
    """Return `text` with what stands between ``<!-- name -->`` and ``<!-- end -->`` replaced by a table."""
    pattern = re.compile(rf"(<!-- {re.escape(name)} -->\n).*?(<!-- end -->)", re.DOTALL)
    assert len(pattern.findall(text)) == 1, f"docs/reference/signals.md needs exactly one block '{name}'"
    return pattern.sub(lambda found: found[1] + table + found[2], text)


def block(text: str, name: str) -> str:
    """Return what stands between ``<!-- name -->`` and ``<!-- end -->``."""
    found = re.findall(rf"<!-- {re.escape(name)} -->\n(.*?)<!-- end -->", text, re.DOTALL)
    assert len(found) == 1, f"docs/reference/signals.md needs exactly one block '{name}'"
    return found[0]


def parameter_table(kind) -> str:
    """Return a signal's parameters, columns, warm-up and thresholds as markdown."""
    from vpcore.signal import SignalContext
    from vpcore.signal.params import allowed
    from vpcore.testing import synthetic_dataset

    signal = kind()
    rows = ["| parameter | default | allowed | meaning |", "|---|---|---|---|"]
    for name, schema in kind.Params.json_schema().get("properties", {}).items():
        default = str(schema["default"]).replace("'", "")
        rows.append(f"| `{name}` | {default} | {allowed(schema)} | {schema['description']} |")
    columns = ", ".join(f"`{name}`" for name in signal.columns)
    warmup = signal.warmup_bins(SignalContext.of(synthetic_dataset(n_bins=1)))
    grid = ", ".join(f"{threshold:g}" for threshold in signal.thresholds())
    facts = f"Reads {columns}. Warm after {warmup} bins of 100 ms. Default thresholds {grid}."
    return "\n".join([*rows, "", facts, ""])


def figures_table(dataset, signals) -> str:
    """Return share of non-zero bins, autocorrelation, quantiles of |value| and detections of signals, as markdown."""
    from detections import detect

    from vpcore.signal import SignalContext, batch
    from vpcore.testing import SessionData

    rows = [
        "| signal | not 0 | lag 1 | lag 10 | 50 % | 75 % | 90 % | 99 % | max | detections by default threshold |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, kind in signals.items():
        signal = kind()
        data = SessionData.collect(dataset, signal.columns)
        values = batch(signal, data).values
        warm = values[~np.isnan(values)]
        lags = [np.corrcoef(warm[lag:], warm[:-lag])[0, 1] for lag in (1, 10)]
        quantiles = np.quantile(np.abs(warm), [0.5, 0.75, 0.9, 0.99, 1.0])
        counts = [
            len(
                detect(
                    values,
                    data.valid,
                    data.bin("bin_seq"),
                    threshold,
                    cooldown_bins=30,
                    warmup_bins=signal.warmup_bins(SignalContext.of(data)),
                ).bins
            )
            for threshold in signal.thresholds()
        ]
        cells = [f"{np.mean(warm != 0):.3f}", *(f"{x:.2f}" for x in lags), *(f"{x:.3f}" for x in quantiles)]
        rows.append(f"| `{name}` | {' | '.join(cells)} | {', '.join(map(str, counts))} |")
    return "\n".join([*rows, ""])


def main() -> None:
    from vpcore.plugins.manager import Plugins
    from vpcore.workspace import Workspace

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path)
    parser.add_argument("--dataset-id")
    options = parser.parse_args()
    plugins = Plugins()
    signals = {
        name: plugins.load("signal", name)
        for name, component in sorted(plugins.components("signal").items())
        if component.plugin == "signals-stat"
    }
    text = DOCS.read_text()
    for name, kind in signals.items():
        text = replaced(text, f"parameters {name}", parameter_table(kind))
    if options.dataset_id:
        dataset = Workspace.find(options.root).datasets.open(options.dataset_id)
        text = replaced(text, "figures", figures_table(dataset, signals))
    DOCS.write_text(text)


if __name__ == "__main__":
    main()
