from __future__ import annotations

from collections.abc import Iterator

import pytest

from engine_pool import ENGINES, EnginePool
from resnet_core.errors import InputError


@pytest.fixture(scope="session")
def pool(
    device: str, device_required: bool, pythons: dict[str, str], request: pytest.FixtureRequest
) -> Iterator[EnginePool]:
    """The engines. Without the device that was asked for, tests skip with the reason, or fail if it is required."""
    pool = EnginePool(device, pythons, optimized=request.config.getoption("--long"))
    try:
        if device == "gpu":
            for name in ENGINES.keys() - {"onnx"}:  # the usual onnxruntime has no GPU
                try:
                    pool.engine(name, "float32")
                except InputError as error:
                    if device_required:
                        pytest.fail(str(error))
                    pytest.skip(str(error))
        yield pool
    finally:
        pool.close()


@pytest.fixture
def long(request: pytest.FixtureRequest, device: str) -> bool:
    """Whether what is marked long runs: by `--long`, and on a GPU."""
    return request.config.getoption("--long") or device == "gpu"
