"""Messages of an Eiger detector, whichever of its streams they are of."""

from __future__ import annotations

from typing import Sequence, Union

from ptychoserve.bridges import eiger_cbor, eiger_json
from ptychoserve.bridges.messages import Image, SeriesEnd, SeriesStart


def decode(parts: Sequence[bytes]) -> Union[SeriesStart, Image, SeriesEnd]:
    """One message, as its first byte tells: JSON begins with a brace, which no CBOR map does.

    Raises: BadMessage for what is none.
    """
    if parts[0][:1] == b"{":
        return eiger_json.decode(parts)
    return eiger_cbor.decode(parts)
