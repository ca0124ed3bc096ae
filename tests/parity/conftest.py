from __future__ import annotations

from collections.abc import Iterator

import pytest

from laboratory import ENGINES, Laboratory
from resnet_core.errors import InputError


@pytest.fixture(scope="session")
def laboratory(device: str, device_required: bool, pythons: dict[str, str]) -> Iterator[Laboratory]:
    """The engines. Without the device that was asked for, tests skip with the reason, or fail if it is required."""
    laboratory = Laboratory(device, pythons)
    try:
        if device == "gpu":
            for name in ENGINES:
                try:
                    laboratory.engine(name, "float32")
                except InputError as error:
                    if device_required:
                        pytest.fail(str(error))
                    pytest.skip(str(error))
        yield laboratory
    finally:
        laboratory.close()
