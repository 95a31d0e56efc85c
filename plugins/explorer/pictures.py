"""The pictures of the explorer in `docs/pictures`: `make pictures`, about a minute.

An archive is made up, with what archives have: gaps, uploads, keys that vanish and return, a
correction. Each view is taken in light and dark colours, by Chromium.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qs, quote, urlsplit

import polars as pl
from PIL import Image
from playwright.sync_api import Page, sync_playwright

import titans

ROOT = Path(__file__).parents[2]
PICTURES = ROOT / "docs" / "pictures"
TITANS = Path(sys.executable).with_name("titans")
START = datetime(2026, 1, 12, tzinfo=UTC)
SLOT = timedelta(minutes=10)
DAYS = {"aws": 12, "gcp": 3}
SIZE = {"width": 1280, "height": 800}
CHROMIUM = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--font-render-hinting=none",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--archive", type=Path, help="A folder with the archive, made if missing.")
    parser.add_argument("--out", type=Path, default=PICTURES)
    given = parser.parse_args()
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        sys.exit("no Chromium here; on Debian: apt-get install chromium")

    with tempfile.TemporaryDirectory() as scratch:
        folder = given.archive or Path(scratch) / "prices"
        if not folder.exists():
            make_up(folder)
        with serving(folder) as address:
            take(address, browser, given.out)
        history = Path(scratch) / "from-git"
        ingest_history(Path(scratch) / "prices-repository", history)
        with serving(history) as address:
            take_first_hour(address, browser, given.out)


# --- the archive ----------------------------------------------------------------------------------


def make_up(folder: Path) -> None:
    for provider, days in DAYS.items():
        archive = titans.open(folder, provider=provider)
        slots = 144 * days
        snapshots = archive.provider.example(seed=3, keys=240, slots=slots)
        for number, snapshot in enumerate(snapshots):
            at = START + number * SLOT
            if is_gap(number):
                continue
            if provider == "aws" and 700 <= number < 760:
                # A collector that uploads what changed, and says so every other time.
                archive.upload(snapshot.head(3), at, complete=number % 2 == 0)
                continue
            archive.ingest(without_some(snapshot, number), at, max_ceased=1.0)
    archive = titans.open(folder, provider="aws")
    wrong = START + 900 * SLOT
    state = archive.state(wrong + SLOT - timedelta(seconds=1)).drop("Time")
    doubled = pl.col("SpotPrice") * pl.when(pl.col("Region") == state["Region"][0]).then(1.5)
    better = state.with_columns(doubled.fill_null(pl.col("SpotPrice")))
    archive.amend(better, wrong, reason="prices of another currency")
    print(f"an archive of {archive.changes().height:,} change points in {folder}")


def is_gap(number: int) -> bool:
    """An outage of five hours, and slots that were missed now and then."""
    return 400 <= number < 430 or number % 97 == 13 or 1250 <= number < 1262


def without_some(snapshot: pl.DataFrame, number: int) -> pl.DataFrame:
    """The key that the pictures show is away for a day."""
    if 1000 <= number < 1120:
        return snapshot.slice(1)
    return snapshot


# --- the pictures ---------------------------------------------------------------------------------


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """The address of an explorer of the folder."""
    command = [TITANS, "explore", "--store", folder, "--sql", "--port", "0"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    yield server.stdout.readline().split()[-1]
    server.terminate()
    server.communicate(timeout=20)


def ingest_history(repository: Path, store: Path) -> None:
    """As docs/first-hour.md does."""
    script = ROOT / "examples" / "git-history" / "make_repository.py"
    subprocess.run([sys.executable, script, repository], check=True)
    git = ["--git", repository, "--path", "data/prices.json", "--records", "items"]
    command = [TITANS, "ingest", *git, "--provider", "aws", "--store", store]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def take_first_hour(address: str, browser: str, out: Path) -> None:
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser, args=CHROMIUM)
        page = chromium.new_page(viewport={"width": 1280, "height": 720}, locale="en-US")
        page.goto(f"{address}?view=keys&provider=aws&q=a1")
        page.wait_for_selector("tbody tr a")
        key = named(page.locator("tbody tr a").first.get_attribute("href"))
        region = quote("|".join(["*", key.split("|")[1], "*"]), safe="")
        query = f"?view=key&provider=aws&key={quote(key, safe='')}&key={region}"
        shoot(page, f"{address}{query}&column=SpotPrice&column=Savings", out / "first-hour.png")
        chromium.close()


def views(folder_keys: list[str]) -> dict[str, str]:
    one, two = (quote(key, safe="") for key in folder_keys)
    family = quote(f"*|{folder_keys[0].split('|')[1]}|*", safe="")
    return {
        "archive": "?view=archive&provider=aws",
        "keys": "?view=keys&provider=aws&at=2026-01-19T12:00:00Z"
        "&sort=SpotPrice&desc=1&v.SpotPrice=%3E0.5",
        "key": f"?view=key&provider=aws&key={one}&key={two}&key={family}"
        "&column=SpotPrice&column=Savings",
        "compare": "?view=compare&provider=aws&t1=2026-01-14T00:00:00Z&t2=2026-01-23T00:00:00Z",
        "sql": "?view=sql&provider=aws&q="
        + quote(
            "SELECT Region, count(*) AS keys, median(SpotPrice) AS median,\n"
            "       max(SpotPrice) AS highest\n"
            "FROM latest GROUP BY ALL ORDER BY median DESC",
            safe="",
        ),
    }


def take(address: str, browser: str, out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser, args=CHROMIUM)
        for theme in ("light", "dark"):
            context = chromium.new_context(viewport=SIZE, color_scheme=theme, locale="en-US")
            page = context.new_page()
            page.goto(f"{address}?view=keys&provider=aws")
            page.wait_for_selector("tbody tr a")
            links = page.locator("tbody tr a")
            first, second = (named(links.nth(n).get_attribute("href")) for n in (0, 1))
            for name, query in views([first, second]).items():
                shoot(page, f"{address}{query}", out / f"explorer-{name}-{theme}.png")
            context.close()
        context = chromium.new_context(
            viewport={"width": 400, "height": 800}, color_scheme="light", locale="ko-KR"
        )
        query = views([first, second])["key"]
        shoot(context.new_page(), f"{address}{query}", out / "explorer-narrow-korean.png")
        chromium.close()


def named(href: str | None) -> str:
    """The key that a link leads to."""
    return parse_qs(urlsplit(href or "").query)["key"][0]


def shoot(page: Page, address: str, file: Path) -> None:
    page.goto("about:blank")
    page.goto(address)
    page.wait_for_selector("body[data-ready=true]")
    page.wait_for_load_state("networkidle")
    if "-key-" in file.name:
        page.mouse.move(250, 380)
    page.wait_for_timeout(200)
    page.screenshot(path=file)
    # 128 colours look the same, in a third of the bytes.
    Image.open(file).convert("RGB").quantize(128).save(file, optimize=True)
    print(f"{file.name}: {file.stat().st_size // 1024} KB")


if __name__ == "__main__":
    main()
