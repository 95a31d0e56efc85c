"""The stores of the core hold the conformance suite that stores of third parties are held to."""

import fixtures_stores
import pytest

from titans.errors import AlreadyExists, PreconditionFailed
from titans.store.local import LocalStore
from titans.store.s3 import S3Store
from titans.testing import StoreConformance, overrides

NO_LOCKS = "moto keeps its objects in this process without locks; SeaweedFS is held to this check"


class TestMemory(StoreConformance):
    url = "memory://{unique}"


class TestFolder(StoreConformance):
    url = "file://{folder}/store"


class TestFolderWithoutLinks(StoreConformance):
    @pytest.fixture
    def stores(self, tmp_path, monkeypatch):
        fixtures_stores.refuse_links(monkeypatch)
        return lambda: LocalStore(tmp_path / "store")


@fixtures_stores.SEAWEED
class TestSeaweedFS(StoreConformance):
    @pytest.fixture
    def stores(self, seaweed_client):
        # A prefix costs nothing, a bucket has volumes of its own.
        prefix = f"some/where-{next(fixtures_stores.numbers)}"
        return lambda: S3Store(fixtures_stores.SHARED, prefix, client=seaweed_client)


class TestMoto(StoreConformance):
    @pytest.fixture
    def stores(self, moto_s3):
        return lambda: S3Store(fixtures_stores.BUCKET, "some/where", client=moto_s3)

    @overrides(NO_LOCKS)
    def test_of_many_that_create_an_object_one_wins(self, stores):
        stores().create("race", b"first")
        with pytest.raises(AlreadyExists):
            stores().create("race", b"second")
        assert stores().get("race").data == b"first"

    @overrides(NO_LOCKS)
    def test_no_swap_is_lost(self, stores):
        etag = stores().create("counter", b"0")
        stores().replace("counter", b"1", etag)
        with pytest.raises(PreconditionFailed):
            stores().replace("counter", b"1", etag)
        assert stores().get("counter").data == b"1"

    @overrides(NO_LOCKS)
    def test_readers_see_whole_objects(self, stores):
        etag = stores().create("big", b"A" * 100_000)
        for letter in (b"B", b"C"):
            etag = stores().replace("big", letter * 100_000, etag)
            assert stores().get("big").data == letter * 100_000

    @overrides(NO_LOCKS)
    def test_a_version_is_swapped_only_once(self, stores):
        free = stores().create("token", b"free")
        stores().replace("token", b"taken", free)
        for _ in range(3):
            with pytest.raises(PreconditionFailed):
                stores().replace("token", b"again", free)


class TestStoreOfAPackage(StoreConformance):
    """Opened through its entry point, by its URL."""

    url = "acme://{unique}"

    @pytest.fixture(autouse=True)
    def installed(self, site):
        site.add(
            """
            from titans.store.memory import MemoryStore
            places = {}
            def open_acme(url):
                return places.setdefault(url, MemoryStore(url.partition("://")[2]))
            """,
            name="acme",
            attribute="open_acme",
            group="titans.stores",
        )
