"""What an S3 server's refusals and a broken connection mean: which of our errors, and whether to
ask again.
"""

from __future__ import annotations

from typing import Any

from attrs import frozen
from botocore import exceptions as boto
from urllib3.exceptions import HTTPError

from titans.errors import NotFound, OutcomeUnknown, StoreError, Unavailable, UnsupportedStoreError

__all__ = ["Failure", "LostRace", "OutOfRange", "Request", "translated"]

_CONFLICTS = {"PreconditionFailed", "ConditionalRequestConflict", "OperationAborted"}
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
class Request:
    """What was asked of the server, as far as it matters for what an error means."""

    what: str
    """Like `read a/b`."""
    url: str
    bucket: str
    key: str | None = None
    write: bool = False

    @property
    def where(self) -> str:
        return f"{self.what} in {self.url}"


@frozen
class Failure:
    """What went wrong with a request."""

    error: Exception
    again: bool = False
    """Whether the same request may be sent again: it surely had no effect, and might succeed."""


def translated(error: Exception, request: Request) -> Failure:
    """What `error`, raised by botocore during the request, means. Anything that is not botocore's
    stays as it is.

    Without an answer nothing is known of a write (`OutcomeUnknown`); a read had no effect
    (`Unavailable`) and is tried again.
    """
    if isinstance(error, boto.ClientError):
        return _refused(error, request)
    if isinstance(error, _NO_CREDENTIALS):
        return _final(
            request,
            f"no usable AWS credentials ({error}); set AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or pass s3_client=",
        )

    if isinstance(error, boto.SSLError) and "CERTIFICATE_VERIFY_FAILED" in str(error):
        return _final(
            request,
            f"the server's certificate is not trusted ({error}); set AWS_CA_BUNDLE to its "
            "authority",
        )

    if isinstance(error, _NOT_SENT):
        return _unreachable(error, request)
    if isinstance(error, _BROKEN):
        return _unanswered(request, f"the connection broke before the answer came ({error})")
    if isinstance(error, boto.BotoCoreError):
        return _final(request, str(error))
    return Failure(error)


def _final(request: Request, reason: str) -> Failure:
    return Failure(StoreError(f"cannot {request.where}: {reason}", key=request.key))


def _unreachable(error: Exception, request: Request) -> Failure:
    # Whoever refuses may be starting up; whoever is silent has already used up the time to connect.
    again = isinstance(error, boto.EndpointConnectionError)
    return Failure(
        Unavailable(
            f"cannot {request.where}: the server is not reachable ({error}); check the endpoint "
            "and the network",
            key=request.key,
        ),
        again=again,
    )


def _unanswered(request: Request, reason: str) -> Failure:
    text = f"{request.where}: {reason}"
    if request.write:
        unknown = f"{text}; whether it was written is not known: read it back"
        return Failure(OutcomeUnknown(unknown, key=request.key))
    return Failure(Unavailable(f"{text}; try again", key=request.key), again=True)


def _refused(error: Any, request: Request) -> Failure:
    """What an answer that is an error means."""
    code = str(error.response.get("Error", {}).get("Code", ""))
    details = error.response.get("ResponseMetadata", {})
    status = int(details.get("HTTPStatusCode", 0))
    if not status and code.isdecimal():
        status = int(code)
    answer = code or str(status)

    if status in (409, 412) or code in _CONFLICTS:
        if details.get("RetryAttempts", 0) and request.write:
            # The caller's client has sent the write twice: the second may have met the first one's
            # success.
            return _unanswered(request, f"refused ({answer}) after botocore had sent it again")

        # 409 says that two writes met, 412 that the other one is done.
        met = status != 412 and code != "PreconditionFailed"
        return Failure(LostRace(request.where, key=request.key), again=request.write and met)

    if status == 416 or code == "InvalidRange":
        return Failure(OutOfRange(request.where, key=request.key))
    if code == "NoSuchBucket":
        missing = f"there is no bucket {request.bucket!r}; create it, or correct its name"
        return _final(request, missing)
    if status == 404 or code in ("NoSuchKey", "NotFound"):
        return Failure(NotFound(f"no object: {request.where}", key=request.key))
    if status == 429 or code in _THROTTLED:
        slow_down = (
            f"cannot {request.where}: the server asks to slow down ({answer}); try again later"
        )
        return Failure(Unavailable(slow_down, key=request.key), again=True)

    denied = _denied(code, status, answer, error)
    if denied:
        return _final(request, denied)

    if status == 501 or code == "NotImplemented":
        unsupported = (
            f"cannot {request.where}: the server does not implement this request ({answer})"
        )
        return Failure(UnsupportedStoreError(unsupported, key=request.key))

    if status >= 500:
        return _unanswered(request, f"the server failed ({answer})")
    return _final(request, str(error))


def _denied(code: str, status: int, answer: str, error: Exception) -> str:
    """Why this caller may not do this, and what to change; empty where that is not the reason."""
    if code in _CREDENTIALS:
        return (
            f"the credentials were refused ({answer}); check AWS_ACCESS_KEY_ID, "
            "AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN, or the profile"
        )

    if code == "RequestTimeTooSkewed":
        return f"this machine's clock is wrong ({answer}); set it"
    if status in (301, 307) or code in _OTHER_REGION:
        return f"the bucket is in another region ({error}); set region="
    if status in (401, 403):
        return (
            f"access denied ({answer}); check the credentials, the bucket's policy and its owner. "
            "An archive needs s3:GetObject, s3:PutObject, s3:DeleteObject and s3:ListBucket"
        )

    return ""
