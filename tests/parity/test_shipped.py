"""The trained network that ships: every backend gives the same class for every test picture of Fashion-MNIST."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest

import resnet_core as rn
from engine_pool import MAIN, TOLERANCE, EnginePool, problems
from resnet_core.data.named import dataset
from resnet_core.data.shipped import FOLDER, shipped_images, shipped_model
from resnet_core.spec_files import to_json
from resnet_core.training.pipeline import Pipeline
from resnet_core.training.recipe_files import recipe

SHARED = os.environ.get("RESNET_SHARED", "")


def logits(pool: EnginePool, engine: str, dtype: str, batches: list[np.ndarray]) -> np.ndarray:
    weights, spec = shipped_model()
    worker = pool.engine(engine, dtype)
    worker.call("build", rn.cast(weights, dtype), spec=to_json(spec), taps=[], dtype=dtype)
    return np.concatenate([worker.call("predict", {"images": images})[1]["output"] for images in batches])


@lru_cache(maxsize=1)
def all_test_images() -> tuple[list[np.ndarray], np.ndarray]:
    data = dataset(Path(SHARED) / "data" / "fashion-mnist")  # by its folder: a copy may be packed by another gzip
    pipeline = Pipeline(data, recipe("fashion-resnet20"), shipped_model()[1])
    return [images for images, _ in pipeline.test_batches()], data.test.labels


def test_the_shipped_network_is_the_one_that_the_recipe_and_the_log_tell_of() -> None:
    import json

    _, spec = shipped_model()
    assert rn.spec(spec, name="") == rn.spec("resnet20", in_channels=1, input_size=28, name="")
    records = [json.loads(line) for line in (FOLDER / "log.jsonl").read_text().splitlines()]
    assert recipe(FOLDER / "recipe.toml") == recipe("fashion-resnet20")
    assert [record["epoch"] for record in records] == list(range(1, 19))
    assert max(record["test_accuracy"] for record in records) >= 0.93
    assert (FOLDER / "fashion_resnet20.safetensors").stat().st_size < 1_200_000


@pytest.mark.parametrize("engine", MAIN)
def test_the_shipped_sample_gives_the_same_logits_and_classes(pool: EnginePool, engine: str) -> None:
    images, labels = shipped_images()
    truth = logits(pool, "numpy", "float64", [images])
    found = logits(pool, engine, "float32", [images])
    assert problems({"logits": found}, {"logits": truth}, TOLERANCE["float32"]) == {}
    assert (found.argmax(-1) == truth.argmax(-1)).all()
    assert (found.argmax(-1) == labels).mean() >= 0.9


@pytest.mark.skipif(not SHARED, reason="RESNET_SHARED names no folder with data/fashion-mnist")
@pytest.mark.long
def test_all_backends_agree_on_the_class_of_all_ten_thousand_test_pictures(pool: EnginePool) -> None:
    batches, labels = all_test_images()
    dtypes = {**dict.fromkeys(MAIN, "float32"), "numpy": "float64"}
    found = pool.everywhere(dtypes, lambda engine: logits(pool, engine, dtypes[engine], batches))
    first = found[MAIN[0]]
    assert len(first) == 10_000
    assert (first.argmax(-1) == labels).mean() >= 0.93
    for engine in found:
        different = np.flatnonzero(found[engine].argmax(-1) != first.argmax(-1))
        ties = {int(index): float(np.ptp(np.sort(first[index])[-2:])) for index in different}
        assert all(margin < 1e-4 for margin in ties.values()), f"{engine}: {ties}"
        assert not ties, f"{engine} differs at float32 ties: {ties}"


def test_a_network_that_forgot_its_statistics_is_caught(pool: EnginePool) -> None:
    images, _ = shipped_images()
    weights, spec = shipped_model()
    truth = logits(pool, "numpy", "float64", [images])
    fresh = {name: np.ones_like(array) if name.endswith("running_var") else array for name, array in weights.items()}
    worker = pool.engine("torch", "float32")
    worker.call("build", fresh, spec=to_json(spec), taps=[], dtype="float32")
    found = worker.call("predict", {"images": images})[1]["output"]
    assert problems({"logits": found}, {"logits": truth}, TOLERANCE["float32"])
    assert (found.argmax(-1) != truth.argmax(-1)).any()
