"""An archive as Iceberg tables: metadata beside the files, which stay where they are.

`titans publish iceberg` and `Archive.publish_iceberg`; extra `titans-core[iceberg]`. See
docs/iceberg.md.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from titans.errors import InputError, PluginError, TitansError
from titans.event import ms_since
from titans.iceberg.results import Publication, PublishedTable
from titans.tiers.manifest.deletion import GRACE

if TYPE_CHECKING:
    from collections.abc import Callable

    from titans.dataset import Dataset

__all__ = ["Publication", "PublishedTable", "publish", "publish_if_asked"]

VARIABLE = "TITANS_PUBLISH"

log = logging.getLogger("titans.iceberg")


def publish(
    dataset: Dataset, grace: timedelta, catalog: Any = None, namespace: str = "titans"
) -> Publication:
    """See `Archive.publish_iceberg`."""
    with _needing_pyiceberg():
        done = _publish(dataset, grace)
        if catalog is not None:
            from titans.iceberg.catalogs import register

            for table in (done.changes, done.latest):
                name = f"{dataset.provider.name}_{table.table}".replace("-", "_").replace(".", "_")
                register(catalog, namespace, name, table)
    return done


def publish_if_asked(dataset: Dataset, tell: Callable[..., None]) -> None:
    """Publish where `TITANS_PUBLISH=iceberg` says so. What goes wrong is logged and told, and hurts
    nobody: the next time makes it good.
    """
    asked = os.environ.get(VARIABLE, "")
    if not asked:
        return
    try:
        if asked != "iceberg":
            raise InputError(f"{VARIABLE}={asked!r}; it is 'iceberg', or not set")
        started = time.monotonic()
        done = publish(dataset, GRACE)
    except TitansError as error:
        log.warning("%s: not published: %s", dataset.provider.name, error)
        tell("failed", operation="publish", error=type(error).__name__, reason=str(error))
        return
    if not done.unchanged:
        tell("published", version=done.changes.version, ms=ms_since(started))


@contextmanager
def _needing_pyiceberg() -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name != "pyiceberg":
            raise
        raise PluginError(
            "publishing Iceberg tables needs pyiceberg: pip install 'titans-core[iceberg]'"
        ) from error


def _publish(dataset: Dataset, grace: timedelta) -> Publication:
    from titans.iceberg.publishing import publish_table
    from titans.iceberg.tables import CHANGES, LATEST

    changes = publish_table(dataset, CHANGES, grace)
    latest = publish_table(dataset, LATEST, grace)
    return Publication(changes, latest)
