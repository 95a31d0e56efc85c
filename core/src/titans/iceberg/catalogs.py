"""Published tables under a name in a catalog: SQL, REST, Glue, whatever pyiceberg can talk to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from titans.errors import ConcurrencyConflictError, InputError
from titans.iceberg.results import PublishedTable

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog

__all__ = ["register"]

_ATTEMPTS = 5


def register(catalog: str | Catalog, namespace: str, name: str, table: PublishedTable) -> str:
    """Let the table `name` of a catalog be a version of a published table; its full name.

    Args:
        catalog: as pyiceberg's configuration names it, or one that was loaded.
        namespace: is made where it is missing.

    Raises:
        InputError: pyiceberg knows no such catalog, or the name belongs to another table.
        ConcurrencyConflictError: others registered it every time.
    """
    from pyiceberg.exceptions import NoSuchTableError, TableAlreadyExistsError

    loaded = _load(catalog) if isinstance(catalog, str) else catalog
    loaded.create_namespace_if_not_exists(namespace)
    full = f"{namespace}.{name}"
    for _ in range(_ATTEMPTS):
        try:
            held = loaded.load_table(full)
        except NoSuchTableError:
            held = None
        if held is not None and not _is_earlier(held, full, table):
            return full
        try:
            _put(loaded, full, table.location, is_there=held is not None)
        except (NoSuchTableError, TableAlreadyExistsError):
            continue
        return full
    raise ConcurrencyConflictError(
        f"the catalog gave {full!r} to others {_ATTEMPTS} times; it is published, register it again"
    )


def _load(name: str) -> Catalog:
    from pyiceberg.catalog import load_catalog

    try:
        return load_catalog(name)
    except ValueError as error:
        raise InputError(
            f"pyiceberg knows no catalog {name!r}: {error}; describe it in ~/.pyiceberg.yaml or by "
            f"PYICEBERG_CATALOG__{name.upper()}__URI"
        ) from error


def _is_earlier(held: Any, full: str, table: PublishedTable) -> bool:
    """Whether a catalog's table is an earlier version of this one.

    Raises:
        InputError: it is another table.
    """
    if str(held.metadata.table_uuid) != table.uuid:
        raise InputError(
            f"{full!r} is another table, at {held.metadata.location}; choose another namespace, or "
            "drop it"
        )
    return bool(held.metadata.last_sequence_number < table.version)


def _put(catalog: Catalog, full: str, location: str, *, is_there: bool) -> None:
    if not is_there:
        catalog.register_table(full, location)
        return
    try:
        catalog.register_table(full, location, overwrite=True)
    except NotImplementedError:
        # Its entry is dropped, nothing of the table; for a moment the name is missing.
        catalog.drop_table(full)
        catalog.register_table(full, location)
