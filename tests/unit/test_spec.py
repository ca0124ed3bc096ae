"""A spec that makes no sense is one clear line; one that makes sense is frozen, equal and hashable."""

from __future__ import annotations

import math
from typing import Any, get_args, get_type_hints

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import resnet_core as rn
from random_specs import sizes, specs
from resnet_core import ResNetSpec, SpecError
from resnet_core.specification import FIELDS, OPTIONAL, from_fields

SMALL: dict[str, Any] = {"depths": [1, 1], "channels": [8, 16], "block": "basic"}

# field, what is wrong with it, the path that the message starts with, how it shows what it received
BAD_FIELDS: list[tuple[str, Any, str, str]] = [
    ("name", 3, "name", "3"),
    ("depths", "22", "depths", "'22'"),
    ("depths", [], "depths", "[]"),
    ("depths", [1, 0], "depths[1]", "0"),
    ("depths", [-1, 1], "depths[0]", "-1"),
    ("depths", [1, 1.5], "depths[1]", "1.5"),
    ("depths", [True, 1], "depths[0]", "True"),
    ("depths", [1, 10_001], "depths[1]", "10001"),
    ("channels", 64, "channels", "64"),
    ("channels", [8, 0], "channels[1]", "0"),
    ("channels", [8, "x"], "channels[1]", "'x'"),
    ("block", "wide", "block", "'wide'"),
    ("block", None, "block", "none"),
    ("classes", 0, "classes", "0"),
    ("classes", 10.0, "classes", "10.0"),
    ("classes", True, "classes", "True"),
    ("classes", "ten", "classes", "'ten'"),
    ("in_channels", 0, "in_channels", "0"),
    ("in_channels", None, "in_channels", "none"),
    ("input_size", 0, "input_size[0]", "0"),
    ("input_size", [32, 0], "input_size[1]", "0"),
    ("input_size", [32], "input_size", "[32]"),
    ("input_size", [32, 32, 3], "input_size", "[32, 32, 3]"),
    ("input_size", True, "input_size", "True"),
    ("stem", 1, "stem", "1"),
    ("stem_channels", 0, "stem_channels", "0"),
    ("stem_kernel", 0, "stem_kernel", "0"),
    ("stem_stride", 65, "stem_stride", "65"),
    ("stem_pool", "average", "stem_pool", "'average'"),
    ("stem_pool", None, "stem_pool", "none"),
    ("stem_pool_padding", "valid", "stem_pool_padding", "'valid'"),
    ("preactivation", "yes", "preactivation", "'yes'"),
    ("groups", 0, "groups", "0"),
    ("width_per_group", -64, "width_per_group", "-64"),
    ("conv_bias", ["stem", "middle"], "conv_bias[1]", "'middle'"),
    ("conv_bias", True, "conv_bias", "True"),
    ("strides", [1, 0], "strides[1]", "0"),
    ("strides", 2, "strides", "2"),
    ("stride_unit", "middle", "stride_unit", "'middle'"),
    ("stride_on", "5x5", "stride_on", "'5x5'"),
    ("output_stride", 0, "output_stride", "0"),
    ("shortcut", "identity", "shortcut", "'identity'"),
    ("shortcut_norm", "usual", "shortcut_norm", "'usual'"),
    ("global_pool", None, "global_pool", "none"),
    ("norm_epsilon", 0.0, "norm_epsilon", "0.0"),
    ("norm_epsilon", math.nan, "norm_epsilon", "nan"),
    ("norm_epsilon", math.inf, "norm_epsilon", "inf"),
    ("norm_decay", 1.0, "norm_decay", "1.0"),
    ("norm_decay", -0.1, "norm_decay", "-0.1"),
    ("initializer", "zeros", "initializer", "'zeros'"),
    ("zero_init_residual", 0, "zero_init_residual", "0"),
]

# overrides of SMALL that are legal one by one but not together: the whole message
BAD_COMBINATIONS: list[tuple[dict[str, Any], str]] = [
    (
        {"channels": [8]},
        "channels: received [8]; allowed is one width per stage, and depths has 2 stages while channels has 1",
    ),
    ({"strides": [2]}, "strides: received [2]; allowed is one stride per stage, and depths has 2 stages"),
    ({"groups": 3, "channels": [9, 10]}, "channels[1]: received 10; allowed is a multiple of groups = 3"),
    (
        {"width_per_group": 4},
        "channels[0]: received 8; allowed is a width that makes channels * width_per_group / 64 whole "
        "(width_per_group = 4)",
    ),
    (
        {"groups": 8, "stem_channels": 12},
        "stem_channels: received 12; allowed is a multiple of groups = 8: a basic block's first convolution is grouped",
    ),
    (
        {"groups": 2, "stem": False},
        "in_channels: received 3; allowed is a multiple of groups = 2: a basic block's first convolution is grouped",
    ),
    (
        {"stride_on": "1x1"},
        'stride_on: received \'1x1\'; allowed is only "3x3" with block = "basic", which has no 1x1 convolution',
    ),
    (
        {"shortcut": "pad", "channels": [16, 8]},
        'shortcut: received \'pad\'; allowed is "projection" or "subsample" where channels shrink (stage 2: 16 to 8)',
    ),
    (
        {"shortcut": "pad", "stem_channels": 9},
        'shortcut: received \'pad\'; allowed is "projection" or "subsample" where channels shrink (stage 1: 9 to 8)',
    ),
    (
        {"output_stride": 3},
        "output_stride: received 3; allowed is one that the running stride takes ([4, 8]), or none",
    ),
    (
        {"output_stride": 2},
        "output_stride: received 2; allowed is one that the running stride takes ([4, 8]), or none",
    ),
    (
        {"stem_kernel": 4, "input_size": [1, 32]},
        "input_size: received [1, 32]; allowed is at least the stem's kernel of 4 with its padding",
    ),
]


def refused(fields: dict[str, Any]) -> str:
    with pytest.raises(SpecError) as caught:
        from_fields(fields)
    return str(caught.value)


@pytest.mark.parametrize(("field", "value", "path", "shown"), BAD_FIELDS)
def test_a_bad_value_names_its_path_what_was_received_and_what_is_allowed(
    field: str, value: Any, path: str, shown: str
) -> None:
    assert refused({**SMALL, field: value}) == f"{path}: received {shown}; allowed is {FIELDS[field]}"


def test_every_field_has_a_bad_value_above_and_a_description() -> None:
    assert {field for field, *_ in BAD_FIELDS} == set(FIELDS) == set(ResNetSpec.__struct_fields__)


@pytest.mark.parametrize(
    ("overrides", "message"), BAD_COMBINATIONS, ids=lambda value: "-".join(value) if isinstance(value, dict) else ""
)
def test_fields_that_do_not_go_together_are_one_clear_line(overrides: dict[str, Any], message: str) -> None:
    assert refused({**SMALL, **overrides}) == message


@pytest.mark.parametrize("fields", [fields for fields, _ in BAD_COMBINATIONS], ids="-".join)
def test_the_constructor_refuses_what_a_file_is_refused_for(fields: dict[str, Any]) -> None:
    with pytest.raises(SpecError):
        ResNetSpec(**{**SMALL, **fields})


def test_an_unknown_field_is_refused_with_the_nearest_name() -> None:
    assert refused({**SMALL, "chanels": [8]}) == "chanels: unknown field; did you mean channels?"
    assert refused({**SMALL, "qqq": 1}).startswith("qqq: unknown field; the fields are name, depths, ")


@pytest.mark.parametrize("field", ["depths", "channels", "block"])
def test_a_missing_field_is_named(field: str) -> None:
    fields = {key: value for key, value in SMALL.items() if key != field}
    assert refused(fields) == f"{field}: missing; expected {FIELDS[field]}"


def test_a_long_value_is_cut_short_in_the_message() -> None:
    assert len(refused({**SMALL, "block": "x" * 10_000})) < 200


def test_depths_channels_and_block_are_enough() -> None:
    assert from_fields({"depths": [2, 2, 2, 2], "channels": [64, 128, 256, 512], "block": "basic"}) == rn.spec(
        "resnet18", name=""
    )


def test_lists_and_a_single_size_mean_the_same_as_tuples() -> None:
    spec = ResNetSpec(depths=[1], channels=[8], block="basic", input_size=33)  # type: ignore[arg-type]
    assert spec == ResNetSpec(depths=(1,), channels=(8,), block="basic", input_size=(33, 33))


def test_equal_meanings_are_equal_specs_with_equal_hashes() -> None:
    one, other = (rn.spec("resnet18", conv_bias=places) for places in (["last", "stem"], ["stem", "last", "stem"]))
    assert one == other
    assert hash(one) == hash(other)
    assert one != rn.spec("resnet18")


def test_a_spec_is_frozen() -> None:
    spec = rn.spec("resnet18")
    with pytest.raises(AttributeError):
        spec.classes = 10  # type: ignore[misc]


def test_a_copy_with_other_fields_is_validated_too() -> None:
    with pytest.raises(SpecError, match=r"^classes: received 0"):
        msgspec.structs.replace(rn.spec("resnet18"), classes=0)


def test_the_optional_fields_are_those_that_may_be_none() -> None:
    may_be_none = [field for field, kind in get_type_hints(ResNetSpec).items() if type(None) in get_args(kind)]
    assert list(OPTIONAL) == [field for field in FIELDS if field in may_be_none]


@given(spec=specs())
def test_random_specs_are_what_their_fields_say(spec: ResNetSpec) -> None:
    """The strategy draws legal specs only, and a spec that was read once reads the same again."""
    assert rn.spec(spec) == spec
    assert spec.stem_width >= 1
    assert len(spec.block_strides()) == len(spec.depths) == len(spec.stage_strides)


@given(spec=specs(), data=st.data())
def test_random_sizes_are_accepted_by_their_network(spec: ResNetSpec, data: Any) -> None:
    size = data.draw(sizes(spec))
    assert all(min(layer.output_shape) >= 1 for layer in rn.layers(spec, size))


def test_random_specs_draw_every_field() -> None:
    """A new field that `random_specs.specs` does not draw would be proven by no random network."""
    values: dict[str, set[str]] = {field: set() for field in FIELDS if field != "name"}

    @settings(max_examples=400, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck))
    @given(spec=specs())
    def collect(spec: ResNetSpec) -> None:
        for field, found in values.items():
            found.add(repr(getattr(spec, field)))

    collect()
    assert {field: found for field, found in values.items() if len(found) < 2} == {}
