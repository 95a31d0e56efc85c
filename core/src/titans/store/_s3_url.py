"""Where an object lies for readers of object storage other than boto3, and how they get at it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from attrs import field, frozen

from titans.errors import StoreError

__all__ = ["RemoteUrl"]


@frozen
class ClientCredentials:
    """The credentials of a boto3 client, as they are whenever somebody asks: temporary ones are
    made anew by boto3. A `credential_provider` of polars.
    """

    client: Any = field(repr=False)

    def __call__(self) -> tuple[dict[str, str], int | None]:
        """Names as in `object_store`, and when they expire (seconds since 1970; `None`: never).

        Raises:
            StoreError: the client has none.
        """
        found = getattr(getattr(self.client, "_request_signer", None), "_credentials", None)
        if found is None:
            raise StoreError(
                "the S3 client has no credentials that others could use; set AWS_ACCESS_KEY_ID and "
                "AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
            )
        frozen_now = found.get_frozen_credentials()
        named = {
            "aws_access_key_id": frozen_now.access_key,
            "aws_secret_access_key": frozen_now.secret_key,
        }
        if frozen_now.token:
            named["aws_session_token"] = frozen_now.token
        expires = getattr(found, "_expiry_time", None)
        return named, int(expires.timestamp()) if isinstance(expires, datetime) else None


@frozen
class RemoteUrl:
    """Where an object lies, for polars, delta-rs, DuckDB and others.

    polars: `scan_parquet(u.url, storage_options=u.options, credential_provider=u.credentials)`.
    """

    url: str
    options: Mapping[str, str]
    """Region, and the endpoint where it is not that of AWS; names as in `object_store`. No
    secrets."""
    credentials: ClientCredentials
    """Gives them when it is called."""

    @classmethod
    def of(cls, client: Any, url: str, *, is_aws: bool) -> RemoteUrl:
        meta = client.meta
        options = {"aws_region": str(meta.region_name or "us-east-1")}
        if not is_aws:
            options["aws_endpoint_url"] = str(meta.endpoint_url)
            if str(meta.endpoint_url).startswith("http://"):
                options["aws_allow_http"] = "true"
        return cls(url, options, ClientCredentials(client))
