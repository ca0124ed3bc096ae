"""A program starts where the spec says: the initializer's spread in every tensor, and zeros where zeros belong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from printing import SIZE, Case, print_program, run_programs

import resnet_core as rn

WIDE: dict[str, object] = {"depths": (1, 1), "channels": (16, 32), "classes": 50, "input_size": SIZE}
SPECS = {
    "torchvision": rn.spec("resnet18", zero_init_residual=True, attention="se", attention_ratio=0.5, **WIDE),
    "he": rn.spec("resnet20", preactivation=True, zero_init_residual=True, **WIDE),
    "slim": rn.spec("resnet_v2_50", attention="se", attention_ratio=0.25, **WIDE),
    "xavier": rn.spec("resnet18_d2l", **{**WIDE, "groups": 2}),
}


def strange(spec: rn.ResNetSpec, found: dict[str, np.ndarray]) -> list[str]:
    """Tensors whose initial values are not spread as the spec's."""
    wrong = []
    for name in rn.parameters(spec):
        value, expected = found[f"initial {name}"], rn.initialize(spec)[name]
        if expected.std() == 0:
            wrong += [] if np.array_equal(value, expected) else [name]
        elif value.size >= 50:
            allowed = 5 / value.size**0.5 + 0.02  # of a standard deviation that is estimated from so many values
            wrong += [] if abs(value.std() / expected.std() - 1) < allowed else [name]
    return wrong


@pytest.mark.parametrize("backend", ["torch", "keras", pytest.param("flax", marks=pytest.mark.long)])
def test_initial_values_are_spread_as_the_spec_says(backend: str, tmp_path: Path) -> None:
    cases = {name: Case(spec, print_program(spec, backend), initial=True) for name, spec in SPECS.items()}
    found = run_programs(backend, cases, tmp_path)
    assert {name: wrong for name, spec in SPECS.items() if (wrong := strange(spec, found[name]))} == {}


def test_another_spread_is_found(tmp_path: Path) -> None:
    spec = SPECS["torchvision"]
    text = print_program(spec, "torch")
    planted = {
        "fan": text.replace(', mode="fan_out"', ""),
        "zeros": text.replace("nn.init.zeros_(module.norm2.weight)", "pass"),
    }
    cases = {name: Case(spec, program, initial=True) for name, program in planted.items()}
    found = run_programs("torch", cases, tmp_path)
    assert all(strange(spec, found[name]) for name in cases)
