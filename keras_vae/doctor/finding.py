"""What a diagnosis finds."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Finding:
    """A diagnosis that holds.

    Attributes:
        name: Str, such as `"posterior_collapse"`.
        number: Float, the measured number behind it.
        text: Str. One line: what is wrong, with the number, and what it means.
        change: Str. The one change to make.
    """

    name: str
    number: float
    text: str
    change: str

    def __str__(self) -> str:
        return f"{self.name}: {self.text} {self.change}"
