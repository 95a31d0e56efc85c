"""The collector's four functions, under both names, on S3 (moto) and in a folder."""

import importlib
import inspect
import json
import logging
from datetime import UTC, datetime
from io import BytesIO

import boto3
import pandas as pd
import polars as pl
import pytest
from moto import mock_aws

import titans
import titans_common
from titans.errors import (
    ConcurrencyConflictError,
    InvalidKeyError,
    Unavailable,
    UnknownProviderError,
)

AT = datetime(2026, 1, 23, 14, 20, tzinfo=UTC)
BUCKET = "titans-spotlake-data"
NAMES = ("prepare_for_upload", "upload_hot_tier", "run_compaction", "ConcurrencyConflictError")


@pytest.fixture
def s3(monkeypatch):
    for name, value in {
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
        "TITANS_ENV": "test",
    }.items():
        monkeypatch.setenv(name, value)
    for name in ("TITANS_BUCKET", "TITANS_STORE", "AWS_PROFILE", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    with mock_aws():
        client = boto3.client("s3")
        client.create_bucket(Bucket=BUCKET)
        yield client


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty working directory, with nothing said about where data goes."""
    for name in ("TITANS_ENV", "TITANS_STORE", "TITANS_BUCKET"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def aws_rows(n=2, **columns):
    """What an original collector hands over: pandas, times as text, -1 for what it did not see."""
    rows = {
        "Time": ["2026-01-23 14:20:00"] * n,
        "InstanceType": [f"m5.{i}xlarge" for i in range(n)],
        "Region": ["us-west-2"] * n,
        "AZ": ["usw2-az1"] * n,
        "SPS": [3] * n,
        "T3": [50] * n,
        "T2": [0] * n,
        "IF": [2.5] * n,
        "OndemandPrice": [0.096] * n,
        "SpotPrice": [0.048] * n,
        "Savings": [50] * n,
    }
    return pd.DataFrame(rows | columns)


def test_the_original_quick_start_runs_unchanged(s3):
    from titans_common import prepare_for_upload, run_compaction, upload_hot_tier

    changed_df = aws_rows(2)
    removed_df = aws_rows(1, InstanceType=["old.large"], Time=["2026-01-23 14:10:00"])

    # 1. Prepare DataFrames (changed + removed)
    combined_df = prepare_for_upload(changed_df, removed_df)

    # 2. Upload to Hot tier (10-minute Parquet files)
    timestamp = datetime(2026, 1, 23, 14, 20, tzinfo=UTC)
    hot_key = upload_hot_tier(combined_df, timestamp, provider="aws")

    # 3. Run Warm compaction (m-way incremental merge)
    if hot_key:
        run_compaction(hot_key, timestamp, provider="aws")

    assert hot_key == "test/parquet_cp_hot/aws/2026/01/23/14-20.parquet"
    rows = pl.read_parquet(BytesIO(s3.get_object(Bucket=BUCKET, Key=hot_key)["Body"].read()))
    assert rows.columns == titans.get_config("aws").canonical_columns
    assert rows.select("InstanceType", "Time", "Ceased").rows() == [
        ("m5.0xlarge", timestamp, False),
        ("m5.1xlarge", timestamp, False),
        ("old.large", timestamp, True),
    ]
    key = "test/parquet_warm/aws/m8/2026/01/manifest.json"
    manifest = json.loads(s3.get_object(Bucket=BUCKET, Key=key)["Body"].read())
    assert (manifest["m"], manifest["provider"], manifest["year"], manifest["month"]) == (
        8,
        "aws",
        2026,
        1,
    )
    assert manifest["levels"]["0"][0]["file"] == hot_key


def test_a_collectors_client_is_used_by_both_names(s3):
    for module, minute in ((titans, 20), (titans_common, 30)):
        at = AT.replace(minute=minute)
        rows = aws_rows(Time=[f"2026-01-23 14:{minute}:00"] * 2)
        key = module.upload_hot_tier(rows, at, "aws", s3)
        module.run_compaction(key, at, "aws", 30.0, s3)
    keys = [o["Key"] for o in s3.list_objects_v2(Bucket=BUCKET)["Contents"]]
    assert [k for k in keys if "parquet_cp_hot" in k] == [
        "test/parquet_cp_hot/aws/2026/01/23/14-20.parquet",
        "test/parquet_cp_hot/aws/2026/01/23/14-30.parquet",
    ]


@pytest.mark.slow
def test_eight_uploads_merge_into_the_originals_paths(s3):
    for n in range(8):
        at = datetime(2026, 1, 1, n // 6, n % 6 * 10, tzinfo=UTC)
        key = titans_common.upload_hot_tier(
            aws_rows(300, Time=[f"{at:%Y-%m-%d %H:%M:%S}"] * 300), at, s3_client=s3
        )
        titans_common.run_compaction(key, at, s3_client=s3)
    body = s3.get_object(
        Bucket=BUCKET, Key="test/parquet_warm/aws/m8/2026/01/L1_0001_00000-00007.parquet"
    )["Body"]
    assert pl.read_parquet(BytesIO(body.read())).height == 2_400


def test_the_quick_start_runs_in_a_folder_too(folder):
    removed = aws_rows(1, InstanceType=["old.large"])
    key = titans.upload_hot_tier(
        titans.prepare_for_upload(aws_rows(), removed), AT, "aws", store=folder / "data"
    )
    titans.run_compaction(key, AT, "aws", store=folder / "data")
    assert titans.open(folder / "data", provider="aws").latest()["InstanceType"].to_list() == [
        "m5.0xlarge",
        "m5.1xlarge",
    ]


def test_without_a_store_titans_uses_a_folder_and_says_so_once(folder, caplog, monkeypatch):
    monkeypatch.setattr("titans.where._told", False)
    key = titans.upload_hot_tier(aws_rows(), AT)
    titans.run_compaction(key, AT)
    assert (folder / "titans-data" / key).is_file()
    assert [r.message.count("titans-data") for r in caplog.records if r.name == "titans"] == [1]


def test_the_store_of_the_environment_comes_before_the_defaults(folder, monkeypatch):
    monkeypatch.setenv("TITANS_STORE", (folder / "elsewhere").as_uri())
    for module, minute in ((titans, 20), (titans_common, 30)):
        rows = aws_rows(Time=[f"2026-01-23 14:{minute}:00"] * 2)
        key = module.upload_hot_tier(rows, AT.replace(minute=minute))
        assert (folder / "elsewhere" / key).is_file()


def test_a_named_store_comes_before_a_client(folder, s3):
    key = titans.upload_hot_tier(aws_rows(), AT, s3_client=s3, store=folder / "named")
    assert (folder / "named" / key).is_file()
    assert s3.list_objects_v2(Bucket=BUCKET)["KeyCount"] == 0


def test_the_bucket_is_read_when_it_is_needed(s3, monkeypatch):
    s3.create_bucket(Bucket="another-bucket")
    monkeypatch.setenv("TITANS_BUCKET", "another-bucket")
    monkeypatch.setenv("TITANS_ENV", "production")
    assert titans.get_config("aws").titans_bucket == "another-bucket"
    key = titans_common.upload_hot_tier(aws_rows(), AT)
    assert key == "parquet_cp_hot/aws/2026/01/23/14-20.parquet"
    assert s3.head_object(Bucket="another-bucket", Key=key)


def test_both_packages_have_the_same_names_and_signatures():
    for name in NAMES:
        assert hasattr(titans, name)
        assert hasattr(titans_common, name)
    for name in ("upload_hot_tier", "run_compaction", "prepare_for_upload"):
        assert inspect.signature(getattr(titans, name)) == inspect.signature(
            getattr(titans_common, name)
        )
    upload = inspect.signature(titans.upload_hot_tier).parameters
    assert list(upload) == [
        "changed_df",
        "timestamp",
        "provider",
        "s3_client",
        "store",
        "record_empty",
    ]
    assert upload["provider"].default == "aws"
    compact = inspect.signature(titans.run_compaction).parameters
    assert list(compact)[:5] == [
        "hot_s3_key",
        "timestamp",
        "provider",
        "timeout_seconds",
        "s3_client",
    ]
    assert compact["timeout_seconds"].default == 30.0
    assert (
        titans.ConcurrencyConflictError
        is titans_common.ConcurrencyConflictError
        is ConcurrencyConflictError
    )


@pytest.mark.parametrize(
    ("module", "names"),
    [
        ("config", ["get_config", "is_test_env", "ProviderConfig", "PROVIDER_CONFIGS"]),
        ("upload_titans", ["upload_hot_tier"]),
        ("warm_compactor", ["run_compaction", "ConcurrencyConflictError", "DEFAULT_M"]),
        ("utils", ["prepare_for_upload"]),
    ],
)
def test_collectors_find_the_submodules_they_import_from(module, names):
    found = importlib.import_module(f"titans_common.{module}")
    assert [name for name in names if not hasattr(found, name)] == []


def test_configs_have_the_original_fields(monkeypatch):
    from titans_common.config import PROVIDER_CONFIGS, ProviderConfig, get_config, is_test_env

    monkeypatch.setenv("TITANS_ENV", "test")
    config = get_config("azure")
    assert isinstance(config, ProviderConfig)
    assert is_test_env()
    assert config.pk_columns == ["InstanceType", "Region", "AvailabilityZone"]
    assert (config.name, config.time_column, config.score_column) == ("azure", "Time", "Score")
    assert config.hot_prefix == "test/parquet_cp_hot/azure"
    assert config.warm_prefix == "test/parquet_warm/azure/m8"
    assert config.titans_bucket == BUCKET
    assert config.canonical_columns[:4] == [*config.pk_columns, "Time"]
    assert config.canonical_columns[-1] == "Ceased"
    assert list(config.schema_dtypes) == config.canonical_columns
    monkeypatch.setenv("TITANS_ENV", "production")
    assert config.hot_prefix == "parquet_cp_hot/azure"
    assert PROVIDER_CONFIGS["gcp"].pk_columns == ["InstanceType", "Region"]
    with pytest.raises(Exception, match=r"(?i)publish"):
        PROVIDER_CONFIGS["newcloud"] = config


def test_an_unknown_provider_is_told_what_there_is():
    for call in (titans.get_config, titans_common.get_config):
        with pytest.raises(
            UnknownProviderError, match=r"Unknown provider.*aws.*pip install titans-nimbus"
        ) as caught:
            call("nimbus")
        assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("module", [titans, titans_common])
def test_bad_calls_store_nothing(folder, module):
    naive = datetime(2026, 1, 23, 14, 20)
    with pytest.raises(ValueError, match="timezone-aware"):
        module.upload_hot_tier(aws_rows(), naive, store=folder / "x")
    with pytest.raises(ValueError, match="timezone-aware"):
        module.run_compaction(
            "parquet_cp_hot/aws/2026/01/23/14-20.parquet", naive, store=folder / "x"
        )
    with pytest.raises(ValueError, match="outside the slot"):
        module.upload_hot_tier(aws_rows(), AT.replace(hour=15), store=folder / "x")
    with pytest.raises(InvalidKeyError):
        module.run_compaction(
            "parquet_cp_hot/gcp/2026/01/23/14-20.parquet", AT, "aws", store=folder / "x"
        )
    for empty in (
        pd.DataFrame(),
        pd.DataFrame(columns=["InstanceType", "Region", "AZ"]),
        pl.DataFrame(),
    ):
        assert module.upload_hot_tier(empty, AT, store=folder / "x") == ""
    assert not (folder / "x").exists()


def test_the_month_is_that_of_the_key(folder):
    key = titans.upload_hot_tier(aws_rows(), AT, store=folder)
    titans.run_compaction(key, datetime(2026, 5, 1, tzinfo=UTC), store=folder)
    assert [str(m.month) for m in titans.open(folder, provider="aws").status()] == ["2026-01"]
    assert titans.open(folder, provider="aws").status()[0].waiting == 0


def test_a_slow_compaction_is_a_warning_not_an_error(folder, caplog):
    key = titans.upload_hot_tier(aws_rows(), AT, store=folder)
    titans.run_compaction(key, AT, timeout_seconds=0.0, store=folder)
    assert [r.levelno for r in caplog.records if "more than 0.0 s" in r.message] == [
        logging.WARNING
    ]


def test_an_unreachable_store_is_one_clear_error(folder, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    url = "s3://bucket/prefix?endpoint_url=http://127.0.0.1:9&region=us-east-1"
    with pytest.raises(Unavailable, match="not reachable"):
        titans.upload_hot_tier(aws_rows(), AT, store=url)


# --- prepare_for_upload ---------------------------------------------------------------------------

PANDAS, POLARS = pd.DataFrame, pl.DataFrame


@pytest.mark.parametrize("library", [PANDAS, POLARS])
class TestPrepare:
    def rows(self, frame):
        records = frame.to_dict("records") if isinstance(frame, pd.DataFrame) else frame.to_dicts()
        return [
            {k: None if v != v else v for k, v in row.items()} for row in records
        ]  # NaN is not itself

    def test_changed_rows_are_live_and_removed_rows_ceased(self, library):
        frame = titans.prepare_for_upload(
            library({"k": ["a"], "v": [1]}), library({"k": ["b"], "w": [2]})
        )
        assert isinstance(frame, library)
        assert self.rows(frame) == [
            {"k": "a", "v": 1, "w": None, "Ceased": False},
            {"k": "b", "v": None, "w": 2, "Ceased": True},
        ]
        assert list(frame.columns)[-1] == "Ceased"

    def test_either_may_be_empty_or_absent(self, library):
        some, none = library({"k": ["a"]}), library()
        assert self.rows(titans.prepare_for_upload(some, none)) == [{"k": "a", "Ceased": False}]
        assert self.rows(titans.prepare_for_upload(none, some)) == [{"k": "a", "Ceased": True}]
        assert self.rows(titans.prepare_for_upload(some, None)) == [{"k": "a", "Ceased": False}]
        assert len(titans.prepare_for_upload(none, none)) == 0

    def test_minus_one_was_not_observed(self, library, caplog):
        caplog.set_level("INFO")
        changed = library({"k": ["a", "b", "c"], "v": [-1, -1, 3], "w": [0.5, -1.0, -1.0]})
        removed = library({"k": ["d"], "v": [-1], "w": [-1.0]})
        frame = titans.prepare_for_upload(changed, removed, value_columns=["v", "w", "missing"])
        assert [(r["k"], r["v"], r["w"]) for r in self.rows(frame)] == [
            ("a", None, 0.5),
            ("c", 3, None),
            ("d", None, None),
        ]
        assert "dropped 1 changed row" in caplog.text

    def test_a_live_row_beats_a_removed_one_of_the_same_key_and_time(self, library):
        changed = library({"k": ["a", "b"], "Time": ["t1", "t1"], "v": [1, 2]})
        removed = library({"k": ["a", "b", "c"], "Time": ["t1", "t0", "t1"], "v": [0, 0, 0]})
        frame = titans.prepare_for_upload(changed, removed, pk_columns=["k"])
        assert [(r["k"], r["Time"], r["Ceased"]) for r in self.rows(frame)] == [
            ("a", "t1", False),
            ("b", "t1", False),
            ("b", "t0", True),
            ("c", "t1", True),
        ]

    def test_unknown_key_columns_are_refused(self, library):
        with pytest.raises(ValueError, match="pk_columns q missing"):
            titans.prepare_for_upload(library({"k": ["a"]}), None, pk_columns=["q"])

    def test_the_callers_frames_stay_as_they_are(self, library):
        changed = library({"k": ["a"], "v": [-1]})
        titans.prepare_for_upload(changed, changed, value_columns=["v"], pk_columns=["k"])
        assert list(changed.columns) == ["k", "v"]
        assert self.rows(changed) == [{"k": "a", "v": -1}]


def test_pandas_and_polars_do_not_mix():
    with pytest.raises(ValueError, match="same library"):
        titans.prepare_for_upload(pd.DataFrame({"k": ["a"]}), pl.DataFrame({"k": ["a"]}))
