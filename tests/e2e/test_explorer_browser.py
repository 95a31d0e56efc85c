"""The explorer in a real browser: every view opens, is clicked through, and no script complains."""

from __future__ import annotations

import functools
import json
import re
import shutil
import subprocess
import sys
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import polars as pl
import pytest
from fixtures_explorer import AWAY, BEGIN, GONE, HOUR, MARKUP

import titans

pytest.importorskip("titans_explorer", reason="titans-explorer is not installed")
playwright_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here (apt-get install chromium)"),
    pytest.mark.slow,
    pytest.mark.xdist_group("browser"),
]
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
KEY = "m5.large|us-east-1|use1-az1"


@pytest.fixture(scope="module")
def server(market):
    """The address of the explorer of the market."""
    command = [Path(sys.executable).with_name("titans"), "explore", "--store", market, "--sql"]
    process = subprocess.Popen([*command, "--port", "0"], stdout=subprocess.PIPE, text=True)
    yield process.stdout.readline().split()[-1]
    process.terminate()
    process.communicate(timeout=20)


@pytest.fixture(scope="module")
def still(market, tmp_path_factory):
    """The address of a web server that knows nothing but the files of a still copy."""
    from titans_explorer.still import write_still

    site = tmp_path_factory.mktemp("still") / "site"
    write_still(market, site)

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    files = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(site)))
    thread = threading.Thread(target=files.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{files.server_port}/"
    files.shutdown()
    thread.join()
    files.server_close()


@pytest.fixture(scope="module")
def chromium():
    with playwright_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def visit(chromium):
    """Opens pages; at the end none of them has complained or asked another host."""
    complaints, contexts = [], []

    def opened(address, *, theme="light", locale="en-US", width=1280, expected=()):
        context = chromium.new_context(
            color_scheme=theme, locale=locale, viewport={"width": width, "height": 900}
        )
        contexts.append(context)
        page = context.new_page()
        home = urlsplit(address).netloc

        def noted(message):
            if message.type in ("error", "warning") and not any(
                re.search(each, message.text) for each in expected
            ):
                complaints.append(message.text)

        page.on("console", noted)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: complaints.append(f"dialog: {dialog.message}"))
        page.on(
            "request",
            lambda request: (
                complaints.append(f"asked {request.url}")
                if urlsplit(request.url).netloc not in (home, "")
                else None
            ),
        )
        page.goto(address)
        ready(page)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert complaints == []


def ready(page):
    page.wait_for_selector("body[data-ready=true]")


def params(page):
    return parse_qs(urlsplit(page.url).query)


VIEWS = {
    "archive": "?view=archive&provider=aws",
    "keys": "?view=keys&provider=aws&q=m5&k.Region=us-east-1&sort=SpotPrice&desc=1",
    "key": f"?view=key&provider=aws&key={KEY}&key=m5.*%7C*%7C*",
    "compare": "?view=compare&provider=aws",
    "sql": "?view=sql&provider=aws&q=SELECT%20count(*)%20AS%20n%20FROM%20changes",
}
SHOWN = {
    "archive": "canvas.calendar",
    "keys": "tbody tr.opens",
    "key": "svg.chart .line path",
    "compare": ".movers li",
    "sql": "tbody td.number",
}


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize(("theme", "locale"), [("light", "en-US"), ("dark", "ko-KR")])
def test_every_view_opens_by_its_address(visit, server, view, theme, locale):
    page = visit(server + VIEWS[view], theme=theme, locale=locale)
    assert page.locator(SHOWN[view]).count() > 0
    assert page.locator(".failure").count() == 0
    assert page.locator("nav a[aria-current=page]").get_attribute("data-view") == view
    assert page.locator("html").get_attribute("lang") == locale[:2]
    unnamed = page.locator(
        "button:not([aria-label]), canvas:not([aria-label]), svg[role]:not([aria-label])"
    )
    assert [each for each in unnamed.all() if not each.inner_text().strip()] == []


@pytest.mark.parametrize("view", VIEWS)
def test_every_view_fits_on_a_narrow_screen(visit, server, view):
    page = visit(server + VIEWS[view], width=390)
    wide = page.evaluate("() => document.documentElement.scrollWidth")
    assert wide <= 390


def test_from_the_calendar_to_a_key_and_its_gap(visit, server):
    page = visit(server)
    assert page.locator(".tile .value").first.inner_text() == "27"
    calendar = page.locator("canvas.calendar")
    calendar.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    assert "2026-01-31 00:00" in page.locator(".tip").inner_text()
    page.keyboard.press("Enter")
    page.wait_for_selector("tbody tr.opens")
    ready(page)
    assert params(page)["view"] == ["keys"]
    assert params(page)["at"][0].startswith("2026-01-31T00:09:59")

    page.keyboard.press("/")
    page.keyboard.type("m5.large")
    page.wait_for_function("() => document.querySelectorAll('tbody tr.opens').length === 1")
    assert params(page)["q"] == ["m5.large"]
    page.locator("tbody tr.opens a").click()
    page.wait_for_selector("svg.chart .line path", state="attached")
    ready(page)
    assert params(page)["key"] == [KEY]
    assert page.locator("svg.chart .gap").count() > 0
    assert page.locator("svg.chart .amended").count() > 0
    assert "vanished" in page.locator("tbody").inner_text()
    page.go_back()
    page.wait_for_selector("input[type=search]")
    assert page.locator("input[type=search]").input_value() == "m5.large"


def test_a_table_is_filtered_and_sorted_and_keys_are_chosen(visit, server):
    page = visit(server + "?view=keys&provider=aws")
    page.locator("input[data-filter=SpotPrice]").fill(">1")
    page.wait_for_function("() => location.search.includes('SpotPrice')")
    ready(page)
    archive = page.request.get(f"{server}api/aws/keys?v.SpotPrice=>1").json()
    page.wait_for_function(
        f"() => document.querySelectorAll('tbody tr.opens').length === {archive['count']}"
    )
    assert page.locator("input[data-filter=SpotPrice]").evaluate(
        "(node) => node === document.activeElement"
    )

    page.get_by_role("button", name="Sort by SpotPrice").click()
    page.wait_for_selector("th[aria-sort=descending]")
    first = page.locator("tbody tr.opens td.number").all_inner_texts()
    assert params(page)["desc"] == ["1"]
    assert first

    page.locator("label.value", has_text="eu-west-1").click()
    page.wait_for_function("() => location.search.includes('k.Region=eu-west-1')")
    ready(page)
    for number in (0, 1):
        page.locator("tbody tr.opens input[type=checkbox]").nth(number).check()
    page.get_by_role("link", name="Show 2 together").click()
    page.wait_for_selector("svg.chart .line path", state="attached")
    ready(page)
    assert len(params(page)["key"]) == 2
    assert page.locator(".line-chip").count() == 2


def test_the_slider_moves_the_state(visit, server):
    page = visit(server + "?view=keys&provider=aws&q=m5.large")
    assert page.locator("tbody tr.opens").count() == 1
    slider = page.locator("input[type=range]")
    moment = BEGIN + (GONE.start + 2) * HOUR
    slider.evaluate(
        "(node, at) => { node.value = at; node.dispatchEvent(new Event('input')); }",
        round(moment.timestamp() * 1000),
    )
    page.wait_for_selector("tbody tr.none")
    assert params(page)["at"] == ["2026-01-31T08:00:00Z"]
    page.get_by_role("button", name="Newest").click()
    page.wait_for_selector("tbody tr.opens")
    assert "at" not in params(page)


def test_a_line_is_zoomed_by_dragging_and_by_keys(visit, server):
    page = visit(server + f"?view=key&provider=aws&key={KEY}&column=SpotPrice")
    chart = page.locator("svg.chart")
    box = chart.bounding_box()
    page.mouse.move(box["x"] + 300, box["y"] + 80)
    page.mouse.down()
    page.mouse.move(box["x"] + 600, box["y"] + 80, steps=4)
    page.mouse.up()
    page.wait_for_function("() => location.search.includes('from=')")
    ready(page)
    first = page.locator(".range input").first.input_value()
    assert first.startswith("2026-01-30")
    assert page.locator(".tip").inner_text().startswith("2026-01-3")

    chart.focus()
    page.keyboard.press("0")
    page.wait_for_function("() => !location.search.includes('from=')")
    ready(page)
    page.keyboard.press("ArrowRight")
    assert "m5.large" in chart.get_attribute("aria-description")
    page.keyboard.press("+")
    page.wait_for_function("() => location.search.includes('from=')")


def test_a_group_is_added_to_a_key(visit, server):
    page = visit(server + f"?view=key&provider=aws&key={KEY}")
    page.get_by_label("InstanceType", exact=True).fill("c5.*")
    page.get_by_role("button", name="Add a key or group").click()
    page.wait_for_selector("svg.chart .spread")
    ready(page)
    assert params(page)["key"] == [KEY, "c5.*|*|*"]
    page.get_by_role("button", name="SPS", exact=True).click()
    page.wait_for_function("() => document.querySelectorAll('svg.chart').length >= 1")
    ready(page)
    page.get_by_role("button", name=re.compile("Remove m5.large")).click()
    page.wait_for_function("() => document.querySelectorAll('.line-chip').length === 1")
    ready(page)
    assert params(page)["key"] == ["c5.*|*|*"]


def test_two_moments_are_compared(visit, server):
    page = visit(
        server + "?view=compare&provider=aws&t1=2026-01-30T20:00:00Z&t2=2026-01-31T11:00:00Z"
    )
    assert page.locator(".segment.removed b").inner_text() == "1"
    page.locator(".segment.removed").click()
    page.wait_for_function("() => document.querySelectorAll('tbody tr.opens').length === 1")
    ready(page)
    assert "m5.large" in page.locator("tbody").inner_text()
    page.get_by_role("button", name="Swap").click()
    page.wait_for_function("() => document.querySelector('.segment.added b').textContent === '1'")
    ready(page)
    assert params(page)["t1"] == ["2026-01-31T11:00:00Z"]


def test_what_is_shown_can_be_copied_and_downloaded(visit, server, market, monkeypatch):
    page = visit(server + "?view=keys&provider=aws&q=m5")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.locator("[data-tool=python]").click()
    page.wait_for_selector("[data-tool=python].done")
    code = page.evaluate("() => navigator.clipboard.readText()")
    names = {}
    monkeypatch.chdir(market.parent)
    exec(code, names)
    page.locator("[data-tool=link]").click()
    page.wait_for_selector("[data-tool=link].done")
    assert page.evaluate("() => navigator.clipboard.readText()") == page.url

    with page.expect_download() as saved:
        page.locator("[data-tool=csv]").click()
    assert Path(saved.value.path()).read_text() == names["frame"].write_csv()
    with page.expect_download() as saved:
        page.locator("[data-tool=parquet]").click()
    assert pl.read_parquet(saved.value.path()).equals(names["frame"])


def test_sql_is_run_and_a_mistake_is_told(visit, server, market):
    refused = "status of 400"  # the browser's own note of the mistake
    page = visit(server + "?view=sql&provider=aws", expected=[refused])
    query = page.locator("textarea")
    query.fill("SELECT count(*) AS n FROM changes")
    query.press("Control+Enter")
    page.wait_for_selector("tbody td.number")
    ready(page)
    expected = titans.open(market, provider="aws").changes().height
    assert page.locator("tbody td.number").inner_text() == str(expected)
    query.fill("SELECT nothing FROM nowhere")
    page.get_by_role("button", name="Run", exact=True).click()
    page.wait_for_selector(".failure")
    assert "nowhere" in page.locator(".failure").inner_text()


def test_a_key_that_is_markup_is_shown_as_text(visit, server):
    page = visit(server + "?view=keys&provider=aws&q=onerror")
    assert page.locator("tbody tr.opens a").inner_text() == MARKUP
    page.locator("tbody tr.opens a").click()
    page.wait_for_selector("svg.chart .line path", state="attached")
    ready(page)
    assert MARKUP in page.locator(".line-chip").inner_text()
    assert page.locator("main img").count() == 0
    title = page.locator("svg.chart .amended title").first.text_content()
    assert "<b>wrong</b> unit" in title


def test_colours_and_language_are_chosen_and_stay(visit, server):
    page = visit(server + "?view=archive&provider=aws")
    page.get_by_role("button", name="Dark colours").click()
    assert page.locator("html").get_attribute("data-theme") == "dark"
    page.get_by_role("button", name="한국어로 보기").click()
    page.wait_for_function("() => document.documentElement.lang === 'ko'")
    ready(page)
    assert page.locator("nav a").first.inner_text() == "아카이브"
    page.reload()
    ready(page)
    assert page.locator("html").get_attribute("data-theme") == "dark"
    assert page.locator("nav a").first.inner_text() == "아카이브"


def test_another_archive_of_the_store_is_chosen(visit, server):
    page = visit(server)
    page.locator("select.provider").select_option("gcp")
    page.wait_for_function("() => document.querySelector('h1').textContent === 'gcp'")
    ready(page)
    for view in ("keys", "compare"):
        page.locator(f"nav a[data-view={view}]").click()
        page.wait_for_selector(f".view.{view}")
        ready(page)
    page.locator("nav a[data-view=keys]").click()
    page.wait_for_selector("tbody tr.opens")
    page.locator("tbody tr.opens a").first.click()
    page.wait_for_selector("svg.chart")
    ready(page)
    assert page.locator(".failure").count() == 0


def test_the_keyboard_alone_reaches_every_view(visit, server):
    page = visit(server)
    for number, view in enumerate(VIEWS, 1):
        page.keyboard.press(str(number))
        page.wait_for_selector(f".view.{view}")
        ready(page)
        page.locator("main").focus()
    page.keyboard.press("1")
    page.wait_for_selector(".view.archive")
    page.keyboard.press("Tab")
    focused = page.evaluate("() => document.activeElement.tagName")
    assert focused in ("A", "BUTTON", "SELECT", "INPUT")


# --- without the server ---------------------------------------------------------------------------


def asked(page, question, query):
    """What the page's own source answers."""
    return page.evaluate(
        "async ([question, query]) => (await import('./js/still.js'))"
        ".ask('aws', question, new URLSearchParams(query))",
        [question, query],
    )


@pytest.mark.parametrize("view", [view for view in VIEWS if view != "sql"])
def test_a_still_copy_has_the_same_views(visit, still, view):
    page = visit(still + VIEWS[view])
    assert page.locator(SHOWN[view]).first.is_visible()
    assert page.locator(".failure").count() == 0
    assert page.locator("[data-tool=python]").count() == 0
    assert page.locator("nav a[data-view=sql]").count() == 0
    assert "Left out: SQL" in page.locator(".still").inner_text()


AT = (BEGIN + 35.5 * HOUR).isoformat().replace("+00:00", "Z")
QUERIES = [
    ("keys", "limit=500"),
    ("keys", f"at={AT}&q=m5&k.Region=us-east-1&v.SpotPrice=%3E0.2&sort=SpotPrice&desc=1&limit=5"),
    ("keys", "v.SPS=1..2&sort=SPS&limit=100&offset=3"),
    ("lines", f"key={KEY}&column=SpotPrice"),
    ("lines", f"key={KEY}&column=SPS&from=2026-01-30T10:30:00Z&to=2026-02-01T00:00:00Z"),
    ("points", f"key={KEY}&limit=500"),
    ("points", "key=m5.2xlarge%7Cus-east-1%7Caz0&limit=500"),
    ("diff", f"t1=2026-01-30T20:00:00Z&t2={AT}&limit=500&column=SpotPrice"),
    ("diff", f"t1=2026-01-30T20:00:00Z&t2={AT}&change=changed&sort=SpotPrice&desc=1&limit=10"),
]
SAME = (
    "living",
    "count",
    "facets",
    "columns",
    "rows",
    "charts",
    "counts",
    "values",
    "movers",
    "amended",
    "empty",
)


@pytest.mark.parametrize(("question", "query"), QUERIES)
def test_a_still_copy_answers_as_the_server(visit, server, still, question, query):
    page = visit(still)
    mine = json.loads(json.dumps(asked(page, question, query)))
    theirs = page.request.get(f"{server}api/aws/{question}?{query}").json()
    for name in SAME:
        if name == "columns":
            names = [[each["name"] for each in answer.get(name, ())] for answer in (mine, theirs)]
            assert names[0] == names[1]
        elif name in theirs:
            assert since(mine, name) == since(theirs, name), name


def since(answer, name):
    """A part of an answer. At the start of a month the server's states say since when they were
    restated, those of a copy since when they hold."""
    value = rounded(answer.get(name))
    if name != "rows" or "living" not in answer:
        return value
    at = [column["name"] for column in answer["columns"]].index("Time")
    return [[*row[:at], *row[at + 1 :]] for row in value]


def rounded(value):
    if isinstance(value, float):
        return round(value, 9)
    if isinstance(value, list):
        return [rounded(each) for each in value]
    if isinstance(value, dict):
        return {name: rounded(each) for name, each in value.items()}
    return value


def test_a_still_copy_saves_its_tables(visit, still, market):
    page = visit(still + "?view=keys&provider=aws")
    with page.expect_download() as saved:
        page.locator("[data-tool=csv]").click()
    csv = pl.read_csv(saved.value.path())
    latest = titans.open(market, provider="aws").latest()
    assert csv["SpotPrice"].to_list() == latest["SpotPrice"].to_list()
    assert csv.filter(pl.col("InstanceType") == AWAY["InstanceType"]).height == 1
