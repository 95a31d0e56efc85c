"""What only a store in a folder can run into: full disks, forbidden folders, and files that are in
the way."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import fixtures_stores
import pytest

from titans.errors import (
    AlreadyExists,
    InvalidKeyError,
    NotFound,
    OutcomeUnknown,
    PreconditionFailed,
    RetryableError,
    StoreError,
    Unavailable,
)
from titans.store import list_pages
from titans.store.local import LocalStore


@pytest.fixture
def root(tmp_path):
    return tmp_path / "store"


@pytest.fixture
def local(root):
    return LocalStore(root)


def fail(monkeypatch, name, number, only=lambda *arguments: True):
    """Make a function of `os` fail with this error."""
    real = getattr(os, name)

    def failing(*arguments, **named):
        if only(*arguments):
            raise OSError(
                number,
                os.strerror(number),
                *(str(a) for a in arguments[:1] if not isinstance(a, int)),
            )
        return real(*arguments, **named)

    monkeypatch.setattr(os, name, failing)


def for_writing(path, flags=0, *_, **__):
    return bool(flags & (os.O_WRONLY | os.O_RDWR))


def is_folder(descriptor):
    return stat.S_ISDIR(os.fstat(descriptor).st_mode)


def everything(root):
    return sorted(str(path.relative_to(root)) for path in root.rglob("*"))


def test_a_missing_root_is_an_empty_store_and_reading_does_not_make_it(local, root):
    assert list(local.list()) == []
    local.delete("a/b")
    for call in (local.get, local.head):
        with pytest.raises(NotFound):
            call("a/b")
    with pytest.raises(PreconditionFailed):
        local.replace("a/b", b"1", "etag")
    assert not root.exists()
    local.create("a/b", b"1")
    assert everything(root) == ["a", "a/b"]


def test_a_relative_root_stays_the_folder_it_was_at_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    store = LocalStore("here")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    store.create("a", b"1")
    assert everything(tmp_path) == ["elsewhere", "here", "here/a"]
    assert store.url == (tmp_path / "here").as_uri()


def test_deleting_removes_the_folders_that_become_empty_but_not_the_root(local, root):
    local.create("a/b/c/one", b"1")
    local.create("a/b/two", b"1")
    local.delete("a/b/c/one")
    assert everything(root) == ["a", "a/b", "a/b/two"]
    local.delete("a/b/two")
    assert root.is_dir()
    assert everything(root) == []


def test_a_swapped_object_leaves_nothing_behind_when_it_is_deleted(local, root):
    local.replace("a/b", b"2", local.create("a/b", b"1"))
    local.delete("a/b")
    assert everything(root) == []


def test_losing_a_race_leaves_nothing_behind(local, root):
    local.create("a", b"1")
    with pytest.raises(AlreadyExists):
        local.create("a", b"2")
    with pytest.raises(PreconditionFailed):
        local.replace("a", b"2", "stale")
    with pytest.raises(PreconditionFailed):
        local.replace("b/c", b"2", "stale")
    assert everything(root) == ["a"]


def test_losing_a_race_at_the_last_moment_leaves_nothing_behind(local, root, monkeypatch):
    def too_late(source, target, **_):
        Path(target).write_bytes(b"theirs")
        raise FileExistsError(errno.EEXIST, "File exists", str(target))

    monkeypatch.setattr(os, "link", too_late)
    with pytest.raises(AlreadyExists):
        local.create("a", b"mine")
    assert local.get("a").data == b"theirs"
    assert everything(root) == ["a"]


def test_a_folder_cannot_become_an_object_nor_an_object_a_folder(local, root):
    local.create("folder/object", b"1")
    with pytest.raises(StoreError, match="folder") as caught:
        local.create("folder", b"2")
    assert not isinstance(caught.value, AlreadyExists)  # for nobody can read it
    with pytest.raises(StoreError, match=r"a file stands where a folder is needed.*ENOTDIR"):
        local.create("folder/object/below", b"2")
    assert everything(root) == ["folder", "folder/object"]


# --- disks and permissions ------------------------------------------------------------------------

ERRORS = {
    errno.ENOSPC: "disk is full",
    errno.EDQUOT: "quota",
    errno.EROFS: "read-only",
    errno.EACCES: "permission denied",
    errno.EFBIG: "larger than this process may write",
}


@pytest.mark.parametrize("number", ERRORS, ids=errno.errorcode.get)
@pytest.mark.parametrize("step", ["open", "fsync"])
def test_a_refused_write_is_one_clear_error_and_changes_nothing(
    local, root, monkeypatch, step, number
):
    etag = local.create("there/object", b"1")
    before = everything(root)
    with monkeypatch.context() as patch:
        fail(patch, step, number, for_writing if step == "open" else lambda *_: True)
        for write in (
            lambda: local.create("there/new", b"2"),
            lambda: local.create("new/folder/object", b"2"),
            lambda: local.replace("there/object", b"2", etag),
        ):
            with pytest.raises(StoreError, match=ERRORS[number]) as caught:
                write()
            assert str(root) in str(caught.value)
            assert errno.errorcode[number] in str(caught.value)
            assert not isinstance(caught.value, OutcomeUnknown | RetryableError)
    assert everything(root) == before
    assert local.get("there/object").data == b"1"
    local.create("new/folder/object", b"2")
    local.replace("there/object", b"2", etag)


@pytest.mark.parametrize(
    "number", [errno.EACCES, errno.ENOSPC, errno.EROFS], ids=errno.errorcode.get
)
def test_folders_that_cannot_be_made_are_one_clear_error(local, root, monkeypatch, number):
    with monkeypatch.context() as patch:
        fail(patch, "mkdir", number)
        with pytest.raises(StoreError, match=ERRORS[number]) as caught:
            local.create("a/b/c", b"1")
    assert str(root) in str(caught.value)
    assert not root.exists()
    local.create("a/b/c", b"1")


def test_a_file_that_may_not_be_read_is_no_missing_object(local, root, monkeypatch):
    local.create("a/b", b"1")
    fail(monkeypatch, "open", errno.EACCES)
    fail(monkeypatch, "scandir", errno.EACCES)
    for read in (
        lambda: local.get("a/b"),
        lambda: local.head("a/b"),
        lambda: list(local.list("a/")),
    ):
        with pytest.raises(StoreError, match="permission denied") as caught:
            read()
        assert not isinstance(caught.value, NotFound)
        assert str(root) in str(caught.value)


def test_failures_that_pass_may_be_tried_again(local, monkeypatch):
    local.create("a", b"1")
    with monkeypatch.context() as patch:
        fail(patch, "open", errno.EMFILE)
        with pytest.raises(Unavailable, match="EMFILE"):
            local.get("a")
        with pytest.raises(Unavailable, match="EMFILE"):
            local.create("b", b"1")
    assert local.get("a").data == b"1"


@pytest.mark.parametrize("step", ["link", "replace"])
def test_a_name_that_is_refused_leaves_nothing_behind(local, root, monkeypatch, step):
    etag = local.create("a", b"1")
    before = everything(root)
    with monkeypatch.context() as patch:
        fail(patch, step, errno.ENOSPC)
        with pytest.raises(StoreError, match="disk is full"):
            _ = local.create("b", b"2") if step == "link" else local.replace("a", b"2", etag)
    assert [name for name in everything(root) if not name.endswith(".lock")] == before
    assert local.get("a").data == b"1"


@pytest.mark.parametrize("kind", ["create", "replace"])
def test_a_folder_that_cannot_be_synced_leaves_the_outcome_unknown(local, monkeypatch, kind):
    etag = local.create("a/b", b"1")
    fail(monkeypatch, "fsync", errno.EIO, is_folder)
    with pytest.raises(OutcomeUnknown, match="could not be synced"):
        _ = local.create("a/c", b"2") if kind == "create" else local.replace("a/b", b"2", etag)
    assert local.get("a/c" if kind == "create" else "a/b").data == b"2"


def test_file_systems_that_cannot_sync_folders_are_taken_as_they_are(local, monkeypatch):
    fail(monkeypatch, "fsync", errno.EINVAL, is_folder)
    local.replace("a/b", b"2", local.create("a/b", b"1"))
    assert local.get("a/b").data == b"2"


def test_objects_can_be_deleted_from_a_full_disk(local, root, monkeypatch):
    local.create("a/b", b"1")
    fail(monkeypatch, "open", errno.ENOSPC, for_writing)
    local.delete("a/b")
    assert everything(root) == []


def test_a_limit_on_file_sizes_is_one_clear_error(root):
    code = """
import resource, signal, sys
from titans.errors import StoreError
from titans.store.local import LocalStore
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
store = LocalStore(sys.argv[1])
etag = store.create("a", b"1")
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
for write in (lambda: store.create("b/c", b"x" * 5000), lambda: store.replace("a", b"x" * 5000, etag)):
    try:
        write()
    except StoreError as error:
        print(error)
store.create("d", b"x" * 500)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(root)],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    lines = done.stdout.splitlines()
    assert len(lines) == 2
    assert all("EFBIG" in line and str(root) in line and "ulimit" in line for line in lines)
    assert everything(root) == ["a", "d"]
    assert (root / "a").read_bytes() == b"1"


@pytest.fixture
def tiny_disk(tmp_path):
    """A file system of 256 KiB."""
    mount, folder = shutil.which("mount"), tmp_path / "disk"
    folder.mkdir()
    if (
        mount is None
        or subprocess.run(
            [mount, "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)],
            check=False,
            capture_output=True,
        ).returncode
    ):
        pytest.skip("this user may not mount a small disk")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_disk_that_is_full_is_one_clear_error_and_takes_writes_again_later(tiny_disk):
    store = LocalStore(tiny_disk / "store")
    etag = store.create("manifest", b"1")
    store.create("large", b"x" * 150_000)
    before = everything(tiny_disk)
    for write in (
        lambda: store.create("a/b/c", b"x" * 150_000),
        lambda: store.replace("manifest", b"x" * 150_000, etag),
    ):
        with pytest.raises(
            StoreError, match=r"the disk is full; free some space.*ENOSPC"
        ) as caught:
            write()
        assert str(tiny_disk) in str(caught.value)
    assert [name for name in everything(tiny_disk) if not name.endswith(".lock")] == before
    assert store.get("manifest").data == b"1"
    store.delete("large")
    store.create("a/b/c", b"x" * 150_000)
    assert store.get("a/b/c").data == b"x" * 150_000


@pytest.fixture
def folder_of_somebody_else():
    """A folder in which this user may read, but not write. Root, who may write everywhere, is
    somebody else for a while."""
    with tempfile.TemporaryDirectory() as name:
        folder, user = Path(name), os.geteuid()
        folder.chmod(0o555)
        if user == 0:
            os.seteuid(65534)
        try:
            yield folder
        finally:
            os.seteuid(user)
            folder.chmod(0o755)


def test_a_folder_of_somebody_else_is_one_clear_error(folder_of_somebody_else):
    with pytest.raises(StoreError, match="permission denied") as caught:
        LocalStore(folder_of_somebody_else).create("b", b"1")
    assert str(folder_of_somebody_else) in str(caught.value)


# --- the root -------------------------------------------------------------------------------------


@pytest.mark.parametrize("below", ["", "below"])
def test_a_file_where_the_root_should_be_is_one_clear_error(tmp_path, below):
    file = tmp_path / "data.parquet"
    file.write_bytes(b"not a folder")
    store = LocalStore(file / below)
    calls = {
        "create": lambda: store.create("a/b", b"1"),
        "get": lambda: store.get("a/b"),
        "head": lambda: store.head("a/b"),
        "list": lambda: list(store.list()),
        "list with a prefix": lambda: list(store.list("a/")),
    }
    for name, call in calls.items():
        with pytest.raises(StoreError, match="a file stands where a folder is needed") as caught:
            call()
        assert str(store.root) in str(caught.value), name
        assert not isinstance(caught.value, NotFound), name
    assert file.read_bytes() == b"not a folder"


def test_a_root_that_is_a_link_to_nowhere_is_one_clear_error(tmp_path):
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "nowhere")
    with pytest.raises(StoreError, match="a link to nowhere") as caught:
        LocalStore(link).create("a/b", b"1")
    assert str(link) in str(caught.value)
    assert not (tmp_path / "nowhere").exists()


def test_a_root_may_be_a_link_to_a_folder(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    LocalStore(tmp_path / "link").create("a/b", b"1")
    assert LocalStore(tmp_path / "real").get("a/b").data == b"1"


def test_links_below_the_root_lead_nowhere(local, root, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_bytes(b"not ours")
    local.create("here", b"1")
    (root / "folder").symlink_to(outside)
    (root / "object").symlink_to(outside / "secret")
    for call in (
        lambda: local.get("folder/secret"),
        lambda: local.create("folder/new", b"1"),
        lambda: local.delete("folder/secret"),
    ):
        with pytest.raises(InvalidKeyError, match="symbolic link"):
            call()
    with pytest.raises(NotFound):
        local.get("object")
    local.delete("object")
    assert [entry.key for entry in local.list()] == ["here"]
    assert everything(outside) == ["secret"]


def test_what_is_no_object_is_not_listed(local, root):
    local.create("a/object", b"1")
    for name in (".hidden", ".object.lock", ".tmp-0123", "new\nline", "back\\slash"):
        (root / "a" / name).write_bytes(b"not ours")
    (root / "a" / "empty folder").mkdir()
    os.mkfifo(root / "a" / "pipe")
    assert [entry.key for entry in local.list()] == ["a/object"]
    assert [entry.key for entry in local.list("a/")] == ["a/object"]


def test_a_listing_reads_folders_only_when_it_comes_to_them(local, monkeypatch):
    for key in ("a/1", "b/1", "c/1"):
        local.create(key, b"1")
    seen, real = [], os.scandir

    def watched(path):
        seen.append(Path(path).name)
        return real(path)

    monkeypatch.setattr(os, "scandir", watched)
    found = local.list()
    assert seen == []
    assert next(found).key == "a/1"
    assert seen == ["store", "a"]
    assert [entry.key for entry in local.list("b/")] == ["b/1"]
    assert seen == ["store", "a", "b"]
    assert [entry.key for entry in local.list(start_after="b/1")] == ["c/1"]
    assert seen == ["store", "a", "b", "store", "b", "c"]


def test_without_hard_links_nothing_changes_but_the_way(local, root, monkeypatch, caplog):
    fixtures_stores.refuse_links(monkeypatch)
    with caplog.at_level("INFO", "titans.store"):
        local.create("a/b", b"1")
        local.create("a/c", b"1")
    assert [
        record.getMessage() for record in caplog.records if "no hard links" in record.getMessage()
    ] != []
    with pytest.raises(AlreadyExists):
        local.create("a/b", b"2")
    assert everything(root) == ["a", "a/b", "a/c"]


def test_a_writer_whose_folder_is_removed_again_and_again_gives_up(local, root, monkeypatch):
    real = os.mkdir

    def gone_at_once(path, *arguments, **named):
        real(path, *arguments, **named)
        if Path(path).name == "a":
            Path(path).rmdir()

    monkeypatch.setattr(os, "mkdir", gone_at_once)
    with pytest.raises(Unavailable, match="removed again and again"):
        local.create("a/b", b"1")
    assert everything(root) == []


def test_a_page_of_a_listing_comes_again_as_long_as_its_folder_is_the_same(tmp_path):
    store = LocalStore(tmp_path)
    for key in ("d/a", "d/b", "e/a", "e/sub/x"):
        store.create(key, b"1")
    first, second = list(list_pages(store)), list(list_pages(store))
    assert [entry for page in first for entry in page.entries] == list(store.list())
    assert [page.entries for page in second] == [page.entries for page in first]
    assert first[0] is second[0]
    assert [entry.key for entry in first[0].entries] == ["d/a", "d/b"]
    store.create("d/c", b"1")
    third = list(list_pages(store, start_after="c"))
    assert [entry.key for entry in third[0].entries] == ["d/a", "d/b", "d/c"]
    assert third[-1] is first[-1]
    assert [e.key for page in list_pages(store, "d/", "d/b") for e in page.entries] == ["d/c"]


def test_an_etag_is_that_of_the_bytes_whatever_was_read_before(local, root):
    etag = local.create("a/manifest", b"one")
    first = local.get("a/manifest")
    assert (
        local.get("a/manifest").data is first.data
    )  # who keeps things by these bytes need not hash them again
    assert first.etag == etag == LocalStore(root).get("a/manifest").etag
    (root / "a/manifest").write_bytes(
        b"two"
    )  # not by a store, of the same length and perhaps in the same tick
    assert local.get("a/manifest").etag == LocalStore(root).get("a/manifest").etag != etag
    with pytest.raises(PreconditionFailed):
        local.replace("a/manifest", b"three", etag)
    for number in range(5):
        local.create(f"a/{number}", b"%d" % number)
    assert {local.get(f"a/{number}").data for number in range(5)} == {b"0", b"1", b"2", b"3", b"4"}
    assert len({local.get(f"a/{number}").etag for number in range(5)}) == 5
