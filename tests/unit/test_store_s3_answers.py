"""What the S3 store makes of a server's refusals, of silence, and of a server that ignores
conditions."""

from __future__ import annotations

import contextlib
import io
import socket
import socketserver
import threading
from datetime import UTC, datetime
from types import SimpleNamespace

import fixtures_stores
import pytest
from botocore import exceptions as boto

from titans.errors import (
    AlreadyExists,
    InputError,
    NotFound,
    OutcomeUnknown,
    PreconditionFailed,
    RetryableError,
    StoreError,
    Unavailable,
    UnsupportedStoreError,
)
from titans.store import open_store
from titans.store.s3 import MARKER, S3Store

NOW = datetime(2026, 1, 23, tzinfo=UTC)


def refusal(status, code="", retries=0):
    answer = {
        "Error": {"Code": code or str(status), "Message": "no"},
        "ResponseMetadata": {"HTTPStatusCode": status, "RetryAttempts": retries},
    }
    return boto.ClientError(answer, "Operation")


class Bucket:
    """The part of a boto3 client that a store uses, over a dict. `plan` holds errors that calls
    raise before they work."""

    def __init__(self, *plan, honest=True):
        self.plan, self.honest = list(plan), honest
        self.objects = {}
        self.calls = []
        self._version = 0

    def _called(self, name, arguments):
        self.calls.append((name, arguments))
        if self.plan and (error := self.plan.pop(0)):
            raise error

    def put_object(self, **given):
        self._called("put", given)
        there = self.objects.get(given["Key"])
        if self.honest and "IfNoneMatch" in given and there:
            raise refusal(412, "PreconditionFailed")
        if self.honest and "IfMatch" in given and (not there or there[1] != given["IfMatch"]):
            raise refusal(412, "PreconditionFailed")
        self._version += 1
        self.objects[given["Key"]] = (bytes(given["Body"]), f'"{self._version}"')
        return {"ETag": f'"{self._version}"'}

    def get_object(self, **given):
        self._called("get", given)
        if given["Key"] not in self.objects:
            raise refusal(404, "NoSuchKey")
        data, etag = self.objects[given["Key"]]
        return {"Body": io.BytesIO(data), "ETag": etag, "LastModified": NOW}

    def delete_object(self, **given):
        self._called("delete", given)
        self.objects.pop(given["Key"], None)

    def list_objects_v2(self, **given):
        self._called("list", given)
        found = [
            {"Key": key, "Size": len(data), "ETag": etag, "LastModified": NOW}
            for key, (data, etag) in sorted(self.objects.items())
            if key.startswith(given["Prefix"])
        ]
        return {"Contents": found, "IsTruncated": False}


def prepared(*plan, **options):
    """A store whose server is known to be good, with the object `a`; the plan begins with the next
    call."""
    bucket = Bucket()
    store = S3Store("bucket", client=bucket, sleep=lambda _: None, **options)
    etag = store.create("a", b"1")
    bucket.plan, bucket.calls = list(plan), []
    return store, bucket, etag


CALLS = {
    "get": lambda store, etag: store.get("a"),
    "get_range": lambda store, etag: store.get_range("a", 0, 1),
    "head": lambda store, etag: store.head("a"),
    "list": lambda store, etag: list(store.list()),
    "create": lambda store, etag: store.create("b", b"2"),
    "replace": lambda store, etag: store.replace("a", b"2", etag),
    "delete": lambda store, etag: store.delete("a"),
}
READS = ["get", "get_range", "head", "list"]
WRITES = ["create", "replace", "delete"]
SILENCE = [
    boto.ReadTimeoutError(endpoint_url="http://x"),
    boto.ConnectionClosedError(endpoint_url="http://x"),
    boto.HTTPClientError(error="broken"),
    refusal(500, "InternalError"),
    refusal(502),
    refusal(503, "ServiceUnavailable"),
    ConnectionResetError(104, "reset"),
]
NO_EFFECT = [
    refusal(503, "SlowDown"),
    refusal(429, "TooManyRequests"),
    boto.EndpointConnectionError(endpoint_url="http://x"),
]


@pytest.mark.parametrize("call", READS)
@pytest.mark.parametrize("error", [*SILENCE, *NO_EFFECT], ids=str)
def test_a_read_is_tried_again_and_then_unavailable(call, error):
    store, bucket, etag = prepared(error, error)
    CALLS[call](store, etag)
    assert len(bucket.calls) == 3
    store, bucket, etag = prepared(*[error] * 100)
    with pytest.raises(Unavailable):
        CALLS[call](store, etag)
    assert len(bucket.calls) < 10


@pytest.mark.parametrize("call", WRITES)
@pytest.mark.parametrize("error", SILENCE, ids=str)
def test_a_write_without_an_answer_is_never_sent_twice(call, error):
    store, bucket, etag = prepared(error)
    with pytest.raises(OutcomeUnknown) as caught:
        CALLS[call](store, etag)
    assert len(bucket.calls) == 1
    assert isinstance(caught.value, RetryableError)


@pytest.mark.parametrize("call", WRITES)
@pytest.mark.parametrize("error", [*NO_EFFECT, refusal(409, "ConditionalRequestConflict")], ids=str)
def test_a_write_that_surely_had_no_effect_is_sent_again(call, error):
    store, bucket, etag = prepared(error, error)
    CALLS[call](store, etag)
    assert len(bucket.calls) == 3


@pytest.mark.parametrize("call", WRITES)
@pytest.mark.parametrize("error", NO_EFFECT, ids=str)
def test_a_server_that_stays_busy_makes_a_write_unavailable(call, error):
    store, bucket, etag = prepared(*[error] * 100)
    with pytest.raises(Unavailable):
        CALLS[call](store, etag)
    assert bucket.objects["a"][0] == b"1"


def test_whoever_does_not_even_answer_the_connection_is_asked_once():
    store, bucket, _ = prepared(*[boto.ConnectTimeoutError(endpoint_url="http://x")] * 9)
    with pytest.raises(Unavailable, match="check the endpoint"):
        store.create("b", b"")
    assert len(bucket.calls) == 1


@pytest.mark.parametrize(
    "error",
    [refusal(412, "PreconditionFailed"), refusal(409, "ConditionalRequestConflict")],
    ids=str,
)
def test_412_and_409_are_a_lost_race(error):
    store, _, etag = prepared(*[error] * 100)
    with pytest.raises(AlreadyExists, match="b"):
        store.create("b", b"2")
    with pytest.raises(PreconditionFailed, match="a"):
        store.replace("a", b"2", etag)


def test_404_on_replace_is_a_lost_race():
    store, _, etag = prepared(refusal(404, "NoSuchKey"))
    with pytest.raises(PreconditionFailed):
        store.replace("a", b"2", etag)


def test_a_refusal_after_a_retry_inside_botocore_may_be_the_answer_to_its_own_success():
    for call in ("create", "replace"):
        store, _, etag = prepared(refusal(412, "PreconditionFailed", retries=1))
        with pytest.raises(OutcomeUnknown):
            CALLS[call](store, etag)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (refusal(404, "NoSuchBucket"), "no bucket 'bucket'"),
        (refusal(403, "AccessDenied"), "access denied"),
        (refusal(403, "InvalidAccessKeyId"), "credentials were refused"),
        (refusal(403, "SignatureDoesNotMatch"), "credentials were refused"),
        (refusal(400, "ExpiredToken"), "credentials were refused"),
        (refusal(403, "RequestTimeTooSkewed"), "clock"),
        (refusal(301, "PermanentRedirect"), "region"),
        (boto.NoCredentialsError(), "AWS_ACCESS_KEY_ID"),
        (boto.PartialCredentialsError(provider="env", cred_var="x"), "AWS_ACCESS_KEY_ID"),
        (
            boto.SSLError(endpoint_url="https://x", error="CERTIFICATE_VERIFY_FAILED"),
            "AWS_CA_BUNDLE",
        ),
        (boto.ParamValidationError(report="Unknown parameter"), "Unknown parameter"),
    ],
    ids=str,
)
@pytest.mark.parametrize("call", sorted(CALLS))
def test_what_no_repetition_mends_is_told_at_once(call, error, told):
    store, bucket, etag = prepared(error)
    with pytest.raises(StoreError, match=told) as caught:
        CALLS[call](store, etag)
    assert not isinstance(
        caught.value, RetryableError | NotFound | PreconditionFailed | AlreadyExists
    )
    assert "bucket" in str(caught.value)
    assert len(bucket.calls) == 1


def test_a_defect_in_a_client_is_not_dressed_up():
    store, _, _ = prepared(TypeError("defect"))
    with pytest.raises(TypeError, match="defect"):
        store.get("a")


def test_head_tells_a_missing_bucket_from_a_missing_object():
    store = S3Store("bucket", client=Bucket(refusal(404, "NoSuchBucket"), refusal(404)))
    with pytest.raises(StoreError, match="no bucket 'bucket'") as caught:
        store.head("b")
    assert not isinstance(caught.value, NotFound)
    with pytest.raises(NotFound):
        store.head("b")


# --- what is sent ---------------------------------------------------------------------------------


def test_every_request_names_the_expected_owner_and_writes_carry_the_put_arguments():
    store, bucket, etag = prepared(
        expected_bucket_owner="123456789012",
        put_args={"ServerSideEncryption": "AES256", "SSECustomerKey": "key"},
    )
    for call in CALLS.values():
        call(store, etag)
    for name, given in bucket.calls:
        assert given["ExpectedBucketOwner"] == "123456789012"
        assert ("ServerSideEncryption" in given) == (name == "put")
        assert ("SSECustomerKey" in given) == (name in ("put", "get"))


def test_put_arguments_cannot_take_the_conditions_away():
    with pytest.raises(InputError, match="IfMatch"):
        S3Store("bucket", client=Bucket(), put_args={"IfMatch": "*"})


def test_an_etag_that_would_match_any_version_is_refused():
    for loose in ("*", '"*"', "", '"1", "2"'):
        store, bucket, _ = prepared()
        with pytest.raises(PreconditionFailed):
            store.replace("a", b"2", loose)
        assert bucket.objects["a"][0] == b"1"


def test_a_server_that_ignores_ranges_is_cut_here():
    store, _, _ = prepared()
    store.create("long", b"0123456789")
    assert store.get_range("long", 3, 5) == b"34"


def test_what_is_no_key_of_an_archive_is_not_listed():
    store, bucket, _ = prepared()
    bucket.objects.update({"folder/": (b"", ""), ".DS_Store": (b"", ""), "x//y": (b"", "")})
    assert [entry.key for entry in store.list()] == ["a"]


# --- a server that ignores conditions -------------------------------------------------------------


def test_a_server_that_ignores_conditions_is_refused_before_anything_is_written():
    bucket = Bucket(honest=False)
    store = S3Store("bucket", "prefix", client=bucket)
    for _ in range(2):
        with pytest.raises(
            UnsupportedStoreError, match=r"s3://bucket/prefix ignores conditional writes"
        ):
            store.create("a", b"1")
        with pytest.raises(UnsupportedStoreError):
            store.replace("a", b"1", '"1"')
    assert bucket.objects == {}


@pytest.mark.parametrize("ignored", ["IfNoneMatch", "IfMatch"])
def test_half_of_the_conditions_is_not_enough(ignored):
    class Half(Bucket):
        def put_object(self, **given):
            given.pop(ignored, None)
            return super().put_object(**given)

    bucket = Half()
    with pytest.raises(UnsupportedStoreError):
        S3Store("bucket", client=bucket).create("a", b"1")
    assert bucket.objects == {}


def test_a_server_that_refuses_right_conditions_as_well_is_of_no_use():
    class Stubborn(Bucket):
        def put_object(self, **given):
            if "IfMatch" in given:
                raise refusal(412, "PreconditionFailed")
            return super().put_object(**given)

    with pytest.raises(UnsupportedStoreError):
        S3Store("bucket", client=Stubborn()).create("a", b"1")


def test_a_server_that_does_not_know_conditions_is_refused():
    bucket = Bucket(refusal(404), None, refusal(501, "NotImplemented"))
    with pytest.raises(UnsupportedStoreError):
        S3Store("bucket", client=bucket).create("a", b"1")


def test_a_good_server_is_checked_once_per_prefix_and_the_result_kept_there():
    bucket = Bucket()
    S3Store("bucket", "prefix", client=bucket).create("a", b"1")
    assert sorted(bucket.objects) == [f"prefix/{MARKER}", "prefix/a"]
    bucket.calls.clear()
    again = S3Store("bucket", "prefix", client=bucket)
    again.create("b", b"1")
    again.create("c", b"1")
    assert [name for name, _ in bucket.calls] == ["get", "put", "put"]


def test_reading_alone_checks_nothing():
    bucket = Bucket()
    store = S3Store("bucket", client=bucket)
    assert list(store.list()) == []
    with pytest.raises(NotFound):
        store.get("a")
    assert {name for name, _ in bucket.calls} == {"list", "get"}


def test_a_check_without_an_answer_says_nothing_about_the_write_itself():
    bucket = Bucket(None, None, boto.ReadTimeoutError(endpoint_url="http://x"))
    store = S3Store("bucket", client=bucket)
    with pytest.raises(Unavailable):
        store.create("a", b"1")
    assert "a" not in bucket.objects
    store.create("a", b"1")
    assert bucket.objects["a"][0] == b"1"


# --- the real client ------------------------------------------------------------------------------


@pytest.fixture
def closed_port():
    """A port that is taken, but where nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


def opened(port, **options):
    return open_store(
        f"s3://bucket/p?endpoint_url=http://127.0.0.1:{port}&region=us-east-1", **options
    )


def test_an_unreachable_server_gives_one_clear_error(aws_environment, closed_port):
    waits = []
    store = opened(closed_port, sleep=waits.append)
    for call in CALLS.values():
        with pytest.raises(
            Unavailable, match=rf"not reachable .*127\.0\.0\.1:{closed_port}.*check the endpoint"
        ):
            call(store, '"1"')
    assert sum(waits[:5]) < 5


@contextlib.contextmanager
def listening(handle):
    class Handler(socketserver.BaseRequestHandler):
        def handle(self):
            handle(self.request)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


def test_a_connection_cut_in_the_middle_of_an_upload_leaves_the_outcome_unknown(aws_environment):
    seen = []

    def cut(connection):
        seen.append(connection.recv(1000).split(b" ")[0])

    with listening(cut) as port:
        store = opened(port, sleep=lambda _: None)
        store._checked = True
        with pytest.raises(OutcomeUnknown, match="read it back"):
            store.create("large", bytes(5_000_000))
        assert seen == [b"PUT"]
        with pytest.raises(Unavailable):
            store.get("large")
        assert seen.count(b"GET") > 1


def test_an_endpoint_that_is_no_url_is_refused(aws_environment):
    with pytest.raises(InputError, match="endpoint_url"):
        open_store("s3://bucket?endpoint_url=nonsense&region=us-east-1")


def test_without_credentials_it_says_how_to_give_some(aws_environment, closed_port, monkeypatch):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(StoreError, match="AWS_ACCESS_KEY_ID"):
        opened(closed_port).create("a", b"1")


def test_a_profile_that_does_not_exist_is_a_readable_error(aws_environment, monkeypatch):
    monkeypatch.setenv("AWS_PROFILE", "no-such-profile")
    with pytest.raises(StoreError, match="no-such-profile"):
        open_store("s3://bucket")


def test_our_own_client_never_sends_a_request_twice(monkeypatch):
    import boto3

    made = {}

    class Session:
        def client(self, *_, **options):
            made.update(options)
            return SimpleNamespace()

    monkeypatch.setattr(boto3.session, "Session", Session)
    open_store("s3://bucket")
    assert made["config"].retries["total_max_attempts"] == 1
    assert made["config"].connect_timeout <= 10


# --- real refusals --------------------------------------------------------------------------------


@fixtures_stores.SEAWEED
@pytest.mark.parametrize(
    "wrong", [{"aws_secret_access_key": "wrong"}, {"aws_access_key_id": "nobody"}], ids=str
)
def test_a_real_server_refuses_wrong_credentials_and_nothing_is_tried_again(seaweed, wrong):
    waits = []
    with contextlib.closing(seaweed.client(**wrong)) as client:
        store = S3Store(fixtures_stores.SHARED, "wrong", client=client, sleep=waits.append)
        for name, call in CALLS.items():
            with pytest.raises(StoreError, match="credentials") as caught:
                call(store, '"1"')
            assert not isinstance(caught.value, NotFound | RetryableError), name
    assert waits == []


def test_a_missing_bucket_is_named_by_every_call(moto_s3):
    store = S3Store("no-such-bucket", client=moto_s3)
    for name, call in CALLS.items():
        with pytest.raises(
            StoreError, match="there is no bucket 'no-such-bucket'; create it"
        ) as caught:
            call(store, '"1"')
        assert not isinstance(caught.value, NotFound), name
