from __future__ import annotations

import itertools
import json
import sqlite3
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import yaml

from vpcore.errors import RegistryError, StorageError
from vpcore_serving.registry import (
    PublishedVersion,
    ServingRegistry,
    database,
    read_export,
    registry as registry_module,
    serving_id_of,
)


def make(threshold=0.5, evidence=None):
    runtime = {"threshold": threshold, "signal": {"name": "ads"}}
    data = yaml.safe_dump({"runtime": runtime, "evidence": evidence or {"net_pnl_ticks": 1.5}}).encode()
    return serving_id_of("es", runtime), data


@pytest.fixture
def registry(tmp_path):
    return ServingRegistry(tmp_path / "lake" / "serving_registry.sqlite", tmp_path / "configs" / "serving_versions")


def test_publish_and_resolve(registry):
    serving_id, data = make()
    done = registry.publish(serving_id, data, "prod", why="first", evidence={"n_signals": 12}, who="ann")
    assert (done.created, done.adopted, done.previous) == (True, False, None)
    assert done.path.read_bytes() == data
    for name in ("prod", serving_id):
        version = registry.resolve(name)
        assert version.serving_id == serving_id
        assert version.data == data
    (info,) = registry.versions()
    assert (info.serving_id, info.aliases, info.created_by) == (serving_id, ("prod",), "ann")
    (entry,) = registry.history("prod")
    assert (entry.who, entry.action, entry.from_id, entry.to_id, entry.why) == (
        "ann",
        "promote",
        None,
        serving_id,
        "first",
    )
    assert entry.evidence == {"n_signals": 12}
    assert not entry.forced


def test_nothing_is_made_by_reading(registry):
    assert registry.versions() == []
    assert registry.aliases() == {}
    assert registry.history() == []
    with pytest.raises(RegistryError, match="No serving version or alias is called 'prod'. Nothing is published yet"):
        registry.resolve("prod")
    assert not registry.path.exists()


def test_the_id_is_that_of_the_runtime_part_only(registry):
    one, _ = make(evidence={"a": 1})
    other, _ = make(evidence={"b": 2})
    assert one == other != make(0.6)[0]
    assert serving_id_of("es", {"x": 2.0, "y": [1, 2]}) == serving_id_of("es", {"y": (1, 2), "x": 2})


def test_the_same_winner_again_moves_only_the_alias(registry):
    serving_id, data = make()
    registry.publish(serving_id, data, "test")
    again = registry.publish(serving_id, make(evidence={"later": 1})[1], "prod")
    assert not again.created
    assert registry.file_of(serving_id).read_bytes() == data
    assert registry.aliases() == {"prod": serving_id, "test": serving_id}
    assert len(registry.versions()) == 1
    assert len(registry.history()) == 2


def test_a_file_without_a_row_is_not_published_and_is_adopted_on_retry(registry, monkeypatch):
    serving_id, data = make()

    def crash(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(ServingRegistry, "_insert", crash)
    with pytest.raises(KeyboardInterrupt):
        registry.publish(serving_id, data, "prod")
    monkeypatch.undo()
    assert registry.file_of(serving_id).exists()
    assert registry.aliases() == {}
    with pytest.raises(RegistryError, match=f"No serving version or alias is called '{serving_id}'"):
        registry.resolve(serving_id)
    done = registry.publish(serving_id, make(evidence={"second": "try"})[1], "prod")
    assert done.created
    assert done.adopted
    assert registry.resolve("prod").data == data


def test_a_foreign_file_in_the_way_is_not_adopted(registry):
    serving_id, data = make()
    registry.versions_dir.mkdir(parents=True)
    registry.file_of(serving_id).write_bytes(make(0.9)[1])
    with pytest.raises(
        RegistryError,
        match=rf"{serving_id}.yaml is not the version '{serving_id}': the digest of its runtime part must be",
    ):
        registry.publish(serving_id, data, "prod")
    registry.file_of(serving_id).write_bytes(b"runtime: [")
    with pytest.raises(RegistryError, match="is not a published serving version"):
        registry.publish(serving_id, data, "prod")
    assert registry.aliases() == {}


@pytest.mark.parametrize("change", [b"\n", b"# a comment\n"])
def test_a_changed_file_is_an_error(registry, change):
    serving_id, data = make()
    path = registry.publish(serving_id, data, "prod").path
    path.write_bytes(data + change)
    for action in (
        lambda: registry.resolve("prod"),
        lambda: registry.verify("prod"),
        lambda: registry.publish(serving_id, data, "prod"),
        lambda: registry.rollback("prod", to=serving_id),
    ):
        with pytest.raises(
            RegistryError,
            match=r"was changed: its sha256 must be \w{64}, was \w{64} \(.*\.yaml\). Write .* vp serving restore",
        ):
            action()
    assert len(registry.history()) == 1
    registry.restore(serving_id)
    assert registry.resolve("prod").data == data
    assert registry.verify("prod") == registry.verify(serving_id) == serving_id


def test_a_missing_file(registry):
    serving_id, data = make()
    path = registry.publish(serving_id, data, "prod").path
    path.unlink()
    with pytest.raises(
        RegistryError, match=f"The file of serving version '{serving_id}' is missing .*vp serving restore"
    ):
        registry.resolve("prod")
    registry.publish(serving_id, make(evidence={"other": 1})[1], "prod")
    assert path.read_bytes() == data


def test_unknown_names_suggest(registry):
    serving_id, data = make()
    registry.publish(serving_id, data, "prod")
    with pytest.raises(RegistryError, match=rf"called 'prd'. Did you mean 'prod'\? Published: {serving_id}, prod"):
        registry.resolve("prd")
    with pytest.raises(RegistryError, match="No alias is called 'tets'"):
        registry.history("tets")
    with pytest.raises(RegistryError, match="No alias is called 'x'"):
        registry.rollback("x")
    with pytest.raises(RegistryError, match="No version is called 'y'"):
        registry.rollback("prod", to="y")


@pytest.mark.parametrize("alias", ["", "Prod", "a b", "x__y", "-a", "../x", "a" * 70])
def test_aliases_have_a_form(registry, alias):
    with pytest.raises(RegistryError, match="An alias must be 1 to 64 lower case letters, digits"):
        registry.publish(*make(), alias)


def test_ids_have_a_form_and_belong_to_their_data(registry):
    with pytest.raises(RegistryError, match="A serving id must be of the form NAME__HASH12, was '../x'"):
        registry.publish("../x", make()[1], "prod")
    with pytest.raises(RegistryError, match="is not the version"):
        registry.publish(make(0.7)[0], make()[1], "prod")


def test_rollback_goes_further_back_each_time(registry):
    ids = []
    for threshold in (0.1, 0.2, 0.3):
        serving_id, data = make(threshold)
        registry.publish(serving_id, data, "prod")
        registry.publish(serving_id, data, "prod")
        ids.append(serving_id)
    done = registry.rollback("prod", why="worse", who="bob")
    assert (done.serving_id, done.previous) == (ids[1], ids[2])
    assert registry.rollback("prod").serving_id == ids[0]
    with pytest.raises(
        RegistryError, match=f"'prod' has named no version before {ids[0]}: there is nothing to roll back to"
    ):
        registry.rollback("prod")
    assert registry.rollback("prod", to=ids[2]).serving_id == ids[2]
    assert registry.rollback("prod").serving_id == ids[0]
    entry = registry.history("prod")[3]
    assert (entry.action, entry.why, entry.who) == ("rollback", "worse", "bob")


def test_an_export_comes_back_or_is_refused(registry, tmp_path):
    serving_id, data = make()
    registry.publish(serving_id, data, "prod")
    file = tmp_path / "export.json"
    file.write_bytes(registry.resolve("prod").export())
    assert read_export(file) == registry.resolve("prod")

    content = json.loads(file.read_text())
    file.write_text(json.dumps(content | {"yaml": content["yaml"].replace("0.5", "0.6")}))
    with pytest.raises(RegistryError, match=r"changed on the way: its sha256 must be \w+, was \w+ \(.*export.json\)"):
        read_export(file)
    file.write_text(json.dumps(content | {"vp_serving_export": 9}))
    with pytest.raises(
        RegistryError, match=r"The version of the export must be 1, was 9 \(.*export.json\). Export it again"
    ):
        read_export(file)
    file.write_text("{}")
    with pytest.raises(RegistryError, match="is not an exported serving version"):
        read_export(file)
    with pytest.raises(RegistryError, match="cannot be read: No such file"):
        read_export(tmp_path / "none")


def test_a_full_disk_moves_no_alias(registry, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(registry_module, "write_atomic", full)
    with pytest.raises(StorageError, match="The disk is full: could not write the serving version"):
        registry.publish(*make(), "prod")
    assert registry.aliases() == {}


def test_a_full_disk_under_the_registry(registry):
    message = r"The disk is full: could not write the serving registry \(.*\). Free there: .* MB. Nothing was changed"
    with pytest.raises(RegistryError, match=message), database._errors(registry.path.parents[1]):
        raise sqlite3.OperationalError("database or disk is full")


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE audit SET why = 'pure noise'",
        "UPDATE audit SET figures = '[1]'",
        "UPDATE versions SET created_by = 'nobody'",
        "UPDATE aliases SET moved_utc = ''",
        "DELETE FROM audit",
        "DELETE FROM seal",
    ],
)
def test_a_changed_value_of_the_registry_is_refused(registry, change):
    registry.publish(*make(), "prod")
    registry.publish(*make(0.7), "prod", why="better")
    with sqlite3.connect(registry.path) as connection:
        connection.execute(change)
    connection.close()
    for action in (registry.versions, registry.history, registry.aliases, lambda: registry.rollback("prod")):
        with pytest.raises(RegistryError, match=r"The serving registry was changed since it was written \(.*sqlite\)"):
            action()


def test_a_registry_without_a_seal_gets_one(registry):
    registry.publish(*make(), "prod")
    with sqlite3.connect(registry.path) as connection:
        connection.execute("DROP TABLE seal")
        connection.execute("PRAGMA user_version = 1")
    connection.close()
    assert registry.aliases() == {"prod": make()[0]}
    registry.publish(*make(0.7), "prod")
    with sqlite3.connect(registry.path) as connection:
        assert connection.execute("SELECT count(*) FROM seal").fetchone() == (1,)
        connection.execute("UPDATE audit SET who = 'x'")
    connection.close()
    with pytest.raises(RegistryError, match="was changed since it was written"):
        registry.history()


def test_a_damaged_copy_of_a_version_is_not_written_back(registry):
    serving_id, data = make()
    registry.publish(serving_id, data, "prod")
    registry.file_of(serving_id).unlink()
    with sqlite3.connect(registry.path) as connection:
        connection.execute("UPDATE versions SET data = ?", (data.replace(b"0", b"1"),))
    connection.close()
    for action in (lambda: registry.restore(serving_id), lambda: registry.publish(serving_id, data, "prod")):
        with pytest.raises(RegistryError, match=f"The registry's copy of serving version '{serving_id}' was changed"):
            action()
    assert not registry.file_of(serving_id).exists()


def test_what_is_no_registry(registry):
    registry.path.parent.mkdir(parents=True)
    registry.path.write_bytes(b"not a database, but long enough to be one" * 100)
    with pytest.raises(
        RegistryError,
        match=r"serving registry cannot be used: file is not a database \(.*serving_registry.sqlite\). Nothing",
    ):
        registry.resolve("prod")


def test_a_registry_of_a_later_version(registry):
    registry.publish(*make(), "prod")
    connection = sqlite3.connect(registry.path)
    connection.execute("PRAGMA user_version = 7")
    connection.close()
    for action in (lambda: registry.resolve("prod"), lambda: registry.publish(*make(), "prod")):
        with pytest.raises(
            RegistryError, match=r"The version of the serving registry must be at most 2, was 7 \(.*sqlite\)"
        ):
            action()


def test_a_held_registry(registry, monkeypatch):
    registry.publish(*make(), "prod")
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.05)
    connection = sqlite3.connect(registry.path, isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    with pytest.raises(RegistryError, match=r"is in use: another process has held it .* Nothing was changed"):
        registry.publish(*make(0.7), "prod")
    assert registry.resolve("prod").serving_id == make()[0]
    connection.close()


def test_many_processes_at_once(registry):
    code = textwrap.dedent(
        """
        import sys
        from pathlib import Path
        import yaml
        from vpcore_serving.registry import ServingRegistry, serving_id_of
        i = int(sys.argv[3])
        registry = ServingRegistry(Path(sys.argv[1]), Path(sys.argv[2]))
        for k in range(6):
            runtime = {"threshold": k % 3}
            data = yaml.safe_dump({"runtime": runtime, "evidence": {"by": i}}).encode()
            registry.publish(serving_id_of("es", runtime), data, "shared", who=str(i))
        """
    )
    command = [sys.executable, "-c", code, str(registry.path), str(registry.versions_dir)]
    runs = [subprocess.Popen([*command, str(i)], stderr=subprocess.PIPE) for i in range(3)]
    for run in runs:
        _, errors = run.communicate()
        assert run.returncode == 0, errors.decode()
    assert len(registry.versions()) == 3
    history = registry.history("shared")
    assert 3 <= len(history) <= 18
    for later, earlier in itertools.pairwise(history):
        assert later.from_id == earlier.to_id != later.to_id
    for info in registry.versions():
        registry.resolve(info.serving_id)


KILLED = """
    import os, signal, sys
    from pathlib import Path
    import yaml
    from vpcore_serving.registry import ServingRegistry, serving_id_of
    registry = ServingRegistry(Path(sys.argv[1]), Path(sys.argv[2]))
    runtime = {"threshold": 0.9}
    real = ServingRegistry._move
    def move(self, *arguments, **more):
        real(self, *arguments, **more)
        os.kill(os.getpid(), signal.SIGKILL)
    ServingRegistry._move = move
    registry.publish(serving_id_of("es", runtime), yaml.safe_dump({"runtime": runtime}).encode(), "prod")
"""


def test_killed_inside_the_transaction(registry):
    serving_id, data = make()
    registry.publish(serving_id, data, "prod")
    command = [sys.executable, "-c", textwrap.dedent(KILLED), str(registry.path), str(registry.versions_dir)]
    assert subprocess.run(command, check=False).returncode == -9
    assert registry.resolve("prod").serving_id == serving_id
    assert len(registry.versions()) == 1
    late = {"threshold": 0.9}
    done = registry.publish(serving_id_of("es", late), yaml.safe_dump({"runtime": late}).encode(), "prod")
    assert done.created
    assert done.adopted


def test_an_export_with_aliases_is_no_version(tmp_path: Path) -> None:
    with pytest.raises(RegistryError, match="is not a published serving version: it has an alias"):
        PublishedVersion.from_bytes("a__b__0123456789ab", b"runtime: &r {a: 1}\nother: *r\n", "here")
    deep = tmp_path / "deep.json"
    deep.write_text("[" * 100_000)
    with pytest.raises(RegistryError, match="The file is not an exported serving version"):
        read_export(deep)
    assert yaml.safe_load("a: &b [1]\nc: *b")["c"] == [1]  # what is refused is legal YAML
