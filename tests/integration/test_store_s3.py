"""The S3 store against a real server, and against connections that break."""

from __future__ import annotations

import contextlib
import socket
import threading

import fixtures_stores
import pytest

from titans.errors import NotFound, OutcomeUnknown, RetryableError, StoreError, Unavailable
from titans.store import open_store
from titans.store.s3 import MARKER, S3Store

seaweedfs = fixtures_stores.SEAWEED


def every_call(store):
    return {
        "get": lambda: store.get("a"),
        "get_range": lambda: store.get_range("a", 0, 1),
        "head": lambda: store.head("a"),
        "list": lambda: list(store.list()),
        "create": lambda: store.create("a", b"1"),
        "replace": lambda: store.replace("a", b"1", '"etag"'),
    }


@seaweedfs
def test_a_store_is_opened_by_its_url_and_finds_its_credentials_in_the_environment(
    seaweed_bucket, aws_environment, monkeypatch
):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", fixtures_stores.ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", fixtures_stores.SECRET_KEY)
    url = f"s3://{seaweed_bucket.name}/deep/down?endpoint_url={seaweed_bucket.endpoint}&region=us-east-1"
    store = open_store(url)
    store.create("a/b", b"1")
    assert open_store(url).get("a/b").data == b"1"
    assert store.url == f"s3://{seaweed_bucket.name}/deep/down"
    there = seaweed_bucket.client.list_objects_v2(Bucket=seaweed_bucket.name)["Contents"]
    assert sorted(found["Key"] for found in there) == [f"deep/down/{MARKER}", "deep/down/a/b"]


@seaweedfs
def test_a_missing_bucket_is_one_clear_error(seaweed_client):
    for name, call in every_call(S3Store("no-such-bucket", client=seaweed_client)).items():
        with pytest.raises(StoreError, match="no bucket 'no-such-bucket'") as caught:
            call()
        assert not isinstance(caught.value, RetryableError | NotFound), name


@seaweedfs
def test_listings_of_many_pages_are_complete_and_in_order(seaweed_bucket, monkeypatch):
    seaweed_bucket.client.meta.events.register(
        "provide-client-params.s3.ListObjectsV2", lambda params, **_: {**params, "MaxKeys": 4}
    )
    store = S3Store(seaweed_bucket.name, "pre", client=seaweed_bucket.client)
    names = [
        f"{folder}{number}"
        for folder in ("a/b/", "a/b-", "a/b.c/", "a-b/", "b/")
        for number in range(5)
    ]
    for name in names:
        store.create(name, b"1")
    assert [entry.key for entry in store.list()] == sorted(names)
    assert [entry.key for entry in store.list("a/b")] == sorted(
        name for name in names if name.startswith("a/b")
    )
    for after in ("a/b/", "a/b.c/2", "a-b/", "a/b-1"):
        assert [entry.key for entry in store.list("a", after)] == sorted(
            name for name in names if name.startswith("a") and name > after
        )


# --- connections that break -----------------------------------------------------------------------


class Hangup:
    """A server that reads a request's headers, answers what it is told, and hangs up.

    Args:
        answer: sent before the connection is closed.
        body: read this many bytes of the request's body first.
    """

    def __init__(self, answer=b"", body=0):
        self._answer, self._body = answer, body
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.requests = []
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self):
        while True:
            connection, _ = self._listener.accept()
            with connection:
                connection.settimeout(30)
                got = b""
                while b"\r\n\r\n" not in got and (more := connection.recv(4096)):
                    got += more
                if got.startswith(b"STOP"):
                    return
                self.requests.append(got.partition(b" ")[0].decode())
                if b"100-continue" in got and self._body:
                    connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
                    connection.recv(self._body)
                connection.sendall(self._answer)

    def close(self):
        with (
            contextlib.suppress(OSError),
            socket.create_connection(self._listener.getsockname()) as last,
        ):
            last.sendall(b"STOP\r\n\r\n")
        self._thread.join(30)
        self._listener.close()


@pytest.fixture
def hangup(request, aws_environment):
    with contextlib.closing(Hangup(**getattr(request, "param", {}))) as server:
        yield server


@pytest.fixture
def cut_off(hangup):
    """A store behind that server, which is taken to honour conditions."""
    store = S3Store(
        "bucket", endpoint_url=hangup.endpoint, region="us-east-1", sleep=lambda seconds: None
    )
    store._checked = True
    yield store
    store._client.close()


ANSWERS = [
    {},
    {"body": 1000},
    {"answer": b"HTTP/1.1 200 OK\r\nContent-Le", "body": 1000},
    {
        "answer": b"HTTP/1.1 502 Bad Gateway\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
        "body": 1000,
    },
    {
        "answer": b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 100\r\n\r\n<Err",
        "body": 1000,
    },
]
ANSWER_NAMES = [
    "after the headers",
    "in the body",
    "in the answer",
    "a proxy gives up",
    "in the error",
]
answers = pytest.mark.parametrize("hangup", ANSWERS, ids=ANSWER_NAMES, indirect=True)


@pytest.mark.slow
@answers
@pytest.mark.parametrize("size", [10, 2_000_000])
def test_an_upload_that_is_cut_off_is_an_unknown_outcome_and_is_sent_once(hangup, cut_off, size):
    for call in (
        lambda: cut_off.create("a/b.parquet", b"x" * size),
        lambda: cut_off.replace("a/b.parquet", b"x" * size, '"etag"'),
    ):
        hangup.requests.clear()
        with pytest.raises(
            OutcomeUnknown, match=r"write a/b.parquet in s3://bucket: .*(broke|failed)"
        ):
            call()
        assert hangup.requests == ["PUT"]


@answers
def test_a_download_that_is_cut_off_is_tried_again_and_then_unavailable(hangup, cut_off):
    with pytest.raises(Unavailable, match=r"read a/b.parquet in s3://bucket: .*(broke|failed)"):
        cut_off.get("a/b.parquet")
    assert 1 < len(hangup.requests) < 10
    assert set(hangup.requests) == {"GET"}


FACTS = b'HTTP/1.1 200 OK\r\nETag: "e"\r\nLast-Modified: Thu, 01 Jan 2026 00:00:00 GMT\r\n'
HALVES = {
    "in the body": FACTS + b"Content-Length: 1000\r\n\r\nonly this",
    "in a chunk": FACTS + b"Transfer-Encoding: chunked\r\n\r\n100\r\nonly this",
    "before the length": FACTS + b"Content-Le",
    "without any length": FACTS + b"\r\nonly this",
}


@pytest.mark.parametrize(
    "hangup", [{"answer": half} for half in HALVES.values()], ids=HALVES, indirect=True
)
def test_half_an_object_is_never_taken_for_the_whole(hangup, cut_off):
    with pytest.raises(Unavailable, match=r"broke"):
        cut_off.get("a")
    assert len(hangup.requests) > 1
