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
from resnet_core.combinations import RULES
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
    ("expansion", 0, "expansion", "0"),
    ("stem_type", "shallow", "stem_type", "'shallow'"),
    ("stem_pool_kernel", 0, "stem_pool_kernel", "0"),
    ("stem_pool_stride", 65, "stem_pool_stride", "65"),
    ("group_channels", 0, "group_channels", "0"),
    ("conv_padding", "valid", "conv_padding", "'valid'"),
    ("reduce_first", 1.5, "reduce_first", "1.5"),
    ("shortcut_kernel", 2, "shortcut_kernel", "2"),
    ("shortcut_pool", "max", "shortcut_pool", "'max'"),
    ("antialias", True, "antialias", "True"),
    ("attention", "sk", "attention", "'sk'"),
    ("attention_place", "first", "attention_place", "'first'"),
    ("attention_ratio", 0.0, "attention_ratio", "0.0"),
    ("attention_divisor", 0, "attention_divisor", "0"),
    ("activation", "swish", "activation", "'swish'"),
    ("norm", "instance", "norm", "'instance'"),
    ("norm_groups", 0, "norm_groups", "0"),
    ("norm_group_channels", "all", "norm_group_channels", "'all'"),
    ("standardize_weights", 1e-8, "standardize_weights", "1e-08"),
    ("head_channels", 0, "head_channels", "0"),
    ("head_pool", "none", "head_pool", "'none'"),
    ("head_bias", None, "head_bias", "none"),
    ("deploy", 1, "deploy", "1"),
    ("dropout", 1.0, "dropout", "1.0"),
    ("drop_path", -0.1, "drop_path", "-0.1"),
    ("drop_path_rule", "constant", "drop_path_rule", "'constant'"),
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
        {"group_channels": 3, "block": "bottleneck"},
        "group_channels: received 3; allowed is a divisor of every stage's inner width, and one is 8",
    ),
    (
        {"group_channels": 2},
        'group_channels: received 2; allowed is none with block = "basic", and with groups above 1',
    ),
    (
        {"conv_padding": "same", "output_stride": 4},
        "conv_padding: received 'same'; allowed is \"symmetric\" with an output_stride",
    ),
    (
        {"reduce_first": 2},
        'reduce_first: received 2; allowed is only 1 with block = "basic", whose first convolution is the 3x3',
    ),
    (
        {"reduce_first": 3, "block": "bottleneck"},
        "reduce_first: received 3; allowed is a divisor of each group's width, of 8 in a stage",
    ),
    (
        {"attention_place": "inner"},
        'attention_place: received \'inner\'; allowed is only "last" with block = "basic"',
    ),
    (
        {"stem_type": "deep", "stem_kernel": 5},
        'stem_kernel: received 5; allowed is 3 with a stem_type of "deep" or "tiered", which is three convolutions of '
        "3x3",
    ),
    (
        {"stem_type": "tiered", "stem_channels": 12},
        'stem_channels: received 12; allowed is a multiple of 2 with stem_type = "deep", of 8 with "tiered"',
    ),
    (
        {"antialias": "blur", "preactivation": True},
        "antialias: received 'blur'; allowed is only \"none\" with preactivation = true",
    ),
    (
        {"norm": "none", "preactivation": True},
        "norm: received 'none'; allowed is not \"none\" with preactivation = true, whose blocks begin with a norm",
    ),
    (
        {"norm": "none", "shortcut_norm": True},
        'shortcut_norm: received True; allowed is false or none with norm = "none"',
    ),
    (
        {"norm": "frozen", "zero_init_residual": True},
        'zero_init_residual: received True; allowed is false with norm = "frozen", whose scale does not learn, and '
        'with shortcut = "none", which has no residual',
    ),
    (
        {"shortcut": "none", "drop_path": 0.1},
        'drop_path: received 0.1; allowed is 0 with shortcut = "none": without a shortcut, nothing is left of a block '
        "that is skipped",
    ),
    (
        {"shortcut_kernel": 3, "shortcut_pool": "average"},
        'shortcut_kernel: received 3; allowed is only 1 with shortcut = "pad" or "none", and with a shortcut_pool, '
        "which has the stride",
    ),
    (
        {"shortcut_pool": "average", "shortcut": "none"},
        'shortcut_pool: received \'average\'; allowed is only "none" with shortcut = "none"',
    ),
    (
        {"head_pool": "max", "global_pool": False},
        "head_pool: received 'max'; allowed is only \"average\" with global_pool = false",
    ),
    (
        {"norm": "group"},
        "norm_groups: received 32; allowed is a divisor of every normalized width, and one is 8",
    ),
    (
        {"norm": "group", "norm_group_channels": 3},
        "norm_group_channels: received 3; allowed is a divisor of every normalized width, and one is 8",
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


def test_every_rule_is_broken_above() -> None:
    """And each rule's text is in one of the messages."""
    said = " ".join(message for _, message in BAD_COMBINATIONS)
    assert [rule.field for rule in RULES if f"allowed is {rule.allowed}" not in said] == []


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
