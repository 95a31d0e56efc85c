"""A version of a table in Iceberg's own format: manifests, their list, and the metadata file.

pyiceberg writes all of it. What lies where, and who may write it, is decided elsewhere.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from attrs import frozen
from pyiceberg.conversions import to_bytes
from pyiceberg.manifest import (
    DataFile,
    DataFileContent,
    FileFormat,
    ManifestEntry,
    ManifestEntryStatus,
    ManifestFile,
    ManifestWriterV2,
    read_manifest_list,
    write_manifest_list,
)
from pyiceberg.partitioning import PARTITION_FIELD_ID_START, PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.table.metadata import TableMetadataV2
from pyiceberg.table.sorting import SortField, SortOrder
from pyiceberg.transforms import IdentityTransform, MonthTransform
from pyiceberg.typedef import Record
from pyiceberg.types import IcebergType, NestedField, StringType, TimestamptzType

from titans.changes.frames import microseconds
from titans.iceberg.columns import type_name
from titans.iceberg.memory import Given, Written
from titans.schema import CEASED, TIME
from titans.slots import Month

if TYPE_CHECKING:
    from titans.provider import Provider

__all__ = [
    "Entry",
    "ManifestFile",
    "Shape",
    "Snapshot",
    "listed_manifests",
    "new_snapshot_id",
]

_EPOCH = 1970
_SORTED = 1
"""The id of the sort order of tables."""


@frozen
class Entry:
    """A data file of a table."""

    url: str
    size: int
    rows: int
    min_time: datetime
    max_time: datetime
    min_key: tuple[str, ...] | None
    max_key: tuple[str, ...] | None


@frozen(eq=False)
class Shape:
    """Columns, order and partitions of a table."""

    provider: Provider
    schema: Schema
    spec: PartitionSpec
    order: SortOrder
    ids: Mapping[str, int]

    @classmethod
    def of(cls, provider: Provider, *, is_state: bool = False) -> Shape:
        """Of all change points of a provider, or of a state: without `Ceased`, in one partition."""
        ids = provider.schema.field_ids(provider.key)
        fields = []
        for name in provider.schema_dtypes:
            if is_state and name == CEASED:
                continue
            said = provider.schema.description.get(name)
            kind = _type_of(name, provider)
            fields.append(NestedField(ids[name], name, kind, required=False, doc=said))
        schema = Schema(*fields, schema_id=provider.schema.version)

        month = PartitionField(ids[TIME], PARTITION_FIELD_ID_START, MonthTransform(), "Time_month")
        spec = PartitionSpec() if is_state else PartitionSpec(month)
        by = [SortField(ids[name], transform=IdentityTransform()) for name in (*provider.key, TIME)]
        return cls(provider, schema, spec, SortOrder(*by, order_id=_SORTED), ids)

    # --- manifests --------------------------------------------------------------------------------

    def manifest(
        self, written: Written, snapshot: int, month: Month | None, entries: Sequence[Entry]
    ) -> ManifestFile:
        """Write a manifest of data files."""
        writer = ManifestWriterV2(self.spec, self.schema, written, snapshot, "deflate")
        with writer:
            for entry in entries:
                writer.add_entry(_added(snapshot, self._file(month, entry)))
        return writer.to_manifest_file()

    def _file(self, month: Month | None, entry: Entry) -> DataFile:
        partition = Record()
        if month is not None:
            partition = Record((month.year - _EPOCH) * 12 + month.month - 1)
        lower, upper = self._bounds(entry)
        file = DataFile.from_args(
            content=DataFileContent.DATA,
            file_path=entry.url,
            file_format=FileFormat.PARQUET,
            partition=partition,
            record_count=entry.rows,
            file_size_in_bytes=entry.size,
            column_sizes={},
            value_counts={},
            null_value_counts={},
            nan_value_counts={},
            lower_bounds=lower,
            upper_bounds=upper,
            key_metadata=None,
            split_offsets=None,
            equality_ids=None,
            sort_order_id=_SORTED,
        )
        file.spec_id = self.spec.spec_id
        return file

    def _bounds(self, entry: Entry) -> tuple[dict[int, bytes], dict[int, bytes]]:
        """Of `Time` and of the first key column, as the archive's manifest has them."""
        time, lead = self.ids[TIME], self.ids[self.provider.key[0]]
        lower = {time: to_bytes(TimestamptzType(), microseconds(entry.min_time))}
        upper = {time: to_bytes(TimestamptzType(), microseconds(entry.max_time))}
        if entry.min_key is not None and entry.max_key is not None:
            lower[lead] = to_bytes(StringType(), entry.min_key[0])
            upper[lead] = to_bytes(StringType(), entry.max_key[0])
        return lower, upper

    def manifest_list(
        self, written: Written, snapshot: Snapshot, manifests: Sequence[ManifestFile]
    ) -> None:
        """Write the list of the manifests of a version."""
        with write_manifest_list(
            2, written, snapshot.id, snapshot.parent, snapshot.number, "deflate"
        ) as writer:
            writer.add_manifests(list(manifests))

    # --- the metadata file ------------------------------------------------------------------------

    def metadata(
        self,
        location: str,
        table_uuid: str,
        snapshots: Sequence[Mapping[str, Any]],
        properties: Mapping[str, str],
    ) -> bytes:
        """The metadata file of a version; the last of `snapshots` is its own."""
        current = snapshots[-1]
        log = [
            {"snapshot-id": each["snapshot-id"], "timestamp-ms": each["timestamp-ms"]}
            for each in snapshots
        ]
        mapping = self.schema.name_mapping.model_dump_json()
        metadata = TableMetadataV2.model_validate(
            {
                "format-version": 2,
                "table-uuid": table_uuid,
                "location": location,
                "last-sequence-number": current["sequence-number"],
                "last-updated-ms": current["timestamp-ms"],
                "last-column-id": max(self.ids.values()),
                "schemas": [self.schema],
                "current-schema-id": self.schema.schema_id,
                "partition-specs": [self.spec],
                "default-spec-id": self.spec.spec_id,
                "last-partition-id": PARTITION_FIELD_ID_START,
                "sort-orders": [self.order],
                "default-sort-order-id": self.order.order_id,
                "properties": {"schema.name-mapping.default": mapping, **properties},
                "current-snapshot-id": current["snapshot-id"],
                "refs": {"main": {"snapshot-id": current["snapshot-id"], "type": "branch"}},
                "snapshots": list(snapshots),
                "snapshot-log": log,
                "metadata-log": [],
            }
        )
        return metadata.model_dump_json(exclude_none=True).encode()


@frozen
class Snapshot:
    """What is published as one version."""

    id: int
    number: int
    """Of the version."""
    made: datetime
    parent: int | None
    """The snapshot before it, if that is still listed."""

    def to_json(
        self, manifest_list: str, schema: int, manifests: Sequence[ManifestFile]
    ) -> dict[str, Any]:
        """As the metadata file has it; `schema` is the version of the columns."""
        operation = "append" if self.parent is None else "overwrite"
        summary = {
            "operation": operation,
            "total-data-files": str(sum(map(_files, manifests))),
            "total-records": str(sum(map(_rows, manifests))),
            "total-delete-files": "0",
        }
        said = {
            "snapshot-id": self.id,
            "sequence-number": self.number,
            "timestamp-ms": microseconds(self.made) // 1000,
            "manifest-list": manifest_list,
            "schema-id": schema,
            "summary": summary,
        }
        if self.parent is not None:
            said["parent-snapshot-id"] = self.parent
        return said


def listed_manifests(data: bytes) -> list[ManifestFile]:
    """The manifests of an earlier version, from its list."""
    return list(read_manifest_list(Given("", data)))


def new_snapshot_id() -> int:
    """A positive number that no other snapshot has."""
    return secrets.randbits(62) + 1


def _files(manifest: ManifestFile) -> int:
    return (manifest.added_files_count or 0) + (manifest.existing_files_count or 0)


def _rows(manifest: ManifestFile) -> int:
    return (manifest.added_rows_count or 0) + (manifest.existing_rows_count or 0)


def _added(snapshot: int, file: DataFile) -> ManifestEntry:
    return ManifestEntry.from_args(
        status=ManifestEntryStatus.ADDED,
        snapshot_id=snapshot,
        sequence_number=None,
        file_sequence_number=None,
        data_file=file,
    )


def _type_of(name: str, provider: Provider) -> IcebergType:
    columns = provider.schema.columns
    if name in columns:
        text = type_name(columns[name])
    else:
        text = {TIME: "timestamptz", CEASED: "boolean"}.get(name, "string")
    said = {"id": 1, "name": name, "type": text, "required": False}
    return NestedField.model_validate(said).field_type
