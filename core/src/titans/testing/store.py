"""The conformance suite of object stores."""

from __future__ import annotations

from titans.testing._listing_checks import ArchiveInStoreChecks, ListingChecks, RaceChecks
from titans.testing._object_checks import ObjectChecks

__all__ = ["StoreConformance"]


class StoreConformance(ObjectChecks, ListingChecks, RaceChecks, ArchiveInStoreChecks, kit=True):
    """What every object store must do. Subclass it in the tests of a store's package:

        class TestAcme(StoreConformance):
            url = "acme://127.0.0.1/{unique}"

    Where a URL does not say it all, override `make_stores`, or the fixture `stores`, which may use
    other fixtures. `docs/testing.md` describes each check.
    """
