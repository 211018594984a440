"""Names that were not quite right."""

from __future__ import annotations

import difflib
from typing import Iterable


def did_you_mean(key: str, names: Iterable[str]) -> str:
    """A hint at the name that is most like `key`, or has all of its words (energy_ev:
    photon_energy_ev); empty when none is near."""
    names = list(names)
    words = set(key.split("_"))
    near = (difflib.get_close_matches(key, names, n=1, cutoff=0.75)
            or [name for name in names if words <= set(name.split("_"))])
    return f"did you mean {near[0]!r}?" if near else ""
