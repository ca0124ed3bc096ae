"""Whatever takes a spec takes what names one: a name of the zoo, a file, a run, or the spec itself."""

from __future__ import annotations

import inspect
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import resnet_core as rn
from resnet_core.errors import InputError

SPEC = rn.spec("resnet20", channels=[2, 3, 4], classes=4, input_size=9)
WEIGHTS = rn.probe_weights(SPEC)

#: {function: its result for a network}. `save` writes the network's weights to a new file, and gives its name.
CALLS: dict[str, Callable[[Any, Path], Any]] = {
    "build": lambda network, _: rn.load_backend("numpy").get_weights(rn.build(network, "numpy", weights=WEIGHTS)),
    "convert": lambda network, folder: rn.convert(_file(folder), folder / "to.safetensors", spec=network).source.spec,
    "deploy": lambda network, _: rn.deploy(WEIGHTS, network),
    "diff": lambda network, _: str(rn.diff(network, "resnet18")),
    "features": lambda network, _: rn.load_backend("numpy").get_weights(rn.features(network, "numpy", weights=WEIGHTS)),
    "import_weights": lambda network, folder: rn.import_weights(_file(folder), network).spec,
    "initialize": lambda network, _: rn.initialize(network),
    "layer_tree": lambda network, _: rn.layer_tree(network),
    "layers": lambda network, _: rn.layers(network),
    "lesson": lambda network, _: rn.lesson(network, measured=False),
    "load_weights": lambda network, folder: rn.load_weights(_file(folder), spec=network)[1],
    "parameters": lambda network, _: rn.parameters(network),
    "predict": lambda network, folder: rn.predict(network, _picture(folder), weights=WEIGHTS, backend="numpy")[0].top,
    "probe_weights": lambda network, _: rn.probe_weights(network),
    "read_weight_file": lambda network, folder: rn.read_weight_file(_file(folder), spec=network).spec,
    "read_weights": lambda network, folder: rn.read_weights(_file(folder), network),
    "save_spec": lambda network, folder: (rn.save_spec(folder / "a.toml", network), rn.spec(folder / "a.toml")),
    "save_weights": lambda network, folder: (rn.save_weights(folder / "w", WEIGHTS, network), _bytes(folder / "w")),
    "source": lambda network, _: rn.source(network, "torch"),
    "spec": lambda network, _: rn.spec(network),
    "state": lambda network, _: rn.state(network),
    "tap_info": lambda network, _: rn.tap_info(network),
    "taps": lambda network, _: rn.taps(network),
    "totals": lambda network, _: rn.totals(network),
    "trained_network": lambda network, _: rn.trained_network(network, WEIGHTS).spec,
    "unbiased_variances": lambda network, _: rn.unbiased_variances(network, (2, 9, 9, 3), WEIGHTS, WEIGHTS),
}

#: What starts frameworks for a network: here only that it refuses what names none.
LONG: dict[str, Callable[[Any, Path], Any]] = {
    "bench": lambda network, _: rn.bench(network, ["torch"]),
    "compare": lambda network, _: rn.compare(network, ["torch"]),
    "train": lambda network, folder: rn.train(network, folder, backend="torch", out=folder / "run"),
}

#: Functions of something else that is called so: files of weights, of a recipe, of pictures.
OTHERS = {"certify", "dataset", "recipe"}


def _file(folder: Path) -> Path:
    rn.save_weights(folder / "weights.safetensors", WEIGHTS, SPEC)
    return folder / "weights.safetensors"


def _picture(folder: Path) -> Path:
    from PIL import Image

    Image.new("RGB", (9, 9), "teal").save(folder / "picture.png")
    return folder / "picture.png"


def _bytes(path: Path) -> bytes:
    return path.read_bytes()


def test_every_public_function_that_takes_a_network_is_here() -> None:
    found = set()
    for name in rn.__all__:
        function = getattr(rn, name)
        if inspect.isfunction(function) and {"spec", "network", "left", "source"} & {
            *inspect.signature(function).parameters
        }:
            found.add(name)
    assert found == CALLS.keys() | LONG.keys() | OTHERS


@pytest.mark.parametrize("name", CALLS)
def test_a_file_is_taken_for_its_spec(name: str, tmp_path: Path) -> None:
    rn.save_spec(tmp_path / "named.toml", SPEC)
    for folder in ("left", "right"):
        (tmp_path / folder).mkdir()
    given = CALLS[name](SPEC, tmp_path / "left")
    assert pickle.dumps(CALLS[name](str(tmp_path / "named.toml"), tmp_path / "right")) == pickle.dumps(given)


@pytest.mark.parametrize("name", {**CALLS, **LONG})
@pytest.mark.parametrize("wrong", [3, "resnet21", ["resnet20"]], ids=["number", "name", "list"])
def test_what_names_no_network_is_one_line(name: str, wrong: Any, tmp_path: Path) -> None:
    """Not an AttributeError of the inside, and least of all an empty answer."""
    with pytest.raises(InputError) as error:
        {**CALLS, **LONG}[name](wrong, tmp_path)
    assert "\n" not in str(error.value)
    assert any(said in str(error.value) for said in (str(wrong), type(wrong).__name__))
