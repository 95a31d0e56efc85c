"""Broken plugins beside healthy ones, in processes of their own: each has its one message, and
hurts nobody else."""

import json
import os
import re
import subprocess
import sys

import pytest
from fixtures_plugins import GOOD, HEAD, KEY, SCHEMA

from titans.events import GROUP as OBSERVERS

OBSERVER = "from titans import hookimpl\nTITANS_API = 1\n@hookimpl\ndef titans_event(event): pass\n"

BAD = {
    "raises": (
        "raise RuntimeError('out of coffee')",
        "it cannot be imported: RuntimeError: out of coffee.",
    ),
    "future": (
        GOOD.replace("TITANS_API = 1", "TITANS_API = 2"),
        "it was built for plugin API 2, but titans-core",
    ),
    "misspelt": (
        GOOD + "@hookimpl\ndef titans_normalise(frame): return frame",
        (
            "it implements a hook titans_normalise that TITANS does not know; did you mean "
            "titans_normalize?"
        ),
    ),
    "keyless": (
        HEAD + SCHEMA,
        (
            "it does not implement titans_pk_columns; a provider needs titans_schema and "
            "titans_pk_columns"
        ),
    ),
    "twofold": (
        HEAD + SCHEMA + KEY.replace("Type", "Price"),
        "'Price' is both a key and a value column; keep one",
    ),
}


@pytest.fixture
def bad(site):
    """Every bad plugin, a rival of `aws`, and a broken observer; and two healthy third parties."""
    for name, (code, _) in BAD.items():
        site.add(code, name=name, distribution=f"{name}-titans")
    site.add(name="aws", distribution="rival-aws", version="2.0")
    site.add(
        OBSERVER.replace("titans_event", "titans_evnet"),
        name="deaf",
        distribution="deaf-observer",
        group=OBSERVERS,
    )
    site.add(OBSERVER, name="watcher", distribution="watcher-observer", group=OBSERVERS)
    site.add()
    return site


def started(site, *command):
    environment = {k: v for k, v in os.environ.items() if not k.startswith("TITANS")} | {
        "PYTHONPATH": str(site.folder)
    }
    return subprocess.run(
        [sys.executable, *command],
        capture_output=True,
        text=True,
        env=environment,
        cwd=site.folder.parent,
        timeout=120,
    )


def titans(site, *arguments):
    return started(site, "-c", "from titans.cli import main; main()", *arguments)


def modules_after(site, code):
    done = started(site, "-c", f"{code}\nimport sys; print(*sys.modules)")
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def test_the_list_shows_each_with_its_one_message_and_the_healthy_ones(bad):
    done = titans(bad, "plugins")
    assert (done.returncode, done.stderr) == (0, "")
    listed = " ".join(done.stdout.split())
    for name, (_, message) in BAD.items():
        assert listed.count(message) == 1, message
        assert f"{name}: " in listed
    assert (
        listed.count("aws: the name is claimed 2 times: rival-aws 2.0") == 2
    )  # for the one and for the other
    assert listed.count("deaf: it implements a hook titans_evnet that TITANS does not know") == 1
    rows = {
        (row["distribution"], row["name"]): row
        for row in json.loads(titans(bad, "plugins", "--json").stdout)
    }
    assert {name: rows[f"{name}-titans", name]["status"] for name in BAD} == dict.fromkeys(
        BAD, "broken"
    )
    assert [row["status"] for (_, name), row in rows.items() if name == "aws"] == [
        "duplicate",
        "duplicate",
    ]
    assert {rows["titans-azure", "azure"]["status"], rows["acme-titans", "acme"]["status"]} == {
        "loaded"
    }
    assert (rows["deaf-observer", "deaf"]["kind"], rows["deaf-observer", "deaf"]["status"]) == (
        "observer",
        "broken",
    )
    assert rows["watcher-observer", "watcher"]["status"] == "loaded"


@pytest.mark.parametrize("name", [*BAD, "aws"])
def test_who_asks_for_a_bad_one_gets_its_message_in_one_line(bad, name):
    done = titans(bad, "latest", "--provider", name)
    message = (
        BAD[name][1]
        if name in BAD
        else "TITANS does not choose between them: uninstall all but one"
    )
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert message in done.stderr
    assert f"{name}-titans 1.0" in done.stderr or "rival-aws 2.0" in done.stderr


@pytest.mark.parametrize("name", ["acme", "gcp"])
def test_the_healthy_ones_work_beside_them(bad, name):
    columns = {"acme": "'Type': ['a']", "gcp": "'InstanceType': ['n1'], 'Region': ['r']"}[name]
    done = started(
        bad,
        "-c",
        f"""
import titans, polars as pl
from datetime import datetime, UTC
archive = titans.open("data", provider={name!r})
archive.ingest(pl.DataFrame({{{columns}}}), datetime(2026, 1, 1, tzinfo=UTC))
print(archive.latest().height)
""",
    )
    assert (done.returncode, done.stdout) == (0, "1\n"), done.stderr
    # The broken observer is logged, once.
    assert done.stderr.count("deaf-observer 1.0") == 1


def test_a_provider_whose_frames_lack_the_key_refuses_them_and_stores_nothing(site):
    site.add(GOOD + "@hookimpl\ndef titans_normalize(frame): return frame.rename({'Type': 'Sort'})")
    done = started(
        site,
        "-c",
        """
import titans, polars as pl
from datetime import datetime, UTC
archive = titans.open("data", provider="acme")
try:
    archive.ingest(pl.DataFrame({"Type": ["a"], "Price": [0.5]}), datetime(2026, 1, 1, tzinfo=UTC))
except titans.TitansError as error:
    print(error)
print(list(archive.store.list()))
""",
    )
    assert done.stdout.splitlines() == [
        "provider 'acme': key column(s) Type missing; the key is Type, the frame has Sort, Price",
        "[]",
    ]


# --- what it costs --------------------------------------------------------------------------------


@pytest.fixture
def fifty(site):
    """Fifty third-party providers; the names of their modules."""
    return [site.add(name=f"cloud{i}", distribution=f"cloud{i}-titans") for i in range(50)]


def test_choosing_one_of_fifty_imports_only_that_one(site, fifty):
    loaded = modules_after(site, "import titans; titans.get_config('cloud7')")
    assert [module for module in fifty if module in loaded] == [fifty[7]]
    assert not {"titans_aws", "titans_azure", "titans_gcp", "polars", "boto3", "pandas"} & loaded


def test_looking_at_fifty_imports_none_and_reads_the_metadata_of_each_once(site, fifty):
    done = started(
        site,
        "-c",
        """
import json, sys
from collections import Counter
from importlib import metadata
read = Counter()
original = metadata.PathDistribution.read_text
def counted(self, name):
    read[self._path.name, name] += 1
    return original(self, name)
metadata.PathDistribution.read_text = counted
from titans import plugins
found = plugins.installed()
plugins.installed()
try:
    plugins.load("nimbus")
except ValueError:
    pass
plugins.load("cloud7")
print(json.dumps([len(found), [[*file, times] for file, times in read.items()], sorted(sys.modules)]))
""",
    )
    count, read, modules = json.loads(done.stdout)
    assert count == 53
    assert [module for module in fifty if module in modules] == [fifty[7]]
    cloudy = [(file, times) for folder, file, times in read if re.match(r"cloud\d", folder)]
    assert sorted(file for file, _ in cloudy) == ["METADATA"] * 50 + ["entry_points.txt"] * 50
    assert {times for _, times in cloudy} == {1}


def test_listing_fifty_loads_nothing_heavy(site, fifty):
    code = "import atexit, sys; atexit.register(lambda: print(*sys.modules, file=sys.stderr)); "
    done = started(site, "-c", code + "from titans.cli import main; main()", "plugins", "--json")
    assert sum(row["status"] == "loaded" for row in json.loads(done.stdout)) == 53
    imported = set(done.stderr.split())
    assert set(fifty) <= imported
    assert not {"polars", "pandas", "boto3", "titans.archive"} & imported
