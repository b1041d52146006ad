"""What S3's refusals mean: the cause and the remedy of each, and which of them may pass when the request is repeated."""

from __future__ import annotations

import re
from collections.abc import Mapping
from http.client import HTTPException
from typing import TYPE_CHECKING, Any

from unbraid.datasets.untrusted.text import in_one_line, printable

if TYPE_CHECKING:
    from botocore.exceptions import ClientError

    from unbraid.datasets.store.session import Connection

TRANSIENT_CODES = frozenset(
    {
        "SlowDown", "ServiceUnavailable", "InternalError", "RequestTimeout", "Throttling", "ThrottlingException", "503", "500",
        "OperationAborted", "ConditionalRequestConflict", "TemporaryRedirect",
    }
)  # fmt: skip
FULL = frozenset(
    {
        "QuotaExceeded", "XMinioStorageFull", "XMinioAdminBucketQuotaExceeded", "InsufficientStorage", "InsufficientCapacity",
        "InsufficientStorageSpace", "TooManyBuckets", "507",
    }
)  # fmt: skip
UNREACHABLE = "Unreachable"
"""The cause when no connection can be made: a server that is being restarted, or an endpoint that is wrong."""
PERMANENT_STATUS = (501, 505, 507)
"""Of the statuses of a server's own trouble, those that come again however often one asks."""
OTHER_REGION = (
    "PermanentRedirect",
    "AuthorizationHeaderMalformed",
    "IllegalLocationConstraintException",
    "InvalidRegion",
    "301",
)
_RIGHTS = {
    "ListObjectsV2": ("list", "s3:ListBucket"),
    "GetObject": ("read", "s3:GetObject"),
    "PutObject": ("write", "s3:PutObject"),
    "CreateMultipartUpload": ("write", "s3:PutObject"),
    "UploadPart": ("write", "s3:PutObject"),
    "CompleteMultipartUpload": ("write", "s3:PutObject"),
    "DeleteObject": ("delete", "s3:DeleteObject"),
    "CreateBucket": ("create", "s3:CreateBucket"),
}
"""For each operation its verb and the permission that it takes."""


class UnexpectedAnswerError(Exception):
    """An answer that is not what S3 answers to the request; the message says what it is instead."""


def transient_cause(error: BaseException | None) -> str | None:
    """Return in one word why a transfer failed, where repeating it may help; None where it cannot."""
    from boto3.exceptions import S3UploadFailedError
    from botocore import exceptions
    from urllib3.exceptions import HTTPError

    if isinstance(error, S3UploadFailedError):  # boto3 keeps the cause as this one's context
        return transient_cause(error.__context__)
    if isinstance(error, exceptions.ClientError):
        code, status = _code(error), _status(error)
        if status in PERMANENT_STATUS or code in FULL or code == "NotImplemented":
            return None
        return code or str(status) if status >= 500 or status == 429 or code in TRANSIENT_CODES else None
    if tls_problem(error):
        return None
    timeouts = (exceptions.ReadTimeoutError, exceptions.ConnectTimeoutError, TimeoutError)
    if isinstance(error, timeouts):
        return "Timeout"
    if isinstance(error, exceptions.EndpointConnectionError | exceptions.ProxyConnectionError):
        return UNREACHABLE
    broken = (exceptions.HTTPClientError, exceptions.ResponseStreamingError, exceptions.IncompleteReadError)
    if isinstance(error, (*broken, HTTPError, HTTPException, OSError)):
        return "ConnectionBroken"
    return None


def tls_problem(error: BaseException | None) -> str | None:
    """Say why no encrypted connection can be made, where that would fail again; None for all other errors."""
    from botocore.exceptions import SSLError

    if not isinstance(error, SSLError):
        return None
    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        return "its certificate is not trusted here: set AWS_CA_BUNDLE to the file of the authority that has signed it"
    if "WRONG_VERSION_NUMBER" in str(error) or "record layer failure" in str(error):
        return "it does not speak TLS: write http:// in the endpoint, or name its port for https"
    return None


def has_no_conditions(error: ClientError) -> bool:
    """Whether a refusal says that the server knows no conditional writes."""
    return _status(error) == 501 or _code(error) == "NotImplemented"


def is_absence(error: ClientError) -> bool:
    """Whether a refusal says that there is no such object."""
    return _code(error) in ("NoSuchKey", "404")


def refuse_page(response_dict: Mapping[str, Any], operation_model: Any, **others: object) -> None:
    """Look at an answer before boto3 parses it, which takes a page for a trouble that may pass; an event handler of boto3's.

    Raises:
        UnexpectedAnswerError: when the answer is a page for a browser, or no XML where S3 sends some.
    """
    headers = {name.lower(): value for name, value in response_dict["headers"].items()}
    body = b"" if operation_model.has_streaming_output else response_dict["body"]
    if response_dict["status_code"] == 200 and (
        _is_page(headers) or (body and not body.lstrip(b"\xef\xbb\xbf \r\n").startswith(b"<"))
    ):
        raise UnexpectedAnswerError(not_s3({"HTTPStatusCode": 200, "HTTPHeaders": headers}))


def require_s3(answer: Mapping[str, Any], *fields: str) -> None:
    """Check that a successful answer is one of S3: what it must hold is there, and it is no page for a browser.

    Args:
        answer: as boto3 returns it.
        fields: of which one at least must be there.

    Raises:
        UnexpectedAnswerError: when it is something else.
    """
    about = answer["ResponseMetadata"]
    if (fields and not any(field in answer for field in fields)) or _is_page(about["HTTPHeaders"]):
        raise UnexpectedAnswerError(not_s3(about))


def not_s3(about: Mapping[str, Any]) -> str:
    """Say that a server is not an S3 server.

    Args:
        about: metadata of its answer, as boto3 returns them.
    """
    headers = about.get("HTTPHeaders", {})
    kind = headers.get("content-type", "").partition(";")[0] or "without content type"
    goal = f", to {headers['location']}" if "location" in headers else ""
    found = in_one_line(f"{about.get('HTTPStatusCode')}, {kind}{goal}", 200)
    return (
        f"the server answered, but not as S3 does ({found}): is it a console, a login page or a proxy, or "
        "does it want https? Set the endpoint to the S3 API's own address and port"
    )


def refusal(error: ClientError, bucket: str, connection: Connection) -> str:
    """Explain why S3 refused a request, and what to do."""
    code, message, answered, operation = _code(error), _message(error), _answered(error), error.operation_name
    headers = error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    if (not code or (code.isdigit() and code not in ("412", "416"))) and not _is_of_s3(headers):
        return not_s3(error.response.get("ResponseMetadata", {}))
    if code in ("InvalidLocationConstraint", "InvalidRegionName") or (code in OTHER_REGION and operation == "CreateBucket"):
        return (
            f"this server makes no bucket {bucket!r} in region {connection.region} ({answered}): "
            "set AWS_REGION to a region that it has, or create the bucket yourself"
        )
    if code in OTHER_REGION:
        right = _right_region(error)
        to = f"is in region {right}: set AWS_REGION={right}" if right else "is in another region: set AWS_REGION to it"
        return f"bucket {bucket!r} {to}, not {connection.region}, or correct the endpoint ({answered})"
    if code == "RequestTimeTooSkewed":
        server = error.response["Error"].get("ServerTime", "")
        there = f"; the server's says {in_one_line(server, 40)}" if server else ""
        return f"this machine's clock is wrong ({code}{there}): set it, by NTP for example, and repeat the command"
    if code in FULL or _status(error) == 507:
        return f"there is no space left for bucket {bucket!r} ({answered}): free some, or ask for a larger quota"
    if code.startswith("KMS") or re.search(r"\bkms:[A-Z]", message):
        return (
            f"the key that encrypts bucket {bucket!r} may not be used ({answered}): "
            "allow kms:GenerateDataKey and kms:Decrypt, or name a bucket with another key"
        )
    if code in ("AccessDenied", "403", "AllAccessDisabled", "AccountProblem", "Forbidden"):
        return _denied(code, answered, operation, bucket)
    if code in ("MethodNotAllowed", "NotImplemented", "405", "501"):
        return f"this server does not do {operation} here ({answered}): is the endpoint S3's, and may the bucket be changed?"
    cause = _CAUSES.get(code)
    return cause.format(code=code, bucket=bucket) if cause else f"S3 answered {answered}"


_CAUSES = {
    **dict.fromkeys(("NoSuchBucket",), "there is no bucket {bucket!r}; create it, or correct the URL"),
    **dict.fromkeys(("NoSuchKey", "404"), "no such object; pack the data set there first, or correct the URL"),
    **dict.fromkeys(
        ("InvalidAccessKeyId", "SignatureDoesNotMatch", "Unauthorized", "401"),
        "S3 refused the keys ({code}); check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_ENDPOINT_URL, or the profile's",
    ),
    **dict.fromkeys(
        ("ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired"),
        "the credentials have expired ({code}); renew them and repeat the command",
    ),
    **dict.fromkeys(
        ("InvalidToken", "InvalidClientTokenId", "InvalidSecurity"),
        "S3 refused the session token ({code}): AWS_SESSION_TOKEN belongs to other keys; renew all three, or unset it",
    ),
    **dict.fromkeys(("InvalidRange", "416"), "is shorter than its index says; pack or copy it again"),
    **dict.fromkeys(("PreconditionFailed", "412"), "was replaced while it was read; repeat the command"),
    "BucketAlreadyExists": "the bucket name {bucket!r} is taken by somebody else ({code}): choose another one",
    "InvalidBucketName": "{bucket!r} is no bucket name for this server ({code}): use 3 to 63 of a-z, 0-9 and hyphens",
}  # fmt: skip


def _denied(code: str, answered: str, operation: str, bucket: str) -> str:
    verb, permission = _RIGHTS.get(operation, (operation, f"s3:{operation}"))
    if operation == "CreateBucket":
        return f"there is no bucket {bucket!r}, and these keys may not create it ({code}): create it, or correct the URL"
    hidden = ""
    if operation in ("GetObject", "ListObjectsV2"):
        hidden = "; a bucket whose readers pay (requester pays) is refused alike: copy the set to a bucket of your own"
    if operation == "GetObject":
        hidden += "; so is a missing object, for keys without s3:ListBucket"
    return (
        f"S3 refused the keys: they may not {verb} in bucket {bucket!r} ({answered}): "
        f"allow {permission}, or use keys that may{hidden}"
    )


def _right_region(error: ClientError) -> str:
    """Return the region that an answer names; "" when it names none."""
    headers = error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    content = error.response["Error"]
    named = headers.get("x-amz-bucket-region") or content.get("Region") or ""
    of_endpoint = re.search(r"\bs3[.-]([a-z]{2}(?:-[a-z]+)+-\d)\.", str(content.get("Endpoint", "")))
    of_message = re.search(r"expecting '([A-Za-z0-9-]+)'", _message(error))
    found = named or (of_endpoint and of_endpoint[1]) or (of_message and of_message[1]) or ""
    return printable(str(found))[:40]


def _is_page(headers: Mapping[str, str]) -> bool:
    return headers.get("content-type", "").startswith("text/html") and not any(name.startswith("x-amz-") for name in headers)


def _is_of_s3(headers: Mapping[str, str]) -> bool:
    """Whether an answer without a code of S3 is of S3 all the same."""
    return any(name.startswith("x-amz-") for name in headers)


def _code(error: ClientError) -> str:
    return printable(str(error.response["Error"].get("Code") or ""))[:60]


def _message(error: ClientError) -> str:
    return str(error.response["Error"].get("Message") or "")


def _status(error: ClientError) -> int:
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def _answered(error: ClientError) -> str:
    """Return the code of an answer, and its message where that says more."""
    code, message = _code(error) or str(_status(error)), _message(error)
    is_code = re.sub(r"[^a-z]", "", message.lower()) in ("", code.lower())
    return code if is_code else f"{code}: {in_one_line(message, 200)}"
