"""Conversions of files: both directions to the same bits, a certificate, and nothing left after a refusal."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import safetensors.numpy

import resnet_core as rn
from command_line import in_process
from resnet_core.backend import environment
from resnet_core.conversion.certificate import certify
from resnet_core.conversion.convert import convert
from resnet_core.conversion.export import export_weights
from resnet_core.conversion.read import import_weights
from resnet_core.errors import InputError, WeightsError
from resnet_core.preparation import IMAGENET_DEVIATION, IMAGENET_MEAN, Preparation
from resnet_core.safetensors_file import write_safetensors
from resnet_core.workers.parent import Worker
from resnet_keras.state_dict import read_state_dict

NARROW = rn.spec("resnet18", channels=[4, 6, 8, 10], depths=[1, 2, 1, 1], classes=5)
SHORT = rn.spec("resnet50", depths=[1, 1, 1, 1], classes=5)
SHORT_KERAS = rn.spec("keras_resnet50_v2", depths=[1, 2, 1, 1], classes=5)

#: (our network, format, file).
ROADS = [
    (rn.spec("resnet18", classes=5), "torchvision", "w.safetensors"),
    (rn.spec("resnet18d", channels=[4, 6, 8, 10], classes=5), "timm", "w.safetensors"),
    (NARROW, "hf", "folder"),
    (SHORT_KERAS, "keras", "w.weights.h5"),
    (SHORT_KERAS, "keras", "w.h5"),
    (rn.spec("keras_resnet50", depths=[1, 1, 2, 1], classes=5), "keras", "w.weights.h5"),
]


def saved(folder: Path, spec: rn.ResNetSpec, **about: Any) -> Path:
    path = folder / "neutral.safetensors"
    rn.save_weights(path, rn.probe_weights(spec), spec, **about)
    return path


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keras' files are read by h5py alone: a process for it would only take time."""

    class Here:
        def __enter__(self) -> Here:
            return self

        def __exit__(self, *error: object) -> None: ...

        def call(
            self, name: str, arrays: dict[str, np.ndarray] | None = None, *, backend: str, path: str, **given: Any
        ) -> Any:
            import resnet_keras.state_dict

            assert backend == "keras"
            verb = getattr(resnet_keras.state_dict, name)
            return ([], verb(Path(path))) if arrays is None else verb(Path(path), arrays)

    for module in ("read", "convert"):
        monkeypatch.setattr(f"resnet_core.conversion.{module}.Worker", lambda **given: Here())


@pytest.mark.parametrize(("spec", "format", "file"), ROADS)
@pytest.mark.usefixtures("here")
def test_there_and_back_is_the_same_bits(spec: rn.ResNetSpec, format: str, file: str, tmp_path: Path) -> None:
    source = saved(tmp_path, spec)
    there = convert(source, tmp_path / file, destination_format=format)
    assert there.certificate.equal
    assert set(there.certificate.errors.values()) == {0.0}
    back = import_weights(tmp_path / file, spec)
    own = rn.load_weights(source)[0]
    assert list(back.weights) == list(own)
    for name, array in own.items():
        np.testing.assert_array_equal(back.weights[name], array)
    again = convert(tmp_path / file, tmp_path / "back.safetensors", spec=spec)
    assert again.certificate.equal
    assert rn.load_weights(tmp_path / "back.safetensors")[1] == spec


def test_a_folder_of_transformers_says_its_network_its_classes_and_its_pictures(tmp_path: Path) -> None:
    pictures = Preparation(size=(224, 224), interpolation="bicubic", mean=IMAGENET_MEAN, deviation=IMAGENET_DEVIATION)
    spec = rn.spec("resnet50_v1", channels=[4, 6, 8, 10], depths=[1, 2, 1, 1], classes=5)
    names = ["ant", "bee", "cat", "dog", "eel"]
    source = saved(tmp_path, spec, preparation=pictures, classes=names)
    convert(source, tmp_path / "there", destination_format="hf")
    found = import_weights(tmp_path / "there")
    assert (found.spec.stride_on, found.preparation, found.classes) == ("1x1", pictures, tuple(names))
    convert(tmp_path / "there", tmp_path / "back.safetensors")
    assert rn.read_weight_file(tmp_path / "back.safetensors").preparation == pictures
    with pytest.raises(WeightsError, match=r"stride_on is '3x3', and its configuration says '1x1'"):
        import_weights(tmp_path / "there", rn.spec(spec, name="", stride_on="3x3"))
    with pytest.raises(WeightsError, match=r'activation is "silu", and "relu" in its ResNetForImageClassification'):
        export_weights(rn.spec(spec, activation="silu"), rn.probe_weights(spec), "hf")
    assert import_weights(tmp_path / "there", spec).spec == spec
    about = json.loads((tmp_path / "there" / "config.json").read_text())
    (tmp_path / "there" / "config.json").write_text(json.dumps({**about, "depths": [1, 1, 1, 1]}))
    with pytest.raises(WeightsError, match=r"depths: the tensors show \(1, 2, 1, 1\), and its configuration says"):
        import_weights(tmp_path / "there")
    for content, words in (
        ('{"model_type": "vit"}', "received a model of the kind 'vit'"),
        ('{"model_type": "resnet"}', "KeyError: 'depths'"),
        (
            '{"model_type": "resnet", "depths": [1], "hidden_act": "silu"}',
            "received hidden_act 'silu'; expected 'relu'",
        ),
        ('{"architecture": "resnest50d"}', "received the architecture 'resnest50d'"),
        ("[", "config.json"),
    ):
        (tmp_path / "there" / "config.json").write_text(content)
        with pytest.raises(InputError, match=words):
            import_weights(tmp_path / "there")


def test_a_configuration_of_timms_decides_between_networks_of_the_same_names(tmp_path: Path) -> None:
    spec = rn.spec("resnetblur50", classes=5, depths=[1, 1, 1, 1])
    folder = tmp_path / "timm"
    folder.mkdir()
    convert(saved(tmp_path, spec), folder / "model.safetensors", destination_format="timm")
    about = {"architecture": "resnetblur50", "num_classes": 5, "pretrained_cfg": {"crop_pct": 0.95, "mean": [0.5] * 3,
             "std": [0.5] * 3, "input_size": [3, 224, 224], "interpolation": "bicubic"}}  # fmt: skip
    (folder / "config.json").write_text(json.dumps(about))
    found = import_weights(folder)
    assert found.spec.antialias == "blur"
    (folder / "config.json").write_text(json.dumps({**about, "architecture": "resnet50"}))
    assert import_weights(folder).spec.antialias == "none"  # a name says so, though no field does
    assert found.preparation is not None
    assert (found.preparation.crop, found.preparation.mean) == (0.95, (0.5, 0.5, 0.5))


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("name", "words"), [("keras_resnet50", "BGR, white is 255"), ("keras_resnet50_v2", "mean 0.5")]
)
def test_the_pictures_of_keras_applications_are_prepared_as_it_does(name: str, words: str, tmp_path: Path) -> None:
    spec = rn.spec(name, depths=[1, 1, 1, 1], classes=5)
    convert(saved(tmp_path, spec), tmp_path / "w.h5")
    done = convert(tmp_path / "w.h5", tmp_path / "back.safetensors", spec=spec)
    assert any("pictures are prepared as its program does it: " in line and words in line for line in done.told())
    pictures = rn.read_weight_file(tmp_path / "back.safetensors").preparation
    found = rn.trained_network(tmp_path / "w.h5")
    assert found.preparation == pictures
    assert (
        f"says nothing of its pictures; assumed is {pictures}, as for a ResNet of keras.applications" in found.assumed
    )
    gray = np.full((32, 32, 3), 127.5)
    image = gray / 255 * pictures.white - np.array(pictures.mean)
    image = image / np.array(pictures.deviation or (1, 1, 1))
    expected = gray - [103.939, 116.779, 123.68] if "v2" not in name else gray / 127.5 - 1
    np.testing.assert_allclose(image, expected)


def _swapped(weights: dict[str, np.ndarray], one: str, other: str) -> dict[str, np.ndarray]:
    return {**weights, one: weights[other], other: weights[one]}


#: Every one has all names and shapes right.
DEFECTS: dict[str, Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]]] = {
    "two layers of the same shape": lambda w: _swapped(w, "stage2.block1.conv2.weight", "stage2.block2.conv1.weight"),
    "a square kernel transposed": lambda w: {
        **w, "stage2.block2.conv1.weight": np.ascontiguousarray(w["stage2.block2.conv1.weight"].swapaxes(0, 1))
    },
    "scale and variance": lambda w: _swapped(w, "stem.norm.weight", "stem.norm.running_var"),
    "a kernel turned over": lambda w: {
        **w, "stem.conv.weight": np.ascontiguousarray(w["stem.conv.weight"][..., ::-1])
    },
    "statistics as they are at first": lambda w: {
        **w, "stage1.block1.norm1.running_mean": np.zeros_like(w["stage1.block1.norm1.running_mean"])
    },
    "blue read as red": lambda w: {**w, "stem.conv.weight": np.ascontiguousarray(w["stem.conv.weight"][:, ::-1])},
}  # fmt: skip


@pytest.mark.parametrize("defect", DEFECTS)
def test_a_certificate_tells_what_names_and_shapes_do_not(defect: str, tmp_path: Path) -> None:
    source = saved(tmp_path, NARROW)
    wrong = tmp_path / "wrong.safetensors"
    rn.save_weights(wrong, DEFECTS[defect](rn.probe_weights(NARROW)), NARROW)
    proof = certify(import_weights(source), import_weights(wrong))
    assert not proof.equal
    assert proof.sentence().startswith("NOT equal: ")
    done = in_process("certify", source, wrong)
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.startswith("NOT equal: ")
    assert in_process("certify", source, source).returncode == 0


def test_the_command_writes_a_certificate_beside_the_result(tmp_path: Path) -> None:
    source = saved(tmp_path, rn.spec("resnet18", classes=5))
    done = in_process("convert", source, tmp_path / "w.safetensors", "--to", "torchvision")
    assert (done.returncode, done.stderr) == (0, "")
    assert "Equal: 102 tensors; on 2 pictures of 96 x 96" in done.stdout
    proof = json.loads((tmp_path / "w.safetensors.certificate.json").read_text())
    assert proof["equal"]
    assert (proof["source"]["format"], proof["destination"]["format"]) == ("resnet", "torchvision")
    assert {"name": "stem.conv.weight", "source": "stem.conv.weight", "destination": "conv1.weight"} in proof["tensors"]
    assert len(proof["tensors"]) == 102
    assert set(proof["measured"][0]["max_error"]) == set(rn.taps(rn.spec("resnet18")))
    assert proof["destination"]["file"] == "w.safetensors"
    back = in_process("convert", tmp_path / "w.safetensors", tmp_path / "n.safetensors", "--json")
    read = json.loads(back.stdout)["source"]
    assert read["program"] == "torchvision's ResNet (resnet.py)"
    assert read["known_by"] == "names and shapes; what they do not show is the program's"
    assert read["stated"] == {"conv_padding": "symmetric", "stem_pool_padding": "symmetric", "norm_epsilon": 1e-5}


def test_halves_are_widened_and_it_is_said(tmp_path: Path) -> None:
    spec = NARROW
    named = export_weights(spec, rn.probe_weights(spec), "hf").arrays
    halves = {name: array.astype(np.float16) for name, array in named.items()}
    safetensors.numpy.save_file(halves, tmp_path / "half.safetensors")
    done = convert(tmp_path / "half.safetensors", tmp_path / "w.safetensors", spec=spec)
    assert "  its kernels hold float16 numbers, which are float32 here" in done.told()
    assert json.loads(done.certificate.text())["source"]["numbers"] == "float16 in all kernels, float32 here"
    assert {array.dtype.name for array in done.source.weights.values()} == {"float32"}
    again = convert(saved(tmp_path, spec), tmp_path / "x.safetensors", destination_format="hf")
    assert not [line for line in again.told() if "numbers" in line]


BAD = [
    (["w.keras"], "received the ending '.keras'; expected one of .safetensors, .pth"),
    (["w.pth"], "to: received none; .pth may be torchvision or timm"),
    (["there"], "to: received none; a folder may be hf or flax or nnx; say which with --to"),
    (
        ["w.h5", "--to", "hf"],
        "received the ending .h5 for hf; it is one of keras; expected none (a folder), .safetensors",
    ),
    (["w.ckpt", "--to", "slim"], "received the ending .ckpt for slim; expected .index"),
    (
        ["w.safetensors", "--to", "caffe"],
        "to: received 'caffe'; expected one of resnet, torchvision, timm, hf, ",
    ),
    (["w.safetensors", "--from", "keras"], "are not those of keras"),
    (["w.safetensors", "--to", "torchvision"], "channels is [4, 6, 8, 10], and [64, 128, 256, 512] in its resnet.py"),
    (["nowhere/w.safetensors"], "nowhere is no folder; make it first, or write elsewhere"),
    (["w.safetensors", "--set", "classes=3"], "received --set without --spec"),
    (["w.safetensors", "--spec", "resnet50"], "not the requested network"),
]


@pytest.mark.parametrize(("arguments", "words"), BAD)
def test_a_refusal_is_one_line_and_leaves_nothing(arguments: list[str], words: str, tmp_path: Path) -> None:
    source = saved(tmp_path, NARROW)
    if "--from" in arguments:
        safetensors.numpy.save_file({"conv1.weight": np.zeros(3, np.float32)}, source)
    done = in_process("convert", source, tmp_path / arguments[0], *arguments[1:])
    assert (done.returncode, done.stdout) == (2, "")
    assert words in done.stderr
    assert done.stderr.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["neutral.safetensors"]


@pytest.mark.parametrize("name", ["resnet", "torchvision"])
def test_a_conversion_that_changes_a_single_digit_is_not_written(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = saved(tmp_path, rn.spec("resnet18", classes=5))

    def damaged(path: Path, arrays: dict[str, np.ndarray], metadata: dict[str, str]) -> None:
        name = next(name for name in arrays if name.endswith("conv1.weight"))
        write_safetensors(path, {**arrays, name: np.nextafter(arrays[name], np.float32(9))}, metadata)

    module = "resnet_core.conversion.convert" if name == "torchvision" else "resnet_core.weight_file"
    monkeypatch.setattr(f"{module}.write_safetensors", damaged)
    words = "not written, since it would not compute the same" if name == "torchvision" else "the digest does not match"
    with pytest.raises(InputError, match=words):
        convert(source, tmp_path / "w.safetensors", destination_format=name)
    assert [path.name for path in tmp_path.iterdir()] == ["neutral.safetensors"]


def test_what_is_there_stays_as_it_was(tmp_path: Path) -> None:
    source = saved(tmp_path, NARROW)
    (tmp_path / "there").mkdir()
    assert "(Is a directory); nothing was" in in_process("convert", source, tmp_path / "there", "--to", "hf").stderr
    (tmp_path / "w.safetensors").write_text("mine")
    assert in_process("convert", source, tmp_path / "w.safetensors", "--to", "torchvision").returncode == 2
    assert (tmp_path / "w.safetensors").read_text() == "mine"


def test_other_channels_and_classes_have_no_certificate(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    files = [saved(tmp_path, NARROW), saved(other, rn.spec(NARROW, classes=6))]
    with pytest.raises(WeightsError, match=r"certify: classes is 5 in .*, and 6 in"):
        certify(*map(import_weights, files))


# HDF5.


def _linked(file: Any) -> None:
    file["layers/conv2d/vars/0"] = h5py.ExternalLink("/etc/passwd", "/x")


def _soft(file: Any) -> None:
    file["layers/conv2d/vars/0"] = h5py.SoftLink("/elsewhere")


def _outside(file: Any) -> None:
    file.create_dataset("layers/conv2d/vars/0", (9,), "f4", external=[("/etc/hostname", 0, 36)])


def _huge(file: Any) -> None:
    file.create_dataset("layers/conv2d/vars/0", (10**12,), "f4", chunks=(1000,))


def _virtual(file: Any) -> None:
    layout = h5py.VirtualLayout((3,), "f4")
    layout[:] = h5py.VirtualSource("other.h5", "x", (3,))
    file.create_virtual_dataset("layers/conv2d/vars/0", layout)


def _whole(file: Any) -> None:
    file["layers/conv2d/vars/0"] = np.zeros(3, np.int32)


def _many(file: Any) -> None:
    for number in range(3):
        file[f"layers/conv2d/vars/{number}"] = np.zeros(3, np.float32)


BAD_FILES: list[tuple[Callable[[Any], None], str]] = [
    (_linked, "is a link to elsewhere"),
    (_soft, "is a link to elsewhere"),
    (_outside, "lies in another file"),
    (_virtual, "lies in another file"),
    (_huge, "says that it holds more than the file"),
    (_whole, "conv2d/kernel is int32; expected floating-point numbers"),
    (_many, "conv2d: received 3 variables"),
    (lambda file: None, "has neither layers nor layer_names"),
]


@pytest.mark.parametrize(("damage", "words"), BAD_FILES)
def test_a_bad_file_of_keras_is_one_line(damage: Callable[[Any], None], words: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.weights.h5"
    with h5py.File(path, "w") as file:
        damage(file)
    with pytest.raises(WeightsError) as caught:
        read_state_dict(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert words in str(caught.value)


def test_truncated_and_changed_files_of_keras_are_one_line(tmp_path: Path) -> None:
    path = tmp_path / "w.h5"
    with h5py.File(path, "w") as file:
        file["layers/conv2d/vars/0"] = np.zeros((3, 3), np.float32)
    data = path.read_bytes()
    for place in range(0, len(data), 97):
        for bad in (data[:place], data[:place] + bytes([data[place] ^ 0xFF]) + data[place + 1 :]):
            path.write_bytes(bad)
            try:
                read_state_dict(path)
            except WeightsError as error:
                assert "\n" not in str(error)  # noqa: PT017


RECORDED = Path(__file__).parents[1] / "referees" / "files"


def test_a_file_at_which_a_library_never_ends_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """HDF5 1.14.6 looks for ever for a text that a damaged heap does not have."""
    data = bytearray((RECORDED / "keras_v1.weights.h5").read_bytes())
    data[3560], data[4518] = 148, 18
    (tmp_path / "w.weights.h5").write_bytes(data)
    monkeypatch.setattr("resnet_core.conversion.read.SECONDS", 10)
    with pytest.raises(WeightsError, match=r"^\S+w\.weights\.h5: cannot be read \([^\n]+$"):
        import_weights(tmp_path / "w.weights.h5")


def test_a_file_that_says_it_holds_gigabytes_does_not_get_them(tmp_path: Path) -> None:
    """HDF5 asks for 2.6 GB of memory before it finds that the file is too short."""
    data = bytearray((RECORDED / "keras_v1.h5").read_bytes())
    data[4180], data[8917], data[175211] = 128, 207, 160
    (tmp_path / "w.h5").write_bytes(data)
    with Worker(defaults=environment("keras")) as worker:
        with pytest.raises(WeightsError, match="cannot be read"):
            worker.call("read_state_dict", backend="keras", path=str(tmp_path / "w.h5"))
        status = Path(f"/proc/{worker._process.pid}/status").read_text().splitlines()
    assert int(next(line.split()[1] for line in status if line.startswith("VmHWM"))) < 1_400_000  # 2,670,000 without


def test_memory_is_bounded_inside_and_not_behind() -> None:
    """In a process of its own: this one may have as much left over from other tests."""
    program = """
import numpy as np
from resnet_core.workers.memory import bounded_memory
try:
    with bounded_memory(50_000_000):
        np.ones(20_000_000)
except MemoryError:
    print("refused inside", np.ones(20_000_000).all())
"""
    process = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert process.stdout == "refused inside True\n"


def test_an_archive_that_unpacks_to_more_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "bomb.keras", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model.weights.h5", bytes(50_000_000))
    with pytest.raises(WeightsError, match=r"unpacks to 50000000 bytes"):
        read_state_dict(tmp_path / "bomb.keras")
    with zipfile.ZipFile(tmp_path / "empty.keras", "w"):
        pass
    with pytest.raises(WeightsError, match=r"is an archive with 0 files model\.weights\.h5"):
        read_state_dict(tmp_path / "empty.keras")


def test_another_librarys_file_may_stand_in_the_place_of_the_spec(tmp_path: Path) -> None:
    spec = rn.spec("resnet18", classes=5)
    source = saved(tmp_path, spec)
    convert(source, tmp_path / "there.safetensors", destination_format="torchvision")
    photo = Path(rn.__file__).parent / "data" / "sample" / "photo.jpg"
    own, other = (
        in_process("predict", tmp_path / file, photo, "--backend", "numpy", "--json")
        for file in ("neutral.safetensors", "there.safetensors")
    )
    assert (other.returncode, other.stdout) == (0, own.stdout)
    assert "there.safetensors: says nothing of its pictures; assumed is" in other.stderr
    assert rn.trained_network(tmp_path / "there.safetensors").spec == spec
    for command in (("show", "--depth", "1"), ("source", "--backend", "numpy")):
        own, other = (in_process(command[0], file, *command[1:]) for file in (source, tmp_path / "there.safetensors"))
        assert (other.returncode, other.stdout) == (0, own.stdout)


def test_files_of_other_networks_are_told_apart_by_the_stage(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    files = [saved(tmp_path, NARROW), saved(other, rn.spec(NARROW, channels=[6, 6, 8, 10]))]
    done = in_process("certify", *files)
    assert (done.returncode, done.stdout) == (2, "")
    assert "certify: stem has the shape (24, 24, 4) in " in done.stderr


def test_a_deployed_network_is_certified(tmp_path: Path) -> None:
    done = convert(saved(tmp_path, NARROW), tmp_path / "deployed.safetensors", deploy=True)
    assert done.rewritten == ("14 norms folded into convolutions",)
    assert 0 < max(done.certificate.errors.values()) < 1e-6
    assert import_weights(tmp_path / "deployed.safetensors").spec == rn.spec(NARROW, deploy=True)
    again = convert(tmp_path / "deployed.safetensors", tmp_path / "again.safetensors", deploy=True)
    assert set(again.certificate.errors.values()) == {0.0}
    standardized = rn.spec("resnet18", classes=5, deploy=True, standardize_weights=True)
    with pytest.raises(WeightsError, match="deploy is True, and False in its"):
        convert(saved(tmp_path, standardized), tmp_path / "there.safetensors", destination_format="torchvision")


def test_a_deployed_network_gets_norms_where_it_is_exported(tmp_path: Path) -> None:
    wide = rn.spec("resnet18", classes=5, deploy=True)
    done = convert(saved(tmp_path, wide), tmp_path / "there.safetensors", destination_format="torchvision")
    assert done.rewritten == ("norms that only add the biases, which the deploy form has in the convolutions",)
    assert max(done.certificate.errors.values()) < 1e-6
    found = import_weights(tmp_path / "there.safetensors")
    assert found.spec == rn.spec("resnet18", classes=5)
    assert (found.weights["stem.norm.weight"] == 1).all()
