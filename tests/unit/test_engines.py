"""What XLA is told: by versions of jaxlib that know it, behind nothing that the user says."""

from __future__ import annotations

import os
import platform
from importlib import metadata

import pytest

from resnet_core.engines import inference_options, tell_xla

OFF = "--xla_cpu_experimental_ynn_fusion_type="


@pytest.mark.parametrize(
    ("jaxlib", "given", "expected"),
    [
        ("0.10.2", None, OFF),
        ("0.9.0", "", OFF),
        ("0.12.0", "--xla_dump_to=/tmp/x", f"{OFF} --xla_dump_to=/tmp/x"),
        ("0.10.2", f"{OFF}-reduce", f"{OFF}-reduce"),
        ("0.8.3", "--a=1", "--a=1"),  # XLA ends the process at an option that it does not know
        ("0.13.0", None, None),
    ],
)
def test_the_option_goes_to_versions_that_know_it(
    jaxlib: str, given: str | None, expected: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("XLA_FLAGS", raising=False)
    if given is not None:
        monkeypatch.setenv("XLA_FLAGS", given)
    monkeypatch.setattr(metadata, "version", {"jaxlib": jaxlib}.__getitem__)
    tell_xla()
    assert os.environ.get("XLA_FLAGS") == expected


@pytest.mark.parametrize(
    ("jaxlib", "machine", "expected"),
    [
        ("0.10.2", "x86_64", False),
        ("0.11.0", "x86_64", True),
        ("0.12.0.1", "AMD64", True),
        ("0.12.0", "aarch64", False),
        ("0.13.0", "x86_64", False),
    ],
)
def test_predictions_are_compiled_for_onednn_where_it_takes_convolutions(
    jaxlib: str, machine: str, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metadata, "version", {"jaxlib": jaxlib}.__getitem__)
    monkeypatch.setattr(platform, "machine", lambda: machine)
    assert bool(inference_options()) is expected
    assert all(inference_options().values())
