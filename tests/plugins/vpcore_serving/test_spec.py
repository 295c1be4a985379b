"""A published version on its way through files: written, read, refused, imported, listed, compared."""

from __future__ import annotations

import pytest
import yaml

from vpcore.errors import RegistryError
from vpcore_serving.live_pipeline import LivePipeline
from vpcore_serving.promote import promote
from vpcore_serving.registry import PublishedVersion, ServingRegistry, registry_of, serving_id_of
from vpcore_serving.spec import PublishedServingSpec, import_version, list_published, published, roll_back


@pytest.fixture
def spec(world) -> PublishedServingSpec:
    run = world.run()
    world.store(run)
    return promote(world.workspace, "sweep", run.run_id, alias="prod").spec


@pytest.fixture
def elsewhere(tmp_path) -> ServingRegistry:
    return ServingRegistry(tmp_path / "other" / "r.sqlite", tmp_path / "other" / "versions")


def version_of(spec: PublishedServingSpec, edit=lambda content: None) -> PublishedVersion:
    """Return the version's bytes after an edit, under the id that belongs to them."""
    content = yaml.safe_load(spec.to_yaml())
    edit(content)
    serving_id = serving_id_of("base__level", content.get("runtime", {}))
    if "serving_id" in content:
        content["serving_id"] = serving_id
    data = yaml.safe_dump(content).encode()
    return PublishedVersion.from_bytes(serving_id, data, "edited")


def exported(version: PublishedVersion, path):
    path.write_bytes(version.export())
    return path


def test_a_version_comes_back_as_it_was_written(spec):
    assert PublishedServingSpec.from_version(version_of(spec)) == spec
    assert spec.to_yaml() == PublishedServingSpec.from_version(version_of(spec)).to_yaml()


def test_the_id_covers_the_runtime_part_only(spec):
    def later(content):
        content["published_utc"] = "2031-01-01T00:00:00+00:00"
        content["description"] = "another"
        content["evidence"]["seed"] = 7

    assert version_of(spec, later).serving_id == spec.serving_id
    assert version_of(spec, lambda content: content["runtime"].update(threshold=9.5)).serving_id != spec.serving_id


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda c: c["runtime"].pop("threshold"), r"cannot be read: runtime\.threshold is missing"),
        (lambda c: c["runtime"].update(threshold="0.5"), r"cannot be read: runtime\.threshold must be a number, was '0.5'"),
        (lambda c: c["runtime"]["rules"].update(tp_ticks=0), r"runtime\.rules\.tp_ticks must be at least 1, was 0"),
        (lambda c: c["runtime"]["scoring"].update(tanh_scal=1.0), r"'tanh_scal' is not a field of runtime\.scoring"),
        (lambda c: c["evidence"].update(verdict="perhaps"), r"evidence\.verdict must be 'proven' or 'unproven', was 'perhaps'"),
        (lambda c: c.pop("evidence"), r"cannot be read: evidence is missing.* Restore the file from a copy, or promote again"),
        (lambda c: c.pop("spec_version"), r"file format of serving version 'base__level__\w{12}' must be 2, was 1\. Another release"),
        (lambda c: c.update(spec_version=3), r"must be 2, was 3\. Another release .* promote its row again"),
    ],
)  # fmt: skip
def test_a_file_of_another_form_is_one_error_and_moves_no_alias(spec, elsewhere, tmp_path, edit, message):
    version = version_of(spec, edit)
    with pytest.raises(RegistryError, match=message) as refused:
        import_version(elsewhere, exported(version, tmp_path / "export.json"), "live")
    assert "\n" not in str(refused.value)
    assert elsewhere.aliases() == {}
    assert elsewhere.versions() == []


def test_a_file_that_names_another_version(spec):
    content = yaml.safe_load(spec.to_yaml()) | {"serving_id": "base__level__" + "0" * 12}
    version = PublishedVersion(spec.serving_id, yaml.safe_dump(content).encode(), "")
    with pytest.raises(RegistryError, match=rf"serving_id must be '{spec.serving_id}', was 'base__level__0{{12}}'"):
        PublishedServingSpec.from_version(version)


def test_an_import_serves_what_was_exported(world, spec, elsewhere, tmp_path):
    file = exported(registry_of(world.workspace).resolve("prod"), tmp_path / "export.json")
    done = import_version(elsewhere, file, "live", why="from the research host", who="ann")
    assert (done.created, done.serving_id) == (True, spec.serving_id)
    (entry,) = elsewhere.history("live")
    assert (entry.action, entry.why, entry.who) == ("import", "from the research host", "ann")
    assert published(elsewhere, "live").spec == spec


def test_an_unreadable_version_hides_no_other(world, spec):
    registry = registry_of(world.workspace)
    old = version_of(spec, lambda content: content.pop("spec_version"))
    other = version_of(spec, lambda content: (content.pop("spec_version"), content["runtime"].update(threshold=2.0)))
    assert old.serving_id == spec.serving_id
    registry.publish(other.serving_id, other.data, "old")
    found = {info.serving_id: content for info, content in list_published(registry)}
    assert found[spec.serving_id] == spec
    assert "must be 2, was 1" in str(found[other.serving_id])
    with pytest.raises(RegistryError, match="must be 2, was 1"):
        LivePipeline.from_serving(world.workspace, "old")


def test_a_rollback_never_names_an_unreadable_version(world, spec, elsewhere):
    old = version_of(spec, lambda content: (content.pop("spec_version"), content["runtime"].update(threshold=2.0)))
    elsewhere.publish(old.serving_id, old.data, "prod")
    elsewhere.publish(spec.serving_id, spec.to_yaml(), "prod")
    for to in (None, old.serving_id):
        with pytest.raises(RegistryError, match="must be 2, was 1. Another release"):
            roll_back(elsewhere, "prod", to=to)
    assert elsewhere.aliases() == {"prod": spec.serving_id}
    with pytest.raises(RegistryError, match="No version is called 'y'"):
        roll_back(elsewhere, "prod", to="y")
    with pytest.raises(RegistryError, match="No alias is called 'prodd'. Did you mean 'prod'"):
        roll_back(elsewhere, "prodd")
    later = version_of(spec, lambda content: content["runtime"].update(threshold=3.0))
    elsewhere.publish(later.serving_id, later.data, "prod")
    done = roll_back(elsewhere, "prod", why="worse")
    assert (done.serving_id, done.previous) == (spec.serving_id, later.serving_id)
    with pytest.raises(RegistryError, match="must be 2, was 1"):
        roll_back(elsewhere, "prod")
