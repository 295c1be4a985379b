"""One dataset and the work that all evaluations on it share: scores, outcome tables, features."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

import numpy as np
import numpy.typing as npt

from vpcore.backtest.cache import KEEP_MB, Shared
from vpcore.backtest.config import EvalConfig
from vpcore.backtest.cross_validation import Cuts, make_cuts
from vpcore.backtest.entries import Mode
from vpcore.backtest.maker import FillTable, maker_table
from vpcore.backtest.metrics import Columns, Draws, trial_figures
from vpcore.backtest.trial import Trial
from vpcore.backtest.triple_barrier import MARKET_COLUMNS, Market, OutcomeTable, outcome_table
from vpcore.canonical import canonical_json
from vpcore.dataset import Dataset
from vpcore.errors import DatasetError
from vpcore.rules import TradeRules
from vpcore.scoring import CHANNELS, ScoringConfig, ZNode, score_arrays, score_from_z, z_nodes, zscore_arrays
from vpcore.signal import share_in


class Session:
    """A dataset with the work that all evaluations on it share.

    Parameters
    ----------
    dataset : Dataset
        Opened with a cache, its columns are memory-mapped.
    keep_mb : int
        Memory for shared intermediate results, MB; the least recently used leave first.
    fills : FillTable, optional
        Of the dataset; for rules with ``entry="maker"``.
    """

    def __init__(self, dataset: Dataset, keep_mb: int = KEEP_MB, *, fills: FillTable | None = None) -> None:
        self.dataset = dataset
        self.fills = fills
        self.market = Market.from_bins({name: dataset.bin(name) for name in MARKET_COLUMNS}, dataset.tick_int)
        self.shared = Shared(keep_mb << 20)
        share_in(dataset, self.shared.view("features", None))

    def figures(
        self,
        values: npt.NDArray[np.float64],
        trials: Iterable[Trial],
        config: EvalConfig,
        *,
        mode: Mode = "value",
    ) -> Columns:
        """Return the figures of trials, as `vpcore.backtest.metrics.trial_figures` does.

        Parameters
        ----------
        values : float64[n_bins]
            The signal at the end of each bin, NaN where undefined.
        trials : iterable of Trial
            At least one, each once.
        config : EvalConfig
            Everything but the trials' own axes.
        mode : {"value", "probability", "confidence"}
            How a threshold reads the values.
        """
        return trial_figures(
            self.market,
            values,
            trials,
            config.rules(config.tp_ticks[0], config.sl_ticks[0]),
            mode=mode,
            table_of=self.table,
            draws=self.draws(config),
            cuts=self._cuts(config),
        )

    def draws(self, config: EvalConfig) -> Draws:
        """Return the random draws of a run on this dataset."""
        return Draws(config.null_draws, config.bootstrap_draws, self.market_key(config.seed))

    def market_key(self, seed: int) -> str:
        """Return the seed of the rotations: one for all rows on this dataset, and on others of the same prices."""
        symbol, first = self.dataset.dataset_id.partition("_")[0], self.dataset.bin("bin_start_ns")[:1].tolist()
        return canonical_json([symbol, *self.dataset.source_digests, *first, seed]).decode()

    def _cuts(self, config: EvalConfig) -> Cuts | None:
        if config.splits is None or config.splits.by != "time":
            return None
        longest = config.rules(config.tp_ticks[0], config.sl_ticks[0]).longest_bins
        return make_cuts(config.splits, first_bin=config.first_bin, n_bins=self.market.n_bins, longest=longest)

    def table(self, rules: TradeRules) -> OutcomeTable:
        """Return the outcome table of some rules; rules with the same barriers, hold, price and entry share it.

        Raises
        ------
        DatasetError
            Of makers, if the session lacks a fill table.
        """
        make = partial(outcome_table, self.market, rules)
        if rules.entry == "maker":
            if self.fills is None:
                raise DatasetError(
                    f"entry: maker needs the fill table of dataset '{self.dataset.dataset_id}', which is not here",
                    fix="Give it: Session(dataset, fills=vpcore.generation.fills.fill_table(workspace, dataset)).",
                )
            make = partial(maker_table, self.market, rules, self.fills)
        return self.shared.get("outcome tables", rules.barriers, make, lambda table: table.nbytes)

    def scored(self, config: ScoringConfig) -> Dataset:
        """Return the dataset with the score attached."""

        def make() -> Dataset:
            score, state = self._score(config)
            scored = self.dataset.with_grid({"flow_score": score, "flow_state_code": state})
            share_in(scored, self.shared.view("features", key))
            return scored

        key = canonical_json(config.model_dump(mode="json"))
        size = self.dataset.n_bins * self.dataset.n_cells * 9
        return self.shared.get("scores", key, make, lambda _: size)

    def _score(self, config: ScoringConfig) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int8]]:
        channels = [self.dataset.grid(name) for name in CHANNELS]
        valid = self.dataset.valid
        if self.dataset.n_bins * self.dataset.n_cells * 8 * len(channels) > self.shared.limit // 2:
            # Too long a session to keep the z-scores of one setting: the scorer goes through it in pieces.
            return score_arrays(channels[0], channels[1], channels[2], valid, config)

        def z(channel: int, node: ZNode) -> npt.NDArray[np.float64]:
            make = lambda: zscore_arrays(channels[channel], valid, node)  # noqa: E731
            return self.shared.get("z-scores", (channel, node), make, lambda array: array.nbytes)

        first, second, third = (z(channel, node) for channel, node in enumerate(z_nodes(config)))
        return score_from_z(first, second, third, config)
