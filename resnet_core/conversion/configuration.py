"""What a library writes beside its weights: `config.json` of transformers and of timm, read as data and written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from resnet_core import zoo
from resnet_core.conversion.formats import FORMATS
from resnet_core.errors import InputError, WeightsError
from resnet_core.fields import parse_json
from resnet_core.files import read_bytes
from resnet_core.preparation import Preparation
from resnet_core.specification import ResNetSpec, from_fields, to_fields

#: A configuration is a page of text; this is a hundred of them, or the names of many classes.
MOST = 4_000_000

#: Pillow's numbers of its filters, as transformers writes them.
_FILTERS: dict[int, Any] = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic", 4: "box", 5: "hamming"}


@dataclass(frozen=True)
class Configuration:
    """Fields of the spec, the library whose they are, and how pictures are prepared, as far as it says."""

    format: str
    fields: Mapping[str, Any]
    preparation: Preparation | None = None
    classes: tuple[str, ...] | None = None
    #: Fields that shape nothing and that the weights must agree with.
    shown: Mapping[str, Any] = field(default_factory=dict)


def read_configuration(folder: Path) -> Configuration | None:
    """The configuration in a folder; None where there is none. Raises WeightsError for one of another network."""
    found = _read(folder / "config.json")
    if found is None:
        return None
    where = folder / "config.json"
    try:
        if "architecture" in found:
            return _timm(found)
        if found.get("model_type") == "resnet":
            return _transformers(found, _read(folder / "preprocessor_config.json") or {})
    except WeightsError:  # which is a ValueError
        raise
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise WeightsError(f"{where}: {type(error).__name__}: {error}; expected what the library writes") from error
    kind = found.get("model_type") or found.get("architectures")
    raise WeightsError(f"{where}: received a model of the kind {kind!r}; expected a ResNet of transformers or of timm")


def _read(path: Path) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    if path.stat().st_size > MOST:
        raise WeightsError(f"{path}: received {path.stat().st_size} bytes; expected at most {MOST}")
    try:
        text = read_bytes(path, "a configuration in JSON").decode()
    except UnicodeDecodeError as error:
        raise WeightsError(f"{path}: is not text; expected JSON") from error
    return parse_json(text, str(path), "a configuration", WeightsError, most=MOST)


def _timm(found: Mapping[str, Any]) -> Configuration:
    name = str(found["architecture"])
    if name not in zoo.ZOO:
        raise WeightsError(f"config.json: received the architecture {name!r}; this project has no network of this name")
    # A name says what no tensor shows, also where that is the usual.
    unseen = {key for style in FORMATS["timm"].styles for more in style.alternatives for key in more}
    usual = to_fields(from_fields(zoo.fields(name)))
    fields = {key: value for key, value in zoo.fields(name).items() if key not in ("name", "depths", "channels")}
    fields |= {key: usual[key] for key in unseen}
    about = found.get("pretrained_cfg", {})
    _, height, width = about.get("input_size", (3, 224, 224))
    stretched = about.get("crop_mode", "center") == "squash"
    preparation = Preparation(
        size=(height, width),
        resize="stretch" if stretched else "cover",
        crop=1.0 if stretched else about.get("crop_pct", 0.875),
        interpolation=about.get("interpolation", "bicubic"),
        mean=tuple(about["mean"]) if "mean" in about else None,
        deviation=tuple(about["std"]) if "std" in about else None,
    )
    names = found.get("label_names") or about.get("label_names")
    return Configuration("timm", fields, preparation, tuple(map(str, names)) if names else None)


def _transformers(found: Mapping[str, Any], pictures: Mapping[str, Any]) -> Configuration:
    bottleneck = found.get("layer_type", "bottleneck") == "bottleneck"
    depths = list(found["depths"])
    if (function := found.get("hidden_act", "relu")) != "relu":
        raise WeightsError(
            f"config.json: received hidden_act {function!r}; expected 'relu': within blocks transformers has ReLU "
            "all the same, and no network here has two activations"
        )
    fields = {
        "stride_on": "1x1" if bottleneck and found.get("downsample_in_bottleneck", False) else "3x3",
        "strides": [2 if found.get("downsample_in_first_stage", False) else 1] + [2] * (len(depths) - 1),
    }
    labels = found.get("id2label") or {}
    classes = tuple(str(labels[number]) for number in sorted(labels, key=int)) or None
    shown = {"depths": depths, "block": "bottleneck" if bottleneck else "basic", "in_channels": found["num_channels"]}
    return Configuration("hf", fields, _pictures(pictures, found["num_channels"]), classes, shown)


def transformers_files(
    spec: ResNetSpec, pictures: Preparation | None, classes: tuple[str, ...] | None
) -> dict[str, dict[str, Any]]:
    """{file: content} of what transformers reads beside its weights: the opposite of what is read here."""
    labels = classes or [f"LABEL_{number}" for number in range(spec.classes or 0)]
    files: dict[str, dict[str, Any]] = {
        "config.json": {
            "architectures": ["ResNetForImageClassification" if spec.classes else "ResNetModel"],
            "model_type": "resnet",
            "depths": list(spec.depths),
            "hidden_sizes": [spec.output_width(channels) for channels in spec.channels],
            "embedding_size": spec.stem_width,
            "layer_type": spec.block,
            "hidden_act": "relu",
            "downsample_in_first_stage": spec.stage_strides[0] == 2,
            "downsample_in_bottleneck": spec.stride_on == "1x1",
            "num_channels": spec.in_channels,
            "id2label": {str(number): label for number, label in enumerate(labels)},
            "label2id": {label: number for number, label in enumerate(labels)},
        }
    }
    if pictures is not None and (content := _preprocessor(pictures)) is not None:
        files["preprocessor_config.json"] = content
    return files


def _preprocessor(pictures: Preparation) -> dict[str, Any] | None:
    """A preparation as transformers' ConvNextImageProcessor has it; None where it cannot say it."""
    number = next(key for key, name in _FILTERS.items() if name == pictures.interpolation)
    (height, width), stretched = pictures.size, pictures.resize == "stretch"
    same = height == width and stretched == (height >= 384) and pictures.antialias and pictures.channel_order == "rgb"
    if not same or pictures.white != 1 or pictures.mean_picture is not None:
        return None
    plain = pictures.mean is None and pictures.deviation is None
    return {
        "image_processor_type": "ConvNextImageProcessor",
        "size": {"shortest_edge": height},
        "crop_pct": pictures.crop,
        "do_resize": True,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "resample": number,
        "do_normalize": not plain,
        "image_mean": list(pictures.mean or (0.0,) * pictures.channels),
        "image_std": list(pictures.deviation or (1.0,) * pictures.channels),
    }


def _pictures(found: Mapping[str, Any], channels: int) -> Preparation | None:
    """transformers' ConvNextImageProcessor: the shorter side to size / crop below 384, and stretched from there on."""
    if not found:
        return None
    size = found["size"]
    side = size["shortest_edge"] if isinstance(size, Mapping) else size
    stretched = side >= 384
    normalized = found.get("do_normalize", True)
    filter_number = found.get("resample", 3)
    if filter_number not in _FILTERS:
        raise InputError(f"resample: received {filter_number!r}; expected a filter of Pillow's, 0 to 5")
    return Preparation(
        size=(side, side),
        channels=channels,
        resize="stretch" if stretched else "cover",
        crop=1.0 if stretched else found.get("crop_pct") or 224 / 256,
        interpolation=_FILTERS[filter_number],
        mean=tuple(found["image_mean"]) if normalized else None,
        deviation=tuple(found["image_std"]) if normalized else None,
    )
