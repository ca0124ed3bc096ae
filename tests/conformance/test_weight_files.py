"""A file that goes through any two backends comes out with the same bytes."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import resnet_core as rn
from conformance.narrow import SPECS

if TYPE_CHECKING:
    from conformance.conftest import Workers

BACKENDS = ("torch", "keras", "flax", "numpy")


@pytest.mark.parametrize(("name", "dtype"), [("d2l", "float32"), ("slim", "float32"), ("slim", "float64")])
@pytest.mark.parametrize(("first", "second"), list(product(BACKENDS, repeat=2)))
def test_file_to_backend_to_file_to_backend_to_file_is_byte_identical(
    first: str, second: str, name: str, dtype: str, tmp_path: Path, workers: Workers
) -> None:
    files = [tmp_path / f"{number}.safetensors" for number in range(3)]
    rn.save_weights(files[0], rn.probe_weights(SPECS[name], dtype=dtype), SPECS[name])
    for backend, source, target in ((first, *files[:2]), (second, *files[1:])):
        workers.call(
            backend, "native:through_the_model", backend=backend, name=name, source=str(source), target=str(target)
        )
        assert target.read_bytes() == files[0].read_bytes()
