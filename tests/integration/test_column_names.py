"""A provider loads, and then everything works with the names of its columns; or it is refused."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from fixtures_plugins import GOOD
from hypothesis import given, settings
from hypothesis import strategies as st

import titans
from titans import Provider, Schema
from titans.errors import InputError, PluginError

AT = datetime(2026, 1, 31, 23, 40, tzinfo=UTC)
SLOT = timedelta(minutes=10)

NAMES = (
    "valid_from",
    "Valid_To",
    "change",
    "CHANGE",
    "x_old",
    "x_new",
    "X_OLD",
    "*",
    "a*",
    "^a$",
    "^.*$",
    "^a",
    "a$",
    "start",
    "end",
    "at",
    "keys",
    "where",
    "columns",
    "every",
    "self",
    "cls",
    "key",
    "time",
    "ceased",
    "TIME",
    "row",
    "rowid",
    "index",
    "len",
    "literal",
    "count",
    "select",
    "from",
    "slot",
    "status",
    "state at 2026",
    "a b",
    " a",
    "a.b",
    'a"b',
    "a'b",
    "a`b",
    "a\\b",
    "a/b",
    "a,b",
    "a=b",
    "{a}",
    "%s",
    "\x00old",
    "a\x00old",
    "a\nb",
    "\ud800",
    "é",
    "é",
    "ſ",
    "가격",
    "1",
    "-",
    "a_right",
    "x_right",
    "__index_level_0__",
    "a" * 300,
)


def quoted(name):
    return '"' + name.replace('"', '""') + '"'


def check(key, values):
    """The provider is refused when it is made, or every question has the right answer."""
    try:
        provider = Provider("p", Schema(dict.fromkeys(values, "Int64")), key)
    except InputError as error:
        return str(error)

    archive = titans.open("memory://", provider=provider)

    def rows(number):
        frame = {
            name: [f"{name[:1]}{n}".encode(errors="replace").decode() for n in range(3)]
            for name in key
        }
        return pl.DataFrame(frame | {name: [number, 2, 3] for name in values})

    for step in range(4):
        archive.ingest(rows(step // 2), AT + step * SLOT)
    archive.upload(rows(9).head(1), AT + 4 * SLOT)
    archive.compact()

    names = [*key, "Time", *values]
    state = archive.latest()
    assert state.columns == names
    assert state[values[0]].sort().to_list() == [2, 2, 2] or state[values[0]][0] == 9
    assert archive.changes().columns == [*names, "Ceased"]
    assert archive.changes().select(key[0]).height == archive.scan().collect().height
    one = {name: state[name][0] for name in key}
    assert archive.history(**one).height == 3
    assert archive.history(keys=state.head(1).select(key)).height == 3
    assert archive.latest(where=pl.col(values[0]) == 9, columns=list(key)).columns == [
        *key,
        "Time",
    ]
    assert archive.keys().columns == list(key)
    assert values[0] in archive.scan(columns=[values[0]]).collect().columns
    assert archive.diff(AT, AT + 4 * SLOT).columns[: len(key) + 1] == [*key, "change"]
    assert archive.intervals().columns[-2:] == ["valid_from", "valid_to"]
    assert archive.grid(AT, AT + 5 * SLOT, every="10m").columns == names
    everything = ", ".join(map(quoted, [*key, *values]))
    for table in ("changes", "latest", "intervals", f"state(at := '{AT.isoformat()}')"):
        answer = archive.sql(f"SELECT {everything} FROM {table}")
        assert answer.columns == [*key, *values]
        assert answer.height
    assert archive.verify(deep=True).passed
    with pytest.raises(titans.errors.SchemaError, match="is null"):
        null = pl.lit(None, dtype=pl.String).alias(key[0])
        archive.ingest(rows(0).with_columns(null), AT + 8 * SLOT)
    return None


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_as_a_key_column_and_as_a_value_column(name):
    for key, values in (
        ((name,), ("x",)),
        (("k",), (name,)),
        (("k", name), ("x",)),
        (("k",), ("x", name)),
    ):
        refused = check(key, values)
        if refused is not None:
            assert "choose another" in refused or "reserved" in refused


@pytest.mark.parametrize(
    ("key", "values"),
    [
        (("valid_from",), ("x",)),
        (("k",), ("valid_to",)),
        (("change",), ("x",)),
        (("x_old",), ("x",)),
        (("X_NEW",), ("x",)),
        (("k",), ("x", "X")),
        (("k",), ("K",)),
        (("k",), ("time",)),
        (("ceased",), ("x",)),
        (("k",), ("*",)),
        (("^k$",), ("x",)),
        (("start",), ("x",)),
        (("k",), ("a\x00old",)),
    ],
)
def test_what_is_refused(key, values):
    with pytest.raises(InputError, match="choose another"):
        Provider("p", Schema(dict.fromkeys(values, "Int64")), key)


letters = st.text(st.sampled_from("aAxX_*^$ .\"'newold") | st.characters(), min_size=1, max_size=8)


@settings(max_examples=15, deadline=None)
@given(st.lists(letters, min_size=2, max_size=4, unique=True))
def test_any_names(names):
    check(tuple(names[:1]), tuple(names[1:]))


def test_a_plugin_with_such_a_name_does_not_load(site):
    code = GOOD.replace('"Price": "Float64"', '"Price": "Float64", "PRICE": "Float64"')
    site.add(code, name="acme")
    with pytest.raises(PluginError, match=r"columns 'Price' and 'PRICE' are one name in SQL"):
        titans.get_config("acme")
