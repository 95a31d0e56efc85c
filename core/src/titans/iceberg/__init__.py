"""An archive as Iceberg tables: metadata beside the files, which stay where they are.

`titans publish iceberg` and `Archive.publish_iceberg`; extra `titans-core[iceberg]`. See
docs/iceberg.md.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from titans.errors import PluginError
from titans.iceberg.results import Publication, PublishedTable

if TYPE_CHECKING:
    from titans.dataset import Dataset

__all__ = ["Publication", "PublishedTable", "publish"]


def publish(dataset: Dataset, grace: timedelta) -> Publication:
    """See `Archive.publish_iceberg`."""
    from titans.iceberg.publishing import publish_table
    from titans.iceberg.tables import CHANGES, LATEST

    try:
        changes = publish_table(dataset, CHANGES, grace)
        latest = publish_table(dataset, LATEST, grace)
    except ModuleNotFoundError as error:
        if error.name != "pyiceberg":
            raise
        raise PluginError(
            "publishing Iceberg tables needs pyiceberg: pip install 'titans-core[iceberg]'"
        ) from error
    return Publication(changes, latest)
