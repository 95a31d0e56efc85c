"""Every request of the S3 store × every way in which its answer can be spoiled.

A server on a socket knows what it did, so each outcome can be judged: a read gives the truth or an
error, a write that happened is never denied, and a refusal is what it says.
"""

from __future__ import annotations

import re
import socketserver
import threading
from datetime import UTC, datetime

import pytest
from botocore.config import Config

from titans.errors import (
    AlreadyExists,
    NotFound,
    OutcomeUnknown,
    PreconditionFailed,
    RetryableError,
    StoreError,
    Unavailable,
    UnsupportedStoreError,
)
from titans.store import open_store

pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # of connections that break
    pytest.mark.filterwarnings("ignore:tzname"),  # of half a time
]

DATA = b"0123456789"
ETAG = '"0123456789abcdef0123456789abcdef"'
TIME = datetime(2026, 1, 23, 14, 20, tzinfo=UTC)
HEADERS = {
    "Content-Length": "10",
    "Last-Modified": "Fri, 23 Jan 2026 14:20:00 GMT",
    "ETag": ETAG,
    "Content-Type": "application/octet-stream",
}
XML = '<?xml version="1.0" encoding="UTF-8"?>\n'
LIST = (
    f"{XML}<ListBucketResult><Name>bucket</Name><Prefix>p/</Prefix><KeyCount>1</KeyCount>"
    "<MaxKeys>1000</MaxKeys><IsTruncated>false</IsTruncated><Contents><Key>p/a</Key>"
    f"<LastModified>2026-01-23T14:20:00.000Z</LastModified><ETag>{ETAG}</ETag><Size>10</Size>"
    "<StorageClass>STANDARD</StorageClass></Contents></ListBucketResult>"
)
BEGUN = (
    f"{XML}<InitiateMultipartUploadResult><Bucket>bucket</Bucket><Key>p/b</Key>"
    "<UploadId>upload</UploadId></InitiateMultipartUploadResult>"
)
COMPLETED = (
    f"{XML}<CompleteMultipartUploadResult><Location>x</Location><Bucket>bucket</Bucket>"
    f"<Key>p/b</Key><ETag>{ETAG}</ETag></CompleteMultipartUploadResult>"
)


def answer(status="200 OK", headers=None, body=b""):
    """The bytes of an answer."""
    headers = {**(headers or {}), "Connection": "close"}
    lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode() + body


def xml(text):
    return answer(headers={"Content-Length": len(text.encode())}, body=text.encode())


PART = {**HEADERS, "Content-Range": "bytes 2-5/10", "Content-Length": "4"}
FIRST = {**HEADERS, "Content-Range": "bytes 0-0/10", "Content-Length": "1"}
WRITTEN = {"Content-Length": "0", "ETag": ETAG}
RIGHT = {
    "get": answer(headers=HEADERS, body=DATA),
    "get_range": answer("206 Partial Content", PART, DATA[2:6]),
    "head": answer("206 Partial Content", FIRST, DATA[:1]),
    "list": xml(LIST),
    "create": answer(headers=WRITTEN),
    "replace": answer(headers=WRITTEN),
    "delete": answer("204 No Content"),
    "begin": xml(BEGUN),
    "part": answer(headers=WRITTEN),
    "complete": xml(COMPLETED),
}
"""What a good server answers to the request that is spoiled."""

READS = ["get", "get_range", "head", "list"]
PARTS = ["begin", "part", "complete"]
WRITES = ["create", "replace", "delete", "complete"]
"""Requests that change what the store holds."""


def reversed_headers(good):
    head, _, body = good.partition(b"\r\n\r\n")
    status, *headers = head.split(b"\r\n")
    return b"\r\n".join([status, *headers[::-1], b"", b""]) + body


class Server(socketserver.ThreadingTCPServer):
    """Answers every request rightly, save that to `spoiled`, which is answered with `answer`."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.spoiled, self.answer, self.early, self.seen = "", b"", False, 0


class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        line = self.rfile.readline().decode()
        headers = {}
        while header := self.rfile.readline().strip().decode():
            name, _, value = header.partition(": ")
            headers[name.lower()] = value
        what = kind_of(line, headers)
        is_spoiled = what == self.server.spoiled
        if is_spoiled:
            self.server.seen += 1
        raw = self.server.answer if is_spoiled else RIGHT.get(what, answer("204 No Content"))

        if is_spoiled and self.server.early:
            self.wfile.write(raw)
        elif headers.get("expect"):
            self.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        self.rfile.read(int(headers.get("content-length", "0")))
        if not (is_spoiled and self.server.early):
            self.wfile.write(raw)


def kind_of(line, headers):
    verb, target, _ = line.split(" ")
    if verb == "HEAD":  # botocore asks for the bucket's region
        return "region"
    if verb == "GET":
        if "list-type" in target:
            return "list"
        return {"bytes=2-5": "get_range", "bytes=0-0": "head"}.get(headers.get("range"), "get")
    if verb == "POST":
        return "begin" if target.endswith("?uploads") else "complete"
    if verb == "DELETE":
        return "abort" if "uploadId" in target else "delete"
    if "partNumber" in target:
        return "part"
    return "replace" if "if-match" in headers else "create"


@pytest.fixture(scope="module")
def server():
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def store(server):
    """One for all: to make a client takes longer than many requests."""
    port = server.server_address[1]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "testing")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
        store = open_store(
            f"s3://bucket/p?endpoint_url=http://127.0.0.1:{port}&region=us-east-1",
            sleep=lambda _: None,
        )
    store._checked = store._parts_checked = True
    yield store
    store._client.close()


@pytest.fixture
def spoiled(server, store, monkeypatch, tmp_path):
    """A function: what becomes of an operation whose request is answered like this."""
    monkeypatch.setattr("titans.store._s3_bucket._ATTEMPTS", 2)
    monkeypatch.setattr("titans.store.s3._PART", 4)
    file = tmp_path / "file"
    file.write_bytes(DATA)
    calls = {
        "get": lambda: store.get("a"),
        "get_range": lambda: store.get_range("a", 2, 6),
        "head": lambda: store.head("a"),
        "list": lambda: list(store.list()),
        "create": lambda: store.create("b", DATA),
        "replace": lambda: store.replace("a", DATA, ETAG),
        "delete": lambda: store.delete("a"),
        **dict.fromkeys(PARTS, lambda: store.create_file("b", file)),
    }

    def outcome(what, raw, early=False):
        server.spoiled, server.answer, server.early, server.seen = what, raw, early, 0
        try:
            return calls[what]()
        except StoreError as error:
            return error

    return outcome


def is_truth(what, found):
    if what == "get":
        return (found.data, found.etag, found.last_modified) == (DATA, ETAG, TIME)
    if what == "get_range":
        return found == DATA[2:6]
    if what == "head":
        return (found.key, found.size, found.etag, found.last_modified) == ("a", 10, ETAG, TIME)
    if what == "list":
        return [(e.key, e.size, e.last_modified) for e in found] == [("a", 10, TIME)]
    return found is None if what == "delete" else found == ETAG


def judged(server, what, raw, found):
    """What is wrong with the outcome of a request that was done, its answer spoiled."""
    if not isinstance(found, StoreError):
        return None if is_truth(what, found) else f"{raw!r} was taken for {found!r}"
    if type(found).__module__ != "titans.errors" or not str(found).strip():
        return f"{raw!r}: {found!r}"
    if what in WRITES:
        if not isinstance(found, OutcomeUnknown):
            return f"{raw!r}: a write that happened is denied: {found!r}"
        return None if server.seen == 1 else f"{raw!r}: sent {server.seen} times"
    if isinstance(found, NotFound | OutcomeUnknown):
        return f"{raw!r}: {found!r}"
    return None


def faults(server, spoiled, what, raws):
    found = [judged(server, what, raw, spoiled(what, raw)) for raw in raws]
    assert len(found) > 3
    return [fault for fault in found if fault]


@pytest.mark.parametrize("turn", [lambda good: good, reversed_headers], ids=["", "reversed"])
@pytest.mark.parametrize("what", RIGHT)
def test_an_answer_cut_anywhere_is_no_answer(server, spoiled, what, turn):
    good = turn(RIGHT[what])
    assert is_truth(what, spoiled(what, good))
    assert faults(server, spoiled, what, [good[:end] for end in range(0, len(good), 6)]) == []


NONSENSE = ["", "nonsense", "-1", "99999999999999999999", '"', "1e3", "Fri, 23 Jan 20", "\xff"]


@pytest.mark.parametrize("what", RIGHT)
def test_a_header_that_is_missing_or_nonsense_is_noticed_or_does_not_matter(server, spoiled, what):
    head, _, body = RIGHT[what].partition(b"\r\n\r\n")
    status, *headers = head.split(b"\r\n")
    raws = []
    for number, header in enumerate(headers):
        name = header.partition(b":")[0]
        if name == b"Connection":
            continue
        if name.lower() == b"etag" and what not in ("get", "head", "part"):
            values = ["", '"half']  # whatever a server calls a version is right
        else:
            values = NONSENSE
        others = headers[:number], headers[number + 1 :]
        raws.append(b"\r\n".join([status, *others[0], *others[1], b"", body]))
        for value in values:
            changed = name + b": " + value.encode("latin-1")
            raws.append(b"\r\n".join([status, *others[0], changed, *others[1], b"", body]))
    raws += [answer("200 OK"), answer("206 Partial Content"), answer("204 No Content")]

    def judge(raw):
        found = spoiled(what, raw)
        if what == "delete" or not isinstance(found, StoreError):
            return None if is_loosely_true(what, found) else f"{raw!r} was taken for {found!r}"
        return judged(server, what, raw, found)

    assert [fault for fault in map(judge, raws) if fault] == []


def is_loosely_true(what, found):
    """With another etag or time, as the server says; rows and sizes are never others."""
    if what == "get":
        return found.data == DATA and found.etag and found.last_modified.tzinfo
    if what == "head":
        return found.size == 10 and found.etag and found.last_modified.tzinfo
    if what in ("create", "replace", "part", "begin", "complete"):
        return bool(found)
    return is_truth(what, found)


@pytest.mark.parametrize("what", ["list", "begin", "complete"])
def test_an_element_that_is_missing_or_nonsense_is_noticed_or_does_not_matter(
    server, spoiled, what
):
    text = {"list": LIST, "begin": BEGUN, "complete": COMPLETED}[what]
    raws = []
    for element in re.findall(r"<(\w+)>[^<]*</\1>", text):
        whole = re.search(rf"<{element}>[^<]*</{element}>", text).group()
        values = ["", "nonsense"]
        if element == "Size":
            values.append("-1")
        if element in ("Key", "ETag", "UploadId", "KeyCount"):
            values = [""]
        raws += [xml(text.replace(whole, f"<{element}>{value}</{element}>")) for value in values]
        raws.append(xml(text.replace(whole, "")))
    for other in ("", "<html>It works!</html>", "{}", XML, "<ListBucketResult/>", "<a><b></a>"):
        raws.append(xml(other))
    assert faults(server, spoiled, what, raws) == []


NOT_HTTP = [
    b"",
    b"SSH-2.0-OpenSSH_9.6\r\n",
    b"\0" * 100,
    b"HTTP/1.1 abc\r\n\r\n",
    b"HTTP/1.1 20",
    b"HTTP/9.9 200 OK\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n" + b"X: " + b"x" * 100_000,
    b"HTTP/1.1 200 OK\r\n" + b"X: x\r\n" * 500 + b"\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n012",
    b"HTTP/1.1 100 Continue\r\n\r\n",
    "HTTP/1.1 200 OK\r\nContent-Length: ١\r\n\r\n".encode(),
]


@pytest.mark.parametrize("what", RIGHT)
def test_what_is_no_http_is_no_answer(server, spoiled, what):
    raws = NOT_HTTP if what != "delete" else NOT_HTTP[:5]
    assert faults(server, spoiled, what, raws) == []


# --- refusals -------------------------------------------------------------------------------------

BROKEN = {499, 500, 502, 503, 504, 507, 520, 599}
"""It may have happened."""
AGAIN = {408, 425, 429}
"""It certainly did not, and may the next time."""
RACES = {409, 412}
FINAL = {302, 303, 305, 400, 401, 402, 403, 405, 406, 410, 411, 413, 414, 415, 422, 431, 451}


def expected(what, status):
    """The class of the outcome; `None`: it succeeds."""
    conditional = {
        "create": AlreadyExists,
        "replace": PreconditionFailed,
        "complete": AlreadyExists,
    }
    if status in BROKEN:
        return OutcomeUnknown if what in WRITES else Unavailable
    if status in AGAIN:
        return Unavailable
    if status in RACES:
        return conditional.get(what, Unavailable)
    if status == 404:
        missing = {"replace": PreconditionFailed, "delete": None}
        return missing.get(what, NotFound if what in READS[:3] else StoreError)
    if status == 416:
        return None if what in ("get_range", "head") else StoreError
    return UnsupportedStoreError if status == 501 else StoreError


BODIES = {
    "nothing": b"",
    "an error": f"{XML}<Error><Code>Odd</Code><Message>no</Message></Error>".encode(),
    "a page": b"<!DOCTYPE html><html><body><h1>Error</h1><hr></body></html>",
    "half an error": f"{XML}<Error><Code>Od".encode(),
}


@pytest.mark.parametrize(
    ("body", "early"), [*((body, False) for body in BODIES), ("an error", True)]
)
@pytest.mark.parametrize("what", RIGHT)
def test_every_refusal_is_what_it_says(server, spoiled, what, body, early):
    wrong = []
    for status in sorted({*BROKEN, *AGAIN, *RACES, *FINAL, 404, 416, 501}):
        content = BODIES[body]
        raw = answer(f"{status} Word", {"Content-Length": len(content)}, content)
        found = spoiled(what, raw, early)
        wanted = expected(what, status)
        if wanted is None:
            right = found in (None, b"") or is_truth(what, found)
        else:
            right = type(found) is wanted and "s3://bucket/p" in str(found)
            if wanted is StoreError:
                right = right and not isinstance(found, RetryableError)
        if not right:
            wrong.append(f"{status}: {found!r}")
    assert wrong == []


CODES = {
    "SlowDown": Unavailable,
    "RequestTimeout": Unavailable,
    "BadDigest": Unavailable,
    "IncompleteBody": Unavailable,
    "ThrottlingException": Unavailable,
    "InternalError": "broken",
    "NoSuchBucket": StoreError,
    "InvalidAccessKeyId": StoreError,
    "OperationAborted": "race",
    "PreconditionFailed": "race",
    "ConditionalRequestConflict": "race",
}


@pytest.mark.parametrize(
    ("what", "status"),
    [*((what, 400) for what in RIGHT), ("complete", 200)],  # it may fail after its status was sent
)
def test_a_code_says_more_than_its_status(server, spoiled, what, status):
    wrong = []
    for code, wanted in CODES.items():
        body = f"{XML}<Error><Code>{code}</Code><Message>no</Message></Error>".encode()
        found = spoiled(what, answer(f"{status} Word", {"Content-Length": len(body)}, body))
        kinds = {"broken": 500, "race": 409}
        kind = expected(what, kinds[wanted]) if isinstance(wanted, str) else wanted
        if type(found) is not kind:
            wrong.append(f"{code}: {found!r}")
    assert wrong == []


# --- servers that do not know today's checksums ---------------------------------------------------

today = pytest.mark.skipif(
    not hasattr(Config(), "request_checksum_calculation"), reason="an older boto3 sends none"
)
CHECKSUMS = [
    ("400 Bad Request", "XAmzContentSHA256Mismatch", "no"),
    ("400 Bad Request", "InvalidArgument", "Unsupported header 'x-amz-sdk-checksum-algorithm'"),
    ("400 Bad Request", "InvalidRequest", "aws-chunked encoding is not supported"),
    ("400 Bad Request", "BadDigest", "no"),
    ("403 Forbidden", "SignatureDoesNotMatch", "no"),
    ("411 Length Required", "MissingContentLength", "no"),
    ("501 Not Implemented", "NotImplemented", "STREAMING-UNSIGNED-PAYLOAD-TRAILER"),
]
"""How servers have refused them."""


@today
@pytest.mark.parametrize(("status", "code", "message"), CHECKSUMS)
@pytest.mark.parametrize("what", ["create", "replace", "part"])
def test_a_server_that_refuses_checksums_is_told_by_the_setting_that_helps(
    spoiled, what, status, code, message
):
    body = f"{XML}<Error><Code>{code}</Code><Message>{message}</Message></Error>".encode()
    found = spoiled(what, answer(status, {"Content-Length": len(body)}, body))
    assert isinstance(found, StoreError)
    assert "AWS_REQUEST_CHECKSUM_CALCULATION=when_required" in str(found)
    assert 'request_checksum_calculation="when_required"' in str(found)


def test_the_setting_is_not_named_where_it_is_set_or_does_not_matter(spoiled, store, monkeypatch):
    body = f"{XML}<Error><Code>AccessDenied</Code><Message>no</Message></Error>".encode()
    refused = answer("403 Forbidden", {"Content-Length": len(body)}, body)
    assert "CHECKSUM" not in str(spoiled("create", refused))

    object.__setattr__(store._requests, "sends_checksums", False)
    monkeypatch.setattr(store, "_requests", store._requests)
    body = body.replace(b"AccessDenied", b"BadDigest")
    refused = answer("400 Bad Request", {"Content-Length": len(body)}, body)
    try:
        assert "CHECKSUM" not in str(spoiled("create", refused))
    finally:
        object.__setattr__(store._requests, "sends_checksums", True)


@today
def test_the_setting_reaches_the_client_that_the_store_makes(aws_environment, monkeypatch):
    for setting, sends in (("when_supported", True), ("when_required", False)):
        monkeypatch.setenv("AWS_REQUEST_CHECKSUM_CALCULATION", setting)
        foreign = open_store("s3://bucket?endpoint_url=http://127.0.0.1:1&region=us-east-1")
        assert foreign._requests.sends_checksums is sends
    monkeypatch.delenv("AWS_REQUEST_CHECKSUM_CALCULATION")
    assert not open_store("s3://bucket")._requests.sends_checksums
