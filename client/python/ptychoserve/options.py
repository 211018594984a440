"""What a client and its writers may be told."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, Callable, Optional, TypeVar

from ptychoserve._names import did_you_mean
from ptychoserve.credentials import Credentials
from ptychoserve.errors import PtychoserveError, unknown_name

T = TypeVar("T")


def options_of(kind: type[T], settings: dict[str, Any]) -> T:
    """Options from keyword arguments. Raises InvalidArgument for one that there is not."""
    _check_names(_names(kind), settings)
    return kind(**settings)


def client_options_of(settings: dict[str, Any]) -> tuple["ClientOptions", Credentials]:
    """Likewise, of a client; its credentials are completed from the environment."""
    _check_names(_names(ClientOptions) + _names(Credentials), settings)
    own = {key: settings[key] for key in _names(Credentials) if key in settings}
    rest = {key: value for key, value in settings.items() if key not in own}
    return ClientOptions(**rest), Credentials(**own).completed()


def _names(kind: Any) -> list[str]:
    return [f.name for f in fields(kind)]


def _check_names(names: list[str], settings: dict[str, Any]) -> None:
    for key in settings:
        if key not in names:
            raise unknown_name(key, names, did_you_mean(key, names))


@dataclass(frozen=True)
class ClientOptions:
    """How a client behaves towards its server.

    Attributes:
        connect_timeout_s: how long the first connection may take.
        call_timeout_s: of one call; also how long it is made again whose connection breaks.
        snapshot_timeout_s: of a whole snapshot.
        keepalive_time_s: a connection by which nothing has come for so long is probed,
        keepalive_timeout_s: and given up when nothing comes for so long after that.
        watch_give_up_after_s: how long a watch is opened again whose server is away.
    """

    connect_timeout_s: float = 10.0
    call_timeout_s: float = 30.0
    snapshot_timeout_s: float = 120.0
    keepalive_time_s: float = 30.0
    keepalive_timeout_s: float = 20.0
    watch_give_up_after_s: float = 600.0


@dataclass(frozen=True)
class WriterOptions:
    """How a writer buffers, and what it does when the connection breaks.

    Attributes:
        queue_bytes: of what may wait to be sent. A larger single item is taken when nothing waits.
        retain_bytes: of what was sent and is kept until the server has it safe: on disk when it
            keeps a journal, else in its memory. Beyond both, `push` waits.
        message_bytes: payload of a message, about, within what the server takes.
        linger_s: what does not fill a message waits so long for company.
        producer: names the sender, 1 to 64 of [A-Za-z0-9._:-]. A writer with a name goes on where
            an earlier one has ended, also in another process: of what is pushed, it leaves out what
            the session had when it connected. Of two that live at the same time, the later one ends
            the other (`Aborted`). Empty: a random name.
        give_up_after_s: how long a broken connection is tried again; 0: not at all.
        retry_initial_s, retry_max_s: pauses between attempts grow from the one to the other.
        open_timeout_s: an attempt that the server does not answer ends after this time.
        on_ack: called with each `v1.IngestAck`, in order, on the writer's thread or event loop.
            Must not block.
        on_connection: called as (False, error) when the connection is lost, (True, None) when it is
            there again, and (False, error) when the writer gives up. As on_ack.
    """

    queue_bytes: int = 64 << 20
    retain_bytes: int = 256 << 20
    message_bytes: int = 2 << 20
    linger_s: float = 0.005
    producer: str = ""
    give_up_after_s: float = 600.0
    retry_initial_s: float = 0.1
    retry_max_s: float = 5.0
    open_timeout_s: float = 30.0
    on_ack: Optional[Callable[[Any], None]] = field(default=None, compare=False)
    on_connection: Optional[Callable[[bool, Optional[PtychoserveError]], None]] = field(
        default=None, compare=False)
