"""docs/files.md: every recipe reads a sealed month and an open one with late slots, and finds what
the archive answers."""

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from unittest.mock import patch

import polars as pl
import pytest
from fixtures_stores import SEAWEED
from readme_blocks import blocks

import titans
from titans.errors import StoreError
from titans.store.s3 import S3Store

PAGE = Path(__file__).resolve().parents[2] / "docs/files.md"
ORDER = ["InstanceType", "Region", "AZ", "Time"]
BEGIN = datetime(2026, 1, 31, 20, tzinfo=UTC)
LATE = (31, 33)


def snapshot(number):
    keys = [key for key in range(12) if (key + number) % 7]
    return pl.DataFrame(
        {
            "InstanceType": [f"m5.{key}" for key in keys],
            "Region": [f"region-{key % 3}" for key in keys],
            "AZ": ["az1"] * len(keys),
            "SpotPrice": [0.01 * key + 0.001 * (number // (key + 1)) for key in keys],
        }
    )


def fill(archive):
    """January is sealed; in February two slots came late, and some are not adopted yet."""
    with patch("titans.tiers.compact.plan.SMALL_ROWS", -1):
        fill_slots(archive)
    return archive


def fill_slots(archive):
    for number in [n for n in range(36) if n not in LATE] + list(LATE):
        archive.ingest(snapshot(number), BEGIN + timedelta(minutes=10 * number))
    archive.seal("2026-01")
    archive.upload(snapshot(50).head(3), BEGIN + timedelta(minutes=10 * 40))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files-page")
    fill(titans.open(folder / "archive-folder", provider="aws"))
    return folder


def run(names, *texts):
    """The names that the blocks define that have one of `texts` in them."""
    for block in blocks(PAGE):
        if block.language == "python" and any(text in block.text for text in texts):
            exec(compile("\n" * (block.line - 1) + block.text, str(PAGE), "exec"), names)
    return names


@pytest.fixture
def names(folder, reader, monkeypatch, capsys):
    """What the first blocks of the page define."""
    monkeypatch.chdir(folder)
    names = run({}, "titans.open", "corrections = ")
    # As if all rows of a file were corrected too: those that it has count.
    names["corrections"].append(min(names["real"]))
    return names


def same(found, names):
    """Every row is what the archive answers."""
    expected = names["archive"].changes().sort(ORDER)
    dtypes = dict(expected.schema)
    found = found.select(pl.col(name).cast(dtype) for name, dtype in dtypes.items()).sort(ORDER)
    assert found.equals(expected)


def test_the_archive_has_all_that_the_page_tells_of(names):
    assert set(names["listed"]["kind"]) == {"merged", "border", "hot", "correction"}
    assert names["archive"].status()[0].sealed
    assert not names["archive"].status()[1].sealed
    assert pl.read_parquet(names["corrections"]).height


def test_duckdb(names):
    import duckdb

    duckdb.sql("SET TimeZone = 'UTC'")
    same(run(names, "import duckdb")["by_duckdb"].pl(), names)


def test_polars(names):
    same(run(names, "import polars as pl")["by_polars"].collect(), names)


def test_pyarrow(names):
    same(pl.DataFrame(run(names, "import pyarrow")["by_arrow"]), names)


def test_states(names):
    import duckdb

    duckdb.sql("SET TimeZone = 'UTC'")
    run(names, "import duckdb")
    (block,) = [block for block in blocks(PAGE) if block.language == "sql"]
    at = BEGIN + timedelta(minutes=305)
    text = block.text.replace("2026-01-23 12:05:00", f"{at:%Y-%m-%d %H:%M:%S}")
    state = names["by_duckdb"].query("changes", text).pl().drop("Ceased")
    expected = names["archive"].state(at)
    assert state.sort(ORDER).select(ORDER[:3]).equals(expected.select(ORDER[:3]))
    assert state.sort(ORDER)["SpotPrice"].equals(expected["SpotPrice"])


SPARK = """
import os, sys, warnings
warnings.simplefilter("ignore")
os.environ["SPARK_HOME"] = sys.prefix  # pyspark-client 4.2 looks for one that it does not need
from pysail.spark import SparkConnectServer
from pyspark.sql import SparkSession
import polars as pl

server = SparkConnectServer("127.0.0.1", 0)
server.start(background=True)
_, port = server.listening_address
spark = SparkSession.builder.remote(f"sc://127.0.0.1:{port}").getOrCreate()
spark.conf.set("spark.sql.session.timeZone", "UTC")
recipe, *lists = sys.argv[1:]
names = dict(zip(("key", "real", "corrections"), (text.split() for text in lists)), spark=spark)
exec(recipe, names)
pl.DataFrame(names["changes"].toArrow()).write_parquet("changes.parquet")
pl.DataFrame(names["by_spark"].toArrow()).write_parquet("regions.parquet")
spark.stop()
server.stop()
"""


def test_spark(names, tmp_path, monkeypatch):
    """In a process of its own; the server of Spark Connect is Sail, in that process."""
    pytest.importorskip("pysail", reason="pysail is not installed")
    root = Path.cwd()
    lists = [" ".join(names["key"])]
    for urls in (names["real"], names["corrections"]):
        lists.append(" ".join(str(root / url) for url in urls))
    (recipe,) = [block.text for block in blocks(PAGE) if "spark.read" in block.text]
    done = subprocess.run(
        [sys.executable, "-c", SPARK, recipe, *lists],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    same(pl.read_parquet(tmp_path / "changes.parquet"), names)
    regions = pl.read_parquet(tmp_path / "regions.parquet")
    expected = names["archive"].changes().group_by("Region").agg(pl.len())
    assert dict(regions.select("Region", "points").rows()) == dict(expected.rows())


@SEAWEED
def test_polars_on_s3(names, seaweed_bucket, seaweed_client, reader, monkeypatch):
    store = S3Store(seaweed_bucket.name, "some/where", client=seaweed_client)
    names["archive"] = titans.open(store, provider="aws")
    fill(names["archive"])
    run(names, "corrections = ")
    listed = names["archive"].files()
    names["real"] = listed.filter(pl.col("kind") != "correction")["url"].to_list()
    names["corrections"] = listed.filter(pl.col("kind") == "correction")["url"].to_list()
    assert names["real"][0].startswith(f"s3://{seaweed_bucket.name}/some/where/")
    names["pl"] = pl
    rows = run(names, "remote_url")["by_polars"].collect()
    same(pl.concat([rows, _corrections(names)]), names)


def _corrections(names):
    """Of the rows of corrections those that no other object has."""
    place = names["archive"].store.remote_url("any/key")
    late, real = (
        pl.scan_parquet(
            urls,
            storage_options=dict(place.options),
            credential_provider=place.credentials,
        )
        for urls in (names["corrections"], names["real"])
    )
    return late.join(real, on=ORDER, how="anti").collect()


def test_other_readers_are_told_where_an_object_lies_and_how_to_get_at_it():
    client = FakeClient("https://s3.eu-west-1.amazonaws.com", token="session")
    place = S3Store("bucket", "a/b", client=client).remote_url("c/d.parquet")
    assert place.url == "s3://bucket/a/b/c/d.parquet"
    assert place.options == {"aws_region": "eu-west-1"}
    named, expires = place.credentials()
    assert named == {
        "aws_access_key_id": "key",
        "aws_secret_access_key": "secret",
        "aws_session_token": "session",
    }
    assert expires == int(BEGIN.timestamp())
    assert "secret" not in repr(place)

    place = S3Store("bucket", client=FakeClient("http://127.0.0.1:9000")).remote_url("d.parquet")
    assert place.options["aws_endpoint_url"] == "http://127.0.0.1:9000"
    assert place.options["aws_allow_http"] == "true"
    assert "aws_session_token" not in place.credentials()[0]


def test_what_others_cannot_be_given_is_refused():
    key = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": "k" * 32}
    client = FakeClient("http://127.0.0.1:9000")
    with pytest.raises(StoreError, match="customer's key"):
        S3Store("bucket", client=client, put_args=key).remote_url("a.parquet")
    client._request_signer = None
    with pytest.raises(StoreError, match="AWS_ACCESS_KEY_ID"):
        S3Store("bucket", client=client).remote_url("a.parquet").credentials()


class FakeClient:
    """As much of a boto3 client as says who and where."""

    def __init__(self, endpoint, token=None):
        self.meta = self
        self.endpoint_url = endpoint
        self.region_name = "eu-west-1"
        self.config = None
        self._request_signer = self
        self._credentials = self
        self._expiry_time = BEGIN if token else None
        self.access_key, self.secret_key, self.token = "key", "secret", token

    def get_frozen_credentials(self):
        return self
