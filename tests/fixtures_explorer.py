"""A market to look at with the explorer: what archives have, and keys that are no kind guests."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

import titans

BEGIN = datetime(2026, 1, 30, tzinfo=UTC)
HOUR = timedelta(hours=1)
HOURS = 72
GONE = range(30, 50)
"""Hours in which the key `AWAY` is not there."""
MISSED = (7, 8, 20)
AMENDED = 40
AWAY = {"InstanceType": "m5.large", "Region": "us-east-1", "AZ": "use1-az1"}
MARKUP = "<img src=x onerror=alert(1)>"
ODD = r"a|b*c\d"
BASE = "http://127.0.0.1:8765"


def market_at(hour: int) -> pl.DataFrame:
    """The snapshot of an hour."""
    rows = []
    for number in range(24):
        family, region = ("m5", "c5", "r5")[number % 3], ("us-east-1", "eu-west-1")[number % 2]
        price = round(0.05 * (number + 1) + 0.001 * ((hour * (number + 3)) % 17), 4)
        score = 1 + (hour // 9 + number) % 3
        rows.append((f"{family}.{2 + number // 6}xlarge", region, f"az{number}", price, score))
    rows.append((MARKUP, "us-east-1", "az-x", 0.5, 3))
    rows.append((ODD, "us-east-1", "", 0.25, 2))
    if hour not in GONE:
        rows.append((*AWAY.values(), round(0.03 + 0.0005 * (hour % 11), 4), 3))
    return pl.DataFrame(rows, schema=[*AWAY, "SpotPrice", "SPS"], orient="row")


def make_market(folder: Path) -> Path:
    archive = titans.open(folder, provider="aws")
    for hour in range(HOURS):
        if hour in MISSED:
            continue
        archive.ingest(market_at(hour), BEGIN + hour * HOUR)
    upload = market_at(HOURS).head(2)
    archive.upload(upload, BEGIN + HOURS * HOUR)
    archive.compact()
    better = market_at(AMENDED).with_columns(SpotPrice=pl.col("SpotPrice") * 2)
    archive.amend(better, BEGIN + AMENDED * HOUR, reason="<b>wrong</b> unit")

    other = titans.open(folder, provider="gcp")
    rows = {"InstanceType": ["n1", "n2"], "Region": ["r1", "r1"], "SpotPrice": [0.5, 0.25]}
    other.ingest(pl.DataFrame(rows), BEGIN)
    return folder


@pytest.fixture(scope="session")
def market(tmp_path_factory) -> Path:
    """A folder with an archive of 73 hours of `aws`, and one of a moment of `gcp`."""
    return make_market(tmp_path_factory.mktemp("market") / "prices")


@pytest.fixture(scope="session")
def explorer(market) -> Iterator[object]:
    """Asks the explorer of the market, as its page does."""
    pytest.importorskip("titans_explorer", reason="titans-explorer is not installed")
    from starlette.testclient import TestClient

    from titans_explorer.app import app

    with TestClient(app(market), base_url=BASE) as client:
        yield client
