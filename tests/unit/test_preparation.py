"""How pictures become images: what the fields say, in the styles of torchvision, Keras and Caffe, and in words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import resnet_core as rn
from resnet_core.data.prepare import fitted, load_image, normalized, pixels, prepared_image
from resnet_core.errors import InputError
from resnet_core.preparation import FIELDS, Preparation, preparation_from_json, standard_preparation

TORCHVISION = standard_preparation((224, 224), 3)
#: keras.applications' `preprocess_input` for ResNet v2, and for ResNet v1, whose pictures are only stretched.
TF = Preparation(size=(224, 224), resize="stretch", mean=(0.5,) * 3, deviation=(0.5,) * 3)
CAFFE = Preparation(size=(224, 224), resize="stretch", channel_order="bgr", white=255, mean=(103.939, 116.779, 123.68))


def picture(height: int = 40, width: int = 50, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, channels), np.uint8)


def test_the_styles_of_keras_are_its_formulas() -> None:
    x = picture(224, 224).astype(np.float64)
    np.testing.assert_allclose(normalized(picture(224, 224), TF), x / 127.5 - 1, atol=1e-6)
    expected = x[..., ::-1] - np.array([103.939, 116.779, 123.68])
    np.testing.assert_allclose(normalized(picture(224, 224), CAFFE), expected, atol=1e-4)


def test_a_mean_picture_is_subtracted_before_anything_else() -> None:
    mean = picture(4, 5).astype("<f4")
    preparation = Preparation(size=(4, 5), deviation=(0.5, 0.25, 1), mean_picture=mean.tobytes())
    found = normalized(np.stack([picture(4, 5)[::-1]]), preparation)
    np.testing.assert_allclose(found[0], (picture(4, 5)[::-1] - mean) / 255 / np.array([0.5, 0.25, 1]), atol=1e-6)


def test_pictures_of_fewer_channels_repeat_theirs() -> None:
    gray = picture(3, 3, 1)
    np.testing.assert_array_equal(
        normalized(gray, Preparation(size=3, channels=3)), np.repeat(gray, 3, axis=2) / np.float32(255)
    )


@pytest.mark.parametrize("preparation", [TORCHVISION, TF, CAFFE])
def test_json_gives_it_back(preparation: Preparation) -> None:
    assert preparation_from_json(preparation.to_json()) == preparation
    with_picture = Preparation(size=(2, 1), channels=1, mean_picture=b"01234567")
    assert preparation_from_json(with_picture.to_json()).mean_picture == b"01234567"


def test_fields_of_a_later_version_are_kept() -> None:
    text = json.dumps({"size": [2, 1], "tone": {"film": 3}})
    found = preparation_from_json(text)
    assert json.loads(found.to_json())["tone"] == {"film": 3}
    assert "others" not in json.loads(found.to_json())


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"size": 0}, "size[0]: received 0"),
        ({"size": 8, "crop": 0}, "crop: received 0"),
        ({"size": 8, "resize": "fit"}, "resize: received 'fit'"),
        ({"size": 8, "mean": [1, 2]}, "mean: received [1.0, 2.0]; allowed is 3 numbers, one per channel"),
        ({"size": 8, "deviation": [1, 0, 1]}, "deviation[1]: received 0"),
        ({"size": 8, "mean_picture": "AAAA"}, "mean_picture: received '3 bytes'; allowed is 768 bytes"),
        ({"size": 8, "mean_picture": "?"}, "mean_picture: received '?'; allowed is base64"),
        ({}, "size: missing"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError) as caught:
        preparation_from_json(json.dumps(fields), "w")
    assert str(caught.value).startswith("w: ")
    assert words in str(caught.value)


def test_every_field_is_explained() -> None:
    assert [*FIELDS, "others"] == list(Preparation.__struct_fields__)


def test_in_words() -> None:
    assert str(TORCHVISION) == (
        "shorter side to 256 (bilinear), center 224 x 224, RGB, mean 0.485 0.456 0.406, deviation 0.229 0.224 0.225"
    )
    assert str(CAFFE) == "stretched to 224 x 224 (bilinear), BGR, white is 255, mean 103.939 116.779 123.68"


def test_the_standard_is_what_load_image_does(tmp_path: Path) -> None:
    Image.fromarray(picture()).save(tmp_path / "a.png")
    np.testing.assert_array_equal(
        prepared_image(tmp_path / "a.png", standard_preparation((9, 11), 3)), load_image(tmp_path / "a.png", (9, 11), 3)
    )


def test_stretched_pictures_keep_no_aspect_ratio_and_lose_no_edge() -> None:
    wide = Image.fromarray(np.tile(np.linspace(0, 255, 64, dtype=np.uint8), (8, 1)))
    preparation = Preparation(size=(8, 8), channels=1, resize="stretch")
    row = pixels(fitted(wide, preparation, "a"))[0, :, 0].astype(int)
    assert row[0] < 20
    assert row[-1] > 235
    covered = pixels(fitted(wide, Preparation(size=(8, 8), channels=1), "a"))[0, :, 0].astype(int)
    assert covered.max() - covered.min() < 60  # the center alone


def test_without_antialiasing_a_shrunken_picture_is_pytorchs_interpolation() -> None:
    torch = pytest.importorskip("torch")
    source = picture(61, 83)
    sharp, smooth = (Preparation(size=(20, 31), resize="stretch", antialias=antialias) for antialias in (False, True))
    found = pixels(fitted(Image.fromarray(source), sharp, "a")).astype(float)
    tensor = torch.from_numpy(source).permute(2, 0, 1)[None].double()
    expected = torch.nn.functional.interpolate(tensor, (20, 31), mode="bilinear", antialias=False)
    assert np.abs(found - expected[0].permute(1, 2, 0).numpy()).max() <= 1
    assert np.abs(pixels(fitted(Image.fromarray(source), smooth, "a")) - found).max() > 20


def test_rn_knows_it() -> None:
    assert rn.Preparation is Preparation
