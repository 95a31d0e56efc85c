"""What a schema says of its columns, nullable and passive, and columns of every later dtype: the
state at every snapshot is what it said, in whatever order and form snapshots come, over months,
schema versions, merges, seals, corrections and lost manifests.
"""

import json
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from meaning import FEW, MONTHS, SLOTS, lose_manifests, tidy

from titans import Archive, Provider, Schema
from titans.errors import InputError
from titans.schema import CEASED
from titans.store.memory import MemoryStore

COLUMNS = {
    "price": "Decimal(8, 2)",
    "note": "String",
    "info": "Json",
    "data": "Binary",
    "free": "Int64",
    "seen": "Datetime",
    "number": "Int64",
}
NULLABLE = ("note", "info", "number")
PASSIVE = ("seen", "number")
FIRST = Schema(
    COLUMNS, unobserved={"free": -1}, nullable=NULLABLE, passive=PASSIVE, units={"price": "EUR"}
)
LATER = Schema(
    {"added": "Datetime", **COLUMNS, "price": "Decimal(12, 3)"},
    unobserved={"free": -1},
    nullable=(*NULLABLE, "added"),
    passive=PASSIVE,
    version=2,
)
VERSIONS = [Provider("p", schema, ("k",)) for schema in (FIRST, LATER)]
EAST = timezone(timedelta(hours=9))

MOMENTS = st.integers(0, 3).map(lambda n: datetime(2026, 1, 1, 0, 0, 0, n, tzinfo=UTC))
VALUES = {
    "price": st.none() | st.sampled_from([Decimal("1.10"), Decimal("2")]),
    "note": st.none() | st.sampled_from(["", "x", "null"]),
    "info": st.none() | st.sampled_from(['{"a":[1,null],"b":2}', "[]", '"null"', "0.1"]),
    "data": st.none() | st.sampled_from([b"", b"a"]),
    "free": st.none() | st.integers(0, 2),
    "seen": st.none() | MOMENTS,
    "number": st.none() | st.integers(0, 3),
    "added": st.none() | MOMENTS,
}
ROW = st.fixed_dictionaries(VALUES)
SNAPSHOT = st.dictionaries(st.sampled_from("abc"), ROW)

pytestmark = pytest.mark.usefixtures("small_files")


# --- the judge ------------------------------------------------------------------------------------


def resolved(given, before, schema):
    """What a snapshot says, once what it does not say is filled in from the state before it."""
    state = {}
    for key, values in given.items():
        old = before.get(key)
        now = {}
        for name in schema.columns:
            now[name] = values[name]
            if values[name] is None and name not in schema.nullable and old is not None:
                now[name] = old.get(name)
        if old is not None and all(
            now[name] == old.get(name) for name in schema.columns if name not in schema.passive
        ):
            now = old
        state[key] = now
    return state


# --- forms ----------------------------------------------------------------------------------------


def as_frame(given, schema, form):
    """A snapshot in the dtypes of the schema, or in others that say the same."""
    columns = {"k": list(given)}
    for name in schema.columns:
        columns[name] = [given[key][name] for key in given]
        if name == "free":
            columns[name] = [-1 if value is None else value for value in columns[name]]
    if form == "text":
        columns = {name: list(map(as_text, values)) for name, values in columns.items()}
    if form == "objects":
        columns = {name: as_objects(name, values) for name, values in columns.items()}
    if form == "native":
        dtypes = schema.value_dtypes() | {"k": pl.String()}
        return pl.DataFrame(columns, schema={name: dtypes[name] for name in columns})
    return pl.DataFrame(columns)


def as_text(value):
    if isinstance(value, datetime):
        return value.astimezone(EAST).isoformat()
    if isinstance(value, bytes):
        return value.decode()
    return value if value is None else str(value)


def as_objects(name, values):
    if name == "info":
        values = [None if value is None else json.loads(value) for value in values]
        # Text would be taken for JSON.
        values = [json.dumps(value) if isinstance(value, str) else value for value in values]
    return pl.Series(name, values, dtype=pl.Object)


def stored(frame):
    rows = {}
    for row in frame.to_dicts():
        key = row.pop("k")
        row.pop("Time")
        rows[key] = row
    return rows


# --- histories ------------------------------------------------------------------------------------


@st.composite
def histories(draw):
    """What comes in, in the order of its arrival, and what is done in between."""
    slots = draw(st.lists(st.sampled_from(SLOTS), min_size=2, max_size=8, unique=True))
    forms = st.sampled_from(["native", "text", "objects"])
    upkeep = st.lists(st.sampled_from(["compact", "vacuum", "lose", "newer", *MONTHS]), max_size=2)
    return [(slot, draw(SNAPSHOT), draw(forms), draw(upkeep)) for slot in slots]


class History:
    def __init__(self):
        self.store = MemoryStore()
        self.version = 0
        self.given = {}
        """Slot → resolved snapshot."""

    @property
    def provider(self):
        return VERSIONS[self.version]

    @property
    def archive(self):
        return Archive(self.store, self.provider)

    def state_at(self, moment):
        times = [time for time in self.given if time <= moment]
        if not times:
            return {}
        names = self.provider.schema.columns
        state = self.given[max(times)]
        return {k: {name: row.get(name) for name in names} for k, row in state.items()}

    def ingest(self, slot, snapshot, form):
        before = self.state_at(slot - timedelta(microseconds=1))
        frame = as_frame(snapshot, self.provider.schema, form)
        self.archive.ingest(frame, slot, max_ceased=1.0)
        self.given[slot] = resolved(snapshot, before, self.provider.schema)

    def amend(self, slot, snapshot):
        before = self.state_at(slot - timedelta(microseconds=1))
        frame = as_frame(snapshot, self.provider.schema, "native")
        self.archive.amend(frame, slot, reason="wrong", max_ceased=1.0)
        self.given[slot] = resolved(snapshot, before, self.provider.schema)

    def tidy(self, what):
        if what == "newer":
            self.version = 1
        elif what == "lose":
            lose_manifests(self.archive)
            self.archive.repair()
            self.archive.compact()
        else:
            tidy(self.archive, what)

    def check(self):
        archive = self.archive
        for slot in self.given:
            for moment in (slot, slot + timedelta(minutes=7)):
                assert stored(archive.state(moment)) == self.state_at(moment), moment
        points = archive.changes()
        for slot in sorted(self.given):
            assert replayed(points, slot) == self.state_at(slot), slot
        assert points["price"].dtype == archive.provider.schema_dtypes["price"]
        assert archive.verify(deep=True).passed


def replayed(points, moment):
    state = {}
    for row in points.sort("Time", maintain_order=True).to_dicts():
        if row["Time"] > moment:
            break
        key, ceased = row.pop("k"), row.pop(CEASED)
        row.pop("Time")
        state.pop(key, None)
        if not ceased:
            state[key] = row
    return state


@FEW
@given(histories())
def test_every_state_is_what_its_snapshot_said(events):
    history = History()
    for slot, snapshot, form, upkeep in events:
        history.ingest(slot, snapshot, form)
        for what in upkeep:
            history.tidy(what)
    history.check()
    for month in MONTHS:
        history.tidy(month)
    history.check()


@FEW
@given(histories(), st.data())
def test_so_it_is_after_a_correction(events, data):
    history = History()
    for slot, snapshot, form, upkeep in sorted(events, key=lambda event: event[0]):
        history.ingest(slot, snapshot, form)
        for what in upkeep:
            history.tidy(what)
    for _ in range(2):
        slot = data.draw(st.sampled_from(sorted(history.given)))
        history.amend(slot, data.draw(SNAPSHOT))
    history.check()


@given(SNAPSHOT.filter(len))
@FEW
def test_uploads_and_snapshots_agree_on_null(snapshot):
    provider = VERSIONS[0]
    frame = as_frame(snapshot, provider.schema, "native")
    ingested = Archive(MemoryStore(), provider)
    ingested.ingest(frame, SLOTS[0], max_ceased=1.0)
    uploaded = Archive(MemoryStore(), provider)
    uploaded.upload(frame, SLOTS[0])
    assert stored(ingested.latest()) == stored(uploaded.latest())


def test_passive_values_alone_make_no_change_points():
    """Bikes: a hundred snapshots in which `seen` and `number` always move, and `free` every tenth
    time.
    """
    archive = Archive(MemoryStore(), VERSIONS[0])
    for n in range(100):
        row = dict.fromkeys(VALUES) | {
            "free": n // 10,
            "number": n,
            "seen": datetime(2026, 1, 1, 0, n % 60, tzinfo=UTC),
        }
        frame = as_frame({"a": row}, FIRST, "native")
        result = archive.ingest(frame, SLOTS[0] + timedelta(minutes=10 * n))
        assert result.change_points == (n % 10 == 0)
    assert archive.changes()["number"].to_list() == list(range(0, 100, 10))


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"nullable": ("x",)}, "nullable names 'x'"),
        ({"passive": ("x",)}, "passive names 'x'"),
        ({"nullable": "price"}, "as a tuple"),
        ({"passive": 3}, "as a tuple"),
        ({"units": {"x": "EUR"}}, "unit for 'x'"),
        ({"units": {"price": 3}}, "unit of 'price' is a text"),
        ({"units": [("price", "EUR")]}, "a text for each column"),
        ({"description": {"price": ""}}, "description of 'price' is a text"),
        ({"nullable": ("free",), "unobserved": {"free": -1}}, "nullable and has a sentinel"),
    ],
)
def test_what_a_schema_says_is_checked(said, message):
    with pytest.raises(InputError, match=message):
        Schema(COLUMNS, **said)


def test_a_description_is_of_a_column():
    schema = Schema(COLUMNS, description={"k": "a station", "price": "of a minute"})
    Provider("p", schema, ("k",))
    with pytest.raises(InputError, match="describes 'k'"):
        Provider("p", schema, ("station",))
