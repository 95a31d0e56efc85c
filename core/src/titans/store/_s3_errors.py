"""What an S3 server's refusals and a broken connection mean: which of our errors, and whether to
ask again.
"""

from __future__ import annotations

from typing import Any

from attrs import frozen
from botocore import exceptions as boto
from urllib3.exceptions import HTTPError

from titans.errors import NotFound, OutcomeUnknown, StoreError, Unavailable, UnsupportedStoreError

__all__ = ["Failure", "LostRace", "OutOfRange", "translate"]

_THROTTLED = {
    "SlowDown",
    "Throttling",
    "ThrottlingException",
    "ThrottledException",
    "RequestLimitExceeded",
    "RequestThrottled",
    "RequestThrottledException",
    "TooManyRequests",
    "TooManyRequestsException",
    "BandwidthLimitExceeded",
    "RequestTimeout",
}
_CREDENTIALS = {
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "ExpiredToken",
    "InvalidToken",
    "TokenRefreshRequired",
    "InvalidSecurity",
    "UnrecognizedClientException",
}
_OTHER_REGION = {
    "PermanentRedirect",
    "TemporaryRedirect",
    "AuthorizationHeaderMalformed",
    "IllegalLocationConstraintException",
}
_NO_CREDENTIALS = (
    boto.NoCredentialsError,
    boto.PartialCredentialsError,
    boto.CredentialRetrievalError,
    boto.TokenRetrievalError,
    boto.UnauthorizedSSOTokenError,
    boto.SSOTokenLoadError,
    boto.ProfileNotFound,
)
_NOT_SENT = (boto.EndpointConnectionError, boto.ConnectTimeoutError, boto.ProxyConnectionError)
_BROKEN = (
    boto.HTTPClientError,
    boto.IncompleteReadError,
    boto.ResponseStreamingError,
    HTTPError,
    ConnectionError,
    TimeoutError,
)


class LostRace(StoreError):
    """412, or 409: another write came first."""


class OutOfRange(StoreError):
    """416: the range starts behind the end of the object."""


@frozen
class Failure:
    """What went wrong with a request."""

    error: Exception
    again: bool = False
    """Whether the same request may be sent again: it surely had no effect, and might succeed."""


def translate(error: Exception, what: str, url: str, bucket: str, *, write: bool) -> Failure:
    """What `error`, raised by botocore while it tried to `what`, means. Anything that is not
    botocore's stays as it is.

    Without an answer nothing is known of a write (`OutcomeUnknown`); a read had no effect
    (`Unavailable`) and is tried again.
    """
    where = f"{what} in {url}"
    if isinstance(error, boto.ClientError):
        return _refused(error, where, bucket, write=write)
    if isinstance(error, _NO_CREDENTIALS):
        return Failure(
            StoreError(
                f"cannot {where}: no usable AWS credentials ({error}); set AWS_ACCESS_KEY_ID and "
                "AWS_SECRET_ACCESS_KEY, "
                "or AWS_PROFILE, or pass s3_client="
            )
        )
    if isinstance(error, boto.SSLError) and "CERTIFICATE_VERIFY_FAILED" in str(error):
        return Failure(
            StoreError(
                f"cannot {where}: the server's certificate is not trusted ({error}); set "
                "AWS_CA_BUNDLE to its authority"
            )
        )
    if isinstance(error, _NOT_SENT):
        # Whoever refuses may be starting up; whoever is silent has already used up the time to
        # connect.
        unreachable = f"cannot {where}: the server is not reachable ({error}); check the endpoint and the network"
        return Failure(
            Unavailable(unreachable), again=isinstance(error, boto.EndpointConnectionError)
        )
    if isinstance(error, _BROKEN):
        return _unanswered(
            f"{where}: the connection broke before the answer came ({error})", write=write
        )
    if isinstance(error, boto.BotoCoreError):
        return Failure(StoreError(f"cannot {where}: {error}"))
    return Failure(error)


def _unanswered(text: str, *, write: bool) -> Failure:
    if write:
        return Failure(OutcomeUnknown(f"{text}; whether it was written is not known: read it back"))
    return Failure(Unavailable(f"{text}; try again"), again=True)


def _refused(error: Any, where: str, bucket: str, *, write: bool) -> Failure:
    code = str(error.response.get("Error", {}).get("Code", ""))
    details = error.response.get("ResponseMetadata", {})
    status = int(details.get("HTTPStatusCode", 0)) or (int(code) if code.isdecimal() else 0)
    told = code or str(status)
    if status in (409, 412) or code in (
        "PreconditionFailed",
        "ConditionalRequestConflict",
        "OperationAborted",
    ):
        if details.get("RetryAttempts", 0) and write:
            # The caller's client has sent the write twice: the second may have met the first one's
            # success.
            return _unanswered(
                f"{where}: refused ({told}) after botocore had sent it again", write=True
            )
        return Failure(
            LostRace(where), again=write and status != 412 and code != "PreconditionFailed"
        )
    if status == 416 or code == "InvalidRange":
        return Failure(OutOfRange(where))
    if code == "NoSuchBucket":
        return Failure(
            StoreError(
                f"cannot {where}: there is no bucket {bucket!r}; create it, or correct its name"
            )
        )
    if status == 404 or code in ("NoSuchKey", "NotFound"):
        return Failure(NotFound(f"no object: {where}"))
    if status == 429 or code in _THROTTLED:
        return Failure(
            Unavailable(f"cannot {where}: the server asks to slow down ({told}); try again later"),
            again=True,
        )
    if code in _CREDENTIALS:
        return Failure(
            StoreError(
                f"cannot {where}: the credentials were refused ({told}); check AWS_ACCESS_KEY_ID, "
                "AWS_SECRET_ACCESS_KEY and "
                "AWS_SESSION_TOKEN, or the profile"
            )
        )
    if code == "RequestTimeTooSkewed":
        return Failure(
            StoreError(f"cannot {where}: this machine's clock is wrong ({told}); set it")
        )
    if status in (301, 307) or code in _OTHER_REGION:
        return Failure(
            StoreError(f"cannot {where}: the bucket is in another region ({error}); set region=")
        )
    if status in (401, 403):
        return Failure(
            StoreError(
                f"cannot {where}: access denied ({told}); check the credentials, the bucket's "
                "policy and its owner. An archive "
                "needs s3:GetObject, s3:PutObject, s3:DeleteObject and s3:ListBucket"
            )
        )
    if status == 501 or code == "NotImplemented":
        return Failure(
            UnsupportedStoreError(
                f"cannot {where}: the server does not implement this request ({told})"
            )
        )
    if status >= 500:
        return _unanswered(f"{where}: the server failed ({told})", write=write)
    return Failure(StoreError(f"cannot {where}: {error}"))
