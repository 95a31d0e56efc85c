"""From an entry point to a hook relay and a validated provider. Every refusal says what is wrong
and how to fix it.
"""

from __future__ import annotations

import inspect
import sys
from difflib import get_close_matches
from importlib import metadata
from types import ModuleType
from typing import TYPE_CHECKING, Any

from pluggy import PluginManager, PluginValidationError

from titans._trace import trace
from titans.entry_points import DENY
from titans.errors import InputError
from titans.expectations import Expectations
from titans.hookspecs import API_VERSION, ProviderSpec, hookimpl
from titans.layout import PathLayout
from titans.provider import Hooks, Provider
from titans.schema import Schema

if TYPE_CHECKING:
    import polars as pl

    from titans.entry_points import PluginInfo

__all__ = [
    "HOOKS",
    "REQUIRED",
    "Refused",
    "build_observer",
    "build_provider",
    "declared_api",
    "import_plugin",
]

HOOKS = tuple(name for name in vars(ProviderSpec) if name.startswith("titans_"))
REQUIRED = ("titans_schema", "titans_pk_columns")


class Refused(Exception):
    """Why a plugin cannot be used. The cause, if there is one, is what it raised."""


class _DefaultLayout:
    @hookimpl
    def titans_path_layout(self) -> PathLayout:
        return PathLayout()


class _DefaultExpectations:
    @hookimpl
    def titans_expectations(self) -> Expectations:
        return Expectations()


class _Unchanged:
    @hookimpl
    def titans_normalize(self, frame: pl.DataFrame) -> pl.DataFrame:
        return frame


def connect(info: PluginInfo, group: str) -> tuple[PluginManager, Any]:
    """Import what the entry point names and register it, over the core's defaults, with a manager
    of its own.

    Returns:
        The manager, and the plugin: the module or object.

    Raises:
        Refused: it cannot be imported, is for another API, or has hooks that the core does not
            know.
    """
    plugin = import_plugin(info, group)
    try:
        manager = _register(info, plugin)
    except Refused:
        raise
    except Exception as error:
        # Looking at the plugin runs its code: a module's __getattr__, an object's __eq__.
        raise Refused(
            f"looking for its hooks failed: {_described(error)}. Report it to its authors"
        ) from error

    kind = group.removeprefix("titans.").removesuffix("s")
    trace(manager, plugin, f"{kind} {info.name} ({info.distribution} {info.version})")
    return manager, plugin


def _register(info: PluginInfo, plugin: Any) -> PluginManager:
    _check_api(info, plugin)
    manager = PluginManager("titans")
    manager.add_hookspecs(ProviderSpec)
    _check_marks(manager, plugin, info)

    unchanged = _Unchanged()
    manager.register(_DefaultLayout())
    manager.register(_DefaultExpectations())
    manager.register(unchanged)
    try:
        manager.register(plugin, name=f"{info.distribution}:{info.name}")
    except PluginValidationError as error:
        reason = " ".join(str(error).split())
        raise Refused(
            f"a hook does not fit its specification: {reason}. See titans.hookspecs.ProviderSpec"
        ) from error
    _check_known(manager, plugin)

    # Otherwise a titans_normalize that forgets its return would be answered for by the default, in
    # silence.
    for impl in _impls(manager, "titans_normalize"):
        if impl.plugin is plugin and not impl.wrapper and not impl.hookwrapper:
            manager.unregister(unchanged)
            break
    return manager


def build_provider(info: PluginInfo, group: str) -> Provider:
    """The provider that the entry point names, validated.

    Raises:
        Refused: as `connect`, or what the hooks return is not valid.
    """
    manager, plugin = connect(info, group)
    for hook in REQUIRED:
        if not implements(manager, hook, plugin):
            raise Refused(
                f"it does not implement {hook}; a provider needs {' and '.join(REQUIRED)}, each "
                "marked with @titans.hookimpl"
            )

    schema = _result(manager, "titans_schema", Schema)
    key = _result(manager, "titans_pk_columns", tuple | list)
    layout = _result(manager, "titans_path_layout", PathLayout)
    expectations = _result(manager, "titans_expectations", Expectations)

    try:
        return Provider(
            name=info.name,
            schema=schema,
            key=tuple(key),
            layout=layout,
            expectations=expectations,
            distribution=info.distribution,
            version=info.version,
            hooks=Hooks(info.name, manager.hook),
        )
    except InputError as error:
        raise Refused(str(error)) from error


def build_observer(info: PluginInfo, group: str) -> Any:
    """The hook `titans_event` of the observer that the entry point names.

    Raises:
        Refused: as `connect`, or it does not have this hook.
    """
    manager, plugin = connect(info, group)
    if not implements(manager, "titans_event", plugin):
        raise Refused("it does not implement titans_event, marked with @titans.hookimpl")
    return manager.hook.titans_event


def implements(manager: PluginManager, hook: str, plugin: Any) -> bool:
    return any(impl.plugin is plugin for impl in _impls(manager, hook))


def _impls(manager: PluginManager, hook: str) -> list[Any]:
    return list(getattr(manager.hook, hook).get_hookimpls())


def _described(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


def import_plugin(info: PluginInfo, group: str) -> Any:
    """What the entry point names: a module or an object.

    Raises:
        Refused: the import failed.
    """
    try:
        plugin = metadata.EntryPoint(info.name, info.value, group).load()
        # A class is only a recipe for the object that has the hooks.
        if inspect.isclass(plugin):
            plugin = plugin()
    except (Exception, SystemExit) as error:
        raise Refused(
            f"it cannot be imported: {_described(error)}. Fix or reinstall it (pip install "
            f"--force-reinstall {info.distribution}), or leave it out with {DENY}={info.name}"
        ) from error
    return plugin


def _check_api(info: PluginInfo, plugin: Any) -> None:
    built_for = declared_api(info, plugin)
    if built_for is None:
        raise Refused(
            f"it declares no TITANS_API; add `TITANS_API = {API_VERSION}` to {info.value}"
        )

    # A bool is an int, and True would pass for version 1.
    if type(built_for) is not int:
        raise Refused(
            f"its TITANS_API must be an integer, got {built_for!r}; write `TITANS_API = "
            f"{API_VERSION}`"
        )

    if built_for != API_VERSION:
        upgrade = "titans-core" if built_for > API_VERSION else info.distribution
        raise Refused(
            f"it was built for plugin API {built_for}, but titans-core {_core_version()} has API "
            f"{API_VERSION}; pip install --upgrade {upgrade}"
        )


def declared_api(info: PluginInfo, plugin: Any = None) -> Any:
    """The `TITANS_API` of a plugin, or of the (imported) module it comes from; `None` where there
    is none.
    """
    module = sys.modules.get(info.value.split(":")[0].strip())
    return getattr(plugin, "TITANS_API", getattr(module, "TITANS_API", None))


def _core_version() -> str:
    try:
        return metadata.version("titans-core")
    except metadata.PackageNotFoundError:
        return "(not installed)"


def _check_marks(manager: PluginManager, plugin: Any, info: PluginInfo) -> None:
    for name in dir(plugin):
        if not name.startswith("titans_") or manager.parse_hookimpl_opts(plugin, name) is not None:
            continue

        value = inspect.getattr_static(plugin, name)
        if isinstance(value, ModuleType):
            continue

        if inspect.isroutine(value) or isinstance(value, staticmethod | classmethod):
            raise Refused(
                f"its function {name} is not marked as a hook; put @titans.hookimpl above it in "
                f"{info.value}, or, if it is no hook, give it a name that does not start with "
                "titans_"
            )
        if name in HOOKS:
            raise Refused(
                f"its {name} is a {type(value).__name__}; make it a function marked with "
                "@titans.hookimpl"
            )


def _check_known(manager: PluginManager, plugin: Any) -> None:
    try:
        manager.check_pending()
    except PluginValidationError as error:
        name = _unknown_hook(manager, plugin)

        hint = f"the hooks are {', '.join(HOOKS)}"
        meant = get_close_matches(name, HOOKS, n=1)
        if meant:
            hint = f"did you mean {meant[0]}?"

        raise Refused(f"it implements a hook {name} that TITANS does not know; {hint}") from error


def _unknown_hook(manager: PluginManager, plugin: Any) -> str:
    """The first hook that the plugin implements and no specification names."""
    for name, caller in sorted(vars(manager.hook).items()):
        if name.startswith("_") or caller.has_spec():
            continue
        if implements(manager, name, plugin):
            return name
    return "?"


def _result(manager: PluginManager, hook: str, expected: Any) -> Any:
    try:
        result = getattr(manager.hook, hook)()
    except (Exception, SystemExit) as error:
        raise Refused(f"its {hook} failed: {_described(error)}") from error

    if not isinstance(result, expected):
        wanted = expected.__name__ if isinstance(expected, type) else "tuple of column names"
        raise Refused(f"its {hook} must return a {wanted}, got {type(result).__name__} {result!r}")
    return result
