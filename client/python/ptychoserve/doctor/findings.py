"""What was checked, what has come out, and what to do."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any, Callable

OK, WARN, FAIL, NOT_CHECKED = "OK", "WARN", "FAIL", "-"


@dataclass(frozen=True)
class Finding:
    """One line.

    Attributes:
        level: OK; WARN: works, but may be not what is wanted; FAIL; "-": could not be checked.
        message: what was seen, with its figures.
        hint: what to do; empty when nothing is to be done.
        figures: what was measured, by name with unit.
    """

    check: str
    level: str
    message: str
    hint: str = ""
    figures: dict[str, Any] = field(default_factory=dict)

    def line(self) -> str:
        text = f"{self.level:4}  {self.check:11} {self.message}"
        return f"{text}\n{'':18}-> {self.hint}" if self.hint else text


class Findings:
    """Collects them, and tells each as it comes."""

    def __init__(self, tell: Callable[[Finding], None]) -> None:
        self.all: list[Finding] = []
        self._tell = tell

    def add(self, check: str, level: str, message: str, hint: str = "", **figures: Any) -> None:
        self.all.append(Finding(check, level, message, hint, figures))
        self._tell(self.all[-1])

    @property
    def failed(self) -> bool:
        return any(finding.level == FAIL for finding in self.all)

    def as_json(self, exit_code: int) -> str:
        return json.dumps({"findings": [asdict(finding) for finding in self.all],
                           "exit_code": exit_code})
