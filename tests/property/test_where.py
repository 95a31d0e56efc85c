"""A condition chooses among the rows of the whole answer, whatever polars expression it is."""

from __future__ import annotations

from datetime import UTC, date, datetime
from unittest.mock import patch

import polars as pl
import pytest
from elsewhere import Elsewhere, small_parts
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import at
from polars.testing import assert_frame_equal

from titans import Archive, Provider, Schema
from titans.errors import InputError, TimestampError
from titans.read.pushdown import is_pushable
from titans.store.local import LocalStore
from titans.store.memory import MemoryStore

PROVIDER = Provider("two", Schema({"v": "Int64", "s": "String"}), ("k", "j"))
KEYS = ("a", "ab", "b", "10", "2", "x-1", "É", "")
TEXTS = st.sampled_from([*KEYS, "z", "1"])


def rows(*keys: str, step: int = 0) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "k": keys,
            "j": [str(n % 3) for n in range(len(keys))],
            "v": [step + n % 2 for n in range(len(keys))],
            "s": [key.upper() for key in keys],
        }
    )


def fill(archive: Archive) -> Archive:
    """Two months; keys that came, changed and went; keyframes, merged files and a waiting one."""
    archive.ingest(rows("10", "2", "7", "a"), at(0))
    archive.ingest(rows("10", "2", "a", "ab", "b", "x-1", step=1), at(1))
    for slot in range(2, 12):
        archive.ingest(rows("a", "ab", "b", "É", "", "q" * (slot % 3 + 1)), at(slot), max_ceased=1)
    for slot in range(12, 20):
        archive.ingest(rows(*KEYS[: slot % 4 + 4], step=slot), at(slot), max_ceased=1)
    archive.upload(rows("x-1", "late", step=3), at(21))
    return archive


@pytest.fixture(scope="module")
def archives(tmp_path_factory):
    folder = tmp_path_factory.mktemp("archive")
    with small_parts(row_group=2, piece=1000):
        yield [
            fill(Archive(store, PROVIDER))
            for store in (MemoryStore(), LocalStore(folder), Elsewhere())
        ]


# --- expressions ----------------------------------------------------------------------------------

k, j, v, s, t = (pl.col(name) for name in ("k", "j", "v", "s", "Time"))

ROW_BY_ROW = [
    lambda e, x: e == x,
    lambda e, x: e.eq_missing(x),
    lambda e, x: e < x,
    lambda e, x: pl.lit(x) >= e,
    lambda e, x: e.is_in([x, "a"]),
    lambda e, x: e.is_in(pl.Series([x, "b"])),
    lambda e, x: e.str.starts_with(x),
    lambda e, x: e.str.contains(x, literal=True),
    lambda e, x: e.str.contains("[" if x == "z" else "^a|x"),
    lambda e, x: e.str.to_lowercase() == x,
    lambda e, x: e.str.len_chars() > len(x),
    lambda e, x: (e + x) == "ab",
    lambda e, x: e.alias("s") != x,
    lambda e, x: e.str.slice(0, 1) == x,
    lambda e, x: e.is_null(),
    lambda e, x: e.is_between(pl.lit("a"), pl.lit(x)),
    lambda e, x: pl.concat_str(e, pl.lit(x)) == "aa",
    lambda e, x: pl.when(e == x).then(pl.lit(value=True)).otherwise(e > "b"),
    lambda e, x: e.replace({x: "a"}) == "a",
    lambda e, x: e.fill_null("a") == x,
    lambda e, x: pl.struct(e, v) == pl.struct(e, v),
    lambda e, x: e.str.split("-").list.len() > 1,
    lambda e, x: e.map_elements(lambda text: text > x, return_dtype=pl.Boolean),
    lambda e, x: pl.lit(value=x == "a"),
    # These fail for some keys: only for those of the answer.
    lambda e, x: e.cast(pl.Int64) > 1,
    lambda e, x: e.str.to_integer() > 1,
    lambda e, x: e.str.split("-").list.get(1) == x,
    lambda e, x: e.str.to_date() == pl.date(2026, 1, 1),
]
"""A text column and a text → what it says of each row alone."""
AMONG_ALL = [
    lambda e, x: e.is_duplicated(),
    lambda e, x: e.is_unique(),
    lambda e, x: e == e.max(),
    lambda e, x: e.len().over(e) > 1,
    lambda e, x: e.rank("dense") > 3,
    lambda e, x: e.is_in(e.filter(e > x).implode()),
    lambda e, x: e.n_unique() > 3,
    lambda e, x: pl.len() > 5,
    lambda e, x: (e == x).any(),
    lambda e, x: e.count() > len(x),
    lambda e, x: v == v.max().over(e),
    lambda e, x: pl.all_horizontal(pl.selectors.string() > x),
    lambda e, x: pl.selectors.by_index(0) == x,
    lambda e, x: pl.nth(1) == x,
    lambda e, x: pl.col("^k$") == x,
    lambda e, x: v > 1,
    lambda e, x: t > at(3),
    lambda e, x: s == x,
]
IN_ORDER = [
    lambda e, x: e.shift(1) == x,
    lambda e, x: e.cum_count() < 4,
    lambda e, x: e == e.first(),
    lambda e, x: e.is_first_distinct(),
    lambda e, x: e == e.last().over("j"),
    lambda e, x: e.rank("ordinal") < 3,
    lambda e, x: pl.int_range(pl.len()) % 2 == 0,
    lambda e, x: e.reverse() == x,
    lambda e, x: e.rle_id() > 2,
    lambda e, x: e.forward_fill() == x,
    lambda e, x: e == e.gather(0),
    lambda e, x: e.sort() == e,
    lambda e, x: e.search_sorted("b") > 1,
    lambda e, x: e.map_batches(lambda column: column == column[0]),
]
WRONG = [
    lambda e, x: e > 3,
    lambda e, x: pl.col("nobody") == x,
    lambda e, x: e,
    lambda e, x: pl.col("k", "j") == x,
    lambda e, x: pl.lit(pl.Series([True, False])),
    lambda e, x: e.is_in([1, 2]),
    lambda e, x: pl.lit(None),
    lambda e, x: e == pl.lit(pl.Series(["a", "b", "c", "d", "e", "f", "g", "h", "i"])),
]


def expressions(*kinds: list) -> st.SearchStrategy[pl.Expr]:
    made = [make for kind in kinds for make in kind]
    simple = st.builds(
        lambda make, e, x: make(e, x), st.sampled_from(made), st.sampled_from([k, j]), TEXTS
    )
    return st.recursive(
        simple,
        lambda inner: st.one_of(
            st.builds(lambda a, b: a & b, inner, inner),
            st.builds(lambda a, b: a | b, inner, inner),
            st.builds(lambda a, b: a ^ b, inner, inner),
            st.builds(lambda a: ~a, inner),
            st.builds(pl.all_horizontal, inner, inner),
            st.builds(pl.any_horizontal, inner, inner),
        ),
        max_leaves=4,
    )


def outcome(ask):
    """Its rows, or that it is refused."""
    try:
        return ask()
    except (InputError, pl.exceptions.PolarsError):
        return None


pytestmark = [
    pytest.mark.usefixtures("small_files"),
    pytest.mark.filterwarnings("ignore::polars.exceptions.PolarsInefficientMapWarning"),
]
MANY = settings(max_examples=60, deadline=None)


@given(
    where=expressions(ROW_BY_ROW, AMONG_ALL, IN_ORDER, WRONG),
    slot=st.sampled_from([0, 1, 3, 11, 14, 19, 30]),
)
@MANY
def test_a_state_with_a_condition_is_the_state_filtered(archives, where, slot):
    for archive in archives:
        for ask in (archive.latest, lambda where=None, a=archive: a.state(at(slot), where)):
            whole = ask()
            expected = outcome(lambda rows=whole: rows.filter(where))
            if expected is None:
                with pytest.raises(InputError, match="where"):
                    ask(where)
            else:
                assert_frame_equal(ask(where), expected)


@given(where=expressions(ROW_BY_ROW, AMONG_ALL), start=st.sampled_from([None, 1, 13, 21]))
@MANY
def test_a_scan_with_a_condition_is_the_changes_filtered(archives, where, start):
    since = None if start is None else at(start)
    for archive in archives:
        expected = outcome(lambda a=archive: a.changes(since).filter(where))
        if expected is not None:  # otherwise polars may leave out what fails
            found = archive.scan(since, where=where).collect()
            order = ["k", "j", "Time"]
            assert_frame_equal(found.sort(order), expected.sort(order))


# --- every argument of every question -------------------------------------------------------------

SPAN = (at(1), at(20))
QUESTIONS = {
    "state": lambda a, **said: a.state(at(14), **said),
    "latest": lambda a, **said: a.latest(**said),
    "keys": lambda a, **said: a.keys(at(14), **said),
    "changes": lambda a, **said: a.changes(**said),
    "changes of a range": lambda a, **said: a.changes(*SPAN, **said),
    "history": lambda a, **said: a.history(at(3), **said),
    "diff": lambda a, **said: a.diff(at(3), at(16), **said),
    "intervals": lambda a, **said: a.intervals(*SPAN, **said),
    "all intervals": lambda a, **said: a.intervals(**said),
    "grid": lambda a, **said: a.grid(*SPAN, every="25m", **said),
    "the whole grid": lambda a, **said: a.grid(every="1h", **said),
    "scan": lambda a, **said: a.scan(*SPAN, **said).collect().sort("k", "j", "Time"),
    "lazy intervals": lambda a, **said: a.intervals(*SPAN, lazy=True, **said).collect(),
    "lazy grid": lambda a, **said: a.grid(*SPAN, every="25m", lazy=True, **said).collect(),
}
KEYS_AS = [
    lambda texts: {"k": texts},
    lambda texts: {"k": texts[0]},
    lambda texts: {"k": texts, "j": ["0", "1"]},
    lambda texts: {"j": 1},
    lambda texts: {"keys": pl.DataFrame({"k": texts})},
    lambda texts: {"keys": [{"k": text, "j": "1"} for text in texts]},
    lambda texts: {"keys": pl.LazyFrame({"j": ["0", "2"]}), "k": texts},
]


def of_keys(answer, said):
    """The rows of an answer that have these keys."""
    for name in ("k", "j"):
        if name in said:
            given_texts = said[name] if isinstance(said[name], list) else [said[name]]
            answer = answer.filter(pl.col(name).is_in([str(text) for text in given_texts]))
    if "keys" in said:
        frame = said["keys"]
        frame = frame.collect() if isinstance(frame, pl.LazyFrame) else pl.DataFrame(frame)
        answer = answer.join(frame, on=frame.columns, how="semi", maintain_order="left")
    return answer


def expected_columns(answer, columns):
    """Key, times and marks always come; value columns in the order in which they are asked for."""
    made = {
        name: [c for c in answer.columns if c in (name, f"{name}_old", f"{name}_new")]
        for name in ("v", "s")
    }
    values = [c for name in columns for c in made[name]]
    others = [c for c in answer.columns if c not in made["v"] + made["s"]]
    before = [c for c in others if c in ("k", "j", "Time", "change")]
    return [*before, *values, *(c for c in others if c not in before)]


@pytest.mark.parametrize("question", QUESTIONS)
@given(
    where=st.none() | expressions(ROW_BY_ROW, AMONG_ALL),
    columns=st.none()
    | st.permutations(["v", "s"]).map(lambda both: both[:1])
    | st.just(["s", "v"]),
    key=st.none()
    | st.builds(
        lambda make, texts: make(texts),
        st.sampled_from(KEYS_AS),
        st.lists(TEXTS, min_size=1, max_size=3, unique=True),
    ),
    small=st.booleans(),
)
@settings(max_examples=40, deadline=None)
def test_what_is_wanted_is_chosen_from_the_whole_answer(
    archives, question, where, columns, key, small
):
    ask, key = QUESTIONS[question], key or {}
    for archive in archives:
        whole = ask(archive) if question != "keys" else archive.state(at(14)).drop("Time")
        if question == "diff" and columns is not None:
            whole = ask(archive, columns=columns)
        expected = of_keys(whole, key)
        if where is not None:
            if question == "keys":
                expected = of_keys(archive.state(at(14)), key)
            filtered = outcome(lambda rows=expected: rows.filter(where))
            if filtered is None:
                continue
            expected = filtered
        if question == "keys":
            expected = expected.select("k", "j", *(columns or ()))
        elif columns is not None:
            expected = expected.select(expected_columns(expected, columns))
        said = key | ({} if where is None else {"where": where})
        said |= {} if columns is None else {"columns": columns}
        with patch("titans.read.batches._ROWS", 20 if small else 10**6):
            found = ask(archive, **said)
        assert_frame_equal(found, expected)


@pytest.mark.parametrize("question", sorted(set(QUESTIONS) - {"history"}))
def test_what_cannot_be_wanted_is_refused(archives, question):
    ask = QUESTIONS[question]
    for said, message in (
        ({"where": pl.col("nobody") == 1}, "where cannot be applied"),
        ({"where": "k = 1"}, "where is a polars expression"),
        ({"columns": ["nobody"]}, "no column 'nobody'"),
        ({"columns": "v"}, "list of names"),
        ({"x": "a"}, "x is no key column"),
        ({"k": None}, "never null"),
        ({"keys": pl.DataFrame({"v": [1]})}, "v is no key column"),
    ):
        with pytest.raises(InputError, match=message):
            ask(archives[0], **said)


def test_a_value_with_wildcards_that_no_key_has_is_told_of(archives, caplog):
    assert archives[0].history(k="a*").height == 0
    assert "where=" in caplog.text
    assert "'a*'" in caplog.text
    caplog.clear()
    assert archives[0].latest(k="nobody").height == 0
    assert archives[0].latest(k="a").height == 1
    assert not caplog.text


@pytest.mark.parametrize(
    "moment", ["2026-02-01", "2026-02-01T00:00", "2026-02-01T09:00+09:00", date(2026, 2, 1)]
)
def test_a_time_may_be_a_date_or_text(archives, moment):
    archive, midnight = archives[0], datetime(2026, 2, 1, tzinfo=UTC)
    assert archive.state(moment).equals(archive.state(midnight))
    assert archive.changes(moment).equals(archive.changes(midnight))
    assert archive.changes(None, moment).equals(archive.changes(None, midnight))
    assert archive.diff(moment, at(30)).equals(archive.diff(midnight, at(30)))
    assert archive.grid(moment, "2026-02-02").equals(archive.grid(midnight, date(2026, 2, 2)))
    assert archive.coverage(moment).equals(archive.coverage(midnight))
    assert archive.files(moment).equals(archive.files(midnight))


@pytest.mark.parametrize("moment", ["tomorrow", "", "2026-13-01", datetime(2026, 2, 1), 5])
def test_what_is_no_time_is_refused(archives, moment):
    for ask in (archives[0].state, archives[0].changes, archives[0].coverage):
        with pytest.raises(TimestampError):
            ask(moment)


# --- what is pushed -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "where",
    [
        k == "a",
        (k == "a") & ~j.is_in(["1", "2"]),
        k.str.starts_with("a") | k.is_null(),
        pl.all_horizontal(k.str.to_lowercase().str.contains("a"), j.is_between(pl.lit("0"), j)),
        k.is_in([str(n) for n in range(1000)]),
        pl.when(k == "a").then(j == "1").otherwise(j == "2"),
    ],
)
def test_conditions_on_keys_that_look_at_one_row_reach_the_files(where):
    assert is_pushable(where, PROVIDER.key)


@pytest.mark.parametrize("make", [*AMONG_ALL, *IN_ORDER])
def test_nothing_that_looks_at_other_rows_or_values_does(make):
    where = make(k, "a")
    assert not is_pushable(where, PROVIDER.key)
    assert not is_pushable((k == "a") & where, PROVIDER.key)


@pytest.mark.parametrize("name", ["latest", "scan"])
@pytest.mark.parametrize("make", WRONG[:4])
def test_a_condition_that_cannot_be_applied_is_refused_in_our_words(archives, name, make):
    with pytest.raises(InputError, match=r"where cannot be applied: .*there are k, j, Time"):
        outcome_of = getattr(archives[0], name)(where=make(k, "a"))
        outcome_of.lazy().collect()


@pytest.mark.parametrize("where", ["k == 'a'", True, [k == "a"], {"k": "a"}])
def test_a_condition_is_an_expression(archives, where):
    for ask in (archives[0].latest, archives[0].scan):
        with pytest.raises(InputError, match="where is a polars expression"):
            ask(where=where)
