"""A network is shown pictures as it was trained on them: `predict` of a run answers what `evaluate` does."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import resnet_core as rn
from resnet_core.backend import first_installed
from resnet_core.data.images import sample_fashion
from resnet_core.data.prepare import prepared_image
from resnet_core.errors import InputError
from resnet_core.prediction.pictures import picture_batches, picture_files
from resnet_core.preparation import standard_preparation
from resnet_core.safetensors_file import digest, read_safetensors, safetensors_bytes
from resnet_core.training.pipeline import Pipeline

SPEC = rn.spec("resnet20", depths=(1,), channels=(4,), in_channels=1, classes=3)
#: What makes predictions wrong if it is forgotten: other constants than the standard ones, a mean picture, a size.
RECIPES: dict[str, dict[str, Any]] = {
    "constants": {"mean": (0.6,), "deviation": (0.1,)},
    "mean picture": {"mean": "pixel"},
    "resized": {"resize": (9, 20)},
}


def save_pictures(folder: Path, pictures: np.ndarray, labels: np.ndarray) -> list[Path]:
    """`folder`/class LABEL/NUMBER.png, in the order of the pictures."""
    files = []
    for number, (picture, label) in enumerate(zip(pictures, labels, strict=True)):
        place = folder / f"class {label}"
        place.mkdir(parents=True, exist_ok=True)
        files.append(place / f"{number:03}.png")
        Image.fromarray(picture[..., 0]).save(files[-1])
    return files


def data_and_files(form: str, folder: Path) -> tuple[Path, list[Path]]:
    """A data set, and its test pictures as files in its order."""
    pictures, labels = sample_fashion()
    labels = labels % 3
    files = save_pictures(folder / "data" / "test", pictures[40:], labels[40:])
    if form == "folder":
        save_pictures(folder / "data" / "train", pictures[:40], labels[:40])
        return folder / "data", sorted(files)
    arrays = {"x_train": pictures[:40], "y_train": labels[:40], "x_test": pictures[40:], "y_test": labels[40:]}
    np.savez(folder / "data.npz", **arrays)
    return folder / "data.npz", files


def trained(data: Path, folder: Path, changes: dict[str, Any]) -> Path:
    plan = rn.recipe("fashion-adam", epochs=1, batch_size=20, **changes)
    rn.train(SPEC, data, backend="numpy", out=folder, recipe=plan)
    return folder


@pytest.mark.parametrize("changes", RECIPES.values(), ids=RECIPES)
@pytest.mark.parametrize("form", ["arrays", "folder"])
def test_predict_gives_the_classes_of_evaluate(form: str, changes: dict[str, Any], tmp_path: Path) -> None:
    """Also with the run's weight file alone, which knows how; by the standard preparation, the answers are others."""
    data, files = data_and_files(form, tmp_path)
    run = trained(data, tmp_path / "run", changes)
    network = rn.trained_network(run)
    pipeline = Pipeline(rn.dataset(data), rn.recipe(run / "recipe.toml"), network.spec)
    (images, _), *_ = pipeline.test_batches()
    np.testing.assert_array_equal(images, [prepared_image(file, network.preparation) for file in files])

    found = rn.predict(run, files, backend="numpy", top=1)
    assert [prediction.top[0].index for prediction in found] == rn.evaluate(run, data).classes.tolist()
    assert rn.predict(run / "best.safetensors", files, backend="numpy", top=1) == found
    names = ("0", "1", "2") if form == "arrays" else ("class 0", "class 1", "class 2")
    assert (network.classes, network.assumed) == (names, "")
    assert found[0].top[0].label == names[found[0].top[0].index]

    assumed = rn.predict(rn.spec(run), files, weights=network.weights, backend="numpy", top=1)
    scores = [[prediction.top[0].probability for prediction in answers] for answers in (found, assumed)]
    assert np.abs(np.subtract(*scores)).max() > 1e-3


def as_format_1(path: Path) -> None:
    """The file as the first version of this project wrote it."""
    arrays, metadata = read_safetensors(path)
    path.write_bytes(safetensors_bytes(arrays, {"digest": digest(arrays), "format": "1", "spec": metadata["spec"]}))


def test_a_run_from_before_weights_knew_their_pictures_goes_by_its_recipe(tmp_path: Path) -> None:
    data, files = data_and_files("folder", tmp_path)
    run = trained(data, tmp_path / "run", RECIPES["constants"])
    before = rn.predict(run, files[:5], backend="numpy")
    for name in ("best", "last"):
        as_format_1(run / f"{name}.safetensors")
    network = rn.trained_network(run)
    assert "its weights say nothing of their pictures; by the run's recipe it is shorter side to 36" in network.assumed
    after = rn.predict(run, files[:5], backend="numpy")
    assert [p.top[0].probability for p in after] == [p.top[0].probability for p in before]

    text = (run / "recipe.toml").read_text()
    (run / "recipe.toml").write_text(re.sub(r"^mean = \[.*?\]", 'mean = "pixel"', text, flags=re.S | re.M))
    assert "assumed is" in rn.trained_network(run).assumed  # its mean picture is lost
    assert rn.trained_network(run).preparation == standard_preparation((32, 32), 1)


def test_the_shipped_network_knows_its_pictures() -> None:
    """Wherever its file is named, 28 x 28 pixels are taken as they are (the standard preparation loses an eighth)."""
    network = rn.trained_network(Path(rn.__file__).parent / "trained" / "fashion_resnet20.safetensors")
    assert str(network.preparation) == "stretched to 28 x 28 (bilinear), gray, mean 0.286, deviation 0.353"
    assert network.classes is not None
    assert network.classes[0] == "T-shirt/top"


def test_pictures_are_read_a_few_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 400 pictures never more than two batches are in memory."""
    folder = tmp_path / "many"
    folder.mkdir()
    Image.fromarray(np.zeros((6, 6), np.uint8)).save(folder / "000.png")
    for number in range(1, 400):
        (folder / f"{number:03}.png").symlink_to(folder / "000.png")
    (folder / "123.png").unlink()
    (folder / "123.png").write_bytes(b"no picture")
    preparation = standard_preparation((6, 6), 1)
    begun: list[str] = []
    monkeypatch.setattr(
        "resnet_core.prediction.pictures.prepared_image",
        lambda file, preparation: (begun.append(file), prepared_image(file, preparation))[1],
    )
    files = picture_files(folder)

    def taken() -> Iterator[int]:
        for batch in picture_batches(files, preparation, 16):
            assert len(batch.images) == sum(error is None for error in batch.errors)
            yield len(batch.files)
            assert len(begun) <= sum(seen) + 16

    seen: list[int] = []
    for count in taken():
        seen.append(count)
    assert sum(seen) == 400
    assert sorted(begun) == files


def test_what_is_not_a_trained_network_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^resnet20: received no weights; expected some with it, or the folder of a"):
        rn.predict("resnet20", "a.png")
    spec = rn.spec(SPEC, classes=None)
    with pytest.raises(InputError, match="predict: the spec has no classifier"):
        rn.predict(spec, "a.png", weights=rn.initialize(spec))
    with pytest.raises(InputError, match=f"^{tmp_path}: a folder without pictures"):
        rn.predict(SPEC, tmp_path, weights=rn.initialize(SPEC))


def test_the_files_of_a_run_say_what_its_run_said(tmp_path: Path) -> None:
    data, _ = data_and_files("arrays", tmp_path)
    run = trained(data, tmp_path / "run", RECIPES["constants"])
    for name in ("best", "last"):
        metadata = read_safetensors(run / f"{name}.safetensors")[1]
        assert json.loads(metadata["classes"]) == ["0", "1", "2"]
        assert json.loads(metadata["preparation"])["mean"] == [0.6]


def test_a_run_is_predicted_by_its_own_backend_or_by_one_that_is_there(tmp_path: Path) -> None:
    data, files = data_and_files("arrays", tmp_path)
    run = trained(data, tmp_path / "run", {})
    assert rn.trained_network(run).backend == first_installed("numpy") == "numpy"
    assert first_installed("gone") == first_installed()
    assert first_installed() != "numpy"
    assert rn.predict(run, files[:3]) == rn.predict(run, files[:3], backend="numpy")
