"""Times in names, and lists of records in JSON."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from titans.errors import InputError
from titans.loading.names import NamePattern
from titans.loading.records import record_lines

MINUTES = st.datetimes(datetime(1000, 1, 1), datetime(9998, 1, 1)).map(
    lambda time: time.replace(second=0, microsecond=0, tzinfo=UTC)
)


@pytest.mark.parametrize(
    "pattern",
    [
        "prices-%Y-%m-%dT%H%M",
        "%Y%m%d%H%M",
        "%Y/%m/%d/%H-%M",
        "%Y/%j/%H-%M",
        "(x)[%d.%m.%Y %I_%M %p]",
        "%d%b%Y.%H%M",
        "100%%-%B-%d-%Y-%H%M%z",
    ],
)
@settings(deadline=None)
@given(MINUTES)
def test_what_strftime_writes_is_found_again(pattern, time):
    written = f"{time.year:04d}".join(time.strftime(part) for part in pattern.split("%Y"))
    assert NamePattern(pattern).time_of(f"s3://b/1999/x{written}.csv.gz") == time


@pytest.mark.parametrize(
    ("pattern", "name", "message"),
    [
        ("%Y-%m-%d", "2026-01-2314.csv", "does not match"),
        ("%Y-%m-%d", "12026-01-23.csv", "does not match"),
        ("%Y-%m-%d", "2026-1-3.csv", "does not match"),
        ("%Y-%m-%d", "2026-01-23/x.csv", "does not match"),
        ("%Y-%m-%d", "2026-01-23_2026-01-24.csv", "several places"),
        ("%Y-%m-%d", "2026-02-30.csv", "is no time"),
        ("%Y-%m-%dT%H%z", "2026-01-23T24+0000.csv", "is no time"),
    ],
)
def test_a_name_that_says_no_time_is_refused_with_the_pattern(pattern, name, message):
    with pytest.raises(InputError, match=message) as refused:
        NamePattern(pattern).time_of(name)
    assert pattern in str(refused.value)
    assert name.rpartition("/")[2] in str(refused.value)


def test_an_offset_counts():
    when = NamePattern("%Y-%m-%dT%H%z").time_of("2026-01-23T14+0900.csv")
    assert when == datetime(2026, 1, 23, 5, tzinfo=UTC)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip
RECORDS = st.lists(st.dictionaries(st.text(), VALUES, max_size=4), max_size=4)
NAMES = st.lists(st.text(st.characters(exclude_characters="."), min_size=0), min_size=1, max_size=3)


@settings(deadline=None)
@given(RECORDS, NAMES, VALUES, st.booleans(), st.sampled_from([None, 0, 2]))
def test_the_records_of_any_document_are_found_with_their_text(
    records, names, other, ascii, indent
):
    document = records
    for name in reversed(names):
        document = {"\x00before": other, name: document, "\x00after": [other, {name: []}]}
    for path, content in ((None, records), (".".join(names), document)):
        text = json.dumps(content, ensure_ascii=ascii, indent=indent)
        try:
            data = text.encode()
        except UnicodeEncodeError:
            return
        lines = record_lines(data, path, "x").decode().split("\n")[:-1]
        assert [json.loads(line) for line in lines] == records


@pytest.mark.parametrize(
    "number", ["1.10", "1e400", "0.1000000000000000055511151231257827", "9" * 5000]
)
def test_a_number_keeps_its_text(number):
    data = f'{{"a": [\n{{"x":\r\n{number}}}\n]}}'.encode()
    assert record_lines(data, "a", "x") == f'{{"x":  {number}}}\n'.encode()


@pytest.mark.parametrize(
    ("text", "path", "message"),
    [
        ('{"a": {"b": []}}', None, "one object with a; say which of its lists"),
        ("{}", None, "nothing in it"),
        ('{"a": {"b": []}}', "a.c", "no 'a.c' in it; at a there is b"),
        ('{"a": {"b": []}}', "a", "'a' is no list"),
        ('{"a": [1]}', "a", "record 1 is no object but 1"),
        ("[[]]", None, r"record 1 is no object but \[\]"),
        ("[]", "a", "at the top is no object"),
        ('{"a": []} {}', "a", "more follows"),
        ('{"a": [], }', "a", "cannot be read as JSON"),
        ('[{"a": Infinity}]', None, "Infinity is no value"),
        ('[{"a": "line\nbreak"}]', None, "cannot be read as JSON"),
        ("[", None, "cannot be read as JSON"),
        ("nothing", None, "cannot be read as JSON"),
    ],
)
def test_what_is_no_list_of_records_is_refused(text, path, message):
    with pytest.raises(InputError, match=message):
        record_lines(text.encode(), path, "x")
