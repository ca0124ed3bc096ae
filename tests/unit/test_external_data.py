"""ONNX graphs whose weights lie beside them: as this project writes them above 2 GiB, and as PyTorch always does."""

from __future__ import annotations

import hashlib
import os
import shutil
import tracemalloc
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

import resnet_core as rn
import resnet_onnx
from resnet_core.conversion import convert as conversion
from resnet_core.conversion.convert import Conversion, convert
from resnet_core.conversion.read import import_weights
from resnet_core.errors import InputError, WeightsError
from resnet_core.specification import to_fields
from resnet_onnx import external_data
from resnet_onnx.state_dict import network_files, read_network, write_network

RECORDED = Path(__file__).parents[1] / "referees" / "onnx" / "layer_norm.default.onnx"
NARROW = rn.spec("resnet18", channels=(8, 8, 8, 12), depths=(1, 1, 1, 1), classes=5)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is 2 GiB elsewhere is 10,000 bytes here, which no tensor alone has."""
    monkeypatch.setattr(external_data, "MOST", 10_000)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    rn.save_weights(tmp_path / "w.safetensors", rn.probe_weights(NARROW), NARROW)
    return tmp_path / "w.safetensors"


class _Here:
    """A worker's task in this process, where the bound is low."""

    def call(self, task: str, arrays: Any, *, backend: str, path: str, spec: Any, about: Any) -> None:
        assert (task, backend) == ("write_network", "onnx")
        write_network(Path(path), spec, arrays, about)


def converted(source: Path, target: Path, monkeypatch: pytest.MonkeyPatch) -> Conversion:
    monkeypatch.setattr(conversion, "Worker", lambda **given: nullcontext(_Here()))
    return convert(source, target)


def names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


def test_large_weights_are_written_beside_the_graph(tmp_path: Path) -> None:
    weights, path = rn.probe_weights(NARROW), tmp_path / "net.onnx"
    write_network(path, to_fields(NARROW), weights, {"about": "a test"})
    assert names(tmp_path) == ["net.onnx", "net.onnx.data"]
    onnx.checker.check_model(str(path), full_check=True)
    places = [
        {entry.key: entry.value for entry in tensor.external_data}
        for tensor in onnx.load(path, load_external_data=False).graph.initializer
        if tensor.data_location == onnx.TensorProto.EXTERNAL
    ]
    assert {place["location"] for place in places} == {"net.onnx.data"}
    assert len(places) == sum(array.nbytes >= 1024 for array in weights.values())
    assert all(int(place["offset"]) % 4096 == 0 for place in places)
    graph, arrays = read_network(path)
    assert graph["about"] == {"about": "a test"}
    assert all(np.array_equal(arrays[name], array) for name, array in weights.items())
    assert network_files(path) == [tmp_path / "net.onnx.data"]


def test_what_is_beside_the_graph_computes_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = resnet_onnx.build(NARROW, weights=rn.probe_weights(NARROW))
    images = np.random.default_rng(0).standard_normal((1, 32, 32, 3)).astype(np.float32)
    found = resnet_onnx.predict(model, images)  # of a session that reads both files
    model.save(tmp_path / "net.onnx")
    session = onnxruntime.InferenceSession(str(tmp_path / "net.onnx"))
    assert np.array_equal(session.run(None, {"images": images.transpose(0, 3, 1, 2)})[0], found)
    monkeypatch.undo()
    whole = resnet_onnx.build(NARROW, weights=rn.probe_weights(NARROW))
    whole.save(tmp_path / "whole.onnx")
    assert not (tmp_path / "whole.onnx.data").exists()
    assert np.array_equal(resnet_onnx.predict(whole, images), found)


def test_a_conversion_writes_both_and_its_certificate_is_of_both(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "net.onnx").write_bytes(b"an older one")
    done = converted(source, tmp_path / "net.onnx", monkeypatch)
    files = [tmp_path / "net.onnx", tmp_path / "net.onnx.data"]
    lines = "".join(f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in files)
    assert done.certificate.destination["sha256"] == hashlib.sha256(lines.encode()).hexdigest()
    assert done.certificate.destination["bytes"] == sum(file.stat().st_size for file in files)
    assert [measurement.equal for measurement in done.certificate.measured] == [True, True]
    assert names(tmp_path) == ["net.onnx", "net.onnx.certificate.json", "net.onnx.data", "w.safetensors"]
    back = convert(tmp_path / "net.onnx", tmp_path / "back.safetensors")
    assert back.source.beside == (files[1],)
    assert (tmp_path / "back.safetensors").read_bytes() == source.read_bytes()
    data = bytearray(files[1].read_bytes())
    data[100] ^= 1
    files[1].write_bytes(data)
    with pytest.raises(WeightsError, match="digest"):
        import_weights(tmp_path / "net.onnx")


def test_an_older_file_beside_it_is_never_replaced(source: Path, tmp_path: Path) -> None:
    (tmp_path / "net.onnx.data").write_bytes(b"someone's")
    with pytest.raises(InputError, match=r"net\.onnx\.data: is there already, beside an older net\.onnx; remove it"):
        convert(source, tmp_path / "net.onnx")
    assert names(tmp_path) == ["net.onnx.data", "w.safetensors"]


def test_where_it_fails_neither_is_left_and_the_old_one_is(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "net.onnx").write_bytes(b"an older one")

    def failing(path: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("resnet_core.conversion.convert.import_weights", _after(1, failing))
    with pytest.raises(InputError, match=r"net\.onnx: cannot be written \(No space left on device\)"):
        converted(source, tmp_path / "net.onnx", monkeypatch)
    assert names(tmp_path) == ["net.onnx", "w.safetensors"]
    assert (tmp_path / "net.onnx").read_bytes() == b"an older one"


def _after(count: int, failing: Callable[[Path], None]) -> Callable[..., Any]:
    calls: list[Path] = []

    def imported(path: Path, *arguments: Any) -> Any:
        calls.append(path)
        return import_weights(path, *arguments) if len(calls) <= count else failing(path)

    return imported


def test_pytorchs_own_files_are_converted(tmp_path: Path) -> None:
    done = convert(RECORDED, tmp_path / "w.safetensors")
    data = RECORDED.with_name(f"{RECORDED.name}.data")
    assert done.source.beside == (data,)
    assert done.source.spec.norm == "layer"
    assert done.certificate.source["bytes"] == RECORDED.stat().st_size + data.stat().st_size
    assert all(measurement.equal for measurement in done.certificate.measured)


# What must not be: each changes what the first tensor in the other file says, or that file.


def _says(**about: object) -> Callable[[Any, Path], None]:
    def change(tensor: Any, data: Path) -> None:
        found = {entry.key: entry.value for entry in tensor.external_data}
        del tensor.external_data[:]
        for key, value in {**found, **about}.items():
            tensor.external_data.add(key=key, value=str(value))

    return change


def _linked(tensor: Any, data: Path) -> None:
    outside = data.parent.parent / "outside"
    data.rename(outside)
    data.symlink_to(outside)


def _gone(tensor: Any, data: Path) -> None:
    data.unlink()


def _round(tensor: Any, data: Path) -> None:
    data.unlink()
    data.symlink_to(data.name)


def _folder(tensor: Any, data: Path) -> None:
    data.unlink()
    data.mkdir()


def _pipe(tensor: Any, data: Path) -> None:
    data.unlink()
    os.mkfifo(data)


def _truncated(tensor: Any, data: Path) -> None:
    data.write_bytes(data.read_bytes()[:-8])


def _vast(tensor: Any, data: Path) -> None:
    tensor.dims[:] = [2**40, 2**20]


def _negative(tensor: Any, data: Path) -> None:
    tensor.dims[:] = [-1, -1, 3, 4, 9]


BAD: dict[str, tuple[Callable[[Any, Path], None], str]] = {
    "an absolute path": (_says(location="/etc/passwd"), "lies at '/etc/passwd'; expected a file in the graph's own"),
    "a path upwards": (_says(location="../net.onnx.data"), "lies at '../net.onnx.data'; expected"),
    "a path upwards within": (_says(location="a/../../net.onnx.data"), "expected a file in the graph's own folder"),
    "a path of Windows": (_says(location="..\\net.onnx.data"), "expected a file in the graph's own folder"),
    "a drive": (_says(location="C:net.onnx.data"), "expected a file in the graph's own folder"),
    "no path": (_says(location=""), "lies at ''; expected"),
    "a name of control characters": (_says(location="\x1b[2J\n"), "lies in \\x1b[2J\\n, which is not there"),
    "a link that leads out": (_linked, "a link that leads out of the graph's folder; it is not opened"),
    "a link to itself": (_round, "which is not there"),
    "no such file": (_gone, "lies in net.onnx.data, which is not there; it belongs beside the graph"),
    "a folder": (_folder, "which is no regular file"),
    "a pipe": (_pipe, "which is no regular file"),
    "a file cut off": (_truncated, "of net.onnx.data, which has 16440; is it whole?"),
    "an offset behind the end": (_says(offset=10**9), "ends at byte 1000000"),
    "an offset below zero": (_says(offset=-4), "has the offset '-4'; expected a whole number of bytes"),
    "an offset that is no number": (_says(offset="1e3"), "has the offset '1e3'; expected a whole number"),
    "a length of another shape": (_says(length=4), "has 4 bytes in net.onnx.data, and "),
    "a vast length": (_says(length=2**62), f"has {2**62} bytes in net.onnx.data, and "),
    "a vast shape": (_vast, f"and {2**62} by its shape [{2**40}, {2**20}]"),
    "a shape below zero": (_negative, "by its shape [-1, -1, 3, 4, 9]"),
    "bytes of another tensor": (_says(offset=0), "that another tensor has too; is the graph damaged?"),
}


@pytest.mark.parametrize("kind", BAD)
def test_what_is_not_a_part_of_a_file_in_the_folder_is_refused(kind: str, tmp_path: Path) -> None:
    change, words = BAD[kind]
    folder = tmp_path / "folder"
    folder.mkdir()
    data = folder / "net.onnx.data"
    shutil.copy(RECORDED.with_name(f"{RECORDED.name}.data"), data)
    proto = onnx.load(RECORDED, load_external_data=False)
    outside = [tensor for tensor in proto.graph.initializer if tensor.data_location == onnx.TensorProto.EXTERNAL]
    for tensor in outside:
        _says(location=data.name)(tensor, data)
    (folder / "net.onnx").write_bytes(proto.SerializeToString())
    read_network(folder / "net.onnx")
    change(outside[-1], data)
    (folder / "net.onnx").write_bytes(proto.SerializeToString())
    for verb in (read_network, network_files):
        with pytest.raises(WeightsError) as error:
            verb(folder / "net.onnx")
        assert words in str(error.value)
        assert "\n" not in str(error.value)


def test_a_link_inside_the_folder_and_a_length_to_the_end_are_read(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    proto = onnx.load(RECORDED)
    tensor = max(proto.graph.initializer, key=lambda tensor: len(tensor.raw_data))
    (tmp_path / "blob").write_bytes(tensor.raw_data)
    (tmp_path / "weights").symlink_to("blob")
    expected = onnx.numpy_helper.to_array(tensor)
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    del tensor.external_data[:]
    tensor.external_data.add(key="location", value="weights")
    path.write_bytes(proto.SerializeToString())
    assert np.array_equal(read_network(path)[1][tensor.name], expected)


def test_mutated_graphs_are_read_or_refused_in_one_line(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """Mutants of what says where the tensors are: no crash, nothing outside the folder, and memory for the file."""
    path, data = tmp_path / RECORDED.name, RECORDED.read_bytes()
    shutil.copy(RECORDED.with_name(f"{RECORDED.name}.data"), tmp_path)
    places = [place for place in range(len(data)) if data.startswith(RECORDED.name.encode(), place)]
    rng, lines = np.random.default_rng(0), []
    tracemalloc.start()
    for _ in range(10_000 if request.config.getoption("--long") else 300):
        changed = bytearray(data)
        for _ in range(rng.integers(1, 4)):
            changed[rng.choice(places) + rng.integers(-60, 80)] = rng.integers(256)
        path.write_bytes(changed)
        try:
            network_files(path)
            _, arrays = read_network(path)
        except WeightsError as error:
            lines.append(str(error))
        else:
            assert sum(array.nbytes for array in arrays.values()) < 10 * len(data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(lines) > 100
    assert not [line for line in lines if "\n" in line]
    assert peak < 64 * 2**20
