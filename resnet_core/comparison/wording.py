"""Numbers and names in sentences."""

from __future__ import annotations

from collections.abc import Sequence


def scientific(value: float) -> str:
    """6.5e-07 as 6.5e-7, and 1e-05 as 1e-5."""
    digits, _, exponent = f"{value:.1e}".partition("e")
    return f"{digits.removesuffix('.0')}e{int(exponent)}" if exponent else digits


def join(names: Sequence[str]) -> str:
    """The names as in "a, b and c", or "nothing"."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else "nothing"
