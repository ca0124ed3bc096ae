"""Augmentation: the published formulas, drawn row by row from the seed, and the same batches as before without it."""

from __future__ import annotations

import colorsys
import hashlib
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import resnet_core as rn
from resnet_core.data.dataset import Dataset
from resnet_core.data.images import sample_fashion
from resnet_core.data.jitter import OPERATIONS, jittered
from resnet_core.data.named import dataset
from resnet_core.errors import DataError
from resnet_core.training import augmentation
from resnet_core.training.augmentation import (
    COMPONENTS,
    CROP,
    VARIANCES,
    crop_box,
    generator,
    lit,
    random_crop,
    scaled_box,
)
from resnet_core.training.mixing import mixing
from resnet_core.training.pipeline import Pipeline
from resnet_core.training.recipe import Recipe
from resnet_core.training.recipe_files import recipe as named
from resnet_core.training.targets import target_distribution

GRAY, LABELS = sample_fashion()
COLOR = np.concatenate([GRAY, GRAY[:, ::-1], GRAY[:, :, ::-1]], axis=-1)

#: SHA-256 of three batches of every named recipe as they were before there was more than crops and flips.
BATCHES = {
    "d2l": "a378de7733b9435e",
    "fashion-adam": "a77dc9d17fdd0290",
    "cifar-2015": "fd6cf965ced77f3b",
    "fashion-resnet20": "c0873eaccd129667",
    "fine-tune": "8c6932b5e9a75dc7",
}


def data_set(tmp_path: Path, pictures: np.ndarray) -> Dataset:
    path = tmp_path / f"{pictures.shape[-1]}.npz"
    np.savez(path, x_train=pictures[:76], y_train=LABELS[:76], x_test=pictures[76:], y_test=LABELS[76:])
    return dataset(path)


def recipe(**fields: Any) -> Recipe:
    return Recipe(**{"learning_rate": 0.1, "epochs": 2, "batch_size": 12, **fields})


def pipeline(data: Dataset, plan: Recipe) -> Pipeline:
    return Pipeline(data, plan, rn.spec("resnet20", classes=len(data.classes), in_channels=data.train.channels or 3))


@pytest.fixture
def gray(tmp_path: Path) -> Dataset:
    return data_set(tmp_path, GRAY)


@pytest.fixture
def color(tmp_path: Path) -> Dataset:
    return data_set(tmp_path, COLOR)


@pytest.mark.parametrize("name", BATCHES)
def test_recipes_without_it_have_the_batches_they_had(name: str, gray: Dataset, color: Dataset) -> None:
    plan = pipeline(color if name == "fine-tune" else gray, named(name, batch_size=16))
    digest = hashlib.sha256()
    for step in (0, 3, 7):
        for array in plan.batch(step):
            digest.update(array.tobytes())
    assert digest.hexdigest()[:16] == BATCHES[name]


class Planned:
    """A generator whose numbers are known."""

    def __init__(self, *numbers: float) -> None:
        self.numbers = list(numbers)

    def uniform(self, low: float, high: float) -> float:
        assert low <= self.numbers[0] <= high
        return self.numbers.pop(0)

    def integers(self, low: int, high: int) -> int:
        assert low <= self.numbers[0] < high
        return int(self.numbers.pop(0))


@pytest.mark.parametrize(
    ("size", "numbers", "box"),
    [
        # 100 x 200, half of the area, 4 / 3: sqrt(10,000 * 4 / 3) = 115.5 wide, sqrt(10,000 * 3 / 4) = 86.6 high.
        ((100, 200), [0.5, math.log(4 / 3), 13, 85], (13, 85, 87, 115)),
        # The same upright: 2.0 of the height does not fit; a quarter at 1 is 70.7 x 70.7.
        ((100, 200), [1.0, 0.0, 0.25, 0.0, 0, 129], (0, 129, 71, 71)),
        # 5 x 5 at half of the area: sqrt(12.5) = 3.54 is 4.
        ((5, 5), [0.5, 0.0, 1, 0], (1, 0, 4, 4)),
        # Ten times too wide, then the largest in the center that is 4 : 3, or 3 : 4.
        ((30, 300), [1.0, 0.0] * 10, (0, 130, 30, 40)),
        ((301, 30), [1.0, 0.0] * 10, (130, 0, 40, 30)),
        # Nothing fits, though the picture's shape is allowed: the whole of it.
        ((90, 100), [1.0, 0.2] * 10, (0, 0, 90, 100)),
        ((1, 90), [1.0, 0.0] * 10, (0, 44, 1, 1)),
    ],
)
def test_a_random_resized_crop_by_hand(size: tuple[int, int], numbers: list[float], box: tuple[int, ...]) -> None:
    planned: Any = Planned(*numbers)
    assert crop_box(planned, *size, (0.08, 1.0), (3 / 4, 4 / 3)) == box
    assert not planned.numbers


def test_crops_are_spread_as_the_formula_says() -> None:
    rng = np.random.default_rng(5)
    boxes = np.array([crop_box(rng, 400, 400, (0.08, 0.6), (3 / 4, 4 / 3)) for _ in range(4000)])
    top, left, height, width = boxes.T
    assert min(top.min(), left.min()) == 0
    assert max((top + height).max(), (left + width).max()) == 400
    area = height * width / 160_000
    assert 0.079 < area.min() < 0.085  # both sides are rounded: half a pixel of 98 and of 268
    assert 0.59 < area.max() < 0.6023
    assert area.mean() == pytest.approx(0.34, abs=0.01)
    shape = np.log(width / height)
    assert shape.mean() == pytest.approx(0, abs=0.01)  # in the logarithm, so that upright is as likely as flat
    assert shape.std() == pytest.approx(2 * math.log(4 / 3) / math.sqrt(12), abs=0.005)
    assert (top / (400 - height)).mean() == pytest.approx(0.5, abs=0.02)


def write_photos(folder: Path) -> Path:
    """Smooth colors, each of another size."""
    rng = np.random.default_rng(1)
    for number in range(12):
        part = "train" if number < 8 else "test"
        (folder / part / "ab"[number % 2]).mkdir(parents=True, exist_ok=True)
        picture = Image.fromarray(rng.integers(0, 256, (5, 7, 3), np.uint8))
        picture.resize((60 + 9 * number, 90 - 5 * number)).save(folder / part / "ab"[number % 2] / f"{number:02}.png")
    return folder


def test_files_are_cropped_at_the_size_they_have_and_then_resized(tmp_path: Path) -> None:
    data = dataset(write_photos(tmp_path / "photos"))
    plan = pipeline(data, recipe(batch_size=8, resize=[16, 20], crop_area=[0.08, 1], seed=3))
    images, _ = plan.batch(1)
    assert data.train.files is not None
    indices = np.random.default_rng([3, 0, 1]).permutation(8)
    for row, index in enumerate(indices):
        with Image.open(data.train.files[index]) as picture:
            rng = np.random.default_rng([3, CROP, 1, row])
            top, left, height, width = crop_box(rng, picture.height, picture.width, (0.08, 1), (3 / 4, 4 / 3))
            part = picture.crop((left, top, left + width, top + height))
        expected = np.asarray(part.resize((20, 16), Image.Resampling.BILINEAR)) / np.float32(255)
        np.testing.assert_array_equal(images[row], expected)
    plain = pipeline(data, recipe(batch_size=8, resize=[16, 20], seed=3))
    for one, other in zip(plan.test_batches(), plain.test_batches(), strict=True):
        np.testing.assert_array_equal(one[0], other[0])


def test_arrays_are_cropped_too_and_a_crop_of_everything_changes_nothing(gray: Dataset, color: Dataset) -> None:
    for data in (gray, color):
        plain = pipeline(data, recipe())
        whole = pipeline(data, recipe(crop_area=[1, 1], crop_ratio=[1, 1]))
        np.testing.assert_array_equal(whole.batch(2)[0], plain.batch(2)[0])
        part = pipeline(data, recipe(crop_area=[0.3, 0.5]))
        assert part.batch(2)[0].shape == plain.batch(2)[0].shape
        crop = random_crop(part.recipe, 2, (28, 28), range(12))
        assert crop is not None
        top, left, height, width = crop(4, 28, 28)
        picture = np.rint(plain.batch(2)[0][4] * 255).astype(np.uint8)[top : top + height, left : left + width]
        resized = Image.fromarray(picture[..., 0]).resize((28, 28), Image.Resampling.BILINEAR)
        np.testing.assert_array_equal(np.rint(part.batch(2)[0][4][..., 0] * 255), np.asarray(resized))


@pytest.mark.parametrize(
    ("size", "numbers", "box"),
    [
        # Scaled by 256 / 512, a crop of 224 is one of 448 here.
        ((512, 700), [256, 10, 252], (10, 252, 448, 448)),
        # By 480 / 500: 224 / 0.96 = 233.3.
        ((600, 500), [480, 367, 267], (367, 267, 233, 233)),
        # Enlarged: 224 of 320 pixels are 70 of 100.
        ((100, 120), [320, 30, 50], (30, 50, 70, 70)),
    ],
)
def test_a_crop_at_a_random_scale_by_hand(size: tuple[int, int], numbers: list[float], box: tuple[int, ...]) -> None:
    planned: Any = Planned(*numbers)
    assert scaled_box(planned, *size, (256, 480), (224, 224)) == box
    assert not planned.numbers
    assert scaled_box(np.random.default_rng(0), *size, (224, 224), (224, 112))[2] == min(size)  # both ends belong to it


def test_scales_are_drawn_evenly_and_all_of_a_picture_is_reached() -> None:
    rng = np.random.default_rng(5)
    top, left, height, width = np.array([scaled_box(rng, 600, 500, (256, 480), (224, 224)) for _ in range(4000)]).T
    assert (height == width).all()
    side = 224 * 500 / height
    assert (side.min(), side.max()) == pytest.approx((256, 480), abs=1.2)  # a pixel in 233
    assert side.mean() == pytest.approx(368, abs=4)
    assert side.std() == pytest.approx(225 / math.sqrt(12), abs=2)
    assert min(top.min(), left.min()) == 0
    assert ((top + height).max(), (left + width).max()) == (600, 500)
    assert (top / (600 - height)).mean() == pytest.approx(0.5, abs=0.02)


def test_a_scaled_and_cropped_picture_is_what_pillow_makes_of_it(tmp_path: Path) -> None:
    """Scaled as a whole, and cropped there: the same but at the edges, where the part alone has no neighbors."""
    rng = np.random.default_rng(1)
    photos = rng.integers(0, 256, (100, 64, 80, 3), np.uint8)
    data = data_set(tmp_path, photos)
    plan = pipeline(data, recipe(resize=[16, 20], crop_side=[32, 32]))
    compared = 0
    for step in range(6):
        indices = np.random.default_rng([0, 0, 0]).permutation(76)[12 * step : 12 * step + 12]
        for row, (index, image) in enumerate(zip(indices, plan.batch(step)[0], strict=True)):
            own = np.random.default_rng([0, CROP, step, row])
            top, left, height, width = scaled_box(own, 64, 80, (32, 32), (16, 20))
            assert (height, width) == (32, 40)
            if top % 2 or left % 2:  # between two pixels of the scaled picture
                continue
            whole = Image.fromarray(photos[index]).resize((40, 32), Image.Resampling.BILINEAR)
            part = np.asarray(whole)[top // 2 : top // 2 + 16, left // 2 : left // 2 + 20]
            np.testing.assert_array_equal(np.rint(image * 255)[1:-1, 1:-1], part[1:-1, 1:-1])
            compared += 1
    assert compared > 8
    with pytest.raises(DataError, match=r"crop_side: received \[24, 40\]; the images are 32x32, which is cut out of"):
        pipeline(data, recipe(resize=[32, 32], crop_side=[24, 40]))


def test_colored_light_is_one_color_for_each_picture(color: Dataset, gray: Dataset) -> None:
    before, after = pipeline(color, recipe()), pipeline(color, recipe(lighting=0.1))
    for step in (0, 3):
        added = after.batch(step)[0] - before.batch(step)[0]
        assert np.ptp(added, axis=(1, 2)).max() < 1e-6  # no pixel differs, and none is clipped
        for row, shift in enumerate(added[:, 0, 0]):
            a = np.random.default_rng([0, 8, step, row]).normal(0, 0.1, 3)
            expected = sum(a[k] * VARIANCES[k] * COMPONENTS[:, k] for k in range(3))
            np.testing.assert_allclose(shift, expected, atol=1e-6)
    np.testing.assert_allclose(COMPONENTS.T @ COMPONENTS, np.eye(3), atol=2e-4)
    np.testing.assert_array_equal(
        pipeline(gray, recipe(lighting=0.1)).batch(1)[0], pipeline(gray, recipe()).batch(1)[0]
    )


def test_colored_light_has_the_deviations_of_the_formula() -> None:
    pictures = np.zeros((4000, 1, 1, 3), np.uint8)
    colors = lit(recipe(lighting=0.5), pictures, 0, range(len(pictures)))[:, 0, 0].astype(np.float64) / 255
    assert colors.mean(0) == pytest.approx(0, abs=0.005)
    np.testing.assert_allclose((colors @ COMPONENTS).std(0), 0.5 * VARIANCES, rtol=0.05)


def luminance(pixels: np.ndarray) -> np.ndarray:
    """ITU-R 601, as Pillow's documentation of `convert("L")` has it, rounded."""
    return np.rint(pixels.astype(float) @ (299, 587, 114) / 1000)


#: The formulas of torchvision's adjust_brightness, …: a blend, clipped, without its fraction.
BLENDS: dict[str, Callable[[np.ndarray], Any]] = {
    "brightness": lambda pixels: 0,
    "contrast": lambda pixels: math.floor(luminance(pixels).mean() + 0.5),
    "saturation": lambda pixels: luminance(pixels)[..., None],
}


@pytest.mark.parametrize("factor", [0.0, 0.3, 1.0, 1.7])
@pytest.mark.parametrize("name", BLENDS)
def test_jitter_is_a_blend(name: str, factor: float) -> None:
    pixels = np.random.default_rng(2).integers(0, 256, (33, 21, 3), np.uint8)
    blend = factor * pixels + (1 - factor) * BLENDS[name](pixels)
    found = jittered(pixels, {name: factor}, OPERATIONS)
    assert found.dtype == np.uint8
    # Half a luminance, which Pillow may round the other way, and a fraction.
    assert np.abs(found - np.clip(blend, 0, 255)).max() <= 1 + abs(1 - factor)
    assert (found <= np.clip(blend, 0, 255) + abs(1 - factor)).all()
    if factor == 1:
        np.testing.assert_array_equal(found, pixels)


def test_hues_turn_as_in_hsv_and_gray_stays_gray() -> None:
    pixels = np.random.default_rng(2).integers(0, 256, (15, 12, 3), np.uint8)
    for turn in (-0.5, -0.1, 0.25):
        found = jittered(pixels, {"hue": turn}, OPERATIONS).reshape(-1, 3)
        for before, after in zip(pixels.reshape(-1, 3), found, strict=True):
            hue, saturation, value = colorsys.rgb_to_hsv(*before / 255)
            expected = np.multiply(colorsys.hsv_to_rgb((hue + turn) % 1, saturation, value), 255)
            # Pillow's hue has 8 bits: three fractions are dropped, each at most a 255th of six sides of 255.
            assert np.abs(after - expected).max() < 18
    np.testing.assert_array_equal(jittered(pixels, {"hue": 0.0}, OPERATIONS), roundtrip(pixels))
    one = pixels[..., :1]
    np.testing.assert_array_equal(jittered(one, {"hue": 0.3, "saturation": 0.1}, OPERATIONS), one)
    assert (jittered(one, {"brightness": 0.5}, OPERATIONS) == one // 2).all()


def roundtrip(pixels: np.ndarray) -> np.ndarray:
    return np.asarray(Image.fromarray(pixels).convert("HSV").convert("RGB"))


def test_the_order_of_the_jitter_is_drawn_and_matters() -> None:
    pixels = np.random.default_rng(2).integers(0, 256, (8, 8, 3), np.uint8)
    factors = {"brightness": 1.8, "contrast": 0.4}
    one, other = (jittered(pixels, factors, order) for order in (OPERATIONS, OPERATIONS[::-1]))
    assert not np.array_equal(one, other)


def test_jitter_reaches_its_bounds_and_one_strength_does_not_move_another(color: Dataset) -> None:
    factors: list[dict[str, float]] = []
    orders = set()

    def note(pixels: np.ndarray, found: dict[str, float], order: list[str]) -> np.ndarray:
        factors.append(found)
        orders.add(tuple(order))
        return pixels

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(augmentation, "jittered", note)
        plans = (recipe(brightness=0.4, contrast=2, hue=0.1), recipe(brightness=0.4))
        for plan in plans:
            for step in range(40):
                pipeline(color, plan).batch(step)
    half = len(factors) // 2
    first, second = factors[:half], factors[half:]
    assert [found["brightness"] for found in first] == [found["brightness"] for found in second]
    for name, low, high in (("brightness", 0.6, 1.4), ("contrast", 0, 3), ("hue", -0.1, 0.1)):
        drawn = [found[name] for found in first]
        assert low <= min(drawn) < low + 0.05 * (high - low)
        assert high - 0.05 * (high - low) < max(drawn) <= high
    assert len(orders) == math.factorial(4)


def test_a_square_is_cut_out_and_becomes_the_mean(gray: Dataset) -> None:
    fields = {"mean": [0.286], "deviation": [0.353]}
    before, after = pipeline(gray, recipe(**fields)), pipeline(gray, recipe(cutout=7, **fields))
    whole = 0
    for step in range(4):
        for row, (one, other) in enumerate(zip(before.batch(step)[0], after.batch(step)[0], strict=True)):
            rng = generator(after.recipe, augmentation.CUTOUT, step, row)
            top, left = (int(rng.integers(28)) - 3 for _ in range(2))
            inside = np.zeros((28, 28, 1), bool)
            inside[max(top, 0) : top + 7, max(left, 0) : left + 7] = True
            np.testing.assert_array_equal(other, np.where(inside, 0, one))
            whole += inside.sum() == 49
    assert 10 < whole < 44  # of 48; the others are clipped at the border
    assert (before.batch(0)[0] != 0).all()


def test_images_and_targets_are_mixed_alike(gray: Dataset) -> None:
    plain = pipeline(gray, recipe(label_smoothing=0.1))
    mixed = pipeline(gray, recipe(label_smoothing=0.1, mixup=0.4))
    images, labels = plain.batch(3)
    found, same = mixed.batch(3)
    np.testing.assert_array_equal(same, labels)
    mix = mixing(mixed.recipe, 3, 12, (28, 28), np.arange(12))
    assert mix is not None
    assert sorted(mix.partners) == list(range(12))
    targets = target_distribution(labels, 10, 0.1)
    np.testing.assert_array_equal(plain.targets(3, labels), targets)
    for row, (partner, share) in enumerate(zip(mix.partners, mix.shares, strict=True)):
        np.testing.assert_allclose(found[row], share * images[row] + (1 - share) * images[partner], atol=1e-6)
        own = float(share) * targets[row] + (1 - float(share)) * targets[partner]
        np.testing.assert_allclose(mixed.targets(3, labels)[row], own, rtol=1e-15)
    assert found.dtype == np.float32
    np.testing.assert_allclose(mixed.targets(3, labels).sum(1), 1, rtol=1e-14)
    assert mixed.targets(3, labels).dtype == np.float64


def test_shares_are_from_the_beta_distribution() -> None:
    for alpha in (0.2, 1.0, 8.0):
        steps = [mixing(recipe(mixup=alpha), step, 100, (5, 5), np.arange(100)) for step in range(20)]
        shares = np.concatenate([mix.shares for mix in steps if mix is not None])
        assert shares.mean() == pytest.approx(0.5, abs=0.03)
        assert shares.var() == pytest.approx(1 / (4 * (2 * alpha + 1)), abs=0.01)
    mix = mixing(recipe(mixup=1e-9), 0, 100, (5, 5), np.arange(100))
    assert mix is not None
    assert set(mix.shares) == {0, 1}  # no mixing at all, and no division by nothing


def test_cut_mix_takes_a_box_of_the_partner_and_as_much_of_its_target(color: Dataset) -> None:
    plain, mixed = pipeline(color, recipe()), pipeline(color, recipe(cutmix=1))
    images, labels = plain.batch(2)
    mix = mixing(mixed.recipe, 2, 12, (28, 28), np.arange(12))
    assert mix is not None
    sizes = set()
    for row, (top, left, height, width) in enumerate(mix.boxes):
        inside = np.zeros((28, 28, 1), bool)
        inside[top : top + height, left : left + width] = True
        partner = mix.partners[row]
        np.testing.assert_array_equal(mixed.batch(2)[0][row], np.where(inside, images[partner], images[row]))
        expected = np.zeros(10)
        expected[labels[partner]] += inside.mean()
        expected[labels[row]] += 1 - inside.mean()
        np.testing.assert_allclose(mixed.targets(2, labels)[row], expected, atol=1e-7)
        sizes.add(int(inside.sum()))
    assert len(sizes) > 6


EVERYTHING: dict[str, Any] = {
    "crop_area": [0.3, 1], "brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 0.1, "lighting": 0.1,
    "pad_crop": 1,
    "flip": True, "cutout": 6, "mixup": 0.3, "mean": [0.4, 0.4, 0.3], "deviation": [0.3, 0.2, 0.3],
}  # fmt: skip


def test_a_batch_with_everything_is_a_function_of_seed_and_step(color: Dataset) -> None:
    first = pipeline(color, recipe(**EVERYTHING))
    course = dict(first.batches(0, 6))
    for step in (5, 0, 3):
        again = pipeline(color, recipe(**EVERYTHING))
        for one, other in zip(again.batch(step), course[step], strict=True):
            np.testing.assert_array_equal(one, other)
        np.testing.assert_array_equal(again.targets(step, course[step][1]), first.targets(step, course[step][1]))
    other = pipeline(color, recipe(seed=1, **EVERYTHING))
    assert not np.array_equal(other.batch(0)[0], course[0][0])
    assert not np.array_equal(course[0][0], course[1][0])


def test_a_row_does_not_depend_on_the_others(tmp_path: Path) -> None:
    """All pictures are the same one, so that only what is drawn differs between rows."""
    same = data_set(tmp_path, np.repeat(COLOR[5:6], 100, axis=0))
    fields = {**EVERYTHING, "mixup": 0, "flip": False, "pad_crop": 0}
    many, few = (pipeline(same, recipe(**{**fields, "batch_size": size})).batch(1)[0] for size in (12, 5))
    np.testing.assert_array_equal(many[:5], few)
    assert len({row.tobytes() for row in many}) == 12


def test_colors_need_one_channel_or_three(tmp_path: Path) -> None:
    data = data_set(tmp_path, np.concatenate([GRAY, GRAY], axis=-1))
    with pytest.raises(DataError, match=r"brightness: received 0\.4; pictures with channels = 2 have no colors"):
        pipeline(data, recipe(brightness=0.4))
    assert pipeline(data, recipe(crop_area=[0.1, 1], mixup=1)).batch(0)[0].shape == (12, 28, 28, 2)
