"""Every view of the explorer, asked over HTTP, says what the archive says."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta
from unittest.mock import patch
from urllib.parse import quote

import polars as pl
import pytest
from fixtures_explorer import AMENDED, AWAY, BASE, BEGIN, GONE, HOUR, HOURS, MARKUP, MISSED, ODD
from oracle import PROVIDER, at, snapshot
from polars.testing import assert_frame_equal

import titans
from titans import Archive
from titans.store.local import LocalStore

pytest.importorskip("titans_explorer", reason="titans-explorer is not installed")

from starlette.testclient import TestClient

from titans_explorer.app import app
from titans_explorer.limits import Limits
from titans_explorer.selectors import written

KEY = "m5.large|us-east-1|use1-az1"
LAST = BEGIN + HOURS * HOUR


@pytest.fixture
def archive(market):
    return titans.open(market, provider="aws")


def ask(explorer, question, **params):
    answer = explorer.get(f"/api/aws/{question}", params=params)
    assert answer.status_code == 200, answer.text
    return answer.json()


def frame_of(answer):
    """Rows of a table as a frame of texts and numbers."""
    names = [column["name"] for column in answer["columns"]]
    return pl.DataFrame(answer["rows"], schema=names, orient="row", infer_schema_length=None)


def ms(moment):
    return round(moment.timestamp() * 1000)


# --- the archive ----------------------------------------------------------------------------------


def test_the_store_says_which_archives_it_holds(explorer):
    answer = explorer.get("/api/store").json()
    assert answer["archives"] == [
        {"provider": "aws", "store": "prices"},
        {"provider": "gcp", "store": "prices"},
    ]
    assert answer["sql"] is False


def test_an_archive_whose_provider_is_not_installed_is_shown_too(tmp_path):
    archive = Archive(LocalStore(tmp_path / "store"), PROVIDER)
    for slot in range(4):
        archive.ingest(snapshot({"a": (slot, 0.5), "b": (1, 1.5)}), at(slot))
    for providers in (None, ["small"]):
        with TestClient(app(tmp_path / "store", providers=providers), base_url=BASE) as client:
            listed = client.get("/api/store").json()["archives"]
            assert listed == [{"provider": "small", "store": "store"}]
            state = frame_of(client.get("/api/small/keys").json())
        assert state["k"].to_list() == ["a", "b"]
        assert [int(value) for value in state["v"]] == [3, 1]


def test_an_archive_says_its_months_columns_sizes_and_health(explorer, archive):
    about = ask(explorer, "about")
    months = archive.status()
    assert [month["month"] for month in about["months"]] == ["2026-02", "2026-01"]
    assert about["points"] == sum(month.rows for month in months)
    assert about["bytes"] == sum(month.bytes for month in months)
    assert about["living"] == archive.latest().height
    assert (about["first"], about["observed"]) == (ms(BEGIN), ms(BEGIN + (HOURS - 1) * HOUR))
    assert about["late"] is True
    assert [column["name"] for column in about["key"]] == list(archive.provider.key)
    price = next(column for column in about["columns"] if column["name"] == "SpotPrice")
    assert (price["unit"], price["kind"], price["nulls"]) == ("USD/h", "number", 0)
    assert price["max"] == archive.latest()["SpotPrice"].max()
    empty = next(column for column in about["columns"] if column["name"] == "T3")
    assert empty["nulls"] == 1
    (correction,) = about["amendments"]
    assert (correction["operation"], correction["reason"]) == ("amend", "<b>wrong</b> unit")


def test_the_calendar_says_of_every_interval_whether_somebody_looked(explorer, archive):
    answer = ask(explorer, "calendar")
    coverage = archive.coverage()
    names = {"o": "observed", "c": "changes", "e": "empty", "-": "missing"}
    assert [names[code] for code in answer["codes"]] == coverage["status"].to_list()
    assert answer["start"] == ms(BEGIN)
    assert answer["counts"]["observed"] == HOURS - len(MISSED)
    assert answer["counts"]["changes"] == 1
    days = archive.changes().group_by(pl.col("Time").dt.date()).len().sort("Time")
    assert answer["days"]["points"] == days["len"].to_list()


def test_the_calendar_of_a_month_is_the_part_of_that_month(explorer, archive):
    answer = ask(explorer, "calendar", **{"from": "2026-01-31", "to": "2026-02-01"})
    coverage = archive.coverage("2026-01-31", "2026-02-01")
    assert len(answer["codes"]) == coverage.height == 144
    assert answer["codes"].count("o") == 24


# --- keys -----------------------------------------------------------------------------------------


def test_the_state_at_a_moment_is_that_of_the_archive(explorer, archive):
    at = BEGIN + 35 * HOUR
    answer = ask(explorer, "keys", at=at.isoformat())
    state = archive.state(at)
    assert answer["living"] == answer["count"] == state.height == 26
    assert frame_of(answer)["SpotPrice"].to_list() == state["SpotPrice"].to_list()
    assert "T3" in answer["empty"]
    assert "SpotPrice" not in answer["empty"]


def test_without_a_moment_it_is_the_newest_state(explorer, archive):
    answer = ask(explorer, "keys")
    assert answer["at"] is None
    assert answer["living"] == archive.latest().height


def test_words_are_searched_in_all_key_columns_in_capitals_or_not(explorer, archive):
    answer = ask(explorer, "keys", q="M5 EAST")
    latest = archive.latest()
    expected = latest.filter(
        pl.col("InstanceType").str.contains("m5"), pl.col("Region").str.contains("east")
    )
    assert answer["count"] == expected.height > 0
    assert answer["living"] == latest.height


def test_values_are_counted_as_if_nothing_were_chosen_in_their_column(explorer, archive):
    answer = ask(explorer, "keys", **{"k.Region": "eu-west-1", "q": "m5"})
    facets = {facet["name"]: dict(facet["values"]) for facet in answer["facets"]}
    m5 = archive.latest().filter(pl.col("InstanceType").str.contains("m5"))
    assert facets["Region"] == dict(m5.group_by("Region").len().rows())
    west = m5.filter(pl.col("Region") == "eu-west-1")
    assert facets["InstanceType"] == dict(west.group_by("InstanceType").len().rows())
    assert answer["count"] == west.height


def test_several_values_of_a_key_column_are_any_of_them(explorer, archive):
    answer = ask(explorer, "keys", **{"k.Region": ["eu-west-1", "us-east-1"]})
    assert answer["count"] == archive.latest().height


@pytest.mark.parametrize(
    ("column", "wanted", "expected"),
    [
        ("SpotPrice", ">0.5", pl.col("SpotPrice") > 0.5),
        ("SpotPrice", "<= 0.25", pl.col("SpotPrice") <= 0.25),
        ("SpotPrice", "0.1..0.3", pl.col("SpotPrice").is_between(0.1, 0.3)),
        ("SPS", "3", pl.col("SPS") == 3),
        ("SPS", "!=3", pl.col("SPS") != 3),
        ("T3", "null", pl.col("T3").is_null()),
        ("T3", "!null", pl.col("T3").is_not_null()),
        ("Time", ">=2026-02-01T12:00Z", pl.col("Time") >= datetime(2026, 2, 1, 12, tzinfo=UTC)),
        ("Time", "<2026-02-01", pl.col("Time") < datetime(2026, 2, 1, tzinfo=UTC)),
    ],
)
def test_conditions_on_values_are_those_of_polars(explorer, archive, column, wanted, expected):
    answer = ask(explorer, "keys", **{f"v.{column}": wanted})
    assert answer["count"] == archive.latest().filter(expected).height


def test_a_table_is_sorted_by_the_server_nulls_last_and_comes_in_pages(explorer, archive):
    prices = []
    for offset in (0, 10, 20):
        page = ask(explorer, "keys", sort="SpotPrice", desc="1", limit=10, offset=offset)
        prices += frame_of(page)["SpotPrice"].to_list()
    assert prices == archive.latest()["SpotPrice"].sort(descending=True).to_list()


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"sort": "Nope"}, "no column 'Nope'"),
        ({"limit": "501"}, "from 0 to 500"),
        ({"limit": "-1"}, "from 0 to 500"),
        ({"at": "yesterday"}, "no time"),
        ({"k.Nope": "x"}, "no column 'Nope'"),
        ({"v.SpotPrice": "cheap"}, "cannot be compared"),
        ({"v.Region": "x"}, "no column 'Region'"),
        ({"q": "x" * 201}, "at most 200 characters"),
    ],
)
def test_a_wish_that_cannot_be_met_is_named(explorer, params, message):
    answer = explorer.get("/api/aws/keys", params=params)
    assert answer.status_code == 400
    assert message in answer.json()["error"]


# --- lines ----------------------------------------------------------------------------------------


def value_at(line, moment):
    """What a step line shows at a moment; `...` before it begins."""
    found = ...
    for t, v in zip(line["t"], line["v"], strict=True):
        if t <= ms(moment):
            found = v
    return found


def test_a_line_shows_at_every_moment_what_held(explorer, archive):
    answer = ask(explorer, "lines", key=[KEY, written([MARKUP, "us-east-1", "az-x"])])
    charts = {chart["column"]: chart["lines"] for chart in answer["charts"]}
    price, score = charts["SpotPrice"][0], charts["SPS"][0]
    for half in range(0, 2 * HOURS, 3):
        moment = BEGIN + half * HOUR / 2
        row = archive.state(moment, **AWAY)
        held = [None, None] if row.is_empty() else [row["SpotPrice"].item(), row["SPS"].item()]
        assert [value_at(price, moment), value_at(score, moment)] == held
    assert charts["SpotPrice"][1]["key"] == r"<img src=x onerror=alert(1)>|us-east-1|az-x"


def test_a_line_has_a_gap_while_the_key_is_away(explorer):
    answer = ask(explorer, "lines", key=KEY, column="SpotPrice")
    (line,) = answer["charts"][0]["lines"]
    gap = line["v"].index(None)
    assert line["t"][gap] == ms(BEGIN + GONE.start * HOUR)
    assert line["t"][gap + 1] == ms(BEGIN + GONE.stop * HOUR)


def test_a_part_of_a_line_begins_with_what_held_then(explorer, archive):
    since = BEGIN + 10.5 * HOUR
    answer = ask(explorer, "lines", key=KEY, column="SpotPrice", **{"from": since.isoformat()})
    (line,) = answer["charts"][0]["lines"]
    assert line["t"][0] == ms(since)
    assert line["v"][0] == archive.state(since, **AWAY)["SpotPrice"].item()


def test_a_line_tells_of_slots_that_were_corrected(explorer):
    answer = ask(explorer, "lines", key=KEY)
    (mark,) = answer["amendments"]
    assert mark["slot"] == ms(BEGIN + AMENDED * HOUR)
    assert mark["reason"] == "<b>wrong</b> unit"
    later = {"from": (BEGIN + 50 * HOUR).isoformat()}
    assert ask(explorer, "lines", key=KEY, **later)["amendments"] == []


def test_change_points_are_the_history_newest_first(explorer, archive):
    answer = ask(explorer, "points", key=KEY, limit=500)
    history = archive.history(**AWAY).sort("Time", descending=True)
    assert answer["count"] == history.height
    assert frame_of(answer)["Ceased"].to_list() == history["Ceased"].to_list()
    assert frame_of(answer)["SpotPrice"].to_list() == history["SpotPrice"].to_list()


def test_change_points_of_a_corrected_slot_are_marked(explorer):
    other = written(["m5.2xlarge", "us-east-1", "az0"])
    answer = ask(explorer, "points", key=other, limit=500)
    assert answer["amended"] == ["2026-01-31T16:00:00Z"]


def test_a_key_with_every_sign_of_the_address_in_it_is_found(explorer):
    key = written([ODD, "us-east-1", ""])
    assert key == r"a\|b\*c\\d|us-east-1|"
    answer = ask(explorer, "points", key=key)
    assert answer["count"] > 0
    assert answer["rows"][0][0] == ODD


def test_at_most_eight_keys_are_compared(explorer):
    keys = [f"x{number}|r|a" for number in range(9)]
    answer = explorer.get("/api/aws/lines", params={"key": keys})
    assert answer.status_code == 400
    assert "at most 8" in answer.json()["error"]


@pytest.mark.parametrize("by_state", [False, True])
def test_a_group_has_the_median_and_the_spread_of_its_keys(explorer, archive, by_state):
    with patch("titans_explorer.questions.groups._POINTS", 0 if by_state else 10**9):
        answer = ask(explorer, "group", key="m5.*|us-east-1|*", column="SpotPrice")
    (line,) = answer["charts"][0]["lines"]
    where = pl.col("InstanceType").str.starts_with("m5.") & (pl.col("Region") == "us-east-1")
    assert len(line["t"]) >= 6
    for number in range(0, len(line["t"]), 2):
        moment = datetime.fromtimestamp(line["t"][number] / 1000, UTC)
        prices = archive.state(moment, where)["SpotPrice"]
        assert line["count"][number] == len(prices)
        assert line["median"][number] == pytest.approx(prices.median())
        assert line["p10"][number] == pytest.approx(prices.quantile(0.1, "linear"))
        assert line["p90"][number] == pytest.approx(prices.quantile(0.9, "linear"))


def test_a_large_group_has_a_line_at_once_and_a_finer_one_for_who_waits(explorer):
    with patch("titans_explorer.questions.groups._POINTS", 0):
        first = ask(explorer, "group", key="r5.*|*|*", column="SpotPrice")
        second = ask(explorer, "group", key="r5.*|*|*", column="SpotPrice", fine="1")
    lengths = [len(each["charts"][0]["lines"][0]["t"]) for each in (first, second)]
    assert (first["coarse"], second["coarse"]) == (True, False)
    assert lengths[1] > 3 * lengths[0]


def test_a_group_of_everything_is_a_line_too(explorer, archive):
    answer = ask(explorer, "group", key="*|*|*", column="SpotPrice")
    assert answer["charts"][0]["lines"][0]["count"][-1] == archive.latest().height


# --- two moments ----------------------------------------------------------------------------------


def test_two_moments_differ_as_the_archive_says(explorer, archive):
    t1, t2 = BEGIN + 20 * HOUR, BEGIN + 35 * HOUR
    answer = ask(explorer, "diff", t1=t1.isoformat(), t2=t2.isoformat(), limit=500)
    diff = archive.diff(t1, t2)
    counts = dict(diff.group_by("change").len().rows())
    assert answer["counts"] == {"added": 0, "removed": 1, "changed": 0} | counts
    assert answer["count"] == len(answer["rows"]) == diff.height
    assert answer["values"] == ["SPS", "SpotPrice"]


def test_only_one_kind_of_difference_is_shown_where_that_is_wanted(explorer):
    moments = {"t1": (BEGIN + 20 * HOUR).isoformat(), "t2": (BEGIN + 35 * HOUR).isoformat()}
    answer = ask(explorer, "diff", change="removed", **moments)
    (row,) = answer["rows"]
    assert row[:4] == [*AWAY.values(), "removed"]


def test_the_biggest_movers_are_those_that_moved_most(explorer, archive):
    t1, t2 = BEGIN + HOUR, BEGIN + 17 * HOUR
    answer = ask(explorer, "diff", t1=t1.isoformat(), t2=t2.isoformat(), column="SpotPrice")
    diff = archive.diff(t1, t2).with_columns(
        share=(pl.col("SpotPrice_new") - pl.col("SpotPrice_old")) / pl.col("SpotPrice_old")
    )
    movers = answer["movers"]
    up = diff.filter(pl.col("share") > 0).sort("share", descending=True)
    assert movers["rose"] == up.height > 0
    assert [row[-1] for row in movers["up"]] == pytest.approx(up["share"].head(10).to_list())
    assert movers["fell"] == diff.filter(pl.col("share") < 0).height


def test_differences_are_sorted_by_how_much_a_number_moved(explorer):
    moments = {"t1": (BEGIN + HOUR).isoformat(), "t2": (BEGIN + 17 * HOUR).isoformat()}
    answer = ask(explorer, "diff", sort="SpotPrice", desc="1", limit=500, **moments)
    names = [column["name"] for column in answer["columns"]]
    old, new = names.index("SpotPrice_old"), names.index("SpotPrice_new")
    moves = [row[new] - row[old] for row in answer["rows"] if None not in (row[old], row[new])]
    assert moves == sorted(moves, reverse=True)


# --- Python, CSV, Parquet -------------------------------------------------------------------------

WISHES = {
    "calendar": "calendar?from=2026-01-30&to=2026-02-01",
    "newest": "keys",
    "chosen": "keys?at=2026-01-31T05:00Z&q=m5&k.Region=us-east-1&v.SpotPrice=%3E0.1&sort=SpotPrice&desc=1",
    "moments": "keys?v.Time=%3E2026-01-31T05:00Z&v.SPS=1..2",
    "history": f"points?key={KEY}&from=2026-01-31",
    "odd": f"points?key={quote(written([ODD, 'us-east-1', '']), safe='')}",
    "lines": f"lines?key={KEY}&column=SpotPrice&to=2026-02-01",
    "group": "group?key=m5.*|us-east-1|*&column=SpotPrice&column=SPS",
    "differences": "diff?t1=2026-01-30T20:00Z&t2=2026-01-31T11:00Z&k.Region=us-east-1&change=changed",
    "files": "about",
}


@pytest.mark.parametrize("name", WISHES)
def test_the_line_of_python_gives_what_is_downloaded(explorer, market, monkeypatch, name):
    question, _, query = WISHES[name].partition("?")
    answer = explorer.get(f"/api/aws/{question}?{query}").json()
    monkeypatch.chdir(market.parent)  # a folder is named by its own name
    frame = eval(answer["python"], {"pl": pl, "titans": titans})
    parquet = explorer.get(f"/api/aws/{question}.parquet?{query}")
    downloaded = pl.read_parquet(io.BytesIO(parquet.content))
    assert downloaded.height > 0
    assert_frame_equal(downloaded, frame)
    csv = explorer.get(f"/api/aws/{question}.csv?{query}")
    if name != "files":  # has lists, which are JSON there
        assert csv.text == frame.write_csv()
    assert csv.headers["content-disposition"] == f'attachment; filename="aws-{question}.csv"'


def test_the_line_of_a_large_group_gives_what_is_downloaded(explorer, market, monkeypatch):
    monkeypatch.chdir(market.parent)
    with patch("titans_explorer.questions.groups._POINTS", 0):
        query = "key=c5.*|*|*&column=SpotPrice"
        answer = explorer.get(f"/api/aws/group?{query}").json()
        parquet = explorer.get(f"/api/aws/group.parquet?{query}")
    frame = eval(answer["python"], {"pl": pl, "titans": titans})
    assert ".state(t" in answer["python"]
    assert_frame_equal(pl.read_parquet(io.BytesIO(parquet.content)), frame)


def test_a_download_has_all_rows_of_which_the_page_shows_some(explorer, archive):
    csv = explorer.get("/api/aws/keys.csv", params={"limit": 3, "offset": 5})
    assert csv.text.count("\n") == archive.latest().height + 1


def test_a_download_that_is_too_large_is_refused(market):
    with TestClient(app(market, limits=Limits(download_rows=5)), base_url=BASE) as client:
        answer = client.get("/api/aws/keys.csv")
    assert answer.status_code == 400
    assert "too many for a download" in answer.json()["error"]


# --- SQL ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def with_sql(market):
    pytest.importorskip("duckdb", reason="DuckDB is not installed")
    limits = Limits(sql_seconds=20.0, sql_rows=50)
    with TestClient(app(market, sql=True, limits=limits), base_url=BASE) as client:
        yield client


def test_sql_is_off_unless_it_is_asked_for(explorer):
    answer = explorer.get("/api/aws/sql", params={"q": "SELECT 1"})
    assert answer.status_code == 400
    assert "--sql" in answer.json()["error"]


@pytest.mark.xdist_group("explorer-sql")
def test_sql_is_answered_in_pages(with_sql, archive):
    query = "SELECT Region, count(*) AS n FROM changes GROUP BY ALL ORDER BY Region"
    answer = with_sql.get("/api/aws/sql", params={"q": query}).json()
    expected = archive.changes().group_by("Region").len().sort("Region")
    assert [tuple(row) for row in answer["rows"]] == expected.rows()
    assert answer["python"].endswith(f'.sql("{query}")')


@pytest.mark.xdist_group("explorer-sql")
def test_no_more_rows_are_kept_than_a_page_may_want(with_sql, archive):
    answer = with_sql.get(
        "/api/aws/sql", params={"q": "SELECT * FROM changes", "limit": 100}
    ).json()
    assert answer["count"] == archive.changes().height
    assert answer["kept"] == len(answer["rows"]) == 50


@pytest.mark.xdist_group("explorer-sql")
@pytest.mark.parametrize(
    "query",
    [
        "SELECT * FROM read_csv('/etc/passwd')",
        "COPY (SELECT 1) TO 'x.csv'",
        "DROP VIEW changes",
        "ATTACH 'x.db'",
        "EXPLAIN SELECT * FROM changes",
        "SELECT current_setting('temp_directory')",
        "SELECT filename FROM changes",
        "SELEC 1",
        "",
    ],
)
def test_sql_reads_the_archive_and_tells_no_place(with_sql, market, query):
    answer = with_sql.get("/api/aws/sql", params={"q": query})
    assert answer.status_code == 400
    assert str(market.parent) not in answer.text


@pytest.mark.xdist_group("explorer-sql")
@pytest.mark.parametrize(
    ("limits", "message"),
    [
        (Limits(sql_seconds=0.5), "took longer than 0.5 s"),
        (Limits(sql_bytes=10_000_000), "needs more than"),
    ],
)
def test_a_query_that_takes_too_much_is_stopped_and_the_next_one_is_answered(
    market, limits, message
):
    pytest.importorskip("duckdb", reason="DuckDB is not installed")
    endless = "SELECT count(*) FROM range(100000000) a, range(100000000) b WHERE a.range % 7 = b.range % 5"
    made = app(market, sql=True, limits=limits)
    with TestClient(made, base_url=BASE) as client:
        answer = client.get("/api/aws/sql", params={"q": endless})
        assert answer.status_code == 400
        assert message in answer.json()["error"]
        if limits.sql_bytes > 10**9:
            again = client.get("/api/aws/sql", params={"q": "SELECT 42 AS n"})
            assert again.json()["rows"] == [[42]]


# --- what is kept ---------------------------------------------------------------------------------


def test_an_answer_is_new_where_the_archive_is(tmp_path):
    folder = tmp_path / "prices"
    archive = titans.open(folder, provider="gcp")
    row = {"InstanceType": ["n1"], "Region": ["r1"], "SpotPrice": [0.5]}
    archive.ingest(pl.DataFrame(row), BEGIN)
    with (
        patch("titans_explorer.shelf._NEAR", 0.0),
        TestClient(app(folder), base_url=BASE) as client,
    ):
        before = client.get("/api/gcp/about").json()
        archive.ingest(pl.DataFrame(row | {"SpotPrice": [0.75]}), BEGIN + HOUR)
        after = client.get("/api/gcp/about").json()
        keys = client.get("/api/gcp/keys").json()
    assert (before["points"], after["points"]) == (1, 2)
    assert before["version"] != after["version"]
    assert frame_of(keys)["SpotPrice"].to_list() == [0.75]


def test_a_store_without_an_archive_says_so(tmp_path):
    with TestClient(app(tmp_path / "nothing"), base_url=BASE) as client:
        assert client.get("/api/store").json()["archives"] == []
        assert client.get("/api/aws/about").status_code == 404


def test_an_archive_that_cannot_be_read_hides_no_other(market, monkeypatch):
    from titans import Archive
    from titans.errors import ManifestError

    status = Archive.status

    def damaged(archive):
        if archive.provider.name == "gcp":
            raise ManifestError("damaged")
        return status(archive)

    monkeypatch.setattr(Archive, "status", damaged)
    with TestClient(app(market), base_url=BASE) as client:
        assert [each["provider"] for each in client.get("/api/store").json()["archives"]] == ["aws"]
        assert client.get("/api/gcp/about").status_code == 404


def test_an_archive_in_which_nothing_changed_yet_has_a_page(tmp_path):
    from titans import Expectations

    archive = titans.open(
        tmp_path / "prices", provider="gcp", expectations=Expectations(allow_empty=True)
    )
    empty = pl.DataFrame(schema={"InstanceType": pl.String, "Region": pl.String})
    archive.ingest(empty, BEGIN)
    with TestClient(app(tmp_path / "prices"), base_url=BASE) as client:
        about = client.get("/api/gcp/about")
        calendar = client.get("/api/gcp/calendar")
        keys = client.get("/api/gcp/keys").json()
        lines = client.get("/api/gcp/lines", params={"key": "a|b"})
    assert about.status_code == calendar.status_code == 200
    assert calendar.json()["codes"] == "o"
    assert (keys["living"], keys["rows"]) == (0, [])
    assert lines.json()["charts"][0]["lines"][0]["v"] == []


def test_an_archive_of_one_moment_has_lines(explorer):
    answer = explorer.get("/api/gcp/lines", params={"key": "n1|r1", "column": "SpotPrice"})
    assert answer.json()["charts"][0]["lines"][0]["v"] == [0.5]


def test_only_the_providers_that_were_named_are_shown(market):
    with TestClient(app(market, providers=["gcp"]), base_url=BASE) as client:
        assert [each["provider"] for each in client.get("/api/store").json()["archives"]] == ["gcp"]
        assert client.get("/api/aws/about").status_code == 404


def test_times_of_microseconds_are_whole(explorer):
    assert timedelta(milliseconds=ask(explorer, "about")["first"]).microseconds == 0
