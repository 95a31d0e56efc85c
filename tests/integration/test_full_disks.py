"""The operating system refuses at every possible moment: one clear error, and the archive is
unharmed."""

import errno
import os

import pytest
from oracle import PROVIDER, as_dict, at, snapshot

from titans import Archive
from titans.errors import StoreError, TitansError
from titans.store.local import LocalStore

REFUSALS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "quota",
    errno.EROFS: "read-only",
    errno.EACCES: "permission denied",
}
CALLS = ("open", "fsync", "link", "replace", "mkdir", "scandir")


class Refusing:
    """The `number`-th of the system calls that a write makes fails, and all after it."""

    def __init__(self, monkeypatch, number, code):
        self.left, self.code = number, code
        for name in CALLS:
            monkeypatch.setattr(os, name, self.wrapped(name, getattr(os, name)))

    def wrapped(self, name, call):
        def attempt(path, *arguments, **options):
            writes = name != "open" or (arguments and arguments[0] & (os.O_WRONLY | os.O_RDWR))
            if name != "scandir" and writes:
                self.left -= 1
                if self.left < 0:
                    raise OSError(self.code, os.strerror(self.code), str(path))
            return call(path, *arguments, **options)

        return attempt


def rows(n):
    return {"a": (n, 0.5), "b": (1, 0.5)}


@pytest.mark.slow
@pytest.mark.parametrize("code", REFUSALS)
def test_whatever_the_disk_refuses_nothing_is_lost_or_half_written(tmp_path, monkeypatch, code):
    """The eighth snapshot, which is also merged, is stopped at its first system call, its second,
    and so on."""
    refused = 0
    for number in range(200):
        folder = tmp_path / str(number)
        archive = Archive(LocalStore(folder), PROVIDER, wait=lambda attempt: None)
        for n in range(7):
            archive.ingest(snapshot(rows(n)), at(n))
        with monkeypatch.context() as patched:
            Refusing(patched, number, code)
            try:
                archive.ingest(snapshot(rows(7)), at(7))
            except TitansError as error:
                refused += 1
                assert isinstance(error, StoreError)
                assert REFUSALS[code] in str(error) or "could not be synced" in str(error)
                assert str(folder) in str(error)
            else:
                stopped = False
                break
        assert not list(folder.rglob(".tmp-*")), "no temporary file is left"
        again = Archive(LocalStore(folder), PROVIDER)
        assert [as_dict(again.state(at(n))) for n in range(7)] == [rows(n) for n in range(7)]
        assert again.verify(deep=True).passed
        assert again.ingest(snapshot(rows(7)), at(7)).status in ("ingested", "already")
        again.compact()
        assert [as_dict(again.state(at(n))) for n in range(8)] == [rows(n) for n in range(8)]
        assert again.verify(deep=True).passed
        stopped = True
    assert refused >= 8, "the hot file, the manifest, a merged file, and their folders"
    assert not stopped, "in the end it goes through"


def test_a_folder_that_cannot_be_made_is_one_clear_error(tmp_path):
    (tmp_path / "file").write_text("in the way")
    archive = Archive(LocalStore(tmp_path / "file" / "archive"), PROVIDER)
    with pytest.raises(StoreError, match="a file stands where a folder is needed"):
        archive.ingest(snapshot(rows(0)), at(0))
    assert (tmp_path / "file").read_text() == "in the way"
