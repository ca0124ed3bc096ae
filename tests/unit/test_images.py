"""The shipped pictures are the real ones, and files become the arrays that torchvision makes of them."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from resnet_core.data import images
from resnet_core.data.images import read_picture, sample_fashion
from resnet_core.data.prepare import load_image, sample_batch
from resnet_core.errors import InputError

PHOTO = Path(images.__file__).parent / "sample" / "photo.jpg"
REFEREE = Path(__file__).parents[1] / "referees" / "preprocessing.npz"

MEAN = np.array([0.485, 0.456, 0.406])
DEVIATION = np.array([0.229, 0.224, 0.225])

# Of Fashion-MNIST's t10k files: the raw bytes of image 0 and of images 0 to 99.
FIRST_IMAGE_SHA256 = "ffc7351ed0f8bae542820866086177fa4e0b366b97bf9d998dffdb8dbe138787"
HUNDRED_IMAGES_SHA256 = "d8c9b85550f6c8fa33478e27cb3fe70fd34b4cc96e6ab91b911853b51fb3d527"
HUNDRED_LABELS_SHA256 = "5057fb8e79d3bebfff9b152d0741ff9c606d78bf884c63e64511f7eaba0b6dbc"


def sha256(array: np.ndarray) -> str:
    return hashlib.sha256(array.tobytes()).hexdigest()


def to_levels(image: np.ndarray) -> np.ndarray:
    """Undo ImageNet's normalization of a three-channel image: floats on the scale 0 to 255."""
    return np.asarray((image * DEVIATION + MEAN) * 255)


def resize_by_hand(pixels: np.ndarray, length: int) -> np.ndarray:
    """Resize axis 0 to `length` with a triangle filter as wide as the reduction, in float64."""
    scale = pixels.shape[0] / length
    support = max(scale, 1.0)
    centres = (np.arange(length) + 0.5) * scale
    distance = np.abs(np.arange(pixels.shape[0]) + 0.5 - centres[:, None]) / support
    weights = np.maximum(1 - distance, 0)
    return np.asarray(np.tensordot(weights / weights.sum(1, keepdims=True), pixels, axes=1))


def save_noise(path: Path, shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    pixels = np.random.default_rng(seed).integers(0, 256, shape, np.uint8)
    Image.fromarray(pixels).save(path)
    return pixels


def test_fashion_images_and_labels_are_the_published_ones() -> None:
    pictures, labels = sample_fashion()
    assert pictures.shape == (100, 28, 28, 1)
    assert labels.shape == (100,)
    assert pictures.dtype == np.uint8
    assert labels.dtype == np.int64
    assert sha256(pictures[0]) == FIRST_IMAGE_SHA256
    assert sha256(pictures) == HUNDRED_IMAGES_SHA256
    assert sha256(labels.astype(np.uint8)) == HUNDRED_LABELS_SHA256
    assert labels[:10].tolist() == [9, 2, 1, 1, 6, 1, 4, 6, 5, 7]


def test_label_9_is_an_ankle_boot() -> None:
    text = (PHOTO.parent / "fashion_mnist.json").read_text(encoding="utf-8")
    about = json.loads(text)
    assert about["classes"][9] == "Ankle boot"
    assert len(about["classes"]) == 10


def test_fashion_count_takes_the_first_ones() -> None:
    pictures, labels = sample_fashion(7)
    everything, all_labels = sample_fashion()
    np.testing.assert_array_equal(pictures, everything[:7])
    np.testing.assert_array_equal(labels, all_labels[:7])


def test_every_shipped_picture_comes_with_its_license() -> None:
    photo = (PHOTO.parent / "LICENSE-photo.txt").read_text(encoding="utf-8")
    fashion = (PHOTO.parent / "LICENSE-fashion-mnist.txt").read_text(encoding="utf-8")
    assert "CC0 by the photographer (Stefan van der Walt)" in photo
    assert "Copyright (c) 2017 Zalando SE" in fashion
    assert "The above copyright notice and this permission notice shall be included" in fashion


def test_sample_batch_is_the_photo_and_three_fashion_images() -> None:
    batch = sample_batch((28, 28), 1)
    assert batch.shape == (4, 28, 28, 1)
    assert batch.dtype == np.float32
    np.testing.assert_array_equal(batch[0], load_image(PHOTO, (28, 28), 1))
    expected = (sample_fashion(3)[0] / 255 - 0.2860) / 0.3530
    np.testing.assert_allclose(batch[1:], expected, atol=1e-6)


def test_sample_batch_replicates_gray_into_three_channels() -> None:
    levels = to_levels(sample_batch((28, 28), 3)[1:])
    gray = sample_fashion(3)[0]
    np.testing.assert_allclose(levels, np.broadcast_to(gray, levels.shape), atol=1e-3)


def test_sample_batch_resizes_height_and_width_in_that_order() -> None:
    batch = sample_batch((56, 14), 1, count=2)
    assert batch.shape == (2, 56, 14, 1)
    first = sample_fashion(1)[0][0, :, :, 0].astype(np.float64)
    expected = resize_by_hand(resize_by_hand(first, 56).T, 14).T
    levels = (batch[1, :, :, 0] * 0.3530 + 0.2860) * 255
    assert np.abs(levels - expected).max() < 2


def test_sample_batch_takes_further_channels_cyclically_from_rgb() -> None:
    five, three = sample_batch((32, 40), 5), sample_batch((32, 40), 3)
    np.testing.assert_array_equal(five, three[..., [0, 1, 2, 0, 1]])
    np.testing.assert_array_equal(sample_batch((32, 40), 2), three[..., :2])


def test_sample_batch_pictures_differ_from_each_other() -> None:
    batch = sample_batch((32, 32), 3, count=8)
    np.testing.assert_array_equal(batch[4], batch[0][:, ::-1])
    assert len({sha256(picture) for picture in batch}) == 8


def test_sample_batch_goes_on_beyond_the_hundred_fashion_images() -> None:
    batch = sample_batch((8, 8), 1, count=136)
    np.testing.assert_array_equal(batch[134], batch[1])  # The 101st Fashion-MNIST image is the first again.
    assert np.isfinite(batch).all()


@pytest.mark.parametrize("case", ["crop224", "crop351_turned"])
def test_preprocessing_equals_torchvision(case: str, tmp_path: Path) -> None:
    size, path = 224, PHOTO
    if case == "crop351_turned":
        size, path = 351, tmp_path / "turned.png"
        with Image.open(PHOTO) as photo:
            photo.transpose(Image.Transpose.ROTATE_90).save(path)
    with np.load(REFEREE) as referee:
        expected = to_levels(referee[case])
    difference = np.abs(to_levels(load_image(path, (size, size), 3)[::8, ::8]) - expected)
    # Recorded with the same Pillow, the difference is 0; another JPEG decoder may round a level differently.
    assert difference.max() < 2.01
    assert difference.mean() < 0.1


@pytest.mark.parametrize(
    ("shape", "size", "resized"),
    [
        ((300, 451, 3), (224, 224), (256, 384)),
        ((451, 301, 3), (224, 224), (383, 256)),
        ((40, 50, 3), (33, 33), (37, 46)),
        ((50, 40, 3), (33, 33), (46, 37)),
        ((30, 30, 3), (21, 21), (24, 24)),
        ((90, 60, 3), (56, 112), (192, 128)),
        ((60, 200, 3), (112, 56), (128, 426)),
    ],
)
def test_preprocessing_equals_a_computation_by_hand(
    shape: tuple[int, ...], size: tuple[int, int], resized: tuple[int, int], tmp_path: Path
) -> None:
    pixels = save_noise(tmp_path / "noise.png", shape).astype(np.float64)
    by_hand = resize_by_hand(resize_by_hand(pixels, resized[0]).swapaxes(0, 1), resized[1]).swapaxes(0, 1)
    top, left = (round((whole - part) / 2) for whole, part in zip(resized, size, strict=True))
    expected = by_hand[top : top + size[0], left : left + size[1]]
    result = load_image(tmp_path / "noise.png", size, 3)
    assert result.shape == (*size, 3)
    assert result.dtype == np.float32
    assert np.abs(to_levels(result) - expected).max() < 1.6  # Pillow rounds to whole levels after each axis.


def test_one_channel_is_luminance(tmp_path: Path) -> None:
    Image.new("RGB", (32, 32), (200, 100, 50)).save(tmp_path / "plain.png")
    level = 0.299 * 200 + 0.587 * 100 + 0.114 * 50
    result = load_image(tmp_path / "plain.png", (28, 28), 1)
    np.testing.assert_allclose((result * 0.3530 + 0.2860) * 255, level, atol=0.6)


def test_exif_orientation_is_honoured(tmp_path: Path) -> None:
    pixels = save_noise(tmp_path / "upright.png", (70, 50, 3))
    exif = Image.Exif()
    exif[0x0112] = 6  # Stored turned: to be shown rotated clockwise by a quarter.
    Image.fromarray(np.rot90(pixels)).save(tmp_path / "turned.png", exif=exif)
    upright, turned = (load_image(tmp_path / name, (32, 32), 3) for name in ("upright.png", "turned.png"))
    np.testing.assert_array_equal(turned, upright)


def fully_transparent() -> Image.Image:
    return Image.new("RGBA", (32, 32), (200, 100, 50, 0))


def transparent_palette() -> Image.Image:
    picture = Image.new("P", (32, 32), 1)
    picture.putpalette([0, 0, 0, 200, 100, 50])
    picture.info["transparency"] = 1
    return picture


def opaque_palette() -> Image.Image:
    picture = Image.new("P", (32, 32), 1)
    picture.putpalette([0, 0, 0, 200, 100, 50])
    return picture


def sixteen_bits() -> Image.Image:
    return Image.fromarray(np.full((32, 32), 200 * 257, np.uint16))


@pytest.mark.parametrize(
    ("make", "suffix", "color"),
    [
        (fully_transparent, "png", (255, 255, 255)),
        (lambda: Image.new("RGBA", (32, 32), (200, 100, 50, 128)), "png", (227, 177, 152)),
        (lambda: Image.new("LA", (32, 32), (10, 0)), "png", (255, 255, 255)),
        (transparent_palette, "png", (255, 255, 255)),
        (opaque_palette, "png", (200, 100, 50)),
        (lambda: Image.new("CMYK", (32, 32), (55, 155, 205, 0)), "tiff", (200, 100, 50)),
        (sixteen_bits, "png", (200, 200, 200)),
        (sixteen_bits, "tiff", (200, 200, 200)),
        (lambda: Image.new("I", (32, 32), 200 * 257), "tiff", (200, 200, 200)),
        (lambda: Image.new("1", (32, 32), 1), "png", (255, 255, 255)),
        (lambda: Image.new("L", (32, 32), 77), "png", (77, 77, 77)),
    ],
)
def test_every_kind_of_pixel_becomes_the_color_seen(
    make: Callable[[], Image.Image], suffix: str, color: tuple[int, ...], tmp_path: Path
) -> None:
    make().save(tmp_path / f"picture.{suffix}")
    levels = to_levels(load_image(tmp_path / f"picture.{suffix}", (28, 28), 3))
    np.testing.assert_allclose(levels, np.broadcast_to(color, levels.shape), atol=1.01)


def missing(folder: Path) -> Path:
    return folder / "missing.jpg"


def below_a_file(folder: Path) -> Path:
    (folder / "file").write_text("x")
    return folder / "file" / "picture.jpg"


def the_folder(folder: Path) -> Path:
    return folder


def text(folder: Path) -> Path:
    (folder / "text.jpg").write_text("not a picture\n")
    return folder / "text.jpg"


def empty(folder: Path) -> Path:
    (folder / "empty.png").touch()
    return folder / "empty.png"


def truncated_jpeg(folder: Path) -> Path:
    (folder / "half.jpg").write_bytes(PHOTO.read_bytes()[:17_000])
    return folder / "half.jpg"


def truncated_png(folder: Path) -> Path:
    save_noise(folder / "whole.png", (64, 64, 3))
    (folder / "half.png").write_bytes((folder / "whole.png").read_bytes()[:6_000])
    return folder / "half.png"


def floating_point(folder: Path) -> Path:
    Image.new("F", (8, 8), 0.5).save(folder / "float.tiff")
    return folder / "float.tiff"


def thirty_two_bits(folder: Path) -> Path:
    Image.new("I", (8, 8), 1_000_000).save(folder / "wide.tiff")
    return folder / "wide.tiff"


def bomb(folder: Path) -> Path:
    Image.new("1", (10_000, 9_000)).save(folder / "bomb.png")
    return folder / "bomb.png"


def huge_bomb(folder: Path) -> Path:
    Image.new("1", (20_000, 10_000)).save(folder / "bomb.png")
    return folder / "bomb.png"


def thread(folder: Path) -> Path:
    Image.new("L", (10_000, 1)).save(folder / "thread.png")
    return folder / "thread.png"


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (missing, "does not exist, expected a picture such as a JPEG or PNG; check the path"),
        (below_a_file, "does not exist, expected a picture such as a JPEG or PNG; check the path"),
        (the_folder, "is a folder, expected a picture such as a JPEG or PNG; name one file in it"),
        (text, "is not a picture, expected a picture such as a JPEG or PNG; convert it or name another file"),
        (
            empty,
            "is not a picture, expected a picture such as a JPEG or PNG; convert it or name another file",
        ),
        (truncated_jpeg, "is damaged or unsupported ("),
        (truncated_png, "is damaged or unsupported ("),
        (floating_point, "is damaged or unsupported (floating-point pixels)"),
        (thirty_two_bits, "is damaged or unsupported (gray values 1000000 to 1000000, more than 16 bits)"),
        (bomb, "is too large, expected at most 89478485 pixels; make it smaller first"),
        (huge_bomb, "is too large, expected at most 89478485 pixels; make it smaller first"),
        (thread, "has 10000x1 pixels and would be resized to 2560000x256, expected at most 89478485 pixels"),
    ],
)
def test_an_unusable_file_is_one_clear_line(
    make: Callable[[Path], Path], words: str, tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    path = make(tmp_path)
    with pytest.raises(InputError) as caught:
        load_image(path, (224, 224), 3)
    message = str(caught.value)
    assert message.startswith(f"{str(path)!r} {words}")
    assert "expected" in message
    assert "\n" not in message
    assert not recwarn.list


def test_a_damaged_file_never_raises_anything_but_input_error(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    save_noise(tmp_path / "noise.png", (12, 12, 3))
    save_noise(tmp_path / "noise.gif", (12, 12))
    save_noise(tmp_path / "noise.tiff", (12, 12, 3))
    refused = 0
    for source in sorted(tmp_path.glob("noise.*")):
        whole = np.frombuffer(source.read_bytes(), np.uint8)
        for _ in range(40):
            damaged = whole.copy()
            damaged[rng.integers(0, min(len(whole), 200), 4)] = rng.integers(0, 256, 4)
            target = tmp_path / f"damaged{source.suffix}"
            target.write_bytes(damaged[: rng.integers(1, 2 * len(whole))].tobytes())
            try:
                load_image(target, (8, 8), 3)
            except InputError:
                refused += 1
    assert refused > 20


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: load_image(PHOTO, (0, 224), 3), "height is 0: expected a whole number from 1 up"),
        (lambda: load_image(PHOTO, (224, -1), 3), "width is -1"),
        (lambda: load_image(PHOTO, (224, 224), 0), "channels is 0"),
        (lambda: load_image(PHOTO, (224, 224, 3), 3), r"size is \(224, 224, 3\): expected two numbers"),  # type: ignore[arg-type]
        (lambda: sample_batch((8, 8), 3, count=0), "count is 0"),
        (lambda: sample_fashion(0), "count is 0: expected 1 to 100"),
        (lambda: sample_fashion(101), "count is 101: expected 1 to 100"),
    ],
)
def test_an_impossible_argument_is_one_clear_line(call: Callable[[], object], words: str) -> None:
    with pytest.raises(InputError, match=f"^{words}"):
        call()


def test_importing_the_module_does_not_import_pillow() -> None:
    command = "import sys, resnet_core.data.images; sys.exit('PIL' in sys.modules)"
    subprocess.run([sys.executable, "-c", command], check=True)


def test_reading_in_parallel_leaves_the_processs_warnings_as_they_were(tmp_path: Path) -> None:
    """The filters are the whole process's; a picture that Pillow warns of is read without a word all the same."""
    Image.new("L", (40, 30)).save(tmp_path / "a.png")
    Image.new("P", (9, 9)).save(tmp_path / "b.png", transparency=bytes(3))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        before = list(warnings.filters)
        for _ in range(20):
            with ThreadPoolExecutor(8) as pool:
                files = [tmp_path / name for name in ("a.png", "b.png") * 16]
                assert {picture.mode for picture in pool.map(lambda file: read_picture(file, "RGB"), files)} == {"RGB"}
            assert warnings.filters == before


def test_a_pipe_is_no_picture_and_a_row_of_millions_of_pixels_none(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")  # which would be waited for
    with pytest.raises(InputError, match="is not a picture"):
        read_picture(tmp_path / "pipe.png", "RGB")
    Image.new("1", (100_001, 1)).save(tmp_path / "row.png")
    with pytest.raises(InputError, match="100001 pixels in a row, of 100000 at most"):
        read_picture(tmp_path / "row.png", "RGB")
    with pytest.raises(InputError, match=r"does not exist|damaged"):
        read_picture(tmp_path / ("n" * 300 + ".png"), "RGB")


def test_a_large_picture_is_in_memory_once(tmp_path: Path) -> None:
    """Pillow's pixels are four bytes, of 79 million pixels 316 MB; each copy would be as much again."""
    Image.new("RGB", (2000, 2000)).save(tmp_path / "a.png")
    copies: list[Image.Image] = []
    real = Image.Image.copy

    def counted(picture: Image.Image) -> Image.Image:
        copies.append(picture)
        return real(picture)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Image.Image, "copy", counted)
        assert read_picture(tmp_path / "a.png", "RGB").size == (2000, 2000)
    assert len(copies) <= 1
