"""Stores of installed packages, found by the scheme of a URL."""

import sys

import pytest

import titans
from titans import plugins
from titans.errors import InputError, StoreError, UnsupportedStoreError
from titans.store import ObjectStore, open_store

ACME = """
from titans.store.memory import MemoryStore
places = {}
def open_acme(url, *, region="r1"):
    return places.setdefault((url, region), MemoryStore(url.partition("://")[2]))
"""


def install(site, code=ACME, **given):
    return site.add(
        code, **{"name": "acme", "attribute": "open_acme", "group": "titans.stores", **given}
    )


def test_a_package_opens_the_urls_of_its_scheme(site):
    module = install(site)
    store = open_store("acme://place/x")
    assert isinstance(store, ObjectStore)
    store.create("a", b"1")
    assert open_store("acme://place/x").get("a").data == b"1"
    assert open_store("acme://place/x", region="r2") is not store
    assert sys.modules[module].places.keys() == {("acme://place/x", "r1"), ("acme://place/x", "r2")}


def test_the_scheme_may_be_in_capitals(site):
    module = install(site)
    open_store("ACME://place")
    assert list(sys.modules[module].places) == [("ACME://place", "r1")]


def test_an_archive_is_opened_in_it(site, newcloud, monkeypatch):
    install(site)
    monkeypatch.setenv("TITANS_STORE", "acme://archive")
    assert titans.open(provider=newcloud).store is open_store("acme://archive")


def test_nothing_is_imported_for_other_urls(site, tmp_path):
    module, other = install(site), install(site, name="other", distribution="other-titans")
    for where in (str(tmp_path), "memory://x", tmp_path.as_uri()):
        open_store(where)
    assert {module, other}.isdisjoint(sys.modules)
    open_store("acme://place")
    assert other not in sys.modules


def test_an_unknown_scheme_names_the_installed_ones_and_what_to_install(site):
    install(site)
    with pytest.raises(
        UnsupportedStoreError,
        match=r"no store for gs://.*memory://, acme://.*named 'gs' in the group \"titans.stores\"",
    ):
        open_store("gs://bucket")


def test_the_schemes_of_the_core_cannot_be_taken(site):
    module = install(site, name="memory")
    open_store("memory://x")
    assert module not in sys.modules


def test_two_packages_for_a_scheme_are_one_clear_error(site):
    install(site, distribution="one")
    install(site, distribution="two", version="2.0")
    with pytest.raises(
        UnsupportedStoreError, match=r"claimed 2 times: one 1.0.*two 2.0.*pip uninstall one \| two"
    ):
        open_store("acme://place")


def test_a_blocked_package_is_not_imported(site, monkeypatch):
    module = install(site)
    monkeypatch.setenv(plugins.DENY, "acme")
    with pytest.raises(UnsupportedStoreError, match="TITANS_DISABLE_PLUGINS=acme blocks it"):
        open_store("acme://place")
    assert module not in sys.modules


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (
            "raise RuntimeError('no licence')",
            "cannot be imported: RuntimeError: no licence.*force-reinstall acme-titans",
        ),
        ("import nothing_of_this_name", "ModuleNotFoundError"),
        ("open_acme = 'x'", "names a str; it must name a function"),
        (
            "def open_acme(url): return object()",
            "which is no ObjectStore: it lacks url, parallel, get, ",
        ),
    ],
)
def test_a_broken_package_says_what_is_wrong_with_it(site, code, message):
    install(site, code)
    with pytest.raises(UnsupportedStoreError, match=message):
        open_store("acme://place")


def test_what_a_package_raises_is_a_store_error_that_names_it(site):
    install(site, "def open_acme(url): raise OSError('no route')")
    with pytest.raises(
        StoreError, match=r"acme-titans 1.0.*could not open its store: OSError: no route"
    ):
        open_store("acme://place")


def test_options_that_it_does_not_have_are_an_input_error(site):
    install(site)
    with pytest.raises(InputError, match=r"acme:// .*cannot be opened with regoin: .*regoin"):
        open_store("acme://place", regoin="x")


def test_a_url_without_a_scheme_is_an_input_error():
    with pytest.raises(InputError, match="begins with no scheme"):
        open_store("://x")


def test_credentials_in_a_url_are_not_repeated():
    with pytest.raises(UnsupportedStoreError, match="acme://…@place") as caught:
        open_store("acme://user:hunter2@place")
    assert "hunter2" not in str(caught.value)
