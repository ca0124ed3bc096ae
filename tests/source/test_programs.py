"""A printed program is the network: run where this project cannot be imported, and held against its reference."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import Phase, given, settings
from printing import BACKENDS, KINDS, SIZE, Case, differences, print_program, run_programs

import resnet_core as rn
from random_specs import specs


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


def drawn(count: int) -> dict[str, rn.ResNetSpec]:
    """Random specs, always the same; their images are small, and large enough for a norm to see several values."""
    found: list[rn.ResNetSpec] = []

    @settings(max_examples=count, derandomize=True, database=None, deadline=None, phases=[Phase.generate])
    @given(spec=specs())
    def collect(spec: rn.ResNetSpec) -> None:
        found.append(resized(spec))

    collect()
    return {f"random{number}": spec for number, spec in enumerate(found)}


def resized(spec: rn.ResNetSpec) -> rn.ResNetSpec:
    return rn.ResNetSpec(**{field: getattr(spec, field) for field in spec.__struct_fields__} | {"input_size": SIZE})


@pytest.mark.parametrize("backend", BACKENDS)
def test_programs_of_random_specs_are_their_networks(
    backend: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """50 in PyTorch and NumPy and few in the others, whose graphs are slow to make; 300 with `--long`."""
    few = {"keras": 6, "flax": 6}.get(backend, 50)
    count = 300 if request.config.getoption("--long") else few
    cases = {name: Case(spec, print_program(spec, backend)) for name, spec in drawn(count).items()}
    found = run_programs(backend, cases, tmp_path)
    wrong = {name: differences(cases[name], backend, found[name]) for name in cases}
    assert {rn.to_toml(cases[name].spec): lines for name, lines in wrong.items() if lines} == {}
