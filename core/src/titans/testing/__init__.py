"""The conformance kit: what every provider and every object store must do, as test classes to
subclass.

    from titans.testing import ProviderConformance

    class TestNewcloud(ProviderConformance):
        provider = "newcloud"

Needs the extra `titans-core[testing]`. `docs/testing.md` lists the checks. Importing this package
imports none of them: its pytest plugin is loaded in every test run of an environment that has
TITANS.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from titans.testing._suite import ConformanceError as ConformanceError
    from titans.testing._suite import Nonconformance as Nonconformance
    from titans.testing._suite import Outcome as Outcome
    from titans.testing._suite import overrides as overrides
    from titans.testing._suite import run as run
    from titans.testing.provider import ProviderConformance as ProviderConformance
    from titans.testing.store import StoreConformance as StoreConformance

_HOME = {
    "ConformanceError": "_suite",
    "Nonconformance": "_suite",
    "Outcome": "_suite",
    "ProviderConformance": "provider",
    "StoreConformance": "store",
    "overrides": "_suite",
    "run": "_suite",
}

__all__ = [
    "ConformanceError",
    "Nonconformance",
    "Outcome",
    "ProviderConformance",
    "StoreConformance",
    "overrides",
    "run",
]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(
            f"module 'titans.testing' has no attribute {name!r}; it has {', '.join(__all__)}"
        )

    from importlib import import_module

    try:
        return getattr(import_module(f"titans.testing.{_HOME[name]}"), name)
    except ModuleNotFoundError as error:
        if error.name not in ("pytest", "hypothesis"):
            raise
        raise ImportError(
            f"the conformance kit needs {error.name}: pip install 'titans-core[testing]'",
            name=error.name,
        ) from error


def __dir__() -> list[str]:
    return __all__
