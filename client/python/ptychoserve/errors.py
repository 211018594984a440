"""What goes wrong, as exceptions that say which field, its value, what is allowed, what to do.

A server's error becomes the class of its code (`NotFound`, `InvalidArgument`, ...), with the
details that came with it. What this package finds wrong by itself is raised as the same classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Iterable, Optional

import grpc

from ptychoserve.rpc import error_details_pb2, status_pb2

_DETAILS_KEY = "grpc-status-details-bin"


@dataclass(frozen=True)
class Violation:
    """A field that was wrong.

    `value` and `allowed` are the two halves of `description`, in the server's words. `allowed` is
    empty when the server says it in another way.
    """

    field: str
    description: str

    @property
    def value(self) -> str:
        text = self.description.partition("; ")[0]
        return text[3:] if text.startswith("is ") else text

    @property
    def allowed(self) -> str:
        text = self.description.partition("; ")[2]
        for prefix in ("allowed: ", "must be "):
            if text.startswith(prefix):
                return text[len(prefix):]
        return text


class PtychoserveError(Exception):
    """Any error of the server, of the connection to it, or of what was asked of this package.

    Attributes:
        code: name of the gRPC code, "INVALID_ARGUMENT".
        message: in words.
        reason: stable, to program against: "INVALID_CONFIG"; see docs/errors.md. Empty when the
            server gave none, as for a broken connection.
        violations: every field that was wrong.
        hint: what to do about it; may be empty.
        metadata: further facts by name, such as "needed_bytes".
        resource: name of the session that it is about; may be empty.
        retry_after_s: when it makes sense to try again; None: not said.
    """

    code = "UNKNOWN"

    def __init__(self, message: str, *, reason: str = "",
                 violations: tuple[Violation, ...] = (), hint: str = "",
                 metadata: Optional[dict[str, str]] = None, resource: str = "",
                 retry_after_s: Optional[float] = None) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason
        self.violations = violations
        self.hint = hint
        self.metadata = metadata or {}
        self.resource = resource
        self.retry_after_s = retry_after_s

    @property
    def field(self) -> str:
        """The first field that was wrong; empty when none was."""
        return self.violations[0].field if self.violations else ""

    @property
    def value(self) -> str:
        """What that field was."""
        return self.violations[0].value if self.violations else ""

    @property
    def allowed(self) -> str:
        """What is allowed for it."""
        return self.violations[0].allowed if self.violations else ""

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message

    def with_words(self, words: str) -> "PtychoserveError":
        """The same error with more words."""
        return type(self)(self.message + words, reason=self.reason, violations=self.violations,
                          hint=self.hint, metadata=self.metadata, resource=self.resource,
                          retry_after_s=self.retry_after_s)


class Cancelled(PtychoserveError):
    """The call or the writer was cancelled."""
    code = "CANCELLED"


class Unknown(PtychoserveError):
    """An error without a code: a transport that went away."""
    code = "UNKNOWN"


class InvalidArgument(PtychoserveError, ValueError):
    """Something in what was asked is wrong; `violations` says what."""
    code = "INVALID_ARGUMENT"


class DeadlineExceeded(PtychoserveError, TimeoutError):
    """It has taken longer than allowed."""
    code = "DEADLINE_EXCEEDED"


class NotFound(PtychoserveError):
    """There is no such session or snapshot."""
    code = "NOT_FOUND"


class AlreadyExists(PtychoserveError):
    """The id belongs to a session with another configuration."""
    code = "ALREADY_EXISTS"


class PermissionDenied(PtychoserveError):
    """The server does not let this client do that."""
    code = "PERMISSION_DENIED"


class ResourceExhausted(PtychoserveError):
    """No room: on the device, for more sessions, or in a writer's queue."""
    code = "RESOURCE_EXHAUSTED"


class FailedPrecondition(PtychoserveError):
    """Not in the state that the session or the writer is in."""
    code = "FAILED_PRECONDITION"


class Aborted(PtychoserveError):
    """A later writer of the same producer has taken over."""
    code = "ABORTED"


class OutOfRange(PtychoserveError):
    """Beyond the end."""
    code = "OUT_OF_RANGE"


class Unimplemented(PtychoserveError):
    """The server does not know the method; compare versions with `Client.info`."""
    code = "UNIMPLEMENTED"


class Internal(PtychoserveError):
    """A fault of the server, or a stream that was reset."""
    code = "INTERNAL"


class Unavailable(PtychoserveError, ConnectionError):
    """No server answers, or it shuts down."""
    code = "UNAVAILABLE"


class DataLoss(PtychoserveError):
    """What came is not whole."""
    code = "DATA_LOSS"


class Unauthenticated(PtychoserveError):
    """The server does not know who asks."""
    code = "UNAUTHENTICATED"


class SessionFailed(FailedPrecondition):
    """The session has ended FAILED; the message is its `failure`."""


_BY_CODE = {cls.code: cls for cls in (
    Cancelled, Unknown, InvalidArgument, DeadlineExceeded, NotFound, AlreadyExists,
    PermissionDenied, ResourceExhausted, FailedPrecondition, Aborted, OutOfRange, Unimplemented,
    Internal, Unavailable, DataLoss, Unauthenticated)}


def invalid(field: str, value: object, allowed: str, hint: str = "") -> InvalidArgument:
    """The error of a field that is found to be wrong on this side."""
    description = f"{value}; allowed: {allowed}"
    return InvalidArgument(f"{field}: {description}", reason="INVALID_REQUEST",
                           violations=(Violation(field, description),), hint=hint)


def unknown_name(field: str, names: Iterable[str], hint: str) -> InvalidArgument:
    """The error of a setting that there is not."""
    allowed = ", ".join(names)
    return InvalidArgument(f"{field}: there is no such setting; allowed: {allowed}",
                           reason="INVALID_CONFIG", hint=hint,
                           violations=(Violation(field, f"unknown; allowed: {allowed}"),))


_CODE_NAMES = {code.value[0]: code.name for code in grpc.StatusCode}


def from_grpc(error: grpc.RpcError) -> PtychoserveError:
    """The exception for an error of a call, of `grpc` or of `grpc.aio`."""
    trailing = error.trailing_metadata() or ()
    details = next((value for key, value in trailing if key == _DETAILS_KEY), b"")
    return from_status(error.code().name, error.details() or "", details)


def from_status(code: str, message: str, details: bytes = b"") -> PtychoserveError:
    """The exception for a code by name, a message, and a serialised google.rpc.Status."""
    found: dict = {}
    violations: list[Violation] = []
    said = status_pb2.Status.FromString(details)
    if said.code:
        # Of a stream that the server ends before the client does, HAProxy makes CANCELLED, and
        # leaves the details as they are.
        code, message = _CODE_NAMES.get(said.code, code), said.message
    for any_detail in said.details:
        kind = any_detail.type_url.rpartition(".")[2]
        if kind == "ErrorInfo":
            info = error_details_pb2.ErrorInfo.FromString(any_detail.value)
            metadata = dict(info.metadata)
            found.update(reason=info.reason, hint=metadata.pop("hint", ""), metadata=metadata)
        elif kind == "BadRequest":
            bad = error_details_pb2.BadRequest.FromString(any_detail.value)
            violations += [Violation(v.field, v.description) for v in bad.field_violations]
        elif kind == "QuotaFailure":
            quota = error_details_pb2.QuotaFailure.FromString(any_detail.value)
            violations += [Violation(v.subject, v.description) for v in quota.violations]
        elif kind == "ResourceInfo":
            resource = error_details_pb2.ResourceInfo.FromString(any_detail.value)
            found.update(resource=resource.resource_name)
        elif kind == "RetryInfo":
            delay = error_details_pb2.RetryInfo.FromString(any_detail.value).retry_delay
            found.update(retry_after_s=delay.seconds + delay.nanos / 1e9)
    return _BY_CODE.get(code, PtychoserveError)(message, violations=tuple(violations), **found)
