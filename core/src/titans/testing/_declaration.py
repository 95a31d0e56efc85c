"""Checks of what a plugin declares: its hooks, its package, what it costs to load, what it does
when something happens.
"""

from __future__ import annotations

import json
import re
from importlib import metadata
from typing import Any

import pytest

from titans.events import Event
from titans.expectations import Expectations
from titans.layout import PathLayout
from titans.schema import Schema
from titans.testing._provider_suite import ProviderSuite
from titans.testing._suite import expect

__all__ = ["EVENTS", "HEAVY", "DeclarationChecks"]

HEAVY = (
    "adlfs",
    "aiohttp",
    "azure",
    "boto3",
    "botocore",
    "duckdb",
    "fsspec",
    "gcsfs",
    "google.cloud",
    "httpx",
    "numpy",
    "openai",
    "pandas",
    "polars",
    "pyarrow",
    "requests",
    "s3fs",
    "scipy",
    "sklearn",
    "torch",
    "urllib3",
)
"""What choosing a provider must not import: hooks that need one of these import it when they are
called."""

MAX_MODULES = 250
"""How many modules choosing a provider may import, the core's own and those of the standard library
included."""

EVENTS: dict[str, dict[str, Any]] = {
    "snapshot_ingested": {
        "status": "ingested",
        "slot": "2026-03-01T00:00:00Z",
        "key": "k",
        "rows": 3,
        "added": 1,
        "changed": 1,
        "ceased": 0,
        "ms": 5,
    },
    "snapshot_refused": {"slot": "2026-03-01T00:00:00Z", "living": 10, "ceased": 9},
    "hot_created": {
        "slot": "2026-03-01T00:00:00Z",
        "key": "k",
        "rows": 3,
        "bytes": 900,
        "complete": False,
        "ms": 5,
    },
    "slot_conflict": {
        "slot": "2026-03-01T00:00:00Z",
        "key": "k",
        "rows": 3,
        "difference": "1 key(s) only given (first: a)",
    },
    "slots_adopted": {"month": "2026-03", "slots": 1, "corrections": 0},
    "files_merged": {"month": "2026-03", "level": 1, "rows": 3, "bytes": 900, "ms": 5},
    "keyframe_written": {
        "month": "2026-03",
        "slot": "2026-03-01T00:00:00Z",
        "rows": 3,
        "bytes": 900,
        "ms": 5,
    },
    "border_written": {
        "month": "2026-03",
        "slot": "2026-03-01T00:00:00Z",
        "rows": 3,
        "bytes": 900,
        "ms": 5,
    },
    "month_sealed": {"month": "2026-03", "files": 24, "keyframes": 23},
    "files_removed": {"month": "2026-03", "files": 8},
    "vacuumed": {"removed": 1, "listed": 1, "waiting": 0},
    "amended": {
        "slot": "2026-03-01T00:00:00Z",
        "reason": "wrong currency",
        "keys": 1,
        "removed": 2,
        "added": 2,
    },
    "retracted": {
        "slot": "2026-03-01T00:00:00Z",
        "reason": "another region's",
        "keys": 10,
        "removed": 10,
        "added": 3,
    },
    "erased": {"keys": 1, "reason": "by law", "removed": 12},
    "retained": {"since": "2026-03", "reason": "old", "months": 3, "removed": 900},
    "published": {"version": 7, "ms": 12},
    "repaired": {"month": "2026-03", "reason": "it was lost"},
    "failed": {"operation": "merge", "error": "Unavailable", "reason": "the store did not answer"},
    "an_event_of_a_later_version": {},
}
"""One of each kind; those an observer must expect without knowing them, too."""


class DeclarationChecks(ProviderSuite, kit=True):
    """Hooks, package, cost of loading, events."""

    def test_the_plugin_loads(self) -> None:
        """The provider is installed, loads without a problem, and has the name it was asked for."""
        provider = self._load()
        if isinstance(self.provider, str):
            expect(
                provider.name == self.provider,
                f"asked for {self.provider!r}, got a provider named {provider.name!r}",
            )
            from titans import plugins

            infos = [info for info in plugins.installed() if info.name == self.provider]
            expect(
                len(infos) == 1 and not infos[0].problem,
                f"{self.provider!r}: {'; '.join(i.problem for i in infos)}",
            )

    def test_hooks_return_what_their_specification_says(self) -> None:
        """`titans_schema` a Schema, `titans_pk_columns` a tuple of names, `titans_path_layout` a
        PathLayout, `titans_expectations` Expectations.
        """
        schema = self._hook("titans_schema")
        expect(isinstance(schema, Schema), f"titans_schema must return a Schema, got {schema!r}")

        key = self._hook("titans_pk_columns")
        expect(
            isinstance(key, tuple) and all(isinstance(name, str) and name for name in key),
            f"titans_pk_columns must return a tuple of column names, got {key!r}",
        )

        layout = self._hook("titans_path_layout")
        expect(
            isinstance(layout, PathLayout),
            f"titans_path_layout must return a PathLayout, got {layout!r}",
        )

        expectations = self._hook("titans_expectations")
        expect(
            isinstance(expectations, Expectations),
            f"titans_expectations must return Expectations, got {expectations!r}",
        )

    def test_hooks_return_the_same_every_time(self) -> None:
        """Two calls agree, and agree with what was loaded."""
        provider = self._provider
        known = {
            "titans_schema": provider.schema,
            "titans_pk_columns": provider.key,
            "titans_path_layout": provider.layout,
            "titans_expectations": provider.expectations,
        }
        for hook, loaded in known.items():
            for _ in range(2):
                again = self._hook(hook)
                if hook == "titans_pk_columns":
                    again = tuple(again)
                expect(
                    again == loaded and _order(again) == _order(loaded),
                    f"{hook} returned {again!r} and before that {loaded!r}; it must always return "
                    "the same",
                )

    def test_every_process_sees_the_same_key_and_schema(self) -> None:
        """Columns come in the same order in another process: none of them out of a set."""
        code = (
            "import json\ns = provider.schema\n"
            "print(json.dumps([list(provider.key), list(s.columns.items()), s.score, "
            "sorted(s.unobserved.items()), "
            "[provider.layout.hot, provider.layout.warm, provider.layout.state, "
            "provider.layout.slot_minutes]]))"
        )
        printed = {self._in_a_new_process(code, hash_seed) for hash_seed in (1, 2, 3)}
        expect(
            len(printed) == 1,
            "processes disagree about key, schema or layout: "
            + " / ".join(sorted(printed))
            + "; return columns in a fixed order, not out of a set",
        )

    def test_choosing_the_provider_imports_nothing_heavy(self) -> None:
        """Loading the plugin imports no data frames, clouds or HTTP clients, and not hundreds of
        modules.
        """
        modules = self._modules_of_a_new_process()
        heavy = [name for name in HEAVY if name in modules]
        expect(
            not heavy,
            f"choosing the provider imports {', '.join(heavy)}; import them inside the hooks that "
            "need them, and name dtypes "
            'as text ("Float64")',
        )
        expect(
            len(modules) <= MAX_MODULES,
            f"choosing the provider imports {len(modules)} modules, more than {MAX_MODULES}; "
            "import them inside the hooks",
        )

    def test_choosing_the_provider_imports_no_other_provider(self) -> None:
        """Plugins of other providers stay unloaded."""
        from titans import plugins

        mine = set()
        others = set()
        for info in plugins.installed():
            module = info.value.split(":")[0]
            if info.name == self._provider.name:
                mine.add(module)
            else:
                others.add(module)

        imported = (others - mine) & self._modules_of_a_new_process()
        expect(not imported, f"choosing the provider imports {', '.join(sorted(imported))}")

    def _modules_of_a_new_process(self) -> set[str]:
        """What is imported where the provider has been chosen."""
        code = "import json, sys\nprint(json.dumps(list(sys.modules)))"
        return set(json.loads(self._in_a_new_process(code)))

    def test_the_package_bounds_its_core(self) -> None:
        """The distribution requires `titans-core` from one version up to below another."""
        name = self._provider.distribution
        try:
            required = metadata.requires(name) if name else None
        except metadata.PackageNotFoundError:
            required = None

        if not name or name == "titans-core":
            pytest.skip(f"provider {self._provider.name!r} does not come in a package of its own")

        cores = list(filter(_is_core, required or ()))
        expect(
            any(map(_is_bounded, cores)),
            f"{name} requires {', '.join(cores) or 'no titans-core'}; a later core may have other "
            "hooks: write "
            '"titans-core>=0.1,<0.2" under dependencies',
        )

    def test_events_do_not_raise(self) -> None:
        """`titans_event` takes every event, one of a later version too."""
        for name, fields in EVENTS.items():
            self._hook("titans_event", event=Event(name, self._provider.name, fields))


def _is_core(requirement: str) -> bool:
    is_core = re.match(r"titans[-_.]core\b", requirement, re.IGNORECASE)
    return bool(is_core) and "extra ==" not in requirement


def _is_bounded(requirement: str) -> bool:
    if "~=" in requirement or "==" in requirement:
        return True
    return ">" in requirement and "<" in requirement


def _order(value: Any) -> Any:
    """A schema's columns in their order, which equality of mappings ignores."""
    if isinstance(value, Schema):
        return list(value.columns.items())
    return value
