"""A printed program is the network: run where this project cannot be imported, and held against its reference."""

from __future__ import annotations

from pathlib import Path

import pytest
from printing import BACKENDS, KINDS, Case, differences, print_program, run_programs


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_program_is_the_network_in_float64(backend: str, tmp_path: Path) -> None:
    """Tensors, logits, training output and running statistics of every kind; what it prints when it is run."""
    cases = {
        name: Case(spec, print_program(spec, backend), main=name in ("resnet18", "resnet_v2_50", "resnet20"))
        for name, spec in KINDS.items()
    }
    found = run_programs(backend, cases, tmp_path)
    assert {name: wrong for name in cases if (wrong := differences(cases[name], backend, found[name]))} == {}


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_program_is_the_network_in_float32(backend: str, tmp_path: Path) -> None:
    names = ("resnet18", "resnext50_32x4d", "resnet_v2_50", "resnet20")
    cases = {name: Case(KINDS[name], print_program(KINDS[name], backend), dtype="float32") for name in names}
    found = run_programs(backend, cases, tmp_path)
    assert {name: wrong for name in cases if (wrong := differences(cases[name], backend, found[name]))} == {}
