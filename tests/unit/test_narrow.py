"""The narrow network that float32 is judged in: legal for every spec, and of the same kind."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings

import resnet_core as rn
from random_specs import specs
from resnet_core.analysis import layers
from resnet_core.comparison.narrow import narrowed
from resnet_core.specification import to_fields

#: What may differ; `in_channels` where there is no stem, as the first stage then receives the image.
NARROWED = {"depths", "channels", "groups", "input_size", "stem_channels", "group_channels", "head_channels"}
NARROWED |= {"norm_groups", "norm_group_channels"}


def assert_of_the_same_kind(spec: rn.ResNetSpec) -> None:
    narrow = narrowed(spec)
    before, after = to_fields(spec), to_fields(narrow)
    changed = {field for field in before if before[field] != after[field]}
    assert changed <= NARROWED | (set() if spec.stem else {"in_channels"})
    assert rn.totals(narrow).parameters <= rn.totals(spec).parameters
    assert all(small <= large for small, large in zip(narrow.input_size, spec.input_size, strict=True))
    assert [depth > 1 for depth in narrow.depths].count(True) == (max(spec.depths) > 1)
    # A stage's first block has the same layers: its shortcut widens, strides, projects or is the identity.
    for stage in range(1, len(spec.depths) + 1):
        if spec.depths[stage - 1] == narrow.depths[stage - 1]:
            assert kinds(narrow, stage) == kinds(spec, stage)


def kinds(spec: rn.ResNetSpec, stage: int) -> list[tuple[str, str]]:
    block = f"stage{stage}.block1."
    return [(layer.path, type(layer.leaf).__name__) for layer in layers(spec) if layer.path.startswith(block)]


@pytest.mark.parametrize("name", rn.names())
def test_every_named_spec_has_a_narrow_network_of_its_kind(name: str) -> None:
    spec = rn.spec(name)
    assert_of_the_same_kind(spec)
    narrow = narrowed(spec)
    # In a projection of 3x3 the widest channels meet nine times.
    assert rn.totals(narrow).parameters < (500_000 if spec.shortcut_kernel == 1 else 4_000_000)
    assert max(narrow.input_size) <= 65
    assert (narrow.groups > 1) is (spec.groups > 1)
    inner = narrow.inner_width(narrow.channels[-1])
    assert (narrow.conv_groups(inner) > 1) is (spec.conv_groups(spec.inner_width(spec.channels[-1])) > 1)
    assert narrow.norm != "group" or 1 < narrow.normalized_groups(inner) < inner


def test_random_specs_have_narrow_networks_of_their_kind() -> None:
    @settings(max_examples=300, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck))
    @given(spec=specs())
    def check(spec: rn.ResNetSpec) -> None:
        assert_of_the_same_kind(spec)
        assert_of_the_same_kind(
            rn.spec(spec, channels=[64 * width for width in spec.channels], depths=[3] * len(spec.depths))
        )

    check()


@pytest.mark.parametrize(
    "fields",
    [
        {"groups": 31, "channels": [62, 124], "block": "basic", "stem_channels": 31},
        {"groups": 64, "width_per_group": 1, "channels": [64, 128], "block": "bottleneck"},
        {"stem": False, "in_channels": 64, "channels": [64, 128], "block": "basic", "shortcut": "pad"},
        {"stem_channels": 256, "channels": [64, 64], "block": "bottleneck", "shortcut": "pad"},
        {"stem_channels": 300, "channels": [64, 32], "block": "bottleneck"},
        {"stem_kernel": 4, "input_size": 2, "channels": [64, 128], "block": "basic", "strides": [3, 64]},
    ],
)
def test_widths_keep_their_order(fields: dict[str, object]) -> None:
    spec = rn.ResNetSpec(depths=(2, 2), **fields)  # type: ignore[arg-type]
    assert_of_the_same_kind(spec)
    narrow = narrowed(spec)

    def order(network: rn.ResNetSpec) -> list[bool]:
        widths = [network.stem_width, *map(network.output_width, network.channels)]
        return [a < b for a in widths for b in widths]

    assert order(narrow) == order(spec)


def test_narrowing_twice_changes_nothing_more() -> None:
    for name in rn.names():
        narrow = narrowed(rn.spec(name))
        assert narrowed(narrow) == narrow
