"""What is exported opens in the real programs, strictly, and computes the same there.

`RESNET_REFEREES` names an interpreter with torch, torchvision, timm and transformers, `RESNET_REFEREES_SLIM` one with
TensorFlow and tf_slim, `RESNET_REFEREES_FLAX` the archive of Flax that has its example; without them this is skipped.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import resnet_core as rn
from referees import draw
from referees.flax_example import NETWORKS
from resnet_core.conversion.convert import convert
from resnet_core.conversion.export import export_weights
from resnet_core.weights import Weights

SCRIPT = Path(__file__).parents[1] / "referees" / "check_exports.py"
SLIM = SCRIPT.with_name("check_slim.py")
FLAX = SCRIPT.with_name("check_flax.py")

DENSE = {"output_stride": 8}

#: (file, program, our network, its name there, what it is told there).
CASES: list[tuple[str, str, rn.ResNetSpec, str, dict[str, Any]]] = [
    ("a.pth", "torchvision", rn.spec("resnet18", classes=10), "resnet18", {"num_classes": 10}),
    ("b.safetensors", "torchvision", rn.spec("resnext50_32x4d"), "resnext50_32x4d", {}),
    ("c.safetensors", "torchvision", rn.spec("resnet50", norm_epsilon=1e-4), "resnet50", {}),
    ("d.safetensors", "timm", rn.spec("resnet18d", classes=7), "resnet18d", {"num_classes": 7}),
    ("e.safetensors", "timm", rn.spec("seresnet50", classes=7), "seresnet50", {"num_classes": 7}),
    ("f.safetensors", "timm", rn.spec("ecaresnet26t", classes=7), "ecaresnet26t", {"num_classes": 7}),
    ("g.safetensors", "timm", rn.spec("resnetv2_50d", classes=7), "resnetv2_50d", {"num_classes": 7}),
    ("h.safetensors", "timm", rn.spec("resnetblur50", classes=7), "resnetblur50", {"num_classes": 7}),
    ("i.safetensors", "timm", rn.spec("resnext26ts", classes=7), "resnext26ts", {"num_classes": 7}),
    ("j.safetensors", "timm", rn.spec("resnet50_gn", classes=7), "resnet50_gn", {"num_classes": 7}),
    ("k.safetensors", "timm", rn.spec("seresnet33ts", classes=7), "seresnet33ts", {"num_classes": 7}),
    ("l.safetensors", "timm", rn.spec("resnetrs50", classes=7), "resnetrs50", {"num_classes": 7}),
    (
        "o.pth",
        "torchvision",
        rn.spec("resnet50", classes=7, output_stride=8),
        "resnet50",
        {"num_classes": 7, "replace_stride_with_dilation": [False, True, True]},
    ),
    *(
        (f"{name}.safetensors", "timm", rn.spec(name, classes=7, output_stride=8), name, {"num_classes": 7, **DENSE})
        for name in ("resnet18", "resnet50", "seresnext26ts", "resnetv2_50x1_bit")
    ),
    ("m", "hf", rn.spec("resnet50_v1", classes=5), "", {}),
    ("n", "hf", rn.spec("resnet18", channels=[8, 16, 32, 64], classes=5), "", {}),
]


def _plant(source: Path, planted: Path) -> None:
    """Two layers of the same shape swapped, which any strict loader takes."""
    arrays = load_file(source)
    one, other = "layer1.1.conv2.weight", "layer1.2.conv2.weight"
    save_file({**arrays, one: arrays[other], other: arrays[one]}, planted)
    shutil.copy(f"{source}.npz", f"{planted}.npz")


def save_reference(path: Path, spec: rn.ResNetSpec, weights: Weights, images: np.ndarray, **arguments: int) -> None:
    """Write images and what the reference makes of them, and what the program is told."""
    model = rn.build(spec, backend="numpy", weights=rn.cast(weights, "float64"), dtype="float64")
    output = rn.load_backend("numpy").predict(model, images.astype(np.float64))
    np.savez(path, images=images, output=output, **arguments)


def found_there(python: str, script: Path, folder: Path) -> Any:
    """What a script finds with another program, such as {file: error}."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    done = subprocess.run(
        [python, str(script), str(folder)], capture_output=True, text=True, check=False, env=environment, timeout=900
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    print(found.get("errors", found))
    return found


@pytest.mark.long
def test_real_programs_open_what_was_exported_and_compute_the_same(tmp_path: Path) -> None:
    python = os.environ.get("RESNET_REFEREES")
    if python is None:
        pytest.skip("RESNET_REFEREES is not set: an interpreter with torchvision, timm and transformers")
    for number, (file, program, spec, _, _) in enumerate(CASES):
        weights = rn.probe_weights(spec, number)
        rn.save_weights(tmp_path / "neutral.safetensors", weights, spec)
        convert(tmp_path / "neutral.safetensors", tmp_path / file, destination_format=program)
        save_reference(tmp_path / f"{file}.npz", spec, weights, draw.image((1, 64, 96, 3), number))
    cases = [{"file": f, "program": p, "name": n, "arguments": a} for f, p, _, n, a in CASES]
    cases.append({**cases[1], "file": "planted.safetensors"})
    _plant(tmp_path / cases[1]["file"], tmp_path / "planted.safetensors")
    (tmp_path / "cases.json").write_text(json.dumps(cases))
    errors = found_there(python, SCRIPT, tmp_path)
    assert errors.pop("planted.safetensors") > 1e-3
    # An epsilon that went into the variances is rounded with them.
    assert {file: error for file, error in errors.items() if error > (1e-5 if file == "c.safetensors" else 1e-10)} == {}


@pytest.mark.long
def test_slims_saver_restores_what_was_exported_and_its_networks_compute_the_same(tmp_path: Path) -> None:
    python = os.environ.get("RESNET_REFEREES_SLIM")
    if python is None:
        pytest.skip("RESNET_REFEREES_SLIM is not set: an interpreter with TensorFlow and tf_slim")
    for number, name in enumerate(("resnet_v1_50", "resnet_v2_50")):
        spec = rn.spec(name, classes=7)
        weights = rn.probe_weights(spec, number)
        one, other = "stage1.block2.conv2.weight", "stage1.block3.conv2.weight"
        for file, own in ((name, weights), (f"planted_{name}", {**weights, one: weights[other], other: weights[one]})):
            rn.save_weights(tmp_path / "neutral.safetensors", own, spec)
            convert(tmp_path / "neutral.safetensors", tmp_path / f"{file}.ckpt.index")
            save_reference(tmp_path / f"{file}.npz", spec, weights, draw.image((1, 65, 96, 3), number))
        dense = rn.spec(spec, output_stride=16, global_pool=False)
        rn.save_weights(tmp_path / "neutral.safetensors", weights, dense)
        convert(tmp_path / "neutral.safetensors", tmp_path / f"dense_{name}.ckpt.index")
        image = draw.image((1, 65, 96, 3), number)
        save_reference(tmp_path / f"dense_{name}.npz", dense, weights, image, output_stride=16)
    errors = found_there(python, SLIM, tmp_path)
    assert len(errors) == 6
    for file, error in errors.items():
        assert error > 1e-3 if file.startswith("planted") else error < 1e-10


@pytest.mark.long
def test_the_example_of_flax_takes_what_was_exported_and_is_the_network_that_is_told_of_it(tmp_path: Path) -> None:
    if "RESNET_REFEREES_FLAX" not in os.environ:
        pytest.skip("RESNET_REFEREES_FLAX is not set: the source distribution of Flax")
    specs = {
        name: rn.spec("flax_resnet50", name="", block=block, depths=depths, classes=10)
        for name, (block, depths) in NETWORKS.items()
    }
    cases = []
    for number, (name, ending) in enumerate((("ResNet18", ".msgpack"), ("ResNet50", ""), ("ResNet50", ".planted"))):
        spec, planted = specs[name], ending == ".planted"
        weights = rn.probe_weights(spec, number)
        one, other = "stage1.block2.conv2.weight", "stage1.block3.conv2.weight"
        own = {**weights, one: weights[other], other: weights[one]} if planted else weights
        file = f"planted_{name}" if planted else f"{name}{ending}"
        rn.save_weights(tmp_path / "neutral.safetensors", own, spec)
        convert(tmp_path / "neutral.safetensors", tmp_path / file, destination_format="flax")
        save_reference(tmp_path / f"{file}.npz", spec, weights, draw.image((1, 65, 96, 3), number))
        cases.append({"file": file, "network": name})
    (tmp_path / "cases.json").write_text(json.dumps(cases))
    found = found_there(sys.executable, FLAX, tmp_path)
    assert found["errors"].pop("planted_ResNet50") > 1e-3
    assert max(found["errors"].values()) < 1e-10
    assert len(found["errors"]) == 2
    for name, spec in specs.items():
        arrays = export_weights(
            spec, {path: np.zeros(shape, np.float32) for path, shape in rn.state(spec).items()}, "flax"
        )
        own_tensors = {there: [list(array.shape), array.dtype.name] for there, array in arrays.arrays.items()}
        assert own_tensors == found["tensors"][name]
    small = rn.spec("flax_resnet50", channels=(4, 8), depths=(1, 2), classes=3)
    zeros = [path for path, array in rn.initialize(small).items() if path.endswith("norm3.weight") and not array.any()]
    assert zeros == [f"stage{stage}.block{block}.norm3.weight" for stage, block in ((1, 1), (2, 1), (2, 2))]
    assert found["zeros"] == [f"BottleneckResNetBlock_{block}/BatchNorm_2/scale" for block in range(3)]
    assert found["decay"] == pytest.approx(small.norm_decay, rel=1e-6)
