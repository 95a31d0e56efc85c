"""What the explorer does not do: answer strangers, write, tell places, run what it was sent."""

from __future__ import annotations

import re
from unittest.mock import patch

import pytest
from fixtures_explorer import BASE, MARKUP

pytest.importorskip("titans_explorer", reason="titans-explorer is not installed")

from starlette.testclient import TestClient

from titans.errors import CorruptFileError, Unavailable
from titans_explorer.app import app
from titans_explorer.assets import PAGE
from titans_explorer.guard import COOKIE
from titans_explorer.shelf import Shelf

KEY = "m5.large|us-east-1|use1-az1"
QUESTIONS = (
    "/api/store",
    "/api/aws/about",
    "/api/aws/calendar",
    "/api/aws/keys?limit=500",
    f"/api/aws/lines?key={KEY}",
    f"/api/aws/points?key={KEY}",
    "/api/aws/group?key=*|us-east-1|*",
    "/api/aws/diff",
)
ASSETS = ("/", "/index.html", "/style.css", "/icon.svg", "/js/main.js", "/js/theme.js")
ERRORS = (
    "/api/aws/keys?sort=x",
    "/api/nobody/keys",
    "/api/aws/nothing",
    "/nothing",
    "/api/aws/sql",
)
TOKEN = "a-token-that-nobody-guesses"


@pytest.fixture
def guarded(market):
    """The explorer as it is where others reach it."""
    made = app(market, host="0.0.0.0", names=["prices.example"], token=TOKEN)
    with TestClient(made, base_url="http://192.0.2.7:8765", follow_redirects=False) as client:
        yield client


# --- who asks -------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["127.0.0.1:8765", "localhost:8765", "LOCALHOST", "[::1]:8765"])
def test_this_machine_is_answered_under_its_names(explorer, host):
    assert explorer.get("/api/store", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8765",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "192.0.2.7:8765",
        "evil@127.0.0.1:8765x",
        "[::1",
        "",
    ],
)
@pytest.mark.parametrize("path", ["/", "/api/store"])
def test_a_name_that_another_site_pointed_here_is_refused(explorer, host, path):
    answer = explorer.get(path, headers={"host": host})
    assert answer.status_code == 421
    assert "prices" not in answer.text


def test_what_another_page_sends_is_refused(explorer):
    for headers in (
        {"origin": "https://evil.example"},
        {"origin": "http://127.0.0.1:9999"},
        {"origin": "null"},
        {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"},
        {"sec-fetch-site": "same-site", "sec-fetch-mode": "cors"},
    ):
        assert explorer.get("/api/store", headers=headers).status_code == 403, headers


def test_its_own_page_and_a_link_to_it_are_answered(explorer):
    for headers in (
        {"origin": BASE},
        {"sec-fetch-site": "same-origin", "sec-fetch-mode": "cors"},
        {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"},
    ):
        assert explorer.get("/", headers=headers).status_code == 200, headers


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"])
def test_nothing_but_get_is_answered(explorer, method):
    for path in ("/", "/api/store", "/api/aws/keys", "/js/main.js"):
        answer = explorer.request(method, path)
        assert answer.status_code == 405
        assert answer.headers["allow"] == "GET, HEAD"


def test_a_head_has_no_body(explorer):
    answer = explorer.head("/api/store")
    assert answer.status_code in (200, 405)
    assert answer.content == b""


def test_nobody_may_read_an_answer_from_another_site(explorer):
    answer = explorer.get("/api/store")
    assert "access-control-allow-origin" not in answer.headers


# --- a token --------------------------------------------------------------------------------------


def test_over_the_network_nothing_is_told_without_the_token(guarded):
    for path in (*QUESTIONS, *ASSETS, *ERRORS):
        assert guarded.get(path).status_code == 401, path
    for wrong in ("", "x", TOKEN[:-1], f"{TOKEN}x", "é"):
        assert guarded.get("/", params={"token": wrong}).status_code == 401
    assert guarded.get("/", headers={"authorization": "Bearer x"}).status_code == 401
    assert guarded.get("/", headers={"cookie": f"{COOKIE}=x"}).status_code == 401


def test_the_address_with_the_token_becomes_a_cookie_and_leaves_the_address(guarded):
    answer = guarded.get("/", params={"view": "keys", "token": TOKEN})
    assert answer.status_code == 303
    assert answer.headers["location"] == "/?view=keys"
    cookie = answer.headers["set-cookie"]
    assert f"{COOKIE}={TOKEN}" in cookie
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    guarded.cookies.set(COOKIE, TOKEN)
    assert guarded.get("/?view=keys").status_code == 200
    assert guarded.get("/api/store").status_code == 200


def test_the_redirect_leads_to_no_other_host(guarded):
    for path in ("//evil.example/", "/\\evil.example/", "///evil.example/%0d%0aset-cookie:x=y"):
        answer = guarded.get(f"http://192.0.2.7:8765{path}?token={TOKEN}")
        if answer.status_code == 303:
            location = answer.headers["location"]
            assert re.match(r"/[^/\\]", location), location
            assert "\n" not in location


def test_a_program_sends_the_token_in_a_header(guarded):
    answer = guarded.get("/api/store", headers={"authorization": f"Bearer {TOKEN}"})
    assert answer.status_code == 200


def test_an_address_of_data_takes_no_token(guarded):
    assert guarded.get("/api/store", params={"token": TOKEN}).status_code == 401


def test_over_the_network_a_foreign_name_is_refused_with_the_token_too(guarded):
    headers = {"authorization": f"Bearer {TOKEN}"}
    for host, status in (
        ("evil.example", 421),
        ("prices.example", 200),
        ("192.0.2.7:8765", 200),
        ("[2001:db8::1]:8765", 200),
    ):
        answer = guarded.get("/api/store", headers=headers | {"host": host})
        assert answer.status_code == status, host


# --- what is told ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "/../app.py",
        "/js/../../app.py",
        "/%2e%2e/app.py",
        "/..%2fapp.py",
        "/js/..%5c..%5capp.py",
        "//etc/passwd",
        "/%2fetc/passwd",
        "/api/../../etc/passwd",
        "/api/%2e%2e/about",
        "/api/aws%2f..%2f..%2fetc/about",
        "/js/",
        "/page/index.html",
    ],
)
def test_no_other_file_can_be_read(explorer, path):
    answer = explorer.get(f"{BASE}{path}")
    assert answer.status_code in (400, 404, 405)
    assert "starlette" not in answer.text
    assert "root:" not in answer.text


def test_no_answer_tells_where_the_archive_lies(explorer, market):
    for path in (*QUESTIONS, *ASSETS, *ERRORS):
        answer = explorer.get(path)
        told = answer.text + str(dict(answer.headers))
        assert str(market.parent) not in told, path
        assert "file:" not in told, path
    for path in ("/api/aws/about.csv", "/api/aws/about.parquet"):
        assert str(market.parent).encode() not in explorer.get(path).content


def test_an_address_of_a_store_is_shown_without_what_is_secret():
    from titans_explorer.shelf import _label

    assert _label("file:///srv/secret%20place/prices") == "prices"
    label = _label("s3://key:password@bucket/prices?endpoint_url=http://x&secret=hidden")
    assert "password" not in label
    assert "hidden" not in label


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (Unavailable("no answer from /srv/secret/prices"), 503),
        (CorruptFileError("/srv/secret/prices/x.parquet is damaged"), 500),
        (OSError("/srv/secret/prices"), 500),
        (RuntimeError("/srv/secret/prices"), 500),
    ],
)
def test_a_failure_is_named_and_no_more_is_told(market, error, status, caplog):
    with TestClient(app(market), base_url=BASE) as client:
        client.get("/api/store")
        with patch("titans.archive.Archive.state", side_effect=error):
            answer = client.get("/api/aws/keys", params={"at": "2026-01-30T03:03Z"})
    assert answer.status_code == status
    assert "secret" not in answer.text
    assert "secret" in caplog.text


def test_an_unusable_value_is_named_without_a_place(market):
    shelf = Shelf(market)
    told = shelf.without_places(f"no file {market}/x and {market.as_uri()}", "aws")
    assert told == "no file prices/x and prices"


# --- what is run ----------------------------------------------------------------------------------


def test_every_answer_forbids_what_was_not_shipped(explorer):
    for path in (*QUESTIONS, *ASSETS, *ERRORS):
        headers = explorer.get(path).headers
        policy = headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'"), path
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
    refused = explorer.get("/", headers={"host": "evil.example"})
    assert "default-src 'none'" in refused.headers["content-security-policy"]


def test_data_is_sent_as_data_and_kept_by_nobody(explorer):
    for path in (*QUESTIONS, *ERRORS[:3]):
        answer = explorer.get(path)
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["cache-control"] == "no-store"
    assert MARKUP in explorer.get("/api/aws/keys").text


def test_the_page_runs_nothing_inline_and_asks_no_other_host():
    page = (PAGE / "index.html").read_text()
    assert not re.search(r"<script(?![^>]*\bsrc=)", page)
    assert not re.search(r"\son\w+=|\sstyle=|<style|javascript:", page)
    for file in PAGE.rglob("*"):
        if file.suffix in (".js", ".css", ".html", ".svg"):
            text = file.read_text().replace("http://www.w3.org/2000/svg", "")
            assert not re.search(r"https?://|//\w+\.\w+/", text), file.name


def test_a_file_of_the_page_is_sent_once(explorer):
    first = explorer.get("/js/main.js")
    assert first.headers["content-type"].startswith("text/javascript")
    again = explorer.get("/js/main.js", headers={"if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_every_module_is_asked_for_at_once():
    page = (PAGE / "index.html").read_text()
    ahead = set(re.findall(r'modulepreload" href="js/(\w+)\.js', page))
    assert ahead == {file.stem for file in PAGE.glob("js/*.js")} - {"theme", "still"}


def test_no_script_makes_markup_of_data():
    words = (
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function|DOMParser"
    )
    for file in PAGE.rglob("*.js"):
        assert not re.search(words, file.read_text()), file.name


# --- what is written ------------------------------------------------------------------------------


def test_looking_leaves_the_archive_as_it_is(explorer, market):
    def listed():
        files = (file for file in market.rglob("*") if file.is_file())
        return {file: (file.stat().st_size, file.stat().st_mtime_ns) for file in files}

    before = listed()
    for path in (*QUESTIONS, "/api/aws/keys.parquet", "/api/aws/points.csv?key=" + KEY):
        assert explorer.get(path).status_code == 200, path
    assert listed() == before


# --- how much -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "/api/aws/keys?limit=100000",
        "/api/aws/keys?offset=99999999999999999",
        f"/api/aws/lines?key={KEY}&points=5001",
        "/api/aws/calendar?from=2020-01-01&to=2026-01-01",
        f"/api/aws/points?key={'x' * 2000}",
        f"/api/aws/group?key=*|*|*&key={KEY}",
        f"/api/aws/lines?key={KEY}&from=2026-02-01&to=2026-01-01",
        f"/api/aws/lines?key={KEY}&column=Nope",
        "/api/aws/lines",
        "/api/aws/lines?key=a|b",
        "/api/aws/lines?key=*|*|*",
        "/api/aws/lines?key=a*b|c|d",
        "/api/aws/diff?change=better",
        "/api/aws/diff?v.SpotPrice=1",
        "/api/aws/keys?at=2026-01-30&at=2026-01-31",
        "/api/aws/keys.xlsx",
    ],
)
def test_what_asks_for_too_much_or_for_nonsense_is_refused(explorer, path):
    answer = explorer.get(path)
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]


def test_an_endless_address_is_refused(explorer):
    assert explorer.get("/api/aws/keys?q=" + "x" * 40_000).status_code == 414
