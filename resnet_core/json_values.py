"""Values that JSON can say."""

from __future__ import annotations

import math
from typing import Any


def finite(value: Any) -> Any:
    """The value with NaN and infinity, at any depth, replaced by None: JSON has neither."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
