"""Files that the real programs wrote: recognized, computing what those computed, and written back to the same bits.

`tests/referees/README.md` says how they were recorded. None of those programs is needed here.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import shutil
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import msgpack
import numpy as np
import onnx
import pytest

import resnet_core as rn
import resnet_numpy
from file_processes import shared_processes
from referees import draw
from resnet_core.conversion import read
from resnet_core.conversion.convert import convert
from resnet_core.conversion.export import export_weights
from resnet_core.conversion.formats import FORMATS
from resnet_core.conversion.read import Imported, import_weights
from resnet_core.errors import InputError, WeightsError
from resnet_core.numerics import relative_error
from resnet_core.weights import StateDict, Weights, half_precision

FOLDER = Path(__file__).parents[1] / "referees" / "files"
RECORDED: dict[str, dict[str, Any]] = json.loads((FOLDER / "files.json").read_text(encoding="utf-8"))
TOLERANCE = {"float64": 1e-10, "float32": 1e-5}

#: One file of each program, for defects.
KINDS = ("torchvision_basic.pth", "timm_v2", "transformers_basic", "keras_v1.weights.h5", "slim_v1.ckpt.index",
         "flax_basic.msgpack")  # fmt: skip

#: {format: where a file of it is written to}.
WRITTEN = {"torchvision": "back.pth", "timm": "back.bin", "hf": "back", "keras": "back.weights.h5",
           "slim": "back.ckpt.index", "flax": "back.msgpack",
           "nnx": "back.msgpack"}  # fmt: skip

#: What is no part of a network: counters, and what an optimizer keeps.
BESIDE = re.compile(r".*num_batches_tracked|.*/Momentum|global_step|step|opt_state/.*")


#: {file: what lies in it beside the network and is no tensor}.
NO_TENSORS = {
    "torchvision_wrapped.pth": ("epoch", "arch", "state_dict_ema", "optimizer"),
    "flax_basic.msgpack": ("dynamic_scale",),
    "flax_bottleneck": ("dynamic_scale",),
}


@pytest.fixture(autouse=True, scope="module")
def processes() -> Iterator[None]:
    with shared_processes():
        yield


@pytest.fixture
def any_width(monkeypatch: pytest.MonkeyPatch) -> None:
    """Programs of fixed widths were recorded with others, which no user of theirs has and no export is written for."""
    for name, format in list(FORMATS.items()):
        styles = tuple(
            dataclasses.replace(style, fixed={k: v for k, v in style.fixed.items() if "channels" not in k})
            for style in format.styles
        )
        monkeypatch.setitem(FORMATS, name, dataclasses.replace(format, styles=styles))


#: Layers of keras.applications that are only numbered, and those of a program of one's own.
NUMBERED = tuple(name for name in RECORDED if name.startswith(("keras_2", "keras_3_0", "keras_3_5_v")))
FUNCTIONAL = "keras_3_5_functional.weights.h5"


def given_spec(name: str) -> rn.ResNetSpec | None:
    """The spec of a file that does not say it: a state of this project's own NNX model is known by nothing else."""
    given = RECORDED[name].get("spec")
    return None if given is None else rn.spec(given[0], **given[1])


def given_format(name: str) -> str | None:
    """The library of a file that does not say it."""
    return "keras" if name in NUMBERED else None


def error(name: str, found: Imported) -> float:
    """How far the reference is from what the program computed from the same picture."""
    about = RECORDED[name]
    images = draw.image(tuple(about["input_shape"]), about["seed"]).astype(np.float64)
    model = rn.build(found.spec, backend="numpy", weights=rn.cast(found.weights, "float64"), dtype="float64")
    return relative_error(resnet_numpy.predict(model, images).ravel(), np.array(about["logits"]))


def native(path: Path) -> Weights:
    return read.native_arrays(path / "model.safetensors" if (path / "model.safetensors").exists() else path)


@pytest.mark.parametrize("name", RECORDED)
def test_it_is_recognized_and_computes_what_its_program_computed(name: str) -> None:
    found = import_weights(FOLDER / name, given_spec(name), given_format(name))
    assert found.recognized is not None
    assert found.recognized.format.name == RECORDED[name]["format"]
    assert error(name, found) <= TOLERANCE[RECORDED[name]["precision"]]
    assert half_precision(found.weights) == ("bfloat16" if "bfloat16" in name else None)


@pytest.mark.parametrize("name", [name for name in RECORDED if name != FUNCTIONAL])
@pytest.mark.usefixtures("any_width")
def test_there_and_back_is_the_same_bits_and_what_is_not_carried_is_listed(name: str, tmp_path: Path) -> None:
    format = RECORDED[name]["format"]
    source, back = FOLDER / name, tmp_path / WRITTEN[format]
    given: dict[str, Any] = {"spec": given_spec(name), "source_format": given_format(name)}
    first = convert(source, tmp_path / "neutral.safetensors", **given)
    exported = convert(tmp_path / "neutral.safetensors", back, destination_format=format).exported
    theirs = native(source / "pytorch_model.bin" if (source / "pytorch_model.bin").exists() else source)
    ours = native(back)
    recognized = first.source.recognized
    assert recognized is not None
    assert exported is not None
    for there, here in recognized.names.items():
        again = exported.names[here]
        assert again == there or recognized.ordered_as
        assert ours[again].dtype == theirs[there].dtype
        np.testing.assert_array_equal(ours[again], theirs[there])
    left_out = theirs.keys() - recognized.names.keys()
    assert left_out | set(NO_TENSORS.get(name, ())) == set(recognized.left_out)
    assert set(recognized.left_out) <= set(first.certificate.not_carried)
    assert all(BESIDE.fullmatch(each) for each in left_out)
    if "flax_b" in name:  # the example's optimizer keeps one array of each parameter, in a list
        parameters = {there.removeprefix("params/") for there in recognized.names if there.startswith("params/")}
        assert parameters == {each.removeprefix("opt_state/0/trace/") for each in left_out if "/trace/" in each}


@pytest.mark.parametrize("name", NUMBERED)
@pytest.mark.usefixtures("any_width")
def test_layers_without_names_are_known_by_their_order_which_the_certificate_says(name: str, tmp_path: Path) -> None:
    done = convert(FOLDER / name, tmp_path / "neutral.safetensors", source_format="keras")
    order = "known from the order of keras.applications"
    assert done.certificate.source["known_by"] == f"{order}, since its layers have no names, and shapes"
    assert any(f"its layers have no names: {order}" in line for line in done.told())
    real = [layer for layer in RECORDED[name]["layers"] if layer.endswith("_conv")]
    assert done.source.recognized is not None
    exported = export_weights(done.source.spec, done.source.weights, "keras").names
    for number, layer in enumerate(real):
        there = f"layers/conv2d{f'_{number}' if number else ''}/kernel"
        if not name.startswith("keras_2"):  # whose numbers have gaps
            assert exported[done.source.recognized.names[there]] == f"{layer}/kernel"


def test_numbers_of_a_program_of_ones_own_are_taken_for_no_librarys(tmp_path: Path) -> None:
    """The same kinds of layers in the same order, and all shapes: with other paddings and another epsilon."""
    path, spec = FOLDER / FUNCTIONAL, given_spec(FUNCTIONAL)
    with pytest.raises(
        WeightsError, match=r"numbers for names .* say --from keras if it is of .*, or else .* by --spec$"
    ):
        import_weights(path)
    theirs = import_weights(path, format="keras")
    assert theirs.spec.conv_padding != spec.conv_padding
    assert error(FUNCTIONAL, theirs) > 1e-3
    other, _ = copied(FUNCTIONAL, tmp_path)
    with h5py.File(other, "r+") as file:  # as from a sum whose arguments are exchanged
        for kind, one in (("conv2d", 7), ("batch_normalization", 7)):
            names = [f"layers/{kind}_{one}", f"layers/{kind}_{one + 1}", "layers/between"]
            for here, there in ((0, 2), (1, 0), (2, 1)):
                file.move(names[here], names[there])
    with pytest.raises(WeightsError, match=r"conv.*received shape"):
        import_weights(other, spec)


def test_names_that_keras_numbers_are_no_networks(tmp_path: Path) -> None:
    """Keras since 3.6 writes the names of layers, which a functional model leaves to it: numbers as they were made."""
    path, _ = copied(FUNCTIONAL, tmp_path)
    with h5py.File(path, "r+") as file:
        for name, layer in file["layers"].items():
            layer["vars"].attrs["name"] = name
    for spec in (None, given_spec(FUNCTIONAL)):
        with pytest.raises(WeightsError, match=r"have the names that the library numbers \(.*give them those of keras"):
            import_weights(path, spec)


def test_what_was_recorded_is_small() -> None:
    """Each network's files 300 KB, and all together 5 MB."""
    sizes = {name: sum((FOLDER / each).stat().st_size for each in about["sha256"]) for name, about in RECORDED.items()}
    assert {name: size for name, size in sizes.items() if size > 300_000} == {}
    files = [path for place in ("files", "onnx") for path in (FOLDER.parent / place).rglob("*") if path.is_file()]
    recorded = {FOLDER / each for about in RECORDED.values() for each in about["sha256"]}
    assert {path for path in files if FOLDER in path.parents} == {*recorded, FOLDER / "files.json"}
    assert sum(path.stat().st_size for path in files) < 5_000_000


def test_the_files_are_those_that_were_recorded() -> None:
    for about in RECORDED.values():
        for each, digest in about["sha256"].items():
            assert hashlib.sha256((FOLDER / each).read_bytes()).hexdigest() == digest


# Defects.


def _pair(arrays: Weights, fits: Callable[[np.ndarray], bool]) -> tuple[str, str]:
    """Two tensors of the same shape that hold other numbers."""
    names = [name for name in arrays if fits(arrays[name])]
    return next((a, b) for a in names for b in names if a != b and arrays[a].shape == arrays[b].shape)


def _exchanged(arrays: Weights, one: str, other: str) -> Weights:
    return {**arrays, one: arrays[other], other: arrays[one]}


def _without(arrays: Weights, *names: str) -> Weights:
    return {name: array for name, array in arrays.items() if name not in names}


def _transposed(arrays: Weights, names: dict[str, str], hwio: bool) -> Weights:
    axes = (2, 3) if hwio else (0, 1)
    name = next(
        names[here] for here in names
        if (shape := arrays[names[here]].shape) and len(shape) == 4 and shape[axes[0]] == shape[axes[1]]
    )  # fmt: skip
    return {**arrays, name: np.ascontiguousarray(arrays[name].swapaxes(*axes))}


#: {defect: (arrays, {neutral name: name there}, whether kernels are (height, width, in, out)) -> arrays}, refused.
REFUSED: dict[str, Callable[[Weights, dict[str, str], bool], Weights]] = {
    "a tensor is missing": lambda a, n, _: _without(a, n["stage1.block1.conv2.weight"]),
    "one too many": lambda a, n, _: {**a, f"{n['head.linear.weight']}x": np.zeros(3, np.float32)},
    "no statistics": lambda a, n, _: _without(a, *(there for here, there in n.items() if ".running_" in here)),
}
#: The same; all names and shapes are right.
COMPUTED: dict[str, Callable[[Weights, dict[str, str], bool], Weights]] = {
    "two of the same shape": lambda a, n, _: _exchanged(a, *_pair({n[h]: a[n[h]] for h in n}, lambda x: x.ndim == 4)),
    "a square kernel transposed": _transposed,
    "scale and variance": lambda a, n, _: _exchanged(
        a, n["stage1.block1.norm2.weight"], n["stage1.block1.norm2.running_var"]
    ),
}


def damaged(name: str, defect: Callable[..., Weights], monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on, the file is read with the defect."""
    found = import_weights(FOLDER / name)
    assert found.recognized is not None
    names = {here: there for there, here in found.recognized.names.items()}
    arrays = read.native_arrays(found.path)
    changed = StateDict(defect(arrays, names, found.recognized.format.layout == "hwio"))
    monkeypatch.setattr(read, "native_arrays", lambda path: changed)


@pytest.mark.parametrize("defect", REFUSED)
@pytest.mark.parametrize("name", KINDS)
def test_other_tensors_than_those_of_a_network_are_refused(
    name: str, defect: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    damaged(name, REFUSED[defect], monkeypatch)
    with pytest.raises(WeightsError) as caught:
        import_weights(FOLDER / name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("defect", COMPUTED)
@pytest.mark.parametrize("name", KINDS)
def test_what_names_and_shapes_do_not_show_is_seen_in_the_logits(
    name: str, defect: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    damaged(name, COMPUTED[defect], monkeypatch)
    assert error(name, import_weights(FOLDER / name)) > 1e-3


@pytest.mark.parametrize("name", KINDS)
def test_another_number_of_classes_is_not_taken(name: str) -> None:
    found = import_weights(FOLDER / name)
    other = rn.spec(found.spec, name="", classes=found.spec.classes - 1)
    with pytest.raises(WeightsError, match=rf"these weights are for {found.spec.classes} classes"):
        import_weights(FOLDER / name, other)


def copied(name: str, folder: Path) -> tuple[Path, Path]:
    """(a copy of what was recorded, its largest file)."""
    for each in RECORDED[name]["sha256"]:
        (folder / each).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(FOLDER / each, folder / each)
    largest = max(RECORDED[name]["sha256"], key=lambda each: (FOLDER / each).stat().st_size)
    return folder / name, folder / largest


@pytest.mark.parametrize("name", RECORDED)
def test_half_a_file_is_one_line(name: str, tmp_path: Path) -> None:
    path, largest = copied(name, tmp_path)
    data = largest.read_bytes()
    largest.write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError) as caught:
        import_weights(path, given_spec(name), given_format(name))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", KINDS)
def test_a_turned_bit_is_refused_in_a_line_or_seen_in_what_is_read(name: str, tmp_path: Path) -> None:
    path, largest = copied(name, tmp_path)
    data, rng, good = largest.read_bytes(), np.random.default_rng(0), import_weights(path).weights
    for place in (*rng.integers(0, 400, 6), *rng.integers(0, len(data), 6)):
        largest.write_bytes(data[:place] + bytes([data[place] ^ 0x40]) + data[place + 1 :])
        try:
            found = import_weights(path)
        except InputError as refusal:
            assert "\n" not in str(refusal)  # noqa: PT017
        else:  # the bit is of one tensor, or of nothing that is read
            different = [key for key in good if not np.array_equal(found.weights[key], good[key], equal_nan=True)]
            assert len(different) <= 1


def _absurd_safetensors(path: Path, shape: list[int]) -> None:
    data = (FOLDER / "timm_v2" / "model.safetensors").read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    header["stem.conv.weight"]["shape"] = shape
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data[8 + length :])


def _absurd_msgpack(path: Path, shape: list[int]) -> None:
    array = msgpack.ExtType(1, msgpack.packb((shape, "float32", bytes(16))))  # as flax.serialization writes one
    path.write_bytes(msgpack.packb({"params": {"conv_init": {"kernel": array}}}))


def _absurd_onnx(path: Path, shape: list[int]) -> None:
    kernel = onnx.TensorProto(name="w", dims=shape, data_type=onnx.TensorProto.FLOAT, raw_data=bytes(16))
    ends = [onnx.helper.make_tensor_value_info(name, 1, [1, 3, 64, 64]) for name in ("x", "y")]
    node = onnx.helper.make_node("Conv", ["x", "w"], ["y"])
    graph = onnx.helper.make_graph([node], "absurd", ends[:1], ends[1:], [kernel])
    path.write_bytes(onnx.helper.make_model(graph).SerializeToString())


@pytest.mark.parametrize("shape", [[2**40, 3, 7, 7], [2**31, 2**31, 2**31, 2**31]], ids=str)
@pytest.mark.parametrize(
    ("file", "write"),
    [("w.safetensors", _absurd_safetensors), ("w.msgpack", _absurd_msgpack), ("w.onnx", _absurd_onnx)],
)
def test_an_absurd_shape_in_a_header_is_one_line_and_allocates_nothing(
    file: str, write: Callable[[Path, list[int]], None], shape: list[int], tmp_path: Path
) -> None:
    """HDF5's is among the bad files of Keras in `tests/unit/test_conversion.py`."""
    write(tmp_path / file, shape)
    tracemalloc.start()
    try:
        with pytest.raises(WeightsError, match=r"(not a readable|cannot be read)") as refused:
            import_weights(tmp_path / file)
        assert tracemalloc.get_traced_memory()[1] < 16 * 2**20
    finally:
        tracemalloc.stop()
    assert "\n" not in str(refused.value)


def test_a_link_out_of_a_file_is_refused(tmp_path: Path) -> None:
    path, _ = copied("keras_v1.weights.h5", tmp_path)
    with h5py.File(path, "r+") as file:
        del file["layers/conv2d/vars/0"]
        file["layers/conv2d/vars/0"] = h5py.ExternalLink("/etc/passwd", "/x")
    with pytest.raises(WeightsError, match="is a link to elsewhere"):
        import_weights(path)
