"""Every error TITANS raises on purpose. The split follows what the caller can do next.

TitansError
├── RetryableError                  nothing is lost; the same call may succeed later
│   ├── ConcurrencyConflictError
│   ├── SnapshotExpiredError
│   ├── Unavailable                 (a StoreError too)
│   └── OutcomeUnknown              (a StoreError too)
├── InputError                      the input is wrong; nothing was written; a ValueError
│   ├── TimestampError
│   ├── SchemaError
│   ├── ConversionError
│   ├── SlotConflictError
│   └── SuspiciousSnapshotError
├── StoreError                      the object store refused or could not answer
│   ├── NotFound                    (a KeyError too)
│   ├── AlreadyExists
│   ├── PreconditionFailed
│   ├── InvalidKeyError             (a ValueError too)
│   ├── ArchiveNotFoundError
│   └── UnsupportedStoreError
├── FormatError                     bytes found in the archive are not what they should be
│   ├── FormatVersionError
│   ├── ManifestError
│   └── CorruptFileError
│       └── ForeignObjectError
└── ProviderError                   a provider package is missing, broken, or contradicts itself
    ├── ProviderMismatchError
    ├── UnknownProviderError        (a ValueError too)
    └── PluginError
"""

from __future__ import annotations

from titans.redaction import redacted

__all__ = [
    "AlreadyExists",
    "ArchiveNotFoundError",
    "ConcurrencyConflictError",
    "ConversionError",
    "CorruptFileError",
    "ForeignObjectError",
    "FormatError",
    "FormatVersionError",
    "InputError",
    "InvalidKeyError",
    "ManifestError",
    "NotFound",
    "OutcomeUnknown",
    "PluginError",
    "PreconditionFailed",
    "ProviderError",
    "ProviderMismatchError",
    "RetryableError",
    "SchemaError",
    "SlotConflictError",
    "SnapshotExpiredError",
    "StoreError",
    "SuspiciousSnapshotError",
    "TimestampError",
    "TitansError",
    "Unavailable",
    "UnknownProviderError",
    "UnsupportedStoreError",
]


class TitansError(Exception):
    """Root of every error TITANS raises on purpose.

    Args:
        provider: the name of the provider whose data it is about, where there is one.
        month: the month it is about, like `"2026-01"`.
        key: the key of the object it is about.

    The three are attributes, and `None` where the error is about no such thing. Passwords and
    tokens in URLs are left out of the message.
    """

    def __init__(
        self,
        *args: object,
        provider: str | None = None,
        month: str | None = None,
        key: str | None = None,
    ) -> None:
        super().__init__(*(redacted(a) if isinstance(a, str) else a for a in args))
        self.provider = provider
        self.month = month
        self.key = key


class RetryableError(TitansError):
    """Nothing is lost; the same call may succeed later."""


class ConcurrencyConflictError(RetryableError):
    """Other writers won every race for the manifest.

    What was uploaded stays; the next run adopts it.
    """


class SnapshotExpiredError(RetryableError):
    """Files were removed while they were being read, more often than a read starts again."""


# --- input ----------------------------------------------------------------------------------------


class InputError(TitansError, ValueError):
    """The input is wrong and nothing was written."""


class TimestampError(InputError):
    """A timestamp is not timezone-aware, or lies where it must not."""


class SchemaError(InputError):
    """A frame does not fit the provider's schema.

    A column is missing, a key is null, or a value cannot be cast.
    """


class ConversionError(InputError):
    """An archive cannot be converted as it is, or not into this place.

    The source is never written to.
    """


class SlotConflictError(InputError):
    """The slot already holds a file with other content, and the caller asked for an error then."""


class SuspiciousSnapshotError(InputError):
    """So many keys vanished at once that the snapshot looks truncated."""


# --- store ----------------------------------------------------------------------------------------


class StoreError(TitansError):
    """The object store refused, or is not usable."""


class NotFound(StoreError, KeyError):
    """No object has this key."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class AlreadyExists(StoreError):
    """`create` found an object under this key. The object is untouched."""


class PreconditionFailed(StoreError):
    """`replace` found another version than the one it was given (or none).

    The object is untouched.
    """


class InvalidKeyError(StoreError, ValueError):
    """A key is malformed, or lies outside the prefixes it may come from.

    Nothing was read or deleted.
    """


class ArchiveNotFoundError(StoreError):
    """There is no archive of this provider in this store: nothing was ever written to it.

    The message says what lies there instead.
    """


class UnsupportedStoreError(StoreError):
    """The store cannot do what an archive needs, for example conditional writes."""


class Unavailable(StoreError, RetryableError):
    """The store did not answer or asked to slow down. The call had no effect."""


class OutcomeUnknown(StoreError, RetryableError):
    """A write whose answer got lost: it may have happened, may still happen, or may not."""


# --- format ---------------------------------------------------------------------------------------


class FormatError(TitansError):
    """Bytes found in the archive are not what they should be."""


class FormatVersionError(FormatError):
    """Written by a newer TITANS than this one."""


class ManifestError(FormatError):
    """A manifest cannot be read or contradicts itself."""


class CorruptFileError(FormatError):
    """A data file cannot be read, or its content is not what the manifest says."""


class ForeignObjectError(CorruptFileError):
    """An object under a name of the archive is not what its name says.

    It counts for nothing, and hurts nobody.
    """


# --- providers ------------------------------------------------------------------------------------


class ProviderError(TitansError):
    """A provider package is missing, broken, or contradicts itself."""


class ProviderMismatchError(ProviderError):
    """The archive was written with another primary key or slot length, or with a schema of which
    this provider's is no later version.

    Nothing was written, and nothing is damaged: the release of the provider that wrote it, or a
    newer one, works.
    """


class UnknownProviderError(ProviderError, ValueError):
    """No installed package offers a provider of this name."""


class PluginError(ProviderError):
    """A plugin could not be loaded, or what it declares is not valid."""
