"""`Plugins`: load plugins, ask them for components, and call their lifecycle hooks."""

from __future__ import annotations

import importlib.metadata
import os
from collections.abc import Iterable, Iterator, Mapping
from types import ModuleType
from typing import Any, NamedTuple, NoReturn

import pluggy

from vpcore.errors import PluginError, VpError, did_you_mean, listed
from vpcore.plugins import builtin, hookspecs
from vpcore.plugins.component import Component
from vpcore.plugins.containment import contained
from vpcore.plugins.installed import Package, entry_points as installed_entry_points

CORE = "core"
COMMAND_LINE = "cli"
DISABLE_VARIABLE = "VPCORE_DISABLE"

KINDS = ("signal", "source", "storage", "tracker", "executor", "sampler", "feed", "command", "function")
HOOK_OF_KIND = {kind: f"vp_{kind}s" for kind in KINDS}
BASE_OF_KIND = {
    "source": ("vpcore.source", "Source"),
    "storage": ("vpcore.storage", "Storage"),
    "tracker": ("vpcore.tracker", "Tracker"),
    "sampler": ("vpcore.sampler", "Sampler"),
    "feed": ("vpcore_serving.feed", "Feed"),
}
"""By kind, the package and the class that a target derives from. Signals have checks of their own, executors are any
callable."""

HOOKS = tuple(name for name in vars(hookspecs) if name.startswith("vp_"))
LIFECYCLE_HOOKS = tuple(name for name in HOOKS if name not in HOOK_OF_KIND.values())


class LoadedPlugin(NamedTuple):
    """A plugin that loaded."""

    name: str
    package: Package
    hooks: tuple[str, ...]


class FailedPlugin(NamedTuple):
    """A plugin or component that failed, with the error message."""

    name: str
    package: Package
    error: str

    def __str__(self) -> str:
        owner = f" ({self.package})" if self.package.name else ""
        return f"{self.name}{owner}: {self.error}"


class Registered(NamedTuple):
    """A component and the plugin that registered it."""

    component: Component
    plugin: str
    package: Package

    @property
    def owner(self) -> str:
        """The plugin with its distribution, for messages."""
        return f"'{self.plugin}' ({self.package})"


class HookFailure(NamedTuple):
    """A lifecycle hook that raised."""

    plugin: str
    hook: str
    error: str


def describe(error: BaseException) -> str:
    """Return an error as one line: its type and message; import and plugin errors have the message alone."""
    text = " ".join(str(error).split())
    if isinstance(error, (ImportError, PluginError)) and text:
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _called(kind: str, name: str) -> str:
    """Return what a message calls a component."""
    return f"vpcore.{name}" if kind == "function" else f"{kind.capitalize()} '{name}'"


class Plugins:
    """The plugins of one workspace or command.

    Parameters
    ----------
    entry_points : iterable of importlib.metadata.EntryPoint, optional
        Entry points to load; by default every installed entry point of the group ``vpcore``.
    disable : iterable of str, optional
        Names of plugins to leave out; by default the names in the environment variable ``VPCORE_DISABLE``, separated
        by commas.

    Attributes
    ----------
    loaded : list of LoadedPlugin
    failed : list of FailedPlugin
        A hook that fails on its first call adds its plugin.
    disabled : tuple of str
        Installed plugins that `disable` left out.
    hook_failures : list of HookFailure
        Lifecycle hooks that have raised.
    """

    def __init__(
        self,
        entry_points: Iterable[importlib.metadata.EntryPoint] | None = None,
        *,
        disable: Iterable[str] | None = None,
    ) -> None:
        self.manager = pluggy.PluginManager(hookspecs.PROJECT)
        self.manager.add_hookspecs(hookspecs)
        self.loaded: list[LoadedPlugin] = []
        self.failed: list[FailedPlugin] = []
        self.hook_failures: list[HookFailure] = []
        self._components: dict[str, dict[str, Registered]] = {}

        if disable is None:
            disable = os.environ.get(DISABLE_VARIABLE, "").split(",")
        unwanted = {name.strip() for name in disable} - {""}
        for name in (CORE, COMMAND_LINE):
            if name in unwanted:
                raise PluginError(f"Plugin '{name}' cannot be disabled: every command needs it", where=DISABLE_VARIABLE)

        self._register(builtin, CORE, Package.of(lambda: importlib.metadata.distribution("vpcore")))
        if entry_points is None:
            entry_points = installed_entry_points()
        # Commands of the command line come first in its help, and no other plugin takes the name of one.
        found = sorted(entry_points, key=lambda entry: (entry.value != "vpcore_cli.plugin", entry.name, entry.value))
        self.disabled = tuple(entry.name for entry in found if entry.name in unwanted)
        self.unknown_disabled = tuple(sorted(unwanted - set(self.disabled)))
        for entry in found:
            if entry.name not in unwanted:
                self._load_entry_point(entry)

    # -- loading -------------------------------------------------------------------------------------------------------

    def _load_entry_point(self, entry: importlib.metadata.EntryPoint) -> None:
        package = Package.of(lambda: entry.dist)
        try:
            with contained(entry.name, "its import"):
                plugin = entry.load()
            self._register(plugin, entry.name, package)
        except Exception as error:
            self.failed.append(FailedPlugin(entry.name, package, describe(error)))

    def register(self, plugin: Any, name: str, distribution: str = "", version: str = "") -> None:
        """Register a module or object whose attributes are hook implementations.

        Raises
        ------
        PluginError
            If the name is taken, or a hook is misspelled, unmarked or has an unknown argument. The registration is
            undone.
        """
        self._register(plugin, name, Package.called(distribution, version))

    def _register(self, plugin: Any, name: str, package: Package) -> None:
        if self.manager.has_plugin(name):
            other = next((item for item in self.loaded if item.name == name), None)
            owner = f" by {other.package}" if other is not None and other.package.name else ""
            raise PluginError(
                f"A plugin called '{name}' is registered already{owner}",
                fix=f"Rename the entry point of {package.name or 'this one'}.",
            )
        try:
            self.manager.register(plugin, name)
            self._check_hooks(plugin, name)
        except (pluggy.PluginValidationError, PluginError, ValueError) as error:
            if self.manager.has_plugin(name):
                self.manager.unregister(name=name)
            if isinstance(error, PluginError):
                raise
            raise PluginError(f"Plugin '{name}' is not usable: {' '.join(str(error).split())}") from error
        callers = self.manager.get_hookcallers(plugin) or []
        hooks = tuple(sorted(caller.name for caller in callers))
        self.loaded.append(LoadedPlugin(name, package, hooks))
        self._components.clear()

    def _check_hooks(self, plugin: Any, name: str) -> None:
        """Refuse misspelled and unmarked hooks, which pluggy would ignore.

        pluggy's `check_pending` stops at the first bad plugin of all. This check covers one plugin, so the others keep
        working.
        """
        for caller in self.manager.get_hookcallers(plugin) or []:
            optional = any(impl.optionalhook for impl in caller.get_hookimpls())
            if not caller.has_spec() and not optional:
                raise PluginError(
                    f"Plugin '{name}' implements '{caller.name}', which is not a hook",
                    fix=f"{did_you_mean(caller.name, HOOKS)} Hooks: {', '.join(HOOKS)}.",
                )
        for attribute in HOOKS:
            function = getattr(plugin, attribute, None)
            if callable(function) and self.manager.parse_hookimpl_opts(plugin, attribute) is None:
                where = plugin.__name__ if isinstance(plugin, ModuleType) else type(plugin).__name__
                raise PluginError(
                    f"Plugin '{name}' defines '{attribute}' without marking it, so it would never be called",
                    where=where,
                    fix="Put @hookimpl above it: from vpcore import hookimpl.",
                )

    # -- components ----------------------------------------------------------------------------------------------------

    def components(self, kind: str) -> dict[str, Registered]:
        """Return the registered components of a kind by name. Targets stay unimported.

        Components are sorted by name, commands by registration.

        Parameters
        ----------
        kind : str
            A key of `HOOK_OF_KIND`.

        Raises
        ------
        PluginError
            If two plugins register one name. A duplicate command goes to `failed` instead, because ``vp plugins``
            must run to show its owners.
        """
        hook = HOOK_OF_KIND[kind]
        if kind not in self._components:
            found: dict[str, Registered] = {}
            for plugin in list(self.loaded):
                for component in self._ask(plugin, hook):
                    registered = Registered(component, plugin.name, plugin.package)
                    other = found.get(component.name)
                    if other is not None:
                        message = (
                            f"{_called(kind, component.name)} is registered twice, by plugin {other.owner} "
                            f"and by plugin {registered.owner}. Rename one, or leave one plugin out: "
                            f"{DISABLE_VARIABLE}={plugin.name}."
                        )
                        if kind != "command":
                            raise PluginError(message)
                        self.failed.append(FailedPlugin(plugin.name, plugin.package, message))
                        continue
                    found[component.name] = registered
            self._components[kind] = found if kind == "command" else dict(sorted(found.items()))
        return dict(self._components[kind])

    def _ask(self, plugin: LoadedPlugin, hook: str) -> list[Component]:
        """Call one registration hook of one plugin. A failure goes to `failed` and yields an empty list."""
        if hook not in plugin.hooks:
            return []
        components: list[Component] = []
        try:
            with contained(plugin.name, hook):
                found = [item for answer in self._call(plugin.name, hook, {}) for item in answer]
            for item in found:
                if not isinstance(item, Component):
                    raise PluginError(
                        f"{hook} must return Components, and one was {item!r}",
                        fix="Write Component(name, 'package.module:Class', summary).",
                    )
                if "-" in item.name and hook != "vp_commands":
                    raise PluginError(f"Only the name of a command may have '-', and {hook} returned '{item.name}'.")
                if not item.name.islower() and hook != "vp_functions":
                    raise PluginError(
                        f"Only vp_functions may return a name with capitals, and {hook} returned '{item.name}'."
                    )
                components.append(item)
        except Exception as error:
            message = f"{hook} failed: {describe(error)}" if not isinstance(error, PluginError) else str(error)
            self.failed.append(FailedPlugin(plugin.name, plugin.package, message))
            return []
        return components

    def _call(self, plugin: str, hook: str, arguments: Mapping[str, Any]) -> list[Any]:
        others = [item for name, item in self.manager.list_name_plugin() if name != plugin and item is not None]
        answers: list[Any] = self.manager.subset_hook_caller(hook, others)(**arguments)
        return answers

    def get(self, kind: str, name: str, where: str = "") -> Registered:
        """Return a registered component by name.

        Parameters
        ----------
        kind : str
            See `components`.
        name : str
            Name in the user's spelling.
        where : str
            File, line and key of the name, for the message: ``"configs/experiments/a.yaml:12, signal.name"``.

        Raises
        ------
        PluginError
            If the name is unknown. The message lists the nearest name, the installed components and the skipped
            plugins.
        """
        components = self.components(kind)
        if name not in components:
            self._refuse_unknown(kind, name, where, components)
        return components[name]

    def _refuse_unknown(self, kind: str, name: str, where: str, components: Mapping[str, Registered]) -> NoReturn:
        if package := builtin.PACKAGES.get(kind, {}).get(name):
            place = f" ({where})" if where else ""
            raise PluginError(self.missing_package(f"{_called(kind, name)}{place}", package))
        skipped = "".join(f" Plugin '{item.name}' was skipped: {item.error.rstrip('.')}." for item in self.failed)
        disabled = "".join(f" Plugin '{item}' is disabled by {DISABLE_VARIABLE}." for item in self.disabled)
        raise PluginError(
            f"No {kind} is called '{name}'",
            where=where,
            fix=f"{did_you_mean(name, components)} Installed: {listed(components)}.{skipped}{disabled}",
        )

    def missing_package(self, wanted: str, package: str) -> str:
        """Return the message for `wanted`, a component of this project's `package`, which is missing or broken."""
        for item in self.failed:
            if item.package.name == package:
                return f"{wanted} needs {package}, which does not load: {item.error}"
        disabled = "".join(f" Plugin '{item}' is disabled by {DISABLE_VARIABLE}." for item in self.disabled)
        install = f"{wanted} needs {package}, which is not installed. Run: pip install {package}"
        return f"{install}.{disabled}" if disabled else install

    def load(self, kind: str, name: str, where: str = "") -> Any:
        """Import a component and return its target.

        Raises
        ------
        PluginError
            If the component is unknown, its import fails, or its class has the wrong base.
        """
        registered = self.get(kind, name, where)
        component = registered.component
        article = _called(kind, name)
        place = f" ({where})" if where else ""
        try:
            if registered.plugin == CORE:
                target = component.load()
            else:
                with contained(registered.plugin, f"the import of {component.target}"):
                    target = component.load()
        except VpError:  # says itself what is missing and what to do
            raise
        except Exception as error:
            missing = ((isinstance(error, ModuleNotFoundError) and error.name) or "").partition(".")[0]
            if missing and missing != component.target.partition(".")[0]:
                reason = f"needs {missing}, which is not installed. Run: pip install {missing}"
            else:
                reason = f"does not load from {component.target}: {describe(error)}"
            raise PluginError(f"{article}{place} of plugin {registered.owner} {reason}") from error
        if base := BASE_OF_KIND.get(kind):
            package, wanted = base
            bases = target.__mro__ if isinstance(target, type) else ()
            if not any(item.__name__ == wanted and item.__module__.startswith(f"{package}.") for item in bases):
                raise PluginError(
                    f"{article} of plugin {registered.owner}",
                    required=f"a class that derives from {package}.{wanted}",
                    was=repr(target),
                )
        return target

    def resolve(self, kind: str, names: Iterable[str] | None = None) -> Iterator[tuple[Registered, Any, str | None]]:
        """Import components; yield ``(registered, target, None)``, or ``(registered, None, error)`` after a failure."""
        wanted = list(self.components(kind)) if names is None else list(names)
        for name in wanted:
            registered = self.get(kind, name)
            try:
                yield registered, self.load(kind, name), None
            except VpError as error:
                yield registered, None, str(error)

    # -- calls ---------------------------------------------------------------------------------------------------------

    def notify(self, hook: str, **arguments: Any) -> int:
        """Call a lifecycle hook of every plugin and return the number of failures.

        Call it after the result is on disk. A failure goes to `hook_failures`, and the next plugin is called.
        """
        if hook not in LIFECYCLE_HOOKS:
            raise ValueError(f"'{hook}' is not a lifecycle hook.{did_you_mean(hook, LIFECYCLE_HOOKS)}")
        before = len(self.hook_failures)
        for plugin in list(self.loaded):
            if hook in plugin.hooks:
                try:
                    with contained(plugin.name, hook):
                        self._call(plugin.name, hook, arguments)
                except Exception as error:
                    self.hook_failures.append(HookFailure(plugin.name, hook, describe(error)))
        return len(self.hook_failures) - before
