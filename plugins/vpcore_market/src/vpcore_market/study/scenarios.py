"""Scenarios: how often a researcher finds a winner in markets whose truth is known, whatever they do to find one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import polars as pl

from vpcore.backtest.metrics import Draws, Signals, ring_of, trial_figures
from vpcore.backtest.session import Session
from vpcore.backtest.trial import Trial
from vpcore.dataset import Dataset
from vpcore.inference.evidence import LEVEL, MIN_TRADES
from vpcore.inference.ranking import adjusted, over_all_trials
from vpcore.rules import TradeRules
from vpcore.scoring import ScoringConfig
from vpcore.signal import Signal, batch, needs_score
from vpcore.statistics.intervals import wilson
from vpcore.statistics.permutation import exact_p
from vpcore_market.datasets import simulated_dataset
from vpcore_market.params import BURSTY_HOUR, DEMO_ALPHA, SyntheticParams
from vpcore_market.study.plan import Study, engine_params

Mode = Literal["exogenous", "bursty"]
MODES: tuple[Mode, ...] = ("exogenous", "bursty")

FEE_TICKS = 0.25
CONFIRMATIONS = 5
RESERVE_SHARE = 0.3
PLANTED_SESSIONS, PLANTED_MINUTES = 3, 120.0
MINUTES = 60.0 + 90.0 + PLANTED_SESSIONS * PLANTED_MINUTES
"""Minutes of market in one case, about: an hour, the same with a halt, and the sessions with a planted effect."""

LASTING: dict[str, Any] = {"moves_per_hour": 1700.0, "memory_s": 20.0, "mood_s": 60.0}
"""The planted effect in the bursty market. There a burst is over before a trade enters, so the effect lasts longer, and
the price moves as often as in the exogenous market: otherwise the costs take all of it."""

SCENARIOS: dict[str, str] = {
    "one": "one experiment has a row with p_adj <= 0.05",
    "volatile": "one experiment with a signal that trades in volatile times alone has such a row",
    "refine": "a second experiment, 360 near-copies of the best row of the first, has such a row",
    "closed": "the market is closed a third of the time, and one experiment has such a row",
    "ten": "one of ten experiments of 9 rows, one after the other, has such a row",
    "confirm": "one of five confirmations of the best rows of everything has p_confirm <= 0.05",
    "proven": "the same, and the row earns money on the reserve: the verdict is proven",
    "planted": f"alpha is {DEMO_ALPHA:g} on three sessions of two hours, one the reserve: the verdict is proven",
}
"""What is counted in each scenario. There is nothing to find but in the last one."""

_MEMORY = 0.98  # of the noise, from bin to bin
_FEWEST = 20  # trades of a row that a researcher looks at
_Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Case:
    """One simulated market of the scenarios, with all that is done on it."""

    mode: Mode
    seed: int

    def market(self, seed: int, minutes: float, alpha: float = 0.0) -> SyntheticParams:
        """Return the parameters of a session of this market."""
        kind: dict[str, Any] = {}
        if self.mode == "bursty":
            kind = BURSTY_HOUR | (LASTING if alpha else {})
        return SyntheticParams(seed=seed, alpha=alpha, duration_s=60.0 * minutes, **kind)


def run_case(study: Study, case: Case, signals: Mapping[str, Signal]) -> dict[str, float]:
    """Return the smallest deciding p-value of each scenario on one market, 1 where there is none.

    Parameters
    ----------
    study : Study
        Length, bins, barriers and cooldowns.
    case : Case
        The market.
    signals : mapping of str to Signal
        The statistical signals of the experiments.
    """
    whole = _Market(study, case.market(case.seed, study.minutes), signals)
    first = whole.experiment()
    second = whole.near(first)
    closed = _Market(study, whole.params, signals, with_halt(whole.session.dataset))
    confirmed, proven = _confirmed(whole)
    return {
        "one": _least(adjusted(first.frame["rotated_net"])),
        "volatile": _least(adjusted(whole.volatile().frame["rotated_net"])),
        "refine": _least(over_all_trials(second.p(), _distinct(first, second))),
        "closed": _least(adjusted(closed.experiment().frame["rotated_net"])),
        "ten": _ten(whole),
        "confirm": confirmed,
        "proven": proven,
        "planted": _planted(study, case, signals),
    }


@dataclass(frozen=True, slots=True)
class _Rows:
    """Rows of an experiment: signal and trial of each, and a frame of their figures."""

    keys: list[tuple[str, Trial]]
    frame: pl.DataFrame

    def p(self) -> _Floats:
        """Return `p_random` of the rows, NaN where undefined."""
        found: _Floats = self.frame["p_random"].to_numpy()
        return found

    def best(self, n: int) -> list[tuple[str, Trial]]:
        """Return the rows that pay most, each set of trades once."""
        traded = self.frame.with_row_index("at").filter(pl.col("trades") >= _FEWEST)
        order = traded.sort("net_pnl_ticks", descending=True).unique("trades_digest", keep="first", maintain_order=True)
        return [self.keys[at] for at in order["at"].head(n)]


class _Market:
    """A session with the values of every signal, and the experiments on it."""

    def __init__(
        self,
        study: Study,
        params: SyntheticParams,
        signals: Mapping[str, Signal],
        dataset: Dataset | None = None,
        values: Mapping[str, _Floats] | None = None,
    ) -> None:
        self.study, self.params, self.signals = study, params, signals
        self.session = Session(dataset or simulated_dataset(params, engine_params(study, dict(signals))))
        self.key = f"{params.mode} {params.seed} {params.alpha} {self.session.market.n_bins}"
        self.values = dict(values) if values is not None else {n: self._values(s) for n, s in signals.items()}

    def _values(self, signal: Signal) -> _Floats:
        data = self.session.scored(ScoringConfig()) if needs_score(signal) else self.session.dataset
        found: _Floats = batch(signal, data, None).values
        return found

    def rules(self, tp: int, sl: int) -> TradeRules:
        """Return the rules of a pair of barriers: touch prices and a fee."""
        rules = self.study.eval_config("touch").rules(tp, sl)
        return rules.model_copy(update={"fee_ticks": FEE_TICKS})

    def until(self, n_bins: int) -> _Market:
        """Return the first bins."""
        values = {name: values[:n_bins] for name, values in self.values.items()}
        return _Market(self.study, self.params, self.signals, self.session.dataset.until(n_bins), values)

    def experiment(self) -> _Rows:
        """Return every signal with its thresholds, cooldowns and barriers."""
        cooldowns = self.study.eval_config("touch").cooldown_bins
        return self.rows(
            [
                (name, Trial(float(threshold), cooldown, tp, sl))
                for name, signal in self.signals.items()
                for threshold in signal.thresholds()
                for cooldown in cooldowns
                for tp, sl in self.study.tp_sl_ticks
            ]
        )

    def volatile(self) -> _Rows:
        """Return an experiment with noise, scaled by how much the price moved in the last minute."""
        rng = np.random.default_rng(self.params.seed)
        n = self.session.market.n_bins
        noise = rng.normal(size=n) * math.sqrt(1.0 - _MEMORY**2)
        for i in range(1, n):
            noise[i] += _MEMORY * noise[i - 1]
        activity = self.session.market.activity
        scaled = noise * activity / max(float(activity.mean()), 1e-9)
        (name, signal), *_ = self.signals.items()
        own = _Market(self.study, self.params, {name: signal}, self.session.dataset, {name: scaled})
        cooldowns = self.study.eval_config("touch").cooldown_bins
        return own.rows(
            [
                (name, Trial(threshold, cooldown, tp, sl))
                for threshold in (0.7, 1.0, 1.5, 2.0, 2.5, 3.0)
                for cooldown in cooldowns
                for tp, sl in self.study.tp_sl_ticks
            ]
        )

    def near(self, rows: _Rows) -> _Rows:
        """Return 45 thresholds within 3 % and 8 cooldowns around the best row."""
        best = rows.best(1)
        if not best:
            return self.rows([])
        name, trial = best[0]
        return self.rows(
            [
                (name, trial._replace(threshold=trial.threshold * share, cooldown_bins=trial.cooldown_bins + more))
                for share in np.linspace(0.97, 1.03, 45).tolist()
                for more in range(1, 9)
            ]
        )

    def rows(self, keys: Sequence[tuple[str, Trial]]) -> _Rows:
        """Return the rows of some trials."""
        ordered: list[tuple[str, Trial]] = []
        parts = []
        for name, tp, sl in sorted({(name, trial.tp_ticks, trial.sl_ticks) for name, trial in keys}):
            trials = sorted(t for n, t in set(keys) if (n, t.tp_ticks, t.sl_ticks) == (name, tp, sl))
            found = trial_figures(
                self.session.market,
                self.values[name],
                trials,
                self.rules(tp, sl),
                mode=self.signals[name].prediction_mode,
                table_of=self.session.table,
                draws=Draws(self.study.draws, 0, self.key),
            )
            ordered += [(name, trial) for trial in trials]
            columns = {column: found[column] for column in ("net_pnl_ticks", "n_eff", "p_random", "trades_digest")}
            rotated = pl.Series("rotated_net", found["rotated_net"].tolist(), dtype=pl.List(pl.Int32))
            trades = pl.Series("trades", found["n_signals"] - found["n_dropped"])
            parts.append(pl.DataFrame(columns).with_columns(rotated, trades))
        return _Rows(ordered, pl.concat(parts) if parts else _NO_ROWS)

    def on_reserve(self, name: str, trial: Trial, first: int) -> tuple[float, float, float]:
        """Return p_random, net PnL and effective trades of a row from a bin on; 1, 0 and 0 without a trade."""
        rules = self.rules(trial.tp_ticks, trial.sl_ticks)
        rules = rules.model_copy(update={"warmup_bins": max(first, rules.warmup_bins)})
        mode, values = self.signals[name].prediction_mode, self.values[name]
        found = trial_figures(
            self.session.market, values, [trial], rules, mode=mode, table_of=self.session.table, draws=Draws(0, 0, "")
        )
        if not found["n_signals"][0] - found["n_dropped"][0]:
            return 1.0, 0.0, 0.0
        decided = Signals(self.session.market, values, rules, mode).of(trial.threshold, trial.cooldown_bins)
        ring = ring_of(self.session.table(rules), rules)
        chance = exact_p(ring, decided.bins + rules.latency_bins, decided.sides, self.key)
        return chance, float(found["net_pnl_ticks"][0]), float(found["n_eff"][0])


_NO_ROWS = pl.DataFrame(
    schema={
        "net_pnl_ticks": pl.Float64, "n_eff": pl.Float64, "p_random": pl.Float64, "trades_digest": pl.String,
        "rotated_net": pl.List(pl.Int32), "trades": pl.Int64,
    }
)  # fmt: skip


def with_halt(dataset: Dataset) -> Dataset:
    """Return a session that stands still in its middle, for half as long as it lasts: its last book, without an event.

    A third of the new session is closed. Afterwards it goes on where it was.
    """
    n = dataset.n_bins
    half = n // 2
    at = np.concatenate([np.arange(half), np.full(half, half - 1), np.arange(half, n)])
    still = np.zeros(len(at), dtype=bool)
    still[half : 2 * half] = True
    bins = {name: dataset.bin(name)[at] for name in dataset.bin_columns}
    bins["bin_seq"] = np.arange(len(at))
    bins["bin_start_ns"] = bins["bin_start_ns"][0] + bins["bin_seq"] * dataset.cell_width_ns
    bins["bin_end_ns"] = bins["bin_start_ns"] + dataset.cell_width_ns
    for name in ("bin_event_count", "best_bid_move_ticks", "best_ask_move_ticks", "buy_volume", "sell_volume"):
        if name in bins:
            bins[name][still] = 0
    for side in ("bid", "ask"):
        for end in ("high", "low"):
            bins[f"{side}_{end}_int"][still] = bins[f"best_{side}_price_int"][still]
    middle = (bins["best_bid_price_int"] + bins["best_ask_price_int"]) // dataset.tick_int
    for end in ("high", "low"):
        bins[f"mid2_{end}"][still] = middle[still]
    grid = {name: np.ascontiguousarray(dataset.grid(name)[at]) for name in dataset.grid_columns}
    return Dataset.from_arrays(
        bins,
        grid,
        dataset_id=f"{dataset.dataset_id}_closed",
        cell_width_ns=dataset.cell_width_ns,
        tick_int=dataset.tick_int,
        symbol=dataset.symbol,
    )


# -- the scenarios -----------------------------------------------------------------------------------------------------


def _least(p: _Floats) -> float:
    known = p[~np.isnan(p)]
    return float(known.min()) if known.size else 1.0


def _distinct(*parts: _Rows) -> int:
    return int(pl.concat([part.frame for part in parts])["trades_digest"].n_unique())


def _ten(market: _Market) -> float:
    """Ten experiments of 9 rows: three thresholds and three pairs of barriers, of one signal each."""
    names = list(market.signals)
    cooldown = market.study.eval_config("touch").cooldown_bins[0]
    seen: list[_Rows] = []
    least = 1.0
    for number in range(10):
        name = names[number % len(names)]
        found = market.rows(
            [
                (name, Trial(float(threshold), cooldown + number // len(names), tp, sl))
                for threshold in list(market.signals[name].thresholds())[:3]
                for tp, sl in market.study.tp_sl_ticks[:3]
            ]
        )
        seen.append(found)
        p = adjusted(found.frame["rotated_net"]) if number == 0 else over_all_trials(found.p(), _distinct(*seen))
        least = min(least, _least(p))
    return least


def _confirmed(market: _Market) -> tuple[float, float]:
    """Two experiments on the first part, and the five best rows of everything confirmed on the rest."""
    cut = math.floor(market.session.market.n_bins * (1.0 - RESERVE_SHARE))
    open_part = market.until(cut)
    first = open_part.experiment()
    second = open_part.near(first)
    everything = _Rows([*first.keys, *second.keys], pl.concat([first.frame, second.frame]))
    n_eff = dict(zip(everything.keys, everything.frame["n_eff"].to_list(), strict=True))
    confirmed = proven = 1.0
    for name, trial in everything.best(CONFIRMATIONS):
        chance, net, more = market.on_reserve(name, trial, cut)
        p_confirm = min(1.0, CONFIRMATIONS * chance)
        confirmed = min(confirmed, p_confirm)
        if net > 0.0 and n_eff[name, trial] + more >= MIN_TRADES:
            proven = min(proven, p_confirm)
    return confirmed, proven


def _planted(study: Study, case: Case, signals: Mapping[str, Signal]) -> float:
    """An experiment on two sessions. Of its rows with `p_adj` up to 0.05, the third confirms the five that pay most.

    Where fewer have it, those with the lowest `p_adj` follow.
    """
    seeds = (10**6 + PLANTED_SESSIONS * case.seed + i for i in range(PLANTED_SESSIONS))
    markets = [_Market(study, case.market(seed, PLANTED_MINUTES, DEMO_ALPHA), signals) for seed in seeds]
    *searched, reserve = markets
    parts = [market.experiment() for market in searched]
    sums = np.sum([np.array(part.frame["rotated_net"].to_list(), dtype=np.int64) for part in parts], axis=0)
    trades = np.sum([part.frame["trades"].to_numpy() for part in parts], axis=0)
    paid = np.nansum(
        [part.frame["trades"].to_numpy() * part.frame["net_pnl_ticks"].to_numpy() for part in parts], axis=0
    )
    n_eff = np.nansum([part.frame["n_eff"].to_numpy() for part in parts], axis=0)
    frame = pl.DataFrame(
        {
            "at": np.arange(len(sums)),
            "p_adj": adjusted(pl.Series(sums.tolist(), dtype=pl.List(pl.Int64))),
            "net": paid / np.maximum(trades, 1),
        }
    ).filter(pl.Series(trades >= MIN_TRADES))
    low = pl.max_horizontal("p_adj", pl.lit(LEVEL))
    order = frame.sort(low, "net", descending=[False, True], nulls_last=True)["at"]
    least = 1.0
    for at in order.head(CONFIRMATIONS):
        name, trial = parts[0].keys[at]
        chance, net, more = reserve.on_reserve(name, trial, 0)
        if net > 0.0 and n_eff[at] + more >= MIN_TRADES:
            least = min(least, CONFIRMATIONS * chance)
    return min(1.0, least)


# -- the answers -------------------------------------------------------------------------------------------------------


def summarise_cases(found: Mapping[Case, Mapping[str, float]]) -> list[dict[str, Any]]:
    """Return the share of markets with a hit in each scenario and kind of market, with its Wilson interval."""
    answers = []
    for scenario in SCENARIOS:
        for mode in MODES:
            p = np.array([case[scenario] for key, case in found.items() if key.mode == mode])
            if not p.size:
                continue
            hits = int(np.count_nonzero(p <= LEVEL))
            lo, hi = (float(bound) for bound in wilson(hits, p.size))
            answers.append(
                {"scenario": scenario, "market": mode, "hits": hits, "of": int(p.size), "share": hits / p.size,
                 "lo": lo, "hi": hi, "required": required(scenario, p.size)}
            )  # fmt: skip
    return answers


def required(scenario: str, n: int) -> float | None:
    """Return the share that a scenario may have at most, or must have at least where an effect is planted.

    None for ten experiments in a row, which are stated: each is read by itself, and ``5 % (1 + 1/2 + ... + 1/10)`` is
    what independent ones would have.
    """
    if scenario == "ten":
        return None
    return 0.9 if scenario == "planted" else LEVEL + 2.0 * math.sqrt(LEVEL * (1.0 - LEVEL) / n)
