"""Which sessions an experiment is asked on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from vpcore import ConfigError, Workspace

Write = Callable[[str, str], Path]


def labels(workspace: Workspace, name: str = "several") -> list[str]:
    return [
        f"{session.symbol} {session.label} {session.name}"
        for session in workspace.experiment(name).to_harness_config().sessions
    ]


def test_without_a_word_it_is_the_pipeline_of_the_serving_spec(workspace: Workspace) -> None:
    config = workspace.experiment("sweep").to_harness_config()
    assert config.sessions == (config.pipeline,)
    assert config.dataset_ids == (config.dataset_id,) == (workspace.pipeline("open").dataset_id(),)


def test_the_pipeline_on_other_days_in_order_of_time(workspace: Workspace, write: Write) -> None:
    write(
        "experiments/several",
        """\
        name: several
        serving: base
        dates: [2024-03-18, 2023-12-25, {date: 2024-03-14, symbol: ESM4}]
        """,
    )
    assert labels(workspace) == [
        "ESH4 2023-12-25_1800_1859 open",
        "ESM4 2024-03-14_1800_1859 open",
        "ESH4 2024-03-18_1800_1859 open",
    ]
    config = workspace.experiment("several").to_harness_config()
    assert config.dataset_ids[0] == workspace.pipeline("open").dataset_id()
    assert len(set(config.dataset_ids)) == 3
    assert config.n_runs == 3
    with pytest.raises(ConfigError, match="'several' has 3 sessions and no single dataset: ESH4_2023-12-25"):
        _ = config.dataset_id


def test_one_other_day_alone(workspace: Workspace, write: Write) -> None:
    write("experiments/several", "name: several\nserving: base\ndates: [2024-01-02]\n")
    config = workspace.experiment("several").to_harness_config()
    assert config.dataset_id.startswith("ESH4_2024-01-02_1800_1859__open__")
    assert config.pipeline.label.startswith("2023-12-25")  # what is served stays what the serving spec says


def test_pipelines_and_pipelines_on_days(workspace: Workspace, write: Write, texts: dict[str, str]) -> None:
    late = texts["pipeline"].replace("name: open", "name: late").replace("18:00", "20:00").replace("18:59", "21:00")
    write("pipelines/late", late)
    write("experiments/several", "name: several\nserving: base\npipelines: [late, open]\n")
    assert labels(workspace) == ["ESH4 2023-12-25_1800_1859 open", "ESH4 2023-12-25_2000_2100 late"]
    write(
        "experiments/several",
        "name: several\nserving: base\npipelines: [late, open]\ndates: [2024-01-03, 2024-01-02]\n",
    )
    assert labels(workspace) == [
        "ESH4 2024-01-02_1800_1859 open",
        "ESH4 2024-01-02_2000_2100 late",
        "ESH4 2024-01-03_1800_1859 open",
        "ESH4 2024-01-03_2000_2100 late",
    ]


@pytest.mark.parametrize(
    ("pipeline", "lines", "message"),
    [
        ("", "dates: [2024-01-02, 2024-01-02]", r"The session ESH4_2024-01-02_\S+ is named twice \(configs/experiments/several.yaml:3, dates\[1\]\). Name it once"),
        ("", "dates: [tomorrow]", r"dates\[0\].*date.*several.yaml:3"),
        ("", "dates: []", "dates"),
        ("", "dates: [{date: 2024-01-02, symbl: ESM4}]", "Did you mean 'symbol'"),
        ("", "pipelines: [opn]", r"No pipeline is called 'opn' \(configs/experiments/several.yaml:3, pipelines\[0\]\). Did you mean 'open'"),
        ("", "dates: [{date: 2024-01-02, symbol: XX9}]", r"No instrument has the symbol 'XX9'.*dates\[0\]"),
        ('capture: {symbol: ESH4, date: 2023-12-25, start_time: "18:30", end_time: "19:30"}', "pipelines: [open, two]",
         r"The sessions ESH4_2023-12-25_1800_1859__open__\w+ and ESH4_2023-12-25_1830_1930__two__\w+ overlap in time \(.*pipelines\[1\]\). What happens at the same time is not two pieces of evidence"),
        ('capture: {symbol: NQH4, date: 2023-12-26, start_time: "18:30", end_time: "19:30"}', "pipelines: [open, two]",
         r"must be of one instrument, the serving spec's ES: NQH4_\S+ is of NQ"),
        ('capture: {symbol: ESH4, date: 2023-12-26, start_time: "18:30", end_time: "19:30"}\npipeline: {cell_width_ms: 200}', "pipelines: [open, two]",
         r"pipeline.cell_width_ms is 200 in 'two' and 100 there"),
        ('capture: {symbol: ESH4, date: 2023-12-26, start_time: "18:30", end_time: "19:30", files: [a.dbn]}', "pipelines: [two]\ndates: [2024-01-02]",
         r"Pipeline 'two' names its files \(capture.files\), which are those of 2023-12-26; the experiment asks for 2024-01-02 .*Write {date: 2024-01-02, files: \[...\]}"),
    ],
)  # fmt: skip
def test_what_cannot_be_one_experiment(
    workspace: Workspace, write: Write, pipeline: str, lines: str, message: str
) -> None:
    if pipeline:
        write("pipelines/two", f"name: two\n{pipeline}\n")
    write("experiments/several", f"name: several\nserving: base\n{lines}\n")
    with pytest.raises(ConfigError, match=message):
        workspace.experiment("several").to_harness_config()


def test_files_of_a_day(workspace: Workspace, write: Write) -> None:
    write(
        "pipelines/two",
        'name: two\ncapture: {symbol: ESH4, date: 2023-12-26, start_time: "18:00", end_time: "19:00", files: [a.dbn]}\n',
    )
    write(
        "experiments/several",
        "name: several\nserving: base\npipelines: two\ndates: [2023-12-26, {date: 2024-01-02, files: [b.dbn]}]\n",
    )
    first, second = workspace.experiment("several").to_harness_config().sessions
    assert (first.file_keys, second.file_keys) == (("a.dbn",), ("b.dbn",))
    assert first.dataset_id() == workspace.pipeline("two").dataset_id()


def test_a_wrong_day_is_one_error(workspace: Workspace, write: Write) -> None:
    write("experiments/several", "name: several\nserving: base\ndates: [{date: 2023-13-45}]\n")
    with pytest.raises(ConfigError) as caught:
        workspace.experiment("several")
    (line,) = str(caught.value).splitlines()
    assert line.startswith("dates[0].date must be a date, as in 2023-12-25, was '2023-13-45' (")
