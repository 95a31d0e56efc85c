"""What the checks of a provider share: the provider, its hooks, frames of it, and processes to
ask.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from itertools import islice
from typing import Any, ClassVar

import polars as pl
import pytest
from hypothesis import strategies as st

from titans.changes.conform import conform_snapshot
from titans.errors import ProviderError, TitansError, UnknownProviderError
from titans.provider import Provider
from titans.provider_tools import made_up
from titans.slots import Month
from titans.testing._frames import extremes, for_all
from titans.testing._suite import Nonconformance, Suite, expect

__all__ = ["ProviderSuite"]

SEED = 7
MONTH = Month(2026, 3)
"""The archive checks run over the end of the month before this one."""


class ProviderSuite(Suite, kit=True):
    """Declare `provider`; the rest has defaults."""

    provider: ClassVar[str | Provider] = ""
    """The name of an installed provider."""

    values: ClassVar[Mapping[str, st.SearchStrategy[Any]]] = {}
    """Value column → a Hypothesis strategy, where the provider does not take every value of the
    column's dtype."""

    max_examples: ClassVar[int] = 30
    """How many frames Hypothesis makes for a check."""

    @classmethod
    def _undeclared(cls) -> Iterator[str]:
        if cls.__name__.startswith("Test") and not cls.provider:
            yield 'it names no provider; add provider = "name", the name of the entry point'

    def example(self, seed: int, keys: int, slots: int) -> Iterator[pl.DataFrame]:
        """Full snapshots to check with: those of `titans_example`, or made-up ones where the
        provider has none.
        """
        if self._has_example:
            return self._provider.example(seed, keys, slots)
        return made_up(self._provider.schema, self._provider.key, seed, keys, slots)

    # --- what checks are made of ------------------------------------------------------------------

    def _load(self) -> Provider:
        """Raises `Nonconformance` with what is wrong with the plugin."""
        __tracebackhide__ = True
        if isinstance(self.provider, Provider):
            return self.provider
        from titans import plugins

        try:
            return plugins.load(self.provider)
        except UnknownProviderError as error:
            problem = (
                f"{error}. To test a package, install it first; in its folder: pip install -e ."
            )
        except ProviderError as error:
            problem = str(error)

        raise Nonconformance(problem)

    @property
    def _provider(self) -> Provider:
        __tracebackhide__ = True
        try:
            return self._load()
        except Nonconformance:
            # One check says why; dozens that repeat it would hide it.
            raise Nonconformance("the provider does not load; see test_the_plugin_loads") from None

    def _hook(self, name: str, **arguments: Any) -> Any:
        """What the plugin's hook returns, not what the loaded provider remembers of it."""
        hooks = self._provider.hooks
        if hooks is None:
            pytest.skip(
                f"provider {self._provider.name!r} was made by hand: it has no plugin whose {name} "
                "could be asked"
            )

        try:
            return getattr(hooks, name)(**arguments)
        except Exception as error:
            raise Nonconformance(f"{name} raised {type(error).__name__}: {error}") from error

    @property
    def _has_example(self) -> bool:
        hooks = self._provider.hooks
        return hooks is not None and hooks.titans_example(seed=SEED, keys=1, slots=1) is not None

    def _need_example(self) -> None:
        if not self._has_example:
            pytest.skip(f"provider {self._provider.name!r} does not implement titans_example")

    def _frames(self, keys: int = 12, slots: int = 3, seed: int = SEED) -> list[pl.DataFrame]:
        """Snapshots as the provider's example makes them, not normalized."""
        return list(islice(self.example(seed, keys, slots), slots))

    def _conformed(self, frame: pl.DataFrame, what: str) -> pl.DataFrame:
        """The frame as the archive would store it: normalized, cast, sentinels null, sorted by
        key.
        """
        try:
            return conform_snapshot(frame, self._provider)[0]
        except TitansError as error:
            raise Nonconformance(f"{what} is refused: {error}") from error

    def _normalized(self, frame: pl.DataFrame, what: str) -> pl.DataFrame:
        try:
            normal = self._provider.normalize(frame)
        except TitansError as error:
            raise Nonconformance(f"titans_normalize fails on {what}: {error}") from error

        expect(
            isinstance(normal, pl.DataFrame),
            f"titans_normalize must return a DataFrame, got {type(normal).__name__}",
        )
        return normal

    def _keys(self, count: int = 4) -> list[tuple[str, ...]]:
        """Keys that the provider is known to take, as they are stored."""
        frame = self._conformed(self._frames(max(count, 10), 1)[0], "example data")
        return frame.select(self._provider.key).head(count).rows()

    def _ordinary(self) -> dict[str, Any]:
        """Value column → a value that the provider is known to take."""
        frames = [self._conformed(frame, "example data") for frame in self._frames(20, 2)]
        values: dict[str, Any] = {}
        for column, dtype in self._provider.schema.columns.items():
            observed = pl.concat([frame[column] for frame in frames]).drop_nulls()
            values[column] = extremes(dtype)[1] if observed.is_empty() else observed[0]
        return values

    def _slot_start(self, slot: int) -> datetime:
        """The start of a slot, counted from the start of `MONTH`; below zero it lies in the month
        before.
        """
        return MONTH.start + slot * timedelta(minutes=self._provider.layout.slot_minutes)

    def _for_all(self, strategy: st.SearchStrategy[Any], holds: Callable[[Any], None]) -> None:
        for_all(strategy, holds, self.max_examples)

    def _in_a_new_process(self, code: str, hash_seed: int = 0) -> str:
        """What the code prints in a fresh interpreter, where it finds the provider as
        `provider`.
        """
        if not self._provider.distribution:
            pytest.skip(
                f"provider {self._provider.name!r} is not installed, so no other process can load "
                "it"
            )

        environment = {
            **os.environ,
            "PYTHONHASHSEED": str(hash_seed),
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        }

        load = f"import titans\nprovider = titans.get_config({self._provider.name!r})\n"
        done = subprocess.run(  # noqa: S603 - the code of a check, in this interpreter
            [sys.executable, "-c", load + code],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        expect(
            done.returncode == 0,
            f"in a new process the provider fails: {done.stderr.strip()[-2000:]}",
        )
        return done.stdout
