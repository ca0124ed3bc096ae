"""The named specs, as plain data: each is defined by how it differs from a related one, in families of one origin.

`REFERENCES` says where the numbers of parameters of each were published or counted.
"""

from __future__ import annotations

import difflib
import fnmatch
from collections.abc import Collection
from typing import Any

from resnet_core.errors import InputError

Fields = dict[str, Any]
Family = dict[str, Fields]


def _bottlenecks(*depths: int) -> Fields:
    return {"depths": list(depths), "channels": [64, 128, 256, 512], "block": "bottleneck"}


_10: Fields = {"depths": [1, 1, 1, 1], "channels": [64, 128, 256, 512], "block": "basic"}
_18 = {**_10, "depths": [2, 2, 2, 2]}
_34 = {**_10, "depths": [3, 4, 6, 3]}
_14, _26 = _bottlenecks(1, 1, 1, 1), _bottlenecks(2, 2, 2, 2)
_50, _101, _152 = _bottlenecks(3, 4, 6, 3), _bottlenecks(3, 4, 23, 3), _bottlenecks(3, 8, 36, 3)
_200, _269 = _bottlenecks(3, 24, 36, 3), _bottlenecks(3, 30, 48, 8)
_DEEP = {50: _50, 101: _101, 152: _152}


def _cifar(blocks: int, block: str, **more: Any) -> Fields:
    """He et al. 2015, section 4.2, and what followed: three stages of 16, 32 and 64 channels, no pool in the stem."""
    return {
        "depths": [blocks] * 3,
        "channels": [16, 32, 64],
        "block": block,
        "classes": 10,
        "input_size": [32, 32],
        "stem_kernel": 3,
        "stem_stride": 1,
        "stem_pool": "none",
        "initializer": "he",
        **more,
    }


def _groups(groups: int, width: int) -> Fields:
    return {"groups": groups, "width_per_group": width}


def _wide(depth: int, factor: int) -> Fields:
    """Zagoruyko and Komodakis 2016: pre-activation, `factor` times as wide behind the stem."""
    widths = {"channels": [16 * factor, 32 * factor, 64 * factor], "stem_channels": 16}
    return _cifar((depth - 4) // 6, "basic", preactivation=True, **widths)


def _cifar_resnext(groups: int, width: int) -> Fields:
    """Xie et al. 2017, section 5.2: 29 layers."""
    return _cifar(3, "bottleneck", channels=[64, 128, 256], stem_channels=64, **_groups(groups, width))


def _big_transfer(spec: Fields, factor: int) -> Fields:
    """Kolesnikov et al. 2019, with its own widths; zeros stand around the pool of the stem."""
    return {
        **spec,
        "channels": [channels * factor for channels in spec["channels"]],
        **_TIMM_V2,
        "stem_pool_padding": "zeros",
        "norm": "group",
        "standardize_weights": True,
    }


# He et al. 2015 as published (and in Caffe): the stride on the first 1x1.
_V1 = {"stride_on": "1x1", "initializer": "he"}

# Zhang et al., Dive into Deep Learning, section 8.6: biases everywhere, a bare 1x1 convolution as shortcut.
_EVERY_BIAS = ["stem", "inner", "last", "shortcut"]
_D2L = {
    "conv_bias": _EVERY_BIAS,
    "shortcut_norm": False,
    "classes": 10,
    "in_channels": 1,
    "input_size": [96, 96],
    "initializer": "xavier",
}

# TF-slim, nets/resnet_v1.py and resnet_v2.py with resnet_arg_scope (and its epsilon of 1e-5).
_SLIM: Fields = {
    "stem_pool_padding": "same",
    "stride_unit": "last",
    "shortcut": "subsample",
    "norm_decay": 0.997,
    "initializer": "slim",
}
_SLIM_V2 = {**_SLIM, "preactivation": True, "conv_bias": ["stem", "last", "shortcut"]}

# keras/src/applications/resnet.py: zeros around the pool, an epsilon of its own, Glorot's initializer.
_KERAS: Fields = {"stem_pool_padding": "zeros", "norm_epsilon": 1.001e-5, "norm_decay": 0.99, "initializer": "xavier"}
_KERAS_V1 = {**_KERAS, "stride_on": "1x1", "shortcut": "projection_first", "conv_bias": _EVERY_BIAS}
_KERAS_V2 = {
    **_KERAS,
    "preactivation": True,
    "stride_unit": "last",
    "shortcut": "subsample",
    "conv_bias": ["stem", "last", "shortcut"],
}

# He et al. 2018 (Bag of Tricks) and timm: three 3x3 in the stem (C), average pools in shortcuts too (D), a wider stem
# (S), a stem that widens (T). Paddle's vd is D with a projection in the first block of every stage.
_C: Fields = {"stem_type": "deep"}
_D = {**_C, "shortcut_pool": "average"}
_S = {**_C, "stem_channels": 128}
_T = {**_D, "stem_type": "tiered"}
_VD = {**_D, "shortcut": "projection_first"}

_SE: Fields = {"attention": "se"}
_ECA: Fields = {"attention": "eca"}
_AVERAGE: Fields = {"antialias": "average"}
_BLUR: Fields = {"antialias": "blur"}
_TIMM_V2: Fields = {"preactivation": True, "shortcut": "projection_first"}

# Bello et al. 2021 (arXiv:2103.07579), as in timm.
_RS = {**_D, **_SE, "stem_pool": "conv", "attention_ratio": 0.25}

# timm's byobnet.py: groups of 32 channels, SiLU, the gate behind the 3x3.
_TS: Fields = {"stem_type": "tiered", "activation": "silu"}
_TS_WIDE = {
    **_TS,
    "depths": [2, 3, 3, 2],
    "channels": [64, 128, 384, 384],
    "block": "bottleneck",
    "stem_pool": "stride",
}
_INNER_SE = {**_SE, "attention_place": "inner"}

#: {family: {name: fields}}, in the order in which they are listed.
FAMILIES: dict[str, Family] = {
    "resnet": {
        "resnet18": _18,
        "resnet34": _34,
        **{f"resnet{depth}": spec for depth, spec in _DEEP.items()},
        "wide_resnet50_2": {**_50, "width_per_group": 128},
        "wide_resnet101_2": {**_101, "width_per_group": 128},
    },
    "resnext": {
        "resnext50_32x4d": {**_50, **_groups(32, 4)},
        "resnext101_32x8d": {**_101, **_groups(32, 8)},
        "resnext101_64x4d": {**_101, **_groups(64, 4)},
        "resnext101_32x4d": {**_101, **_groups(32, 4)},
        "resnext101_32x16d": {**_101, **_groups(32, 16)},
        "resnext101_32x32d": {**_101, **_groups(32, 32)},
        "resnext50d_32x4d": {**_50, **_groups(32, 4), **_D},
        "resnext26ts": {**_26, **_TS, "group_channels": 32},
    },
    "caffe": {f"resnet{depth}_v1": {**spec, **_V1} for depth, spec in _DEEP.items()},
    "d2l": {"resnet18_d2l": {**_18, **_D2L}},
    "cifar": {
        **{f"resnet{n}": _cifar((n - 2) // 6, "basic", shortcut="pad") for n in (20, 32, 44, 56, 110, 1202)},
        **{f"resnet{n}_option_b": _cifar((n - 2) // 6, "basic") for n in (20, 32, 44, 56, 110, 1202)},
        **{f"plain{n}": _cifar((n - 2) // 6, "basic", shortcut="none") for n in (20, 32, 44, 56)},
        "preact_resnet110": _cifar(18, "basic", preactivation=True),
        "preact_resnet164": _cifar(18, "bottleneck", preactivation=True),
        "preact_resnet1001": _cifar(111, "bottleneck", preactivation=True),
        **{f"wrn_{n}_{k}": _wide(n, k) for n, k in ((16, 4), (16, 8), (22, 8), (28, 10), (40, 2), (40, 4), (40, 10))},
        "resnext29_8x64d": _cifar_resnext(8, 64),
        "resnext29_16x64d": _cifar_resnext(16, 64),
    },
    "slim": {
        **{f"resnet_v2_{depth}": {**spec, **_SLIM_V2} for depth, spec in {**_DEEP, 200: _200}.items()},
        **{f"resnet_v1_{depth}": {**spec, **_SLIM} for depth, spec in {**_DEEP, 200: _200}.items()},
    },
    "keras": {
        **{f"keras_resnet{depth}": {**spec, **_KERAS_V1} for depth, spec in _DEEP.items()},
        **{f"keras_resnet{depth}_v2": {**spec, **_KERAS_V2} for depth, spec in _DEEP.items()},
    },
    "plain": {
        "plain18": {**_18, "shortcut": "none", "initializer": "he"},
        "plain34": {**_34, "shortcut": "none", "initializer": "he"},
    },
    "bag_of_tricks": {
        "resnet10t": {**_10, **_T},
        "resnet14t": {**_14, **_T},
        "resnet18d": {**_18, **_D},
        "resnet26": _26,
        "resnet26d": {**_26, **_D},
        "resnet26t": {**_26, **_T},
        "resnet34d": {**_34, **_D},
        "resnet50t": {**_50, **_T},
        **{f"resnet{depth}c": {**spec, **_C} for depth, spec in _DEEP.items()},
        **{f"resnet{depth}d": {**spec, **_D} for depth, spec in _DEEP.items()},
        **{f"resnet{depth}s": {**spec, **_S} for depth, spec in _DEEP.items()},
        "resnet200": _200,
        "resnet200d": {**_200, **_D},
        "resnet32ts": {**_TS_WIDE},
        "resnet33ts": {**_TS_WIDE, "head_channels": 1280},
    },
    "vd": {f"resnet_vd_{depth}": {**spec, **_VD} for depth, spec in {18: _18, 34: _34, **_DEEP, 200: _200}.items()},
    "se": {
        "seresnet18": {**_18, **_SE},
        "seresnet34": {**_34, **_SE},
        **{f"seresnet{depth}": {**spec, **_SE} for depth, spec in _DEEP.items()},
        "seresnet50t": {**_50, **_T, **_SE},
        "seresnet152d": {**_152, **_D, **_SE},
        "seresnet200d": {**_200, **_D, **_SE},
        "seresnet269d": {**_269, **_D, **_SE},
        "seresnet33ts": {**_TS_WIDE, "head_channels": 1280, **_INNER_SE},
        "seresnetaa50d": {**_50, **_D, **_SE, **_AVERAGE},
        "seresnext26d_32x4d": {**_26, **_groups(32, 4), **_D, **_SE},
        "seresnext26t_32x4d": {**_26, **_groups(32, 4), **_T, **_SE},
        "seresnext26ts": {**_26, **_TS, "group_channels": 32, **_INNER_SE},
        "seresnext50_32x4d": {**_50, **_groups(32, 4), **_SE},
        "seresnext101_32x4d": {**_101, **_groups(32, 4), **_SE},
        "seresnext101_32x8d": {**_101, **_groups(32, 8), **_SE},
        "seresnext101_64x4d": {**_101, **_groups(64, 4), **_SE},
        "seresnext101d_32x8d": {**_101, **_groups(32, 8), **_D, **_SE},
        "seresnextaa101d_32x8d": {**_101, **_groups(32, 8), **_D, **_SE, **_AVERAGE},
        "seresnextaa201d_32x8d": {**_bottlenecks(3, 24, 36, 4), **_groups(32, 8), **_D, **_S, **_SE, **_AVERAGE},
        "senet154": {**_152, **_groups(64, 4), **_S, **_SE, "reduce_first": 2, "shortcut_kernel": 3},
    },
    "eca": {
        "ecaresnetlight": {**_bottlenecks(1, 1, 11, 3), "shortcut_pool": "average", **_ECA},
        "ecaresnet26t": {**_26, **_T, **_ECA},
        "ecaresnet50t": {**_50, **_T, **_ECA},
        **{f"ecaresnet{n}d": {**spec, **_D, **_ECA} for n, spec in {50: _50, 101: _101, 200: _200, 269: _269}.items()},
    },
    "antialiased": {
        "resnetaa34d": {**_34, **_D, **_AVERAGE},
        "resnetaa50": {**_50, **_AVERAGE},
        "resnetaa50d": {**_50, **_D, **_AVERAGE},
        "resnetaa101d": {**_101, **_D, **_AVERAGE},
        "resnetblur18": {**_18, **_BLUR},
        "resnetblur50": {**_50, **_BLUR},
        "resnetblur50d": {**_50, **_D, **_BLUR},
        "resnetblur101d": {**_101, **_D, **_BLUR},
    },
    "rs": {
        f"resnetrs{depth}": {**_bottlenecks(*depths), **_RS}
        for depth, depths in {
            50: (3, 4, 6, 3),
            101: (3, 4, 23, 3),
            152: (3, 8, 36, 3),
            200: (3, 24, 36, 3),
            270: (4, 29, 53, 4),
            350: (4, 36, 72, 4),
            420: (4, 44, 87, 4),
        }.items()
    },
    "preactivation": {
        "resnetv2_18": {**_18, "preactivation": True},
        "resnetv2_18d": {**_18, "preactivation": True, **_D},
        "resnetv2_34": {**_34, "preactivation": True},
        "resnetv2_34d": {**_34, "preactivation": True, **_D},
        **{f"resnetv2_{depth}": {**spec, **_TIMM_V2} for depth, spec in {**_DEEP, 200: _200}.items()},
        **{f"resnetv2_{depth}d": {**spec, **_TIMM_V2, **_D} for depth, spec in _DEEP.items()},
        "resnetv2_50t": {**_50, **_TIMM_V2, **_T},
    },
    "group_norm": {
        "resnet50_gn": {**_50, "norm": "group"},
        "resnetv2_50d_gn": {**_50, **_TIMM_V2, **_D, "norm": "group"},
    },
    "big_transfer": {
        f"resnetv2_{depth}x{factor}_bit": _big_transfer(_DEEP[depth], factor)
        for depth, factor in ((50, 1), (50, 3), (101, 1), (101, 3), (152, 2), (152, 4))
    },
    # flax/examples/imagenet/models.py: TensorFlow's padding, and the last norm of a block starts at zero
    "flax": {
        "flax_resnet50": {**_50, "conv_padding": "same", "stem_pool_padding": "same", "zero_init_residual": True},
    },
}

#: {family: where it is from}, for lists.
SOURCES = {
    "resnet": "He et al. 2015 (arXiv:1512.03385), as in torchvision",
    "resnext": "Xie et al. 2016 (arXiv:1611.05431), as in torchvision and timm",
    "caffe": "He et al. 2015, as published: the stride on the first 1x1",
    "d2l": "Zhang et al., Dive into Deep Learning, section 8.6",
    "cifar": "for 32 x 32 pixels, from the papers of 2015 to 2017",
    "slim": "TF-slim, versions 1 and 2 (arXiv:1603.05027)",
    "keras": "keras.applications, versions 1 and 2",
    "plain": "He et al. 2015, section 4.1: without shortcuts",
    "bag_of_tricks": "He et al. 2018 (arXiv:1812.01187), as in timm",
    "vd": "He et al. 2018, as in PaddleClas and keras_hub",
    "se": "Hu et al. 2017 (arXiv:1709.01507), as in timm",
    "eca": "Wang et al. 2019 (arXiv:1910.03151), as in timm",
    "antialiased": "Zhang 2019 (arXiv:1904.11486), as in timm",
    "rs": "Bello et al. 2021 (arXiv:2103.07579), as in timm",
    "preactivation": "He et al. 2016 (arXiv:1603.05027), as in timm",
    "group_norm": "Wu and He 2018 (arXiv:1803.08494), as in timm",
    "big_transfer": "Kolesnikov et al. 2019 (arXiv:1912.11370), as in timm",
    "flax": "Flax's ImageNet example",
}

ZOO: Family = {name: fields for family in FAMILIES.values() for name, fields in family.items()}

_TIMM = ("bag_of_tricks", "se", "eca", "antialiased", "rs", "preactivation", "group_norm")
_TORCHVISION = (*FAMILIES["resnet"], "resnext50_32x4d", "resnext101_32x8d", "resnext101_64x4d")

#: {name: where its parameters were counted, as library/model}; without one, the paper is followed.
REFERENCES: dict[str, str] = {
    **{name: f"timm/{name}" for family in ("resnext", *_TIMM) for name in FAMILIES[family]},
    **{name: f"torchvision/{name}" for name in _TORCHVISION},
    **{name: f"slim/{name}_1000" for name in FAMILIES["slim"]},
    **{f"resnet{depth}_v1": f"slim/resnet_v1_{depth}_1000" for depth in _DEEP},
    **{f"keras_resnet{depth}": f"keras.applications/ResNet{depth}" for depth in _DEEP},
    **{f"keras_resnet{depth}_v2": f"keras.applications/ResNet{depth}V2" for depth in _DEEP},
    **{name: f"keras_hub/{name}_imagenet" for name in FAMILIES["vd"]},
    **{f"resnet{depth}": f"cifar10/resnet{depth}_optionA" for depth in (20, 32, 44, 56, 110, 1202)},
    **{f"resnet{depth}_option_b": f"cifar10/resnet{depth}_optionB" for depth in (20, 32, 44, 56, 110, 1202)},
    **{name: f"cifar10/{name}" for name in FAMILIES["cifar"] if name.startswith("wrn") and name != "wrn_40_10"},
    "preact_resnet110": "cifar10/preact_resnet110_basic_optionB",
    "preact_resnet164": "cifar10/preact_resnet164_bottleneck_optionB",
    "preact_resnet1001": "cifar10/preact_resnet1001_bottleneck_optionB",
    "resnetv2_200": "preact_v2/resnet_v2_200_nobias",
}


def family(name: str) -> str:
    """The family of a named spec."""
    return next(family for family, members in FAMILIES.items() if name in members)


def names(family: str | None = None, like: str | None = None) -> list[str]:
    """The names of a family, of those that hold a text or match a pattern with `*` and `?`; in order.

    Raises InputError, with the nearest, where there is none.
    """
    if family is not None and family not in FAMILIES:
        hint = did_you_mean(family, FAMILIES) or ("like selects by name; " if set("*?[") & set(family) else "")
        raise InputError(f"family: received {family!r}; {hint}known are {', '.join(FAMILIES)}")
    members = list(ZOO if family is None else FAMILIES[family])
    if like is None:
        return members
    pattern = like if set("*?[") & set(like) else f"*{like}*"
    found = [name for name in members if fnmatch.fnmatchcase(name, pattern.lower())]
    if not found:
        where = "no name" if family is None else f"no name of the family {family}"
        close = _nearest(like.strip("*?"), members, 3)
        near = f"the nearest are {', '.join(close)}" if close else "`resnet list` shows all"
        raise InputError(f"like: {where} matches {like!r}; {near}")
    return found


def fields(name: str) -> Fields:
    """The fields of a named spec. Raises InputError, with the nearest name, for an unknown one."""
    if name not in ZOO:
        raise InputError(
            f"{name}: no spec has this name; {did_you_mean(name, ZOO)}`resnet list` shows all, and a .toml or .json "
            "file, a run's folder or a weight file works too"
        )
    return {"name": name, **ZOO[name]}


def did_you_mean(received: str, known: Collection[str]) -> str:
    """ "did you mean resnet50? ", or nothing where no name is near."""
    close = _nearest(received, known, 1)
    return f"did you mean {close[0]}? " if close else ""


def _nearest(received: str, known: Collection[str], count: int) -> list[str]:
    """Names that go on from there, then those as near as others write them: ResNet-50 is resnet50."""
    text = received.lower().replace("-", "_")
    longer = [name for name in known if text and name.startswith(text)]
    return list(dict.fromkeys([*longer, *difflib.get_close_matches(text, known, n=count)]))[:count]
