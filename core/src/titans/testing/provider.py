"""The conformance suite of providers."""

from __future__ import annotations

from titans.testing._archive_checks import ArchiveChecks
from titans.testing._declaration import DeclarationChecks
from titans.testing._example_checks import ExampleChecks
from titans.testing._meaning_checks import MeaningChecks
from titans.testing._normalize_checks import NormalizeChecks
from titans.testing._path_checks import PathChecks

__all__ = ["ProviderConformance"]


class ProviderConformance(
    DeclarationChecks,
    ExampleChecks,
    NormalizeChecks,
    MeaningChecks,
    PathChecks,
    ArchiveChecks,
    kit=True,
):
    """What every provider must do. Subclass it in the tests of a provider's package:

        class TestNewcloud(ProviderConformance):
            provider = "newcloud"

    `values` narrows what Hypothesis puts into a column, `example` is where snapshots come from,
    `max_examples` is how many frames are tried. `docs/testing.md` describes each check.
    """
