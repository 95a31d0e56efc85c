"""A question as tasks that any process on any machine can do: what an engine needs to read in
parallel.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from datetime import datetime
from importlib import import_module
from typing import Any, TypeVar

import polars as pl
from attrs import evolve, field, frozen

from titans.dataset import Dataset
from titans.errors import FormatVersionError, InputError, SnapshotExpiredError
from titans.provider import Provider
from titans.read.choice import Choice
from titans.read.described import DescribedArchive
from titans.read.extent import Extent
from titans.read.keys import keys_between
from titans.read.reader import Reader
from titans.schema import CEASED, TIME
from titans.slots import iso, parse_iso
from titans.tiers.manifest.view import Criteria

__all__ = ["Asked", "Place", "ReadTask"]

_VERSION = 1

T = TypeVar("T")


@frozen
class Place:
    """Where an archive is."""

    store: str
    """Its URL. Credentials are those of whoever opens it."""
    environment: str
    """`test/` or nothing."""
    provider: str
    schema_version: int

    @classmethod
    def of(cls, archive: DescribedArchive | Dataset) -> Place:
        """Where an archive is."""
        provider, store = archive.provider, archive.store
        url = getattr(store, "address", store.url)
        return cls(url, archive.paths.environment, provider.name, provider.schema.version)

    def open(self) -> DescribedArchive:
        """The archive, opened by its URL with an installed provider.

        Raises:
            InputError: the URL says nothing in another process.
            UnknownProviderError, UnsupportedStoreError
        """
        if self.store in ("", "memory://") or "://" not in self.store:
            raise InputError(
                f"the store {self.store!r} cannot be opened by its URL; pass the archive to "
                "read(archive)"
            )
        # Archives are made of what is here; here one is only opened.
        archive: Any = import_module("titans").open(self.store, provider=self.provider)
        if archive.paths.environment != self.environment:
            archive._enter(evolve(archive.paths, environment=self.environment))
        found: DescribedArchive = archive
        return found

    def check(self, archive: DescribedArchive) -> None:
        """Raise where an archive is not the one that was asked.

        Raises:
            InputError: it is another provider's.
            SnapshotExpiredError: it has another schema since.
        """
        provider = archive.provider
        if provider.name != self.provider:
            raise InputError(
                f"a task of provider {self.provider!r} was given the archive of {provider.name!r}"
            )
        if provider.schema.version != self.schema_version:
            raise SnapshotExpiredError(
                f"the schema of provider {provider.name!r} is version {provider.schema.version} "
                f"here, and was {self.schema_version} where the task was made: use the same "
                "release of the provider, or plan again"
            )


@frozen(eq=False)
class Asked:
    """What is wanted of an answer, as plain data."""

    columns: tuple[str, ...] | None = None
    where: str | None = None
    """An expression as polars serialises it, in base64; of the same release of polars."""
    key: Mapping[str, tuple[str, ...]] = field(factory=dict)
    among: Mapping[str, tuple[str, ...]] | None = None
    """Key column → texts, one for each wanted key."""
    low: tuple[str, ...] | None = None
    high: tuple[str, ...] | None = None
    """Only keys from `low` on and before `high`, in the order of all key columns."""

    @classmethod
    def of(cls, choice: Choice) -> Asked:
        where = None
        if choice.where is not None:
            try:
                where = base64.b64encode(choice.where.meta.serialize()).decode()
            except pl.exceptions.PolarsError as error:
                raise InputError(f"where cannot be sent to another process: {error}") from error
        among = None
        if choice.among is not None:
            among = {name: tuple(choice.among[name]) for name in choice.among.columns}
        key = {name: tuple(texts) for name, texts in choice.key.items()}
        return cls(choice.columns, where, key, among)

    def choice(self, provider: Provider) -> Choice:
        """What it says, for a reader."""
        where = None
        if self.where is not None:
            where = pl.Expr.deserialize(base64.b64decode(self.where))
        among = None
        if self.among is not None:
            among = pl.DataFrame(dict(self.among), schema=dict.fromkeys(self.among, pl.String))
        key = {name: pl.Series(name, texts, pl.String) for name, texts in self.key.items()}
        return Choice(provider, where, self.columns, key, among)

    def between(self, provider: Provider) -> pl.Expr | None:
        """The range of keys as a condition."""
        if self.low is None and self.high is None:
            return None
        return keys_between(provider.key, self.low, self.high)

    def to_json(self) -> dict[str, Any]:
        return {
            "columns": self.columns,
            "where": self.where,
            "key": dict(self.key),
            "among": None if self.among is None else dict(self.among),
            "low": self.low,
            "high": self.high,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Asked:
        among = data["among"]
        if among is not None:
            among = {name: tuple(texts) for name, texts in among.items()}
        return cls(
            _tuple(data["columns"]),
            data["where"],
            {name: tuple(texts) for name, texts in data["key"].items()},
            among,
            _tuple(data["low"]),
            _tuple(data["high"]),
        )


def _tuple(values: list[str] | None) -> tuple[str, ...] | None:
    return None if values is None else tuple(values)


@frozen(eq=False)
class ReadTask:
    """A part of an answer of one moment: the change points of a range of time, or a part of the
    keys of a state.

    Plain data: it can be pickled, and `to_json` gives it as JSON. Merges and vacuums do not matter
    to it. A slot that came late, or a correction, does where it changes the part's answer.
    """

    place: Place
    start: datetime | None
    """`None`: the state just before `end`."""
    end: datetime
    extent: Extent = field(repr=False)
    asked: Asked = field(repr=False)
    rows: int
    """As the files say it; a condition, keys and files in more than one task make them fewer."""
    bytes: int
    """Of the files that hold them."""

    def read(self, archive: DescribedArchive | None = None) -> pl.DataFrame:
        """The rows, sorted by key and `Time`: columns as `changes` has them, or as `state`.

        Args:
            archive: the archive, if it is open already; by default it is opened by the URL of its
                store, with the installed provider.

        Raises:
            SnapshotExpiredError: the part would say something else by now: plan again.
            InputError: the store cannot be opened by its URL.
        """
        if archive is None:
            archive = self.place.open()
        self.place.check(archive)
        return archive._ask(self._answer)

    def _answer(self, reader: Reader) -> pl.DataFrame:
        if not self.extent.still_holds(reader):
            raise SnapshotExpiredError(
                f"{self._what} is not what it was when the task was made: a slot came late, or "
                "something was corrected; plan again"
            )
        provider = reader.provider
        choice = self.asked.choice(provider)
        rows = choice.rows(choice.read(lambda pushed: self._rows(reader, choice, pushed)))
        wanted = [*provider.key, TIME, *choice.values]
        return rows.select(wanted if self.start is None else [*wanted, CEASED])

    def _rows(self, reader: Reader, choice: Choice, pushed: pl.Expr | None) -> pl.DataFrame:
        between = self.asked.between(reader.provider)
        if between is not None:
            pushed = between if pushed is None else between & pushed
        if self.start is None:
            return reader.state_before(self.end, pushed)
        return reader.changes(Criteria(self.start, self.end, pushed, choice.single))

    @property
    def _what(self) -> str:
        if self.start is None:
            return f"the state before {iso(self.end)}"
        return f"the range from {iso(self.start)} to {iso(self.end)}"

    # --- as plain data ----------------------------------------------------------------------------

    def to_json(self) -> str:
        """The task as JSON text."""
        place = self.place
        return json.dumps(
            {
                "version": _VERSION,
                "store": place.store,
                "environment": place.environment,
                "provider": place.provider,
                "schema_version": place.schema_version,
                "start": None if self.start is None else iso(self.start),
                "end": iso(self.end),
                "extent": self.extent.to_json(),
                "asked": self.asked.to_json(),
                "rows": self.rows,
                "bytes": self.bytes,
            },
            separators=(",", ":"),
        )

    @classmethod
    def from_json(cls, text: str) -> ReadTask:
        """The inverse of `to_json`.

        Raises:
            InputError: it is none.
            FormatVersionError: a newer TITANS made it.
        """
        data = _parsed(text)
        if data.get("version") != _VERSION:
            raise FormatVersionError(
                f"a task of version {data.get('version')!r}; this TITANS reads version {_VERSION}: "
                "use the same release where tasks are made and where they are done"
            )
        return _checked(lambda: cls._from(data))

    @classmethod
    def _from(cls, data: Mapping[str, Any]) -> ReadTask:
        place = Place(
            data["store"], data["environment"], data["provider"], int(data["schema_version"])
        )
        start = None if data["start"] is None else parse_iso(data["start"])
        return cls(
            place,
            start,
            parse_iso(data["end"]),
            Extent.from_json(data["extent"]),
            Asked.from_json(data["asked"]),
            int(data["rows"]),
            int(data["bytes"]),
        )


def _parsed(text: str) -> dict[str, Any]:
    data = _checked(lambda: json.loads(text))
    if not isinstance(data, dict):
        raise InputError("not a task: an object of JSON that ReadTask.to_json has written")
    return data


def _checked(read: Callable[[], T]) -> T:
    try:
        return read()
    except (ValueError, KeyError, TypeError, AttributeError, LookupError) as error:
        raise InputError(
            f"not a task that ReadTask.to_json has written: {type(error).__name__}: {error}"
        ) from error
