"""What an S3 server's refusals and a broken connection mean: which of our errors, and whether to
ask again.
"""

from __future__ import annotations

from typing import Any

from attrs import frozen
from botocore import exceptions as boto
from botocore.parsers import ResponseParserError
from urllib3.exceptions import HTTPError

from titans.errors import NotFound, OutcomeUnknown, StoreError, Unavailable, UnsupportedStoreError

__all__ = ["Failure", "LostRace", "NotModified", "OutOfRange", "Request", "translated"]

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
}
_LATE = {"RequestTimeout", "BadDigest", "IncompleteBody", "XAmzContentChecksumMismatch"}
"""The server did not get what was sent, or not all of it."""
_FAILED = {"InternalError", "ServiceUnavailable", "InternalServerError"}
_CHECKSUM_WORDS = ("checksum", "digest", "trailer", "aws-chunked", "content-sha256", "x-amz-sdk")
_NO_CHECKSUMS = {
    "XAmzContentSHA256Mismatch",
    "SignatureDoesNotMatch",
    "MissingContentLength",
    "NotImplemented",
    "BadDigest",
    "InvalidDigest",
    "IncompleteBody",
}
"""What servers answer that do not know the checksums of today's boto3."""
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
    boto.FlexibleChecksumError,
    ResponseParserError,
    HTTPError,
    ConnectionError,
    TimeoutError,
    ValueError,  # a number or a time that is none, as this and the next two
    OverflowError,
    RuntimeError,
)


class LostRace(StoreError):
    """412, or 409: another write came first."""


class OutOfRange(StoreError):
    """416: the range starts behind the end of the object."""


class NotModified(StoreError):
    """304: the object is the version that is known already."""


@frozen
class Request:
    """What was asked of the server, as far as it matters for what an error means."""

    what: str
    """Like `read a/b`."""
    url: str
    bucket: str
    key: str | None = None
    write: bool = False
    expected: tuple[type[StoreError], ...] = ()
    """Refusals that mean something to who asked: `NotFound`, `LostRace`, `OutOfRange`,
    `NotModified`."""
    checksums: bool = False
    """Whether the client added checksums that the server may not know."""

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

    Without an answer, or with one that no S3 server gives, nothing is known of a write
    (`OutcomeUnknown`); a read had no effect (`Unavailable`) and is tried again.
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
    status = _status(error, code)
    answer = code or str(status)

    if status in (409, 412) or code in _CONFLICTS:
        return _conflict(error, request, status, code)
    if status == 416 or code == "InvalidRange":
        return _as_expected(OutOfRange(request.where, key=request.key), answer, request)
    if code == "NoSuchBucket":
        missing = f"there is no bucket {request.bucket!r}; create it, or correct its name"
        return _final(request, missing)
    if status == 404 or code in ("NoSuchKey", "NotFound", "NoSuchUpload"):
        nothing = NotFound(f"no object: {request.where}", key=request.key)
        return _as_expected(nothing, answer, request)

    if status == 429 or code in _THROTTLED:
        return _passing(request, f"the server asks to slow down ({answer})")
    if status in (408, 425) or code in _LATE:
        late = f"the server did not take the request ({answer})"
        return _passing(request, late + _checksum_advice(error, code, request))

    denied = _denied(code, status, answer, error)
    if denied:
        return _final(request, denied + _checksum_advice(error, code, request))
    if status == 501 or code == "NotImplemented":
        unsupported = (
            f"cannot {request.where}: the server does not implement this request ({answer})"
        )
        advice = _checksum_advice(error, code, request)
        return Failure(UnsupportedStoreError(unsupported + advice, key=request.key))

    # A proxy that says 499 has passed the request on; an error after a 200 came later still.
    if status >= 500 or status < 300 or status == 499 or code in _FAILED:
        return _unanswered(request, f"the server failed ({answer})")
    if status == 304:
        if NotModified in request.expected:
            return Failure(NotModified(request.where, key=request.key))
        return _unanswered(request, "it was answered with 304, which was not asked for")
    return _final(request, str(error) + _checksum_advice(error, code, request))


def _status(error: Any, code: str) -> int:
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    if not status and code.isascii() and code.isdecimal():
        return int(code)
    return status


def _conflict(error: Any, request: Request, status: int, code: str) -> Failure:
    """409 says that two writes met, 412 that the other one is done."""
    answer = code or str(status)
    if error.response.get("ResponseMetadata", {}).get("RetryAttempts", 0) and request.write:
        # The caller's client has sent the write twice: the second may have met the first one's
        # success.
        return _unanswered(request, f"refused ({answer}) after botocore had sent it again")
    if LostRace not in request.expected:
        return _passing(request, f"the server reports a conflict ({answer})")

    met = status != 412 and code != "PreconditionFailed"
    return Failure(LostRace(request.where, key=request.key), again=met)


def _as_expected(error: StoreError, answer: str, request: Request) -> Failure:
    """`error`, or another one where it would mean nothing to who asked."""
    if type(error) in request.expected:
        return Failure(error)
    if answer == "NoSuchUpload":
        # Somebody has aborted it, or it was completed by an attempt whose answer got lost.
        return _unanswered(request, "the upload in parts is gone (NoSuchUpload)")
    return _final(
        request,
        f"the server answers {answer}, as if there were no such place; check the endpoint and the "
        "bucket",
    )


def _passing(request: Request, reason: str) -> Failure:
    """It had no effect, and may succeed the next time."""
    text = f"cannot {request.where}: {reason}; try again later"
    return Failure(Unavailable(text, key=request.key), again=True)


def _checksum_advice(error: Any, code: str, request: Request) -> str:
    """The setting that helps where the server does not know today's checksums; else empty."""
    told = str(error).lower()
    suspected = code in _NO_CHECKSUMS or any(word in told for word in _CHECKSUM_WORDS)
    if not request.checksums or not suspected:
        return ""
    return (
        ". If the server does not know the checksum headers that boto3 sends since 1.36, set "
        "AWS_REQUEST_CHECKSUM_CALCULATION=when_required and "
        "AWS_RESPONSE_CHECKSUM_VALIDATION=when_required, or pass s3_client= with "
        'botocore.config.Config(request_checksum_calculation="when_required")'
    )


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
