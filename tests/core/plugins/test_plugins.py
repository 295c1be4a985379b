from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import metadata
from types import ModuleType
from typing import Any

import pytest

from vpcore import Component, PluginError, hookimpl
from vpcore.plugins.manager import HOOK_OF_KIND, HOOKS, LIFECYCLE_HOOKS, Plugins

Install = Callable[..., list[metadata.EntryPoint]]

GOOD = """
    from vpcore import Component, hookimpl

    @hookimpl
    def vp_signals():
        yield Component("good", "good_module:Target", "A signal.")

    Target = "the target"
"""


def plugin(**hooks: Any) -> ModuleType:
    module = ModuleType("a_plugin")
    for name, function in hooks.items():
        setattr(module, name, hookimpl(function))
    return module


@pytest.fixture
def plugins() -> Plugins:
    return Plugins([], disable=[])


def test_the_cores_own_components_are_registered_like_a_strangers(plugins: Plugins) -> None:
    assert {kind: list(plugins.components(kind)) for kind in HOOK_OF_KIND if kind != "command"} == {
        "signal": [],
        "source": [],
        "storage": ["local"],
        "tracker": ["jsonl", "none"],
        "executor": ["local", "serial"],
        "sampler": ["grid", "lhs", "random"],
        "feed": [],
        "function": [],
    }
    assert plugins.components("storage")["local"].plugin == "core"
    assert plugins.components("storage")["local"].package.version == metadata.version("vpcore")


def test_functions_of_plugins_are_names_of_the_api(monkeypatch: pytest.MonkeyPatch, install: Install) -> None:
    import vpcore

    def forget() -> None:
        for cached in (vpcore._installed, vpcore._of_plugins):
            cached.cache_clear()

    monkeypatch.setattr("vpcore.plugins.manager.Plugins", lambda: Plugins([], disable=[]))
    monkeypatch.delitem(vars(vpcore), "tearsheet", raising=False)
    forget()
    with pytest.raises(PluginError, match=r"vpcore\.tearsheet needs vpcore-report, which is not installed"):
        vpcore.tearsheet
    with pytest.raises(AttributeError, match=r"module 'vpcore' has no attribute 'tearsheets'"):
        vpcore.tearsheets
    assert "tearsheet" not in {*dir(vpcore), *vpcore.__all__}

    def with_functions() -> Plugins:
        made = Plugins([], disable=[])
        targets = (("halves", "operator:truediv"), ("Half", "fractions:Fraction"))
        made.register(plugin(vp_functions=lambda: [Component(*item, "Of a test.") for item in targets]), "p")
        return made

    monkeypatch.setattr("vpcore.plugins.manager.Plugins", with_functions)
    forget()
    assert {"halves", "Half"} <= set(vpcore.__all__) & set(dir(vpcore))
    assert vpcore.halves(3, 2) == vpcore.Half(3, 2) == 1.5
    for name in ("halves", "Half"):
        monkeypatch.delitem(vars(vpcore), name)
    forget()


def test_unknown_names_of_the_api_load_the_plugins_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """skops asks every imported module for hundreds of names."""
    import vpcore

    made: list[Plugins] = []
    monkeypatch.setattr("vpcore.plugins.manager.Plugins", lambda: made.append(Plugins([], disable=[])) or made[-1])
    vpcore._installed.cache_clear()
    vpcore._of_plugins.cache_clear()
    for name in ("absolute", "add", "arccos"):
        assert not hasattr(vpcore, name)
    assert len(made) == 1
    vpcore._installed.cache_clear()
    vpcore._of_plugins.cache_clear()


def test_listing_imports_no_target(install: Install) -> None:
    plugins = Plugins(install("lazy", GOOD.replace("good_module", "never_imported")), disable=[])
    assert list(plugins.components("signal")) == ["good"]
    assert "never_imported" not in sys.modules


def test_a_component_is_loaded_when_asked_for(install: Install) -> None:
    plugins = Plugins(install("good", GOOD), disable=[])
    assert plugins.load("signal", "good") == "the target"
    found = plugins.get("signal", "good")
    assert (found.plugin, found.package.name, found.package.version) == ("good", "good", "1.2")


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("raise RuntimeError('no luck')", "RuntimeError: no luck"),
        ("import no_such_library", "No module named 'no_such_library'"),
        (
            "import sys; sys.exit(3)",
            "Plugin 'bad' called sys.exit(3) in its import, which a plugin must not do. Leave it out: VPCORE_DISABLE=bad.",
        ),
        ("def broken(:", "SyntaxError: invalid syntax"),
    ],
)
def test_a_plugin_that_does_not_import_is_recorded_and_the_others_load(install: Install, code: str, error: str) -> None:
    install("bad", code, version="0.3")
    plugins = Plugins(install("good", GOOD), disable=[])
    (failed,) = plugins.failed
    assert (failed.name, failed.package.name, failed.package.version) == ("bad", "bad", "0.3")
    assert failed.error.startswith(error)
    assert str(failed).startswith(f"bad (bad 0.3): {error}")
    assert list(plugins.components("signal")) == ["good"]


def test_an_unknown_name_names_the_nearest_the_installed_and_the_skipped(install: Install) -> None:
    install("bad", "import no_such_library")
    plugins = Plugins(install("good", GOOD), disable=[])
    expected = (
        r"No signal is called 'goood' \(a.yaml:12, signal.name\). Did you mean 'good'\? Installed: good. "
        r"Plugin 'bad' was skipped: No module named 'no_such_library'."
    )
    with pytest.raises(PluginError, match=expected):
        plugins.get("signal", "goood", "a.yaml:12, signal.name")


def test_a_misspelled_hook_is_noticed(install: Install) -> None:
    code = "from vpcore import hookimpl\n@hookimpl\ndef vp_signal():\n    return []\n"
    plugins = Plugins(install("typo", code), disable=[])
    assert (
        "Plugin 'typo' implements 'vp_signal', which is not a hook. Did you mean 'vp_signals'?"
        in plugins.failed[0].error
    )
    assert [item.name for item in plugins.loaded] == ["core"]
    assert plugins.manager.get_plugin("typo") is None


def test_a_hook_without_its_mark_is_noticed(install: Install) -> None:
    plugins = Plugins(install("unmarked", "def vp_signals():\n    return []\n"), disable=[])
    assert (
        "Plugin 'unmarked' defines 'vp_signals' without marking it, so it would never be called (unmarked_module)"
        in plugins.failed[0].error
    )
    assert "Put @hookimpl above it" in plugins.failed[0].error


def test_an_argument_that_a_hook_does_not_have_is_noticed(plugins: Plugins) -> None:
    with pytest.raises(PluginError, match="Plugin 'p' is not usable: .*vp_promoted.*serving_ids"):
        plugins.register(plugin(vp_promoted=lambda serving_ids: None), "p")
    assert [item.name for item in plugins.loaded] == ["core"]


def test_a_plugin_without_hooks_is_one(plugins: Plugins) -> None:
    plugins.register(plugin(), "empty")
    assert plugins.loaded[-1].hooks == ()


def test_two_components_of_one_name_name_both_owners(plugins: Plugins) -> None:
    for name in ("first", "second"):
        hook = lambda: [Component("same", "somewhere:Thing", "One of two.")]  # noqa: E731 - a new function for each
        plugins.register(plugin(vp_signals=hook), name, f"dist-{name}", "1.0")
    expected = (
        r"Signal 'same' is registered twice, by plugin 'first' \(dist-first 1.0\) and by plugin 'second' \(dist-second 1.0\). "
        r"Rename one, or leave one plugin out: VPCORE_DISABLE=second."
    )
    with pytest.raises(PluginError, match=expected):
        plugins.components("signal")


def test_two_plugins_of_one_name(install: Install) -> None:
    install("one", GOOD, entry="same")
    plugins = Plugins(install("two", GOOD, entry="same"), disable=[])
    (failed,) = plugins.failed
    assert failed.package.name == "two"
    assert failed.error == "A plugin called 'same' is registered already by one 1.2. Rename the entry point of two."


def test_a_registration_hook_that_raises_costs_its_own_components_only(install: Install, plugins: Plugins) -> None:
    def broken() -> list[Component]:
        raise KeyError("x")

    plugins.register(plugin(vp_signals=broken), "broken")
    plugins.register(plugin(vp_signals=lambda: [Component("fine", "a:b", "Fine.")]), "fine")
    assert list(plugins.components("signal")) == ["fine"]
    assert plugins.failed[0].error == "vp_signals failed: KeyError: 'x'"


def test_a_hook_must_return_components(plugins: Plugins) -> None:
    plugins.register(plugin(vp_signals=lambda: ["ads"]), "texts")
    assert plugins.components("signal") == {}
    assert plugins.failed[0].error.startswith("vp_signals must return Components, and one was 'ads'.")


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (
            "sys:no_such_thing",
            r"Signal 's' \(e.yaml:3\) of plugin 'p' \(dist 1.0\) does not load from sys:no_such_thing: .*no_such_thing",
        ),
        (
            "no_such_package.x:y",
            r"Signal 's' .* does not load from no_such_package.x:y: No module named 'no_such_package'",
        ),
    ],
)
def test_a_target_that_does_not_load(plugins: Plugins, target: str, message: str) -> None:
    plugins.register(plugin(vp_signals=lambda: [Component("s", target, "S.")]), "p", "dist", "1.0")
    with pytest.raises(PluginError, match=message):
        plugins.load("signal", "s", "e.yaml:3")


def test_a_class_without_the_base_of_its_kind_is_refused(plugins: Plugins) -> None:
    """Whether its package is installed or not: the base is known by name."""
    components = {"vp_feeds": Component("f", "pathlib:Path", "F."), "vp_sources": Component("s", "os:sep", "S.")}
    plugins.register(plugin(**{hook: lambda one=one: [one] for hook, one in components.items()}), "p", "dist", "1.0")
    with pytest.raises(PluginError, match=r"Feed 'f' of plugin 'p' .* derives from vpcore_serving\.feed\.Feed, was"):
        plugins.load("feed", "f")
    with pytest.raises(PluginError, match=r"Source 's' of plugin 'p' .* derives from vpcore\.source\.Source, was '/'"):
        plugins.load("source", "s")


def test_a_target_that_needs_a_missing_library(install: Install) -> None:
    install("needy", GOOD.replace("good_module:Target", "holder_module:Target"))
    plugins = Plugins(install("holder", "import no_such_library.part"), disable=["holder"])
    expected = (
        r"Signal 'good' of plugin 'needy' \(needy 1.2\) needs no_such_library, which is not installed. Run: pip install"
    )
    with pytest.raises(PluginError, match=expected):
        plugins.load("signal", "good")
    ((registered, target, error),) = plugins.resolve("signal")
    assert (registered.component.name, target) == ("good", None)
    assert error is not None
    assert "needs no_such_library" in error


def test_disabled_plugins_are_left_out(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    install("a", GOOD)
    points = install("b", "import no_such_library")
    monkeypatch.setenv("VPCORE_DISABLE", " b , a, elsewhere")
    plugins = Plugins(points)
    assert plugins.disabled == ("a", "b")
    assert plugins.unknown_disabled == ("elsewhere",)
    assert plugins.failed == []
    with pytest.raises(PluginError, match="Plugin 'a' is disabled by VPCORE_DISABLE"):
        plugins.get("signal", "good")


def test_the_core_cannot_be_disabled() -> None:
    for name in ("core", "cli"):
        with pytest.raises(PluginError, match=f"Plugin '{name}' cannot be disabled"):
            Plugins([], disable=[name])


def test_lifecycle_hooks_get_their_arguments(plugins: Plugins) -> None:
    seen: list[Any] = []
    plugins.register(plugin(vp_promoted=lambda alias, serving_id: seen.append((serving_id, alias))), "p")
    assert plugins.notify("vp_promoted", workspace=None, serving_id="id", alias="live", spec=None) == 0
    assert seen == [("id", "live")]


def test_a_raising_lifecycle_hook_stops_nothing_and_is_counted(plugins: Plugins) -> None:
    seen: list[str] = []

    def raising(run_id: str) -> None:
        raise OSError("no disk")

    plugins.register(plugin(vp_run_finished=raising), "raising")
    plugins.register(plugin(vp_run_finished=lambda run_id: seen.append(run_id)), "quiet")
    for run_id in ("a", "b"):
        failures = plugins.notify(
            "vp_run_finished", workspace=None, experiment="e", run_id=run_id, status="ok", error=None
        )
        assert failures == 1
    assert seen == ["a", "b"]
    assert [(f.plugin, f.hook, f.error) for f in plugins.hook_failures] == [
        ("raising", "vp_run_finished", "OSError: no disk")
    ] * 2


def test_an_unknown_lifecycle_hook_is_a_bug_of_the_caller(plugins: Plugins) -> None:
    with pytest.raises(ValueError, match="'vp_promote' is not a lifecycle hook. Did you mean 'vp_promoted'"):
        plugins.notify("vp_promote")
    with pytest.raises(ValueError, match="'vp_signals' is not a lifecycle hook"):
        plugins.notify("vp_signals")


def test_commands_stand_in_the_order_of_registration(plugins: Plugins) -> None:
    first = [Component("m", "a:b", "M."), Component("d", "a:b", "D.")]
    plugins.register(plugin(vp_commands=lambda: first), "o")
    found = [Component("z-last", "a:b", "Z.", "Data"), Component("another", "a:b", "A.")]
    plugins.register(plugin(vp_commands=lambda: found), "p")
    assert list(plugins.components("command")) == ["m", "d", "z-last", "another"]
    assert plugins.get("command", "z-last").component.heading == "Data"


def test_a_second_command_of_one_name_leaves_the_first(plugins: Plugins) -> None:
    plugins.register(plugin(vp_commands=lambda: [Component("run", "a:b", "First.")]), "o", "vp-o", "1")
    plugins.register(plugin(vp_commands=lambda: [Component("run", "a:b", "Mine."), Component("own", "a:b", "O.")]), "p")
    commands = plugins.components("command")
    assert commands["run"].plugin == "o"
    assert commands["own"].plugin == "p"
    assert plugins.failed[0].error.startswith("Command 'run' is registered twice, by plugin 'o' (vp-o 1)")


def test_only_the_name_of_a_command_may_have_a_dash(plugins: Plugins) -> None:
    plugins.register(plugin(vp_signals=lambda: [Component("my-signal", "a:b", "Mine.")]), "p")
    assert plugins.components("signal") == {}
    assert plugins.failed[0].error == "Only the name of a command may have '-', and vp_signals returned 'my-signal'."


def test_only_a_name_of_the_api_may_have_capitals(plugins: Plugins) -> None:
    plugins.register(plugin(vp_signals=lambda: [Component("Mine", "a:b", "Mine.")]), "p")
    assert plugins.components("signal") == {}
    assert (
        plugins.failed[0].error == "Only vp_functions may return a name with capitals, and vp_signals returned 'Mine'."
    )


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (None, "vp report needs vpcore-report, which is not installed. Run: pip install vpcore-report"),
        ("import no_such_library", "vp report needs vpcore-report, which does not load: No module named"),
    ],
)
def test_the_message_of_a_missing_package(install: Install, code: str | None, message: str) -> None:
    plugins = Plugins(install("vpcore-report", code) if code else [], disable=[])
    assert plugins.missing_package("vp report", "vpcore-report").startswith(message)


def test_a_missing_package_may_be_disabled(install: Install) -> None:
    plugins = Plugins(install("vpcore-report", "import no_such_library"), disable=["vpcore-report"])
    said = plugins.missing_package("vp report", "vpcore-report")
    assert said.endswith("Run: pip install vpcore-report. Plugin 'vpcore-report' is disabled by VPCORE_DISABLE.")


def test_a_source_of_a_missing_package_is_named(plugins: Plugins) -> None:
    with pytest.raises(PluginError) as refused:
        plugins.get("source", "dbn", "configs/pipelines/a.yaml:2, capture.source")
    assert str(refused.value) == (
        "Source 'dbn' (configs/pipelines/a.yaml:2, capture.source) needs vpcore-dbn, which is not installed. "
        "Run: pip install vpcore-dbn"
    )


def test_every_specified_hook_has_its_place() -> None:
    from vpcore.plugins import hookspecs

    specified = {name for name in vars(hookspecs) if name.startswith("vp_")}
    assert specified == set(HOOKS)
    assert set(LIFECYCLE_HOOKS) < set(HOOKS)


def test_managers_do_not_share_anything(plugins: Plugins) -> None:
    plugins.register(plugin(), "mine")
    assert [item.name for item in Plugins([], disable=[]).loaded] == ["core"]


@pytest.mark.parametrize(
    ("kind", "name", "package"),
    [("tracker", "mlflow", "mlflow"), ("executor", "dask", "dask"), ("sampler", "optuna", "optuna")],
)
def test_a_component_of_a_missing_package_names_the_package(
    plugins: Plugins, kind: str, name: str, package: str
) -> None:
    expected = (
        rf"^{kind.capitalize()} '{name}' \(a.yaml:3\) needs vpcore-{package}, which is not installed. "
        rf"Run: pip install vpcore-{package}$"
    )
    with pytest.raises(PluginError, match=expected):
        plugins.get(kind, name, "a.yaml:3")
