"""How the S3 store probes a server, lists, and what it sends. What the answers mean:
`test_store_s3_answers`."""

from __future__ import annotations

import contextlib
import hashlib
import io
import itertools
import tomllib
from datetime import UTC, datetime
from pathlib import Path

import boto3
import pytest
from botocore import exceptions as boto
from botocore.exceptions import ClientError

from titans.errors import (
    AlreadyExists,
    InputError,
    InvalidKeyError,
    NotFound,
    OutcomeUnknown,
    RetryableError,
    StoreError,
    Unavailable,
    UnsupportedStoreError,
)
from titans.store import open_store
from titans.store.s3 import MARKER, S3Store

ROOT = Path(__file__).parents[2]
ENDPOINT = "https://s3.example.com"


def refusal(code, status, **details):
    """What boto3 raises when the server answers with an error."""
    response = {
        "Error": {"Code": code, "Message": "…"},
        "ResponseMetadata": {"HTTPStatusCode": status, **details},
    }
    return ClientError(response, "Anything")


class Broken(io.BytesIO):
    """A body whose connection breaks while it is read."""

    def read(self, *_):
        raise boto.ResponseStreamingError(error="Connection broken: IncompleteRead")


class FakeS3:
    """A client that keeps objects in a dict, records every call, and fails as it is told.

    Args:
        honest: whether conditions of `put_object` are honoured; or the names of those that are.
        page: objects in one page of a listing.
    """

    def __init__(self, honest=("IfMatch", "IfNoneMatch"), page=1000):
        self.objects, self.calls, self.planned = {}, [], {}
        self.honest, self.page = honest, page

    def plan(self, method, *failures):
        """Let the next calls of this method raise these; `None` lets one pass."""
        self.planned.setdefault(method, []).extend(failures)

    def called(self, method):
        return [arguments for name, arguments in self.calls if name == method]

    def _call(self, method, arguments):
        self.calls.append((method, arguments))
        queue = self.planned.get(method)
        failure = queue.pop(0) if queue else None
        if failure is not None:
            raise failure

    def _found(self, key):
        if key not in self.objects:
            raise refusal("NoSuchKey", 404)
        return self.objects[key]

    def get_object(self, **arguments):
        self._call("get_object", arguments)
        found = self._found(arguments["Key"])
        return {**found, "Body": io.BytesIO(found["Body"])}

    def put_object(self, **arguments):
        self._call("put_object", arguments)
        key, there = arguments["Key"], self.objects.get(arguments["Key"])
        if "IfNoneMatch" in arguments and "IfNoneMatch" in self.honest and there:
            raise refusal("PreconditionFailed", 412)
        if "IfMatch" in arguments and "IfMatch" in self.honest:
            if not there:
                raise refusal("NoSuchKey", 404)
            if there["ETag"] != arguments["IfMatch"]:
                raise refusal("PreconditionFailed", 412)
        etag = f'"{hashlib.md5(arguments["Body"]).hexdigest()}"'
        self.objects[key] = {
            "Body": arguments["Body"],
            "ETag": etag,
            "LastModified": datetime.now(UTC),
        }
        return {"ETag": etag}

    def delete_object(self, **arguments):
        self._call("delete_object", arguments)
        self.objects.pop(arguments["Key"], None)
        return {}

    def list_objects_v2(self, **arguments):
        self._call("list_objects_v2", arguments)
        after = arguments.get("ContinuationToken", arguments.get("StartAfter", ""))
        keys = sorted(k for k in self.objects if k.startswith(arguments["Prefix"]) and k > after)
        page = keys[: self.page]
        contents = [
            {
                "Key": key,
                "Size": len(self.objects[key]["Body"]),
                **{k: self.objects[key][k] for k in ("ETag", "LastModified")},
            }
            for key in page
        ]
        more = {"NextContinuationToken": page[-1]} if len(keys) > self.page else {}
        return (
            {"Contents": contents, "IsTruncated": bool(more), **more}
            if contents
            else {"IsTruncated": False}
        )


@pytest.fixture
def fake():
    return FakeS3()


@pytest.fixture
def waits():
    return []


@pytest.fixture
def store(fake, waits):
    """A store whose server is known to honour conditions, so that only the calls of the test are
    recorded."""
    made = S3Store("bucket", "pre", client=fake, sleep=waits.append)
    made.create("there", b"1")
    fake.calls.clear()
    return made


# --- answers --------------------------------------------------------------------------------------


def test_the_waits_between_attempts_are_short_and_there_are_few(store, fake, waits):
    fake.plan("get_object", *[refusal("SlowDown", 503)] * 50)
    with pytest.raises(Unavailable, match="slow down"):
        store.get("there")
    assert len(waits) + 1 == len(fake.called("get_object")) < 10
    assert all(0 <= wait <= 5 for wait in waits)


CLEAR = {
    "403 without a body": (refusal("403", 403), r"access denied .*credentials.*policy.*owner"),
    "301 without a body": (refusal("301", 301), r"another region.*set region="),
    "signed for another region": (
        refusal("AuthorizationHeaderMalformed", 400),
        r"another region.*set region=",
    ),
    "sign-in expired": (boto.UnauthorizedSSOTokenError(), r"AWS credentials"),
}


@pytest.mark.parametrize(("failure", "message"), CLEAR.values(), ids=CLEAR)
def test_what_the_user_must_mend_is_one_clear_error_at_once(store, fake, waits, failure, message):
    for method, call in (
        ("get_object", lambda: store.head("there")),
        ("put_object", lambda: store.create("new", b"2")),
    ):
        fake.plan(method, failure)
        with pytest.raises(StoreError, match=message) as caught:
            call()
        assert "s3://bucket/pre" in str(caught.value)
        assert not isinstance(caught.value, RetryableError | NotFound | AlreadyExists)
    assert waits == []


@pytest.mark.parametrize("field", ["ETag", "LastModified"])
def test_an_answer_that_broke_off_among_its_headers_is_no_answer(store, fake, monkeypatch, field):
    """Python's HTTP client takes the end of the connection for the end of the headers."""

    def cut_short(method):
        whole = getattr(fake, method)
        monkeypatch.setattr(
            fake,
            method,
            lambda **named: {
                name: value for name, value in whole(**named).items() if name != field
            },
        )

    etag = store.head("there").etag
    for method in ("get_object", "put_object"):
        cut_short(method)
    for read in (store.get, store.head):
        with pytest.raises(Unavailable, match=f"without {field}"):
            read("there")
    if field == "ETag":
        for write in (
            lambda: store.create("new", b"2"),
            lambda: store.replace("there", b"2", etag),
        ):
            with pytest.raises(OutcomeUnknown, match="without ETag"):
                write()


def test_a_body_that_breaks_off_is_read_again(store, fake, monkeypatch):
    whole, answers = fake.get_object, itertools.count()

    def breaks_off(**arguments):
        answer = whole(**arguments)
        return answer if next(answers) else {**answer, "Body": Broken()}

    monkeypatch.setattr(fake, "get_object", breaks_off)
    assert store.get("there").data == b"1"


# --- servers that ignore conditions ---------------------------------------------------------------


def test_a_server_that_refuses_every_condition_is_refused(fake):
    fake.plan("put_object", None, *[refusal("PreconditionFailed", 412)] * 10)
    with pytest.raises(UnsupportedStoreError):
        S3Store("bucket", client=fake).create("new", b"1")
    assert fake.objects == {}


def test_a_server_without_conditional_writes_is_refused(fake):
    fake.plan("put_object", refusal("NotImplemented", 501))
    with pytest.raises(UnsupportedStoreError, match="does not implement"):
        S3Store("bucket", client=fake).create("new", b"1")
    assert fake.objects == {}


def test_a_bad_key_is_refused_before_the_server_is_probed(fake):
    store = S3Store("bucket", client=fake)
    for call in (lambda: store.create("../a", b"1"), lambda: store.replace("../a", b"1", "etag")):
        with pytest.raises(InvalidKeyError):
            call()
    assert fake.calls == []


def test_a_probe_that_fails_is_made_again_by_the_next_write(fake):
    store = S3Store("bucket", client=fake)
    fake.plan("put_object", None, refusal("InternalError", 500))
    with pytest.raises(
        Unavailable, match="cannot check"
    ) as caught:  # for nothing of the caller's was sent
        store.create("a", b"1")
    assert not isinstance(caught.value, OutcomeUnknown)
    assert fake.objects == {}
    store.create("a", b"1")
    assert sorted(fake.objects) == [MARKER, "a"]


def test_a_probe_whose_answer_is_lost_leaves_nothing_behind(fake, monkeypatch):
    write = fake.put_object

    def answer_lost(**arguments):
        write(**arguments)
        raise boto.ConnectionClosedError(endpoint_url=ENDPOINT, error="closed")

    monkeypatch.setattr(fake, "put_object", answer_lost)
    with pytest.raises(Unavailable):
        S3Store("bucket", client=fake).create("a", b"1")
    assert fake.objects == {}


def test_a_probe_that_may_not_be_removed_does_not_stop_the_write(fake):
    fake.plan("delete_object", refusal("AccessDenied", 403))
    store = S3Store("bucket", client=fake)
    store.create("a", b"1")
    assert [entry.key for entry in store.list()] == ["a"]


def test_two_probes_at_once_are_both_content(fake):
    fake.plan("put_object", None, None, None, None, None, refusal("PreconditionFailed", 412))
    S3Store("bucket", client=fake).create("a", b"1")
    assert fake.objects["a"]["Body"] == b"1"


# --- arguments ------------------------------------------------------------------------------------


def test_put_arguments_cannot_undo_a_condition(fake):
    for taken in ("IfMatch", "IfNoneMatch", "Key", "Bucket", "Body"):
        with pytest.raises(InputError, match=taken):
            S3Store("bucket", client=fake, put_args={taken: "x"})


def test_put_arguments_may_set_the_content_type(fake):
    S3Store("bucket", client=fake, put_args={"ContentType": "x/y"}).create("a.json", b"{}")
    S3Store("bucket", "b", client=fake).create("a.json", b"{}")
    S3Store("bucket", "b", client=fake).create("a.parquet", b"")
    types = {put["Key"]: put["ContentType"] for put in fake.called("put_object")}
    assert (types["a.json"], types["b/a.json"], types["b/a.parquet"]) == (
        "x/y",
        "application/json",
        "application/octet-stream",
    )


# --- listing --------------------------------------------------------------------------------------


def test_a_listing_follows_every_page(fake):
    fake.page = 3
    store = S3Store("bucket", "pre", client=fake)
    names = [f"k{number:02d}" for number in range(10)]
    for name in names:
        store.create(name, b"1")
    assert [entry.key for entry in store.list()] == names
    assert len(fake.called("list_objects_v2")) == 4
    assert [entry.key for entry in store.list("k0", "k04")] == names[5:]


def test_a_failure_between_two_pages_is_asked_again(fake, waits):
    fake.page = 2
    store = S3Store("bucket", client=fake, sleep=waits.append)
    for number in range(6):
        store.create(f"k{number}", b"1")
    fake.plan(
        "list_objects_v2", None, refusal("SlowDown", 503), None, refusal("InternalError", 500)
    )
    assert [entry.key for entry in store.list()] == [f"k{number}" for number in range(6)]
    assert len(waits) == 2


def test_a_server_that_repeats_itself_does_not_keep_a_listing_going_for_ever(fake, monkeypatch):
    store = S3Store("bucket", client=fake)
    for token in ({}, {"NextContinuationToken": "same"}):
        monkeypatch.setattr(
            fake, "list_objects_v2", lambda token=token, **_: {"IsTruncated": True, **token}
        )
        with pytest.raises(StoreError, match="how its list goes on"):
            list(store.list())


def test_what_others_keep_in_the_bucket_is_not_listed_unless_it_is_a_key(fake):
    store = S3Store("bucket", "pre", client=fake)
    store.create("a/b", b"1")
    for name in (
        "pre/",
        "pre/a/",
        "pre/a//b",
        "pre/.hidden",
        "pre/back\\slash",
        "prefix",
        "elsewhere/a",
    ):
        fake.objects[name] = {"Body": b"", "ETag": '"e"', "LastModified": datetime.now(UTC)}
    assert [entry.key for entry in store.list()] == ["a/b"]
    assert [entry.key for entry in store.list("a")] == ["a/b"]


def test_aws_is_asked_to_start_where_the_listing_starts_and_for_no_more_pages_than_needed(moto_s3):
    calls = []
    moto_s3.meta.events.register(
        "provide-client-params.s3.ListObjectsV2", lambda params, **_: calls.append(params)
    )
    store = S3Store("titans-spotlake-data", "pre", client=moto_s3)
    for number in range(3):
        store.create(f"k{number}", b"1")
    found = store.list("k", "k0")
    assert calls == []
    assert [entry.key for entry in found] == ["k1", "k2"]
    assert [(call["Prefix"], call["StartAfter"]) for call in calls] == [("pre/k", "pre/k0")]


def test_pages_are_fetched_when_they_are_needed(moto_s3):
    calls = []

    def small_pages(params, **_):
        calls.append(params)
        return {**params, "MaxKeys": 4}

    moto_s3.meta.events.register("provide-client-params.s3.ListObjectsV2", small_pages)
    names = [f"{folder}/{number}" for folder in ("a", "a-b", "a.b") for number in range(3)]
    for name in names:
        moto_s3.put_object(Bucket="titans-spotlake-data", Key=name, Body=b"")
    found = S3Store("titans-spotlake-data", client=moto_s3).list()
    assert next(found).key == "a-b/0"
    assert len(calls) == 1
    assert [entry.key for entry in found] == sorted(names)[1:]
    assert len(calls) == 3


# --- the client that the store makes --------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "environment"),
    [({"endpoint_url": "no url"}, {}), ({"region": "no region!"}, {})],
    ids=["endpoint", "region"],
)
def test_a_client_that_cannot_be_made_is_an_input_error(
    aws_environment, monkeypatch, options, environment
):
    with pytest.raises(InputError, match="s3://bucket"):
        open_store("s3://bucket", **options)


# --- the client's library -------------------------------------------------------------------------


def test_the_lowest_boto3_that_is_allowed_is_the_first_that_knows_every_argument(aws_environment):
    """That one was tried with these tests. Its model of S3 has what the store sends."""
    project = tomllib.loads((ROOT / "core" / "pyproject.toml").read_text())["project"]
    assert "boto3>=1.35.69" in project["dependencies"]

    with contextlib.closing(boto3.client("s3")) as client:
        sent = {
            "PutObject": ("IfMatch", "IfNoneMatch", "ExpectedBucketOwner"),
            "CompleteMultipartUpload": ("IfNoneMatch", "ExpectedBucketOwner"),
            "ListObjectsV2": ("StartAfter", "ContinuationToken", "ExpectedBucketOwner"),
            "GetObject": ("Range", "ExpectedBucketOwner"),
        }
        for operation, arguments in sent.items():
            known = client.meta.service_model.operation_model(operation).input_shape.members
            assert set(arguments) <= set(known), operation
