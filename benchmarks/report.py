"""The tables and pictures of docs/performance.md, from `benchmarks/results/`. What was measured is
not measured again.

    python benchmarks/report.py             # what there are results for; pictures need matplotlib
    python benchmarks/report.py --check     # exit status 1 if the page says something else than the results

Between `<!-- results: NAME -->` and `<!-- end -->` stands what is made here; all other text of the
page is written by hand.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from compare import RESULTS, machine

PAGE = Path(__file__).resolve().parents[1] / "docs" / "performance.md"
PICTURES = PAGE.parent / "pictures"
QUESTIONS = {
    "history": "history of a key",
    "state": "state as of t",
    "latest": "latest state",
    "hour": "one hour",
    "daily": "by region and day",
}
Line = dict[str, Any]


def results(folder: Path, name: str) -> list[Line]:
    """Lines of one kind of measurement, the machine first. Raises `FileNotFoundError`."""
    return [json.loads(line) for line in (folder / f"{name}.jsonl").read_text().splitlines()]


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *rows]]
    return "\n".join(lines)


def about(machine: Line) -> str:
    """What a table was measured on, and how."""
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    memory = machine["memory_bytes"] / 2**30
    return (
        f"`{machine['command']}` on {machine['measured']}: {machine['cpu']}, {machine['cores']} "
        f"cores, {memory:.0f} GiB, "
        f"{machine['system']}, Python {machine['python']}; {versions}. Load when it began: "
        f"{machine['load']}."
    )


def number(value: float) -> str:
    """Three digits."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def megabytes(value: float) -> str:
    return number(value / 1e6)


# --- the comparison -------------------------------------------------------------------------------

_STORING: dict[str, Callable[[Line], float]] = {
    "slot p50": lambda p: p["p50_ms"],
    "p95": lambda p: p["p95_ms"],
    "worst": lambda p: p["max_ms"],
    "total": lambda p: p["total_s"],
    "peak memory": lambda p: p["peak_bytes"],
    "disk": lambda p: p["disk_bytes"],
    "written": lambda p: p["written_bytes"],
}


def _asking(when: str) -> dict[str, Callable[[Line], float]]:
    return {
        text: lambda p, q=name: p["questions"][q][f"{when}_ms"] for name, text in QUESTIONS.items()
    }


def _ratios(peers: list[Line], columns: dict[str, Callable[[Line], float]]) -> str:
    own = next(p for p in peers if p["peer"] == "titans")
    rows = [
        [p["peer"], *(f"{get(p) / get(own):.2f}" for get in columns.values())]
        for p in peers
        if p is not own
    ]
    return table(["", *columns], rows)


def comparison(folder: Path, size: str) -> str:
    about_it, *peers = results(folder, size)
    lines = [
        (
            f"{about_it['rows']:,} change points of {about_it['keys']:,} keys in {about_it['slots']:,} "
            f"slots. {about(about_it)}"
        ),
        "**How many times what TITANS needs** (more than 1: TITANS needs less), storing:",
        _ratios(peers, _STORING),
        (
            "asking in a new process (the store is opened; imports are done, files are in the page "
            "cache):"
        ),
        _ratios(peers, _asking("cold")),
        "asking again, for something else each time:",
        _ratios(peers, _asking("warm")),
        "**As measured**, storing:",
        table(
            [
                "",
                "slot p50 ms",
                "p95 ms",
                "worst ms",
                "first ms",
                "finish s",
                "total s",
                "peak MiB",
                "disk MB",
                "written MB",
                "safe",
            ],
            [
                [
                    p["peer"],
                    number(p["p50_ms"]),
                    number(p["p95_ms"]),
                    number(p["max_ms"]),
                    number(p["first_ms"]),
                    number(p["finish_ms"] / 1e3),
                    number(p["total_s"]),
                    number(p["peak_bytes"] / 2**20),
                    megabytes(p["disk_bytes"]),
                    megabytes(p["written_bytes"]),
                    p["durable"],
                ]
                for p in peers
            ],
        ),
        "asking, ms (cold / warm):",
        table(
            ["", *QUESTIONS.values()],
            [
                [
                    p["peer"],
                    *(
                        f"{number(a['cold_ms'])} / {number(a['warm_ms'])}"
                        for a in (p["questions"][q] for q in QUESTIONS)
                    ),
                ]
                for p in peers
            ],
        ),
    ]
    return "\n\n".join(lines)


def plain(axis: Any, digits: tuple[int, ...] = (1,)) -> None:
    """A logarithmic axis with plain numbers at the powers of ten, or also at other first digits,
    and none between.
    """
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axis.set_major_locator(LogLocator(subs=digits))
    axis.set_major_formatter(
        FuncFormatter(lambda value, _: f"{value:,g}" if value < 1e6 else f"{value / 1e6:g} M")
    )
    axis.set_minor_formatter(NullFormatter())


def draw_comparison(folder: Path, size: str, out: Path, plt: Any) -> None:
    about_it, *peers = results(folder, size)
    names = [p["peer"] for p in peers]
    charts = {
        "slot, ms (p50, p95, worst)": [
            lambda p: p["p50_ms"],
            lambda p: p["p95_ms"],
            lambda p: p["max_ms"],
        ],
        "peak memory, MiB": [lambda p: p["peak_bytes"] / 2**20],
        "disk, MB": [lambda p: p["disk_bytes"] / 1e6],
        **{
            f"{text}, ms (cold, warm)": [
                lambda p, q=q: p["questions"][q]["cold_ms"],
                lambda p, q=q: p["questions"][q]["warm_ms"],
            ]
            for q, text in QUESTIONS.items()
        },
    }
    figure, axes = plt.subplots(2, 4, figsize=(15, 6.5), layout="constrained")
    for axis, (title, gets) in zip(axes.flat, charts.items(), strict=True):
        width = 0.8 / len(gets)
        for n, get in enumerate(gets):
            places = [i + (n - (len(gets) - 1) / 2) * width for i in range(len(names))]
            colors = ["#c44e52" if name == "titans" else "#7f8fa6" for name in names]
            axis.bar(places, [get(p) for p in peers], width * 0.92, color=colors, alpha=1 - 0.3 * n)
        axis.set_xticks(range(len(names)), names, rotation=35)
        if "ms (" in title:
            least = min(get(p) for get in gets for p in peers)
            axis.set_yscale("log")
            plain(axis.yaxis)
            axis.set_ylim(bottom=10.0 ** math.floor(math.log10(least)))
        axis.set_title(title, fontsize=10)
        axis.grid(axis="y", alpha=0.3)
    figure.suptitle(
        f"{about_it['rows']:,} change points of {about_it['keys']:,} keys, {about_it['slots']:,} "
        "slots; times logarithmic, less is better"
    )
    figure.savefig(out, dpi=100, metadata={"Software": None})


# --- growth ---------------------------------------------------------------------------------------


def growth(folder: Path) -> str:
    about_it, *lines = results(folder, "growth")
    months = [line for line in lines if line["kind"] == "month"]
    keys = [line for line in lines if line["kind"] == "keys"]
    shown = [months[n - 1] for n in (1, 3, 12)]
    slots = sum(m["slots"] for m in months)
    return "\n\n".join(
        [
            about(about_it),
            (
                f"**Age**: {months[0]['keys']} keys, every slot of a year ({slots:,}), `upload` "
                "and compaction, in memory. What a slot of the month "
                "costs, and a state in it:"
            ),
            table(
                [
                    "month",
                    "slot p50 ms",
                    "worst ms",
                    "calls to the store a slot",
                    "state ms",
                    "files a state opens, most",
                    "manifest kB, most",
                ],
                [
                    [
                        m["month"],
                        number(m["slot_p50_ms"]),
                        number(m["slot_max_ms"]),
                        number(m["calls_a_slot"]),
                        number(m["state_ms"]),
                        str(m["files_a_state"]),
                        number(m["manifest_bytes"] / 1e3),
                    ]
                    for m in shown
                ],
            ),
            (
                f"**Keys**: {keys[0]['slots']} slots, 4 % of the keys change in each, `upload` and "
                "compaction, in a folder, synced. The first slot, "
                "which has every key, is apart:"
            ),
            table(
                [
                    "keys",
                    "slot p50 ms",
                    "p95 ms",
                    "worst ms",
                    "first ms",
                    "state ms",
                    "peak MiB after the first",
                    "peak MiB in the first",
                    "manifest kB",
                ],
                [
                    [
                        f"{k['keys']:,}",
                        number(k["p50_ms"]),
                        number(k["p95_ms"]),
                        number(k["max_ms"]),
                        number(k["first_ms"]),
                        number(k["state_ms"]),
                        number(k["peak_bytes"] / 2**20),
                        number(k["first_peak_bytes"] / 2**20),
                        number(k["manifest_bytes"] / 1e3),
                    ]
                    for k in keys
                ],
            ),
        ]
    )


def draw_growth(folder: Path, out: Path, plt: Any) -> None:
    _, *lines = results(folder, "growth")
    months = [line for line in lines if line["kind"] == "month"]
    keys = [line for line in lines if line["kind"] == "keys"]
    figure, axes = plt.subplots(2, 4, figsize=(15, 6.5), layout="constrained")
    aged = [
        ("slot p50, ms", "slot_p50_ms", 1),
        ("state, ms", "state_ms", 1),
        ("files a state opens, most", "files_a_state", 1),
        ("manifest, kB, most", "manifest_bytes", 1e3),
    ]
    many = [
        ("slot p50 and p95, ms", ("p50_ms", "p95_ms"), 1),
        ("state, ms", ("state_ms",), 1),
        ("peak memory after the first slot, MiB", ("peak_bytes",), 2**20),
        ("manifest, kB", ("manifest_bytes",), 1e3),
    ]
    for axis, (title, name, unit) in zip(axes[0], aged, strict=True):
        axis.plot(range(1, 13), [m[name] / unit for m in months], "o-", color="#c44e52")
        axis.set_ylim(0, 1.15 * axis.get_ylim()[1])
        axis.set_xlabel("month of the archive")
        axis.set_title(title, fontsize=10)
    for axis, (title, names, unit) in zip(axes[1], many, strict=True):
        for name in names:
            axis.plot(
                [k["keys"] for k in keys],
                [k[name] / unit for k in keys],
                "o-",
                label=name.partition("_")[0],
            )
        axis.set_xscale("log")
        plain(axis.xaxis)
        if title != "manifest, kB":
            axis.set_yscale("log")
            plain(axis.yaxis, (1, 2, 5))
        else:
            axis.set_ylim(0, 1.15 * axis.get_ylim()[1])
        axis.set_xlabel("keys")
        if len(names) > 1:
            axis.legend()
        axis.set_title(title, fontsize=10)
    for axis in axes.flat:
        axis.grid(alpha=0.3)
    figure.savefig(out, dpi=100, metadata={"Software": None})


# --- cold start, prices ---------------------------------------------------------------------------


def cold_start(folder: Path) -> str:
    about_it, imports, *rest = results(folder, "cold_start")
    ms = imports["ms"]
    uploads = [line for line in rest if line["kind"] == "first upload"]
    size = next(line for line in rest if line["kind"] == "size")
    parts = list(max((line["ms"] for line in uploads), key=len))
    largest = [(name, count) for name, count in size["bytes"].items() if count > 1e6]
    return "\n\n".join(
        [
            f"The least of {about_it['runs']} processes. {about(about_it)}",
            (
                f"**`import titans` takes {100 * ms['titans'] / ms['polars']:.1f} % of `import "
                f"polars`**: {number(ms['titans'])} ms of "
                f"{number(ms['polars'])} ms (`import boto3`: {number(ms['boto3'])} ms)."
            ),
            (
                f"The first `upload_hot_tier` of a process ({about_it['keys']:,} change points), in "
                "its parts, ms:"
            ),
            table(
                ["", *(line["store"] for line in uploads)],
                [
                    [
                        part,
                        *(
                            number(line["ms"][part]) if part in line["ms"] else ""
                            for line in uploads
                        ),
                    ]
                    for part in parts
                ]
                + [
                    [
                        "**all before the second**",
                        *(
                            f"**{number(sum(v for k, v in u['ms'].items() if k != 'second'))}**"
                            for u in uploads
                        ),
                    ]
                ],
            ),
            (
                f"**titans-aws with all it needs is {size['total'] / 2**20:.0f} MiB unzipped, "
                f"{100 * size['total'] / size['limit']:.0f} % of what AWS "
                f"Lambda allows** ({size['limit'] / 2**20:.0f} MiB), pandas and pyarrow not in it:"
            ),
            table(
                ["distribution", "MB"],
                [[name, megabytes(count)] for name, count in largest]
                + [["all others", megabytes(size["total"] - sum(count for _, count in largest))]],
            ),
        ]
    )


def prices(folder: Path) -> str:
    about_it, *lines = results(folder, "prices")
    p = about_it["prices"]
    return "\n\n".join(
        [
            f"{lines[0]['slots']} slots of each, a year has 52,560. {about(about_it)}",
            table(
                [
                    "provider (keys)",
                    "way",
                    "requests a slot: median, most",
                    "PUT and LIST, mean",
                    "GET and HEAD, mean",
                    "requests USD a year",
                    "GB a year",
                    "storage USD, first year",
                    "**USD, first year**",
                ],
                [
                    [
                        f"{x['provider']} ({x['keys']:,})",
                        x["way"],
                        f"{x['median']}, {x['most']}",
                        f"{x['requests']['write']:.2f}",
                        f"{x['requests']['read']:.2f}",
                        f"{x['requests_usd']:.2f}",
                        f"{x['gigabytes']:.2f}",
                        f"{x['storage_usd']:.2f}",
                        f"**{x['requests_usd'] + x['storage_usd']:.2f}**",
                    ]
                    for x in lines
                ],
            ),
            (
                f"List prices of Amazon S3 Standard in {p['region']} as of {p['as of']}: PUT, "
                f"COPY, POST and LIST USD {p['write'] * 1000:.4g} and "
                f"GET and all others USD {p['read'] * 1000:.4g} for 1,000; DELETE nothing; USD "
                f"{p['gigabyte_month']} for a GB (1024³ bytes) and month."
            ),
        ]
    )


# --- micro-benchmarks -----------------------------------------------------------------------------


def kept(benchmark_json: Path, folder: Path) -> None:
    """What pytest-benchmark wrote → `micro.jsonl`, without what it tells of the machine."""
    lines: list[Line] = [
        machine("titans-core", "polars", "pytest-benchmark") | {"command": "make bench-micro"}
    ]
    for found in json.loads(benchmark_json.read_text())["benchmarks"]:
        times = {name: found["stats"][name] * 1e3 for name in ("min", "median", "max")}
        lines.append(
            {
                "kind": "micro",
                "name": found["name"],
                "group": found["group"],
                "rounds": found["stats"]["rounds"],
                **times,
            }
        )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "micro.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def micro(folder: Path) -> str:
    about_it, *lines = results(folder, "micro")
    groups = dict.fromkeys(line["group"] for line in lines)
    join = next(line for line in lines if "anti-join" in line["name"])
    ratios = {
        line["name"]: line["median"] / join["median"]
        for line in lines
        if line["group"] == join["group"]
    }
    rows = [
        [
            group if n == 0 else "",
            line["name"].removeprefix("test_"),
            *(number(line[c]) for c in ("min", "median", "max")),
            str(line["rounds"]),
        ]
        for group in groups
        for n, line in enumerate(line for line in lines if line["group"] == group)
    ]
    return "\n\n".join(
        [
            (
                "**The state a snapshot is compared with, and the comparison, take "
                f"{ratios['test_diff[state read + diff]']:.1f} times one polars anti-join** of the "
                "same two frames in a process that stays, and "
                f"{ratios['test_diff[state read + diff, new process]']:.1f} times in a new one, "
                "which reads the state from the store."
            ),
            table(["", "what", "min ms", "median ms", "max ms", "rounds"], rows),
            about(about_it),
        ]
    )


# --- few keys, rare changes -----------------------------------------------------------------------

_STORED_KINDS = ("hot", "merged", "border", "correction", "keyframe", "full", "manifest")


def sparse(folder: Path) -> str:
    """Two tables: what archives of few keys take by kind of object, and what is asked of the store."""
    about_it, *archives = results(folder, "sparse")
    kinds = [kind for kind in _STORED_KINDS if any(kind in each["objects"] for each in archives)]
    stored, asked = [], []
    for each in archives:
        cells = []
        for kind in kinds:
            size, count = each["bytes"].get(kind, 0), each["objects"].get(kind, 0)
            cells.append(f"{size / 1e3:,.0f} ({count:,})")
        stored.append(
            [
                each["archive"],
                f"{each['change_points']:,}",
                *cells,
                f"{each['all_bytes'] / 1e3:,.0f} ({each['all_objects']:,})",
                f"{each['bytes_without_keyframes'] / 1e3:,.0f}",
                f"{each['ratio']:.2f}",
            ]
        )
        files, then, requests = (
            each[name] for name in ("files_a_state", "files_a_state_then", "requests_a_slot")
        )
        asked.append(
            [
                each["archive"],
                f"{each['keys']:,}",
                f"{each['snapshots']:,}",
                number(each["days"]),
                str(each["slot_minutes"]),
                *(" / ".join(f"{n:g}" for n in spread.values()) for spread in (files, then)),
                " / ".join(f"{n:g}" for n in requests.values()),
                f"{each['requests']:,}",
                number(each["ingest_p50_ms"]),
            ]
        )
    first = ["archive", "change points", *kinds, "all", "without keyframes", "ratio"]
    second = [
        "archive",
        "keys",
        "snapshots",
        "days",
        "minutes a slot",
        "files a state opens",
        "before the sealing",
        "requests a snapshot",
        "in all",
        "ingest p50 ms",
    ]
    return "\n\n".join(
        [
            about(about_it),
            "kB (objects) of each kind:",
            table(first, stored),
            "Least / median / most:",
            table(second, asked),
        ]
    )


# --- questions of a real history ------------------------------------------------------------------


def questions(folder: Path) -> str:
    about_it, *lines = results(folder, "questions")
    *asked, streamed = lines
    rows = [
        [
            each["name"],
            f"{each['rows']:,}",
            number(each["ms"]),
            each["against"],
            number(each["against_ms"]),
            f"{each['ratio']:.2f}",
        ]
        for each in asked
    ]
    return "\n\n".join(
        [
            table(["question", "rows", "ms", "against", "ms", "ratio"], rows),
            (
                f"The {streamed['name']}, streamed to Parquet: {streamed['rows']:,} rows in "
                f"{number(streamed['seconds'])} s, with a peak of {streamed['peak_mib']} MiB."
            ),
            about(about_it),
        ]
    )


# --- stores on S3, far away ------------------------------------------------------------------------

_FAR = {**QUESTIONS, "region": "one region, one column"}


def remote(folder: Path, name: str) -> str:
    about_it, *peers = results(folder, name)
    asked = list(peers[0]["questions"])
    head = ["", *(_FAR[question] for question in asked)]
    parts = [
        (
            f"{about_it['rows']:,} change points of {about_it['keys']:,} keys in "
            f"{about_it['slots']:,} slots, behind a round trip of "
            f"{about_it['round_trip_ms']:.0f} ms and {about_it['megabits']:.0f} megabits a second. "
            f"{about(about_it)}"
        )
    ]
    for when, said in (
        ("warm", "asking again, for something else each time"),
        ("cold", "asking in a new process (imports are done)"),
    ):
        rows = []
        for peer in peers:
            times = [peer["questions"][question][when]["ms"] for question in asked]
            rows.append([peer["peer"], *(number(ms) for ms in times)])
        parts += [f"Milliseconds, {said}:", table(head, rows)]

    rows = []
    for peer in peers:
        warm = [peer["questions"][question]["warm"] for question in asked]
        rows.append(
            [peer["peer"], *(f"{each['requests']}, {each['bytes'] / 1e6:.1f} MB" for each in warm)]
        )
    parts += ["Requests and megabytes of a warm answer:", table(head, rows)]
    return "\n\n".join(parts)


# --- the age of an archive -------------------------------------------------------------------------


def flat(folder: Path) -> str:
    about_it, *lines = results(folder, "flat")
    ages = sorted({line["months"] for line in lines})
    rows = []
    for archive in dict.fromkeys(line["archive"] for line in lines):
        for question in dict.fromkeys(line["question"] for line in lines):
            cells = []
            for line in lines:
                if (line["archive"], line["question"]) == (archive, question):
                    cells.append(f"{line['objects']}, {line['bytes'] / 1e3:.0f} kB")
            rows.append([archive, question, *cells])
    head = ["archive", "question", *(f"after {age} months" for age in ages)]
    said = (
        f"{about_it['keys']:,} keys, {about_it['slots_a_month']} snapshots a month. "
        f"{about(about_it)}"
    )
    return "\n\n".join([said, table(head, rows)])


BLOCKS: dict[str, Callable[[Path], str]] = {
    "small": lambda folder: comparison(folder, "small"),
    "medium": lambda folder: comparison(folder, "medium"),
    "large": lambda folder: comparison(folder, "large"),
    "growth": growth,
    "sparse": sparse,
    "questions": questions,
    "flat": flat,
    "remote": lambda folder: remote(folder, "remote"),
    "remote_large": lambda folder: remote(folder, "remote_large"),
    "micro": micro,
    "cold_start": cold_start,
    "prices": prices,
}


def filled(text: str, folder: Path) -> str:
    """The page with every block made anew of which there are results."""

    def block(found: re.Match[str]) -> str:
        name = found[1]
        if not (folder / f"{name}.jsonl").exists():
            return found[0]
        return f"<!-- results: {name} -->\n\n{BLOCKS[name](folder)}\n\n<!-- end -->"

    return re.sub(r"<!-- results: (\w+) -->.*?<!-- end -->", block, text, flags=re.DOTALL)


def draw(folder: Path, out: Path) -> None:
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    out.mkdir(exist_ok=True)
    for size in ("small", "medium", "large"):
        if (folder / f"{size}.jsonl").exists():
            draw_comparison(folder, size, out / f"{size}.png", plt)
    if (folder / "growth.jsonl").exists():
        draw_growth(folder, out / "growth.png", plt)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="change nothing")
    parser.add_argument("--micro", type=Path, help="keep these results of pytest-benchmark first")
    given = parser.parse_args()
    if given.micro is not None:
        kept(given.micro, RESULTS)
        return 0
    text = PAGE.read_text()
    new = filled(text, RESULTS)
    if given.check:
        return int(new != text)
    PAGE.write_text(new)
    draw(RESULTS, PICTURES)
    return 0


if __name__ == "__main__":
    sys.exit(main())
