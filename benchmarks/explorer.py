"""How long the views of the explorer take: the server's time for each question of a view, and the
first paint in a browser.

    python benchmarks/explorer.py --archive FOLDER           # of provider aws
    python benchmarks/explorer.py --archive FOLDER --browser

Each question is asked of a server that was started for it, so that nothing is known but what the
server learns by itself when it starts, and then once more. The lines are those of the table in
docs/explorer.md.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from urllib.parse import quote

import titans

TITANS = Path(sys.executable).with_name("titans")
WARM = 3.0
"""Seconds that a server has to itself after it was started."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--archive", type=Path, required=True)
    parser.add_argument("--browser", action="store_true", help="Also measure the first paint.")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="", help="Questions with this word in their name.")
    given = parser.parse_args()

    print("| view | question | first | again | bytes |")
    print("| --- | --- | --- | --- | --- |")
    for (view, name), path in questions(given.archive).items():
        if given.only not in name:
            continue
        first, again, size = 1e9, 1e9, 0
        for _ in range(given.rounds):
            with Server(given.archive) as server:
                once, size = server.timed(path)
                first = min(first, once)
                again = min(again, server.timed(path)[0])
        print(f"| {view} | {name} | {first:.0f} ms | {again:.0f} ms | {size:,} |", flush=True)
    if given.browser:
        paint(given.archive)


def questions(folder: Path) -> dict[tuple[str, str], str]:
    """View and what is asked → the address."""
    archive = titans.open(folder, provider="aws")
    key = archive.latest().select(archive.provider.key)
    names = ["|".join(key.row(n)) for n in range(5000 % key.height, key.height, 3000)][:8]
    eight = "&".join(f"key={quote(each)}" for each in names)
    first, last = archive.files()["min_time"].min(), archive.files()["max_time"].max()
    quarter = (last - first) / 4
    t1, t2, middle = (f"{first + n * quarter:%Y-%m-%dT%H:%M:%SZ}" for n in (1, 3, 2))
    return {
        ("Archive", "what it consists of"): "about",
        ("Archive", "calendar, at most a year"): "calendar",
        ("Keys", "the newest state"): "keys",
        ("Keys", "a state, searched and sorted"): f"keys?at={middle}&q=m5&sort=SpotPrice&desc=1",
        ("History", "a key, all columns"): f"lines?key={quote(names[0])}",
        ("History", "eight keys"): f"lines?{eight}&column=SpotPrice",
        ("History", "change points of a key"): f"points?key={quote(names[0])}",
        ("History", "a family in a region"): "group?key=m5.*|us-east-1|*&column=SpotPrice",
        ("History", "a region"): "group?key=*|us-east-1|*&column=SpotPrice",
        ("History", "all keys"): "group?key=*|*|*&column=SpotPrice",
        ("Compare", "two moments"): f"diff?t1={t1}&t2={t2}",
        ("SQL", "keys and median by region"): "sql?q="
        + quote("SELECT Region, count(*), median(SpotPrice) FROM latest GROUP BY ALL"),
        ("SQL", "change points by region"): "sql?q="
        + quote("SELECT Region, count(*) FROM changes GROUP BY ALL"),
    }


class Server:
    """The command, in a process of its own."""

    def __init__(self, folder: Path) -> None:
        command = [TITANS, "explore", "--store", folder, "--sql", "--port", "0"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.address = self.process.stdout.readline().split()[-1]

    def __enter__(self) -> Server:
        time.sleep(WARM)
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.communicate(timeout=30)

    def timed(self, path: str) -> tuple[float, int]:
        """Milliseconds until the whole answer was there, and its bytes."""
        started = time.perf_counter()
        url = f"{self.address}api/aws/{path.replace(' ', '%20')}"
        with urllib.request.urlopen(url) as answer:  # noqa: S310 - our own server
            size = len(answer.read())
        return (time.perf_counter() - started) * 1000, size


def paint(folder: Path) -> None:
    """First contentful paint, and until a view has all its data, in a new browser profile."""
    from playwright.sync_api import sync_playwright

    browser = shutil.which("chromium") or shutil.which("google-chrome")
    flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync"]
    archive = titans.open(folder, provider="aws")
    key = "|".join(archive.latest().select(archive.provider.key).row(0))
    views = {name: f"?view={name}&provider=aws" for name in ("archive", "keys", "compare")}
    views["key"] = f"?view=key&provider=aws&key={quote(key)}"
    print("\n| view | first paint | all of it |\n| --- | --- | --- |")
    with Server(folder) as server, sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser, args=flags)
        for name, query in views.items():
            best = (1e9, 1e9)
            for _ in range(3):
                page = chromium.new_context().new_page()
                started = time.perf_counter()
                page.goto(f"{server.address}{query}")
                page.wait_for_selector("body[data-ready=true]")
                whole = (time.perf_counter() - started) * 1000
                entry = "() => performance.getEntriesByName('first-contentful-paint')[0].startTime"
                best = min(best, (page.evaluate(entry), whole))
                page.context.close()
            print(f"| {name} | {best[0]:.0f} ms | {best[1]:.0f} ms |", flush=True)
        chromium.close()


if __name__ == "__main__":
    main()
