from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import pytest
import serving_signals

from vpcore.canonical import digest
from vpcore.errors import CausalityError, ConfigError, DatasetError, RefusedError, ResultsError
from vpcore.results import row_id
from vpcore_serving import promote as promote_module
from vpcore_serving.live_pipeline import LivePipeline
from vpcore_serving.promote import promote
from vpcore_serving.registry import registry_of
from vpcore_serving.spec import Difference, diff, published


def test_the_name_of_a_row_is_enough(world):
    run = world.run(signal="scored")
    world.store(run)
    row = world.workspace.results.query_runs(run_id=[run.run_id])["row"][-1]
    alone = promote(world.workspace, row[:7], alias="a")
    assert alone.spec.evidence.row == row
    assert promote(world.workspace, "sweep", row=row, alias="a").publication.serving_id == alone.publication.serving_id


def test_the_best_row_is_published(world):
    run = world.run(gain=2.0)
    world.store(run)
    done = promote(world.workspace, "sweep", run.run_id[:6], alias="prod", why="looks fine", who="ann")
    best = run.trials[-1]
    evidence = done.spec.evidence
    assert evidence.row == row_id(run.run_id, *best)
    assert evidence.figures["net_pnl_ticks"] == (len(run.trials) - 1) / 8
    version = published(registry_of(world.workspace), "prod")
    assert version.spec == done.spec
    runtime = version.spec.runtime
    assert done.publication.serving_id == version.serving_id
    assert version.serving_id == f"base__level__{digest(runtime.model_dump(mode='json'))[:12]}"
    assert (runtime.threshold, runtime.cooldown_bins) == (best.threshold, best.cooldown_bins)
    assert runtime.rules.model_dump() == {
        "tp_ticks": best.tp_ticks, "sl_ticks": best.sl_ticks, "max_hold_bins": 1200, "latency_bins": 1,
        "price": "touch", "fee_ticks": 0.25, "warmup_bins": 300,
        "stale_after_ms": 60_000, "daily_halt": ("17:00", "18:00", "America/New_York"),
    }  # fmt: skip
    assert runtime.dataset.model_dump() == {"dataset_id": world.config.dataset_id, "sources": ("ab" * 32,)}
    assert runtime.sessions == ()
    resolved = world.config.pipeline.resolved_dict()
    expected = json.loads(json.dumps(resolved)) | {"events": "flags", "repeated": "refuse"}
    assert runtime.pipeline.model_dump(mode="json", exclude={"name", "timezone"}) == expected
    assert (runtime.pipeline.name, runtime.pipeline.timezone) == ("p", "America/New_York")
    assert runtime.signal.model_dump() == {
        "name": "level",
        "version": 3,
        "distribution": "serving_signals",
        "distribution_version": "",
        "code_digest": run.meta["code_digest"],
        "params": {"gain": 2.0},
    }
    assert runtime.scoring.tanh_scale == 2.5
    assert runtime.projection.horizons_ms == (200, 500, 1000, 2500)
    assert version.spec.description == "to practise"
    assert evidence.run_id == run.run_id
    assert (evidence.null_draws, evidence.bootstrap_draws, evidence.seed, evidence.splits) == (999, 999, 0, None)
    n = len(run.trials)
    assert evidence.among.n_rows == evidence.among.n_trials == n
    figures = evidence.figures
    assert figures["p_adj"] == pytest.approx(1 / 500)  # no draw of 499 does as well
    assert (figures["n_trials"], figures["p_random"]) == (n, 0.001)
    assert figures["net_pnl_lo"] > 0
    assert figures["dsr"] > 0
    assert evidence.summary.startswith(
        f"Row {evidence.row} beats random entry, survives {n} rows, at touch prices, with a fee of 0.25 ticks "
    )
    assert (evidence.verdict, evidence.confirmation) == ("unproven", None)
    assert len(evidence.reasons) == 1
    assert "kept no data back (reserve), so row" in evidence.reasons[0]
    (files,) = evidence.dataset_files.values()
    assert set(files) == {"bins.parquet", "grid_clean.parquet", "manifest.json"}
    (entry,) = registry_of(world.workspace).history("prod")
    assert (entry.who, entry.why, entry.forced) == ("ann", "looks fine", False)
    assert entry.evidence == evidence.model_dump(mode="json", include=promote_module.IN_AUDIT)
    assert entry.evidence["figures"]["p_adj"] == figures["p_adj"]
    assert world.heard == [(version.serving_id, "prod", done.spec)]
    assert world.proved == [("level", world.workspace.results.folder / "proofs")]


# -- the gate ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_signals": 20}, r"row \w{8} has 20 trades; at least 30 are required\. \(promotion.require"),
        (
            {"figures": {"net_pnl_lo": -0.25, "net_pnl_hi": 2.0}},
            r"the net PnL of row \w{8} is 0\.875 ticks a trade, 95 % from -0\.250 to 2\.000; the lower end should be above 0\.",
        ),
        ({"figures": {"net_pnl_lo": np.nan}}, r"row \w{8} has no interval of its net PnL \(eval.bootstrap_draws is 0"),
        (
            {"luck": 2.0},
            r"p_adj of row \w{8} is [01]\.\d{3} and should be at most 0\.05: on pure noise, the best of 8 rows does as well in .* of cases",
        ),
        (
            {"luck": 2.0, "figures": {"net_pnl_lo": -1.0}, "n_signals": 29},
            r"has 29 trades; .* the lower end should be above 0\. p_adj of row .* To promote all the same: --force --why",
        ),
        (
            {"rotated": False},
            r"row \w{8} was not held against random entry \(eval\.null_draws is 0\): it has no p_adj\.",
        ),
    ],
)
def test_a_refusal_says_each_figure(world, change, message):
    world.require_proven()
    run = world.run(gain=2.0)
    world.store(run, **change)
    with pytest.raises(RefusedError, match=message) as refused:
        promote(world.workspace, "sweep", run.run_id, alias="a")
    assert refused.value.exit_code == 1
    assert registry_of(world.workspace).aliases() == {}
    done = promote(world.workspace, "sweep", run.run_id, alias="a", force=True, why="a rehearsal")
    (entry,) = registry_of(world.workspace).history("a")
    assert (entry.forced, entry.why) == (True, "a rehearsal")
    assert entry.evidence["reasons"] == list(done.overridden) == list(done.spec.evidence.reasons)
    assert done.overridden
    # The one reason: the row was not confirmed. What its evidence lacks stands beside it and decides nothing.
    assert len(done.overridden) == 1
    assert re.search(
        message.partition(r"; .*")[0].partition(r" \(promotion")[0], " ".join(done.spec.evidence.weaknesses)
    )
    assert (entry.evidence["verdict"], done.spec.evidence.verdict) == ("unproven", "unproven")


def test_rows_are_weighed_with_all_of_the_experiment(world):
    """A row that would pass alone does not among many that did as well by chance; those of others are counted too."""
    two = world.run(gain=2.0)
    world.store(two, luck=1.003)
    alone = promote(world.workspace, "sweep", two.run_id, alias="a")
    assert alone.spec.evidence.figures["p_adj"] < 0.05
    for run in world.runs():
        if run.run_id != two.run_id:
            world.store(run, luck=1.5)
    among = promote(world.workspace, "sweep", two.run_id, alias="a", force=True, why="to see")
    assert among.spec.evidence.figures["p_adj"] > alone.spec.evidence.figures["p_adj"]
    assert among.spec.evidence.figures["n_trials"] == sum(len(run.trials) for run in world.runs())


def test_a_row_found_among_many_is_no_better_for_being_asked_for_alone(world):
    """An experiment with nothing but the winner of another one is not the first look at this market."""
    two = world.run(gain=2.0)
    world.store(two, luck=1.003)
    assert promote(world.workspace, "sweep", two.run_id, alias="a").spec.evidence.figures["p_adj"] < 0.05
    old = {**two.meta, "experiment_name": "an earlier one"}
    for i in range(40):
        old |= {"run_id": f"{i:08x}" * 2, "signal_params_json": f'{{"gain":{i}.5}}'}
        world.store(replace(two, run_id=old["run_id"], meta=old), luck=1.5)
    world.require_proven()
    with pytest.raises(
        RefusedError, match=r"p_adj of row \w{8} is [01]\.\d{3} and should be at most 0\.05: .* best of 328 trials"
    ):
        promote(world.workspace, "sweep", two.run_id, alias="b")
    forced = promote(world.workspace, "sweep", two.run_id, alias="b", force=True, why="to see")
    assert forced.spec.evidence.figures["p_adj"] == pytest.approx(1 - (1 - 0.001) ** 328)


def test_a_row_without_trades_is_not_promoted_even_by_force(world):
    run = world.run(gain=2.0)
    world.store(run, n_signals=0)
    row = row_id(run.run_id, *run.trials[0])
    with pytest.raises(ResultsError, match=r"Row \w{8} of run \w{16} did not trade: there is nothing to promote"):
        promote(world.workspace, "sweep", run.run_id, row=row, alias="a", force=True, why="x")


def test_a_live_pipeline_reads_what_was_published(world):
    world.store(world.run())
    promote(world.workspace, "sweep", world.run().run_id, alias="prod")
    live = LivePipeline.from_serving(world.workspace, "prod")
    assert isinstance(live.signal, serving_signals.Level)
    assert live.params == world.config.pipeline.params


def test_the_same_winner_again_moves_only_the_alias(world):
    run = world.run()
    world.store(run)
    one = promote(world.workspace, "sweep", run.run_id, alias="test")
    two = promote(world.workspace, "sweep", run.run_id, alias="prod")
    assert two.publication.serving_id == one.publication.serving_id
    assert not two.publication.created
    assert len(list(world.workspace.serving_versions_dir.glob("*.yaml"))) == 1
    before = registry_of(world.workspace).history()
    again = promote(world.workspace, "sweep", run.run_id, alias="prod")
    assert (one.publication.moved, two.publication.moved, again.publication.moved) == (True, True, False)
    assert registry_of(world.workspace).history() == before


def test_rows_that_differ_in_their_barriers_are_versions_of_their_own(world):
    run = world.run()
    world.store(run, 1 + np.arange(len(run.trials)))
    same = [trial for trial in run.trials if (trial.threshold, trial.cooldown_bins) == (0.5, 20)]
    specs = [
        promote(world.workspace, "sweep", run.run_id, alias="a", row=row_id(run.run_id, *trial)).spec for trial in same
    ]
    one, other = specs
    assert diff(one, other) == [Difference("rules.tp_ticks", 4, 8)]
    assert diff(one, one) == []
    assert one.serving_id != other.serving_id
    assert published(registry_of(world.workspace), "a").barriers.tp_ticks == 8


def test_the_scoring_of_a_signal_that_reads_the_score_is_its_runs(world):
    run = world.run("scored")
    world.store(run)
    done = promote(world.workspace, "sweep", run.run_id, alias="prod")
    assert done.spec.runtime.scoring.model_dump(mode="json") == json.loads(run.meta["scoring_json"])


def test_a_row_by_name(world):
    run = world.run()
    world.store(run)
    wanted = row_id(run.run_id, *run.trials[2])
    assert promote(world.workspace, "sweep", run.run_id, alias="a", row=wanted[:5]).spec.evidence.row == wanted
    with pytest.raises(ResultsError, match=rf"Run {run.run_id} has no row 'zz' that experiment 'sweep' would make now"):
        promote(world.workspace, "sweep", run.run_id, alias="a", row="zz")
    with pytest.raises(ResultsError, match=rf"'' begins {len(run.trials)} rows of run"):
        promote(world.workspace, "sweep", run.run_id, alias="a", row="")


def test_of_tied_rows_the_first_by_key_is_published_and_the_others_are_named(world):
    run = world.run()
    world.store(run, [1, 3, 3] + [0] * (len(run.trials) - 3))
    names = [row_id(run.run_id, *run.trials[i]) for i in (1, 2)]
    done = promote(world.workspace, "sweep", run.run_id, alias="a")
    assert (done.spec.evidence.row, done.tied) == (names[0], (names[1],))
    assert promote(world.workspace, "sweep", alias="a").spec.evidence.row == names[0]  # the best of the experiment
    other = promote(world.workspace, "sweep", alias="a", row=names[1])  # a row id needs no run
    assert (other.spec.evidence.row, other.spec.evidence.run_id, other.tied) == (names[1], run.run_id, ())
    with pytest.raises(
        ResultsError, match=r"Experiment 'sweep' has no row 'zzz' that experiment 'sweep' would make now"
    ):
        promote(world.workspace, "sweep", alias="a", row="zzz")


def test_too_few_signals(world):
    world.require_proven()
    run = world.run()
    world.store(run, n_signals=4)
    with pytest.raises(
        ResultsError, match=r"No row of run \w+ has 5 signals that traded .* is 4. Name a row with --row"
    ):
        promote(world.workspace, "sweep", run.run_id, alias="a")
    row = row_id(run.run_id, *run.trials[0])
    with pytest.raises(
        RefusedError, match=rf"Not promoted: .* row {row} has 4 signals that traded; .* requires 5. .*--force --why"
    ):
        promote(world.workspace, "sweep", run.run_id, alias="a", row=row)
    assert registry_of(world.workspace).aliases() == {}
    done = promote(world.workspace, "sweep", run.run_id, alias="a", row=row, force=True, why="a rehearsal")
    assert "has 4 signals that traded" in done.spec.evidence.weaknesses[0]
    (entry,) = registry_of(world.workspace).history("a")
    assert entry.forced
    assert entry.why == "a rehearsal"
    assert entry.evidence["reasons"] == list(done.overridden)


def test_force_needs_a_reason(world):
    with pytest.raises(ConfigError, match="--force needs a reason. Add --why TEXT; the audit keeps it."):
        promote(world.workspace, "sweep", "x", alias="a", force=True, why=" ")


def test_a_cold_start_is_refused(bare_world):
    bare_world.write_dataset(cold_start=True)
    bare_world.require_proven()
    run = bare_world.run()
    bare_world.store(run)
    with pytest.raises(
        RefusedError, match=r"is a cold start: its book was built without a snapshot, and 3.10% of the cancels"
    ):
        promote(bare_world.workspace, "sweep", run.run_id, alias="a")
    assert promote(bare_world.workspace, "sweep", run.run_id, alias="a", force=True, why="known").overridden


# -- runs that the experiment would not make now -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"eval": {"tp_ticks": [4, 8], "fee_ticks": 0.5}},
            "its evaluation must be fee_ticks 0.5, was fee_ticks 0.25",
        ),
        ({"signals": ["scored"], "sweep": {}}, "its signal must be scored, was 'level'"),
        (
            {"sweep": {"per_signal": {"level": {"gain": [7.0]}}}},
            "its parameters must be gain 7, was gain 1",
        ),
    ],
)
def test_another_experiment(world, specs, change, message):
    run = world.run(gain=1.0)
    world.store(run)
    world.put("experiments", specs.experiment, **change)
    with pytest.raises(ResultsError, match=rf"Experiment 'sweep' would not make run {run.run_id} now: {message}"):
        promote(world.workspace, "sweep", run.run_id, alias="a")


def test_another_scoring(world, specs):
    run = world.run("scored")
    world.store(run)
    world.put("serving", specs.serving, scoring={"tanh_scale": 4.0})
    with pytest.raises(
        ResultsError, match=r"its scoring must be tanh_scale 4 \(the nearest of 2\), was tanh_scale 2.5"
    ):
        promote(world.workspace, "sweep", run.run_id, alias="a")


def test_a_combination_that_is_not_in_the_sample(world, specs):
    run = world.run(gain=1.0)
    world.store(run)
    for seed in range(20):  # one of two gains is in the sample; take one that leaves this run's out
        sweep = {**specs.experiment["sweep"], "sample": {"method": "random", "n": 1, "seed": seed}}
        world.put("experiments", specs.experiment, sweep=sweep)
        (plan,) = (p for p in world.workspace.experiment("sweep").to_harness_config().signals if p.name == "level")
        if plan.params[0]["gain"] != 1.0:
            break
    with pytest.raises(ResultsError, match="its parameters must be gain 2, was gain 1"):
        promote(world.workspace, "sweep", run.run_id, alias="a")


def test_an_axis_that_is_gone_takes_its_rows_with_it(world, specs):
    run = world.run(gain=1.0)
    world.store(run)
    gone = row_id(run.run_id, *run.trials[-1])
    world.put("experiments", specs.experiment, eval={"tp_ticks": [4], "cooldown_bins": [20, 30], "fee_ticks": 0.25})
    with pytest.raises(ResultsError, match=f"has no row '{gone}' that experiment 'sweep' would make now"):
        promote(world.workspace, "sweep", run.run_id, alias="a", row=gone)
    assert promote(world.workspace, "sweep", run.run_id, alias="a").spec.evidence.row != gone


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("dataset_id", "other", "its dataset must be ESZ3_\\S+, was other"),
        ("sources_json", '["cd"]', r"the digest of its source files must be \[\"(ab)+\"\], was \[\"cd\"\]"),
        ("code_digest", "00", 'the digest of its signal\'s code must be "\\w+", was "00"'),
        ("signal_version", 2, "the version of its signal must be 3, was 2"),
        (
            "signal_distribution",
            "elsewhere",
            'the distribution of its signal must be "serving_signals", was "elsewhere"',
        ),
    ],
)
def test_another_origin(world, column, value, message):
    run = world.run()
    world.store(run, **{column: value})
    with pytest.raises(ResultsError, match=rf"would not make run \w+ now: {message}.*vp run sweep"):
        promote(world.workspace, "sweep", run.run_id, alias="a")


def test_failed_and_unknown_runs(world):
    run = world.run()
    world.store(run, status="failed")
    with pytest.raises(ResultsError, match=f"Run {run.run_id} failed and cannot be promoted: it broke"):
        promote(world.workspace, "sweep", run.run_id, alias="a")
    with pytest.raises(ResultsError, match="No run is called 'nothing'"):
        promote(world.workspace, "sweep", "nothing", alias="a")


def test_a_changed_dataset(world):
    run = world.run()
    world.store(run)
    path = world.workspace.datasets.path(world.config.dataset_id) / "bins.parquet"
    path.chmod(0o644)
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(DatasetError, match=r"is not as it was written: bins.parquet. Its rows cannot be promoted"):
        promote(world.workspace, "sweep", run.run_id, alias="a")


def test_a_signal_that_looks_ahead(world, monkeypatch):
    run = world.run()
    world.store(run)

    def refuse(*_, **__):
        raise CausalityError("Signal 'level' looks ahead")

    monkeypatch.setattr(promote_module, "prove", refuse)
    with pytest.raises(CausalityError, match="looks ahead"):
        promote(world.workspace, "sweep", run.run_id, alias="a")
    assert registry_of(world.workspace).versions() == []
