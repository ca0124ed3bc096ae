"""The weight file: whole or not at all, checked before anything is believed, and nothing in it is executed."""

from __future__ import annotations

import errno
import json
import os
import pickle
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st

import resnet_core as rn
from random_specs import specs
from resnet_core import InputError, ResNetSpec, WeightsError
from resnet_core.preparation import standard_preparation
from resnet_core.safetensors_file import digest, read_safetensors, safetensors_bytes
from resnet_core.spec_files import from_json
from resnet_core.weight_file import file_digest
from resnet_core.weights import Weights, check_weights

#: Written by this project before there was format 2: `probe_weights` of a narrow resnet20.
FORMAT_1 = Path(__file__).parents[1] / "fixtures" / "format1.safetensors"
SPEC = ResNetSpec(name="tiny", depths=(1,), channels=(2,), block="basic", classes=2, in_channels=1, stem_kernel=1)


def tiny_weights(dtype: str = "float32") -> Weights:
    return rn.probe_weights(SPEC, dtype=dtype)


def saved(folder: Path) -> Path:
    rn.save_weights(folder / "w.safetensors", tiny_weights(), SPEC)
    return folder / "w.safetensors"


def rewrite(path: Path, tensors: dict[str, np.ndarray] | None = None, **metadata: str | None) -> Path:
    """The file again, with a digest that fits, other tensors and other metadata (None: left out)."""
    own, old = read_safetensors(path)
    kept = own if tensors is None else tensors
    merged = {**old, **metadata}
    if "digest" not in metadata:
        merged["digest"] = file_digest(kept, {key: value for key, value in merged.items() if value is not None})
    path.write_bytes(safetensors.numpy.save(kept, {key: value for key, value in merged.items() if value is not None}))
    return path


def refused(path: Path, **arguments: Any) -> str:
    """The one line that refuses the file; the folder is as it was afterwards."""
    before = sorted(path.parent.iterdir())
    with pytest.raises(InputError) as caught:
        rn.load_weights(path, **arguments)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    assert len(message) < 700
    assert sorted(path.parent.iterdir()) == before
    return message.removeprefix(f"{path}: ")


# What a good file keeps


@given(spec=specs(), dtype=st.sampled_from(["float32", "float64"]), seed=st.integers(0, 99))
def test_weights_and_spec_survive_the_file(
    tmp_path_factory: pytest.TempPathFactory, spec: ResNetSpec, dtype: str, seed: int
) -> None:
    path = tmp_path_factory.mktemp("w") / "w.safetensors"
    weights = rn.probe_weights(spec, seed, dtype)
    rn.save_weights(path, weights, spec)
    loaded, own = rn.load_weights(path)
    assert own == spec
    assert list(loaded) == list(rn.state(spec))
    for name, array in weights.items():
        assert loaded[name].dtype == array.dtype
        assert loaded[name].flags.writeable
        np.testing.assert_array_equal(loaded[name], array)


def test_equal_weights_give_equal_bytes(tmp_path: Path) -> None:
    weights = tiny_weights()
    rn.save_weights(tmp_path / "a", weights, SPEC)
    rn.save_weights(tmp_path / "b", dict(reversed(weights.items())), SPEC)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_the_file_is_plain_safetensors_with_pytorchs_layout(tmp_path: Path) -> None:
    path = saved(tmp_path)
    plain = safetensors.numpy.load_file(path)
    assert {name: array.shape for name, array in plain.items()} == rn.state(SPEC)
    _, metadata = read_safetensors(path)
    assert list(metadata) == ["digest", "format", "spec"]
    assert from_json(metadata["spec"]) == SPEC
    assert metadata["digest"] == file_digest(plain, metadata)


def test_the_bytes_are_those_of_the_librarys_own_writer(tmp_path: Path) -> None:
    """But for the metadata, which it has in another order each time."""
    arrays = {"b": np.arange(3, dtype=np.float32), "a.num_batches_tracked": np.array(7), "c": np.eye(2)}
    arrays |= {"d": np.zeros((0, 4), np.float32), "a": np.ones((2, 1, 3), np.float32)}
    for metadata in ({}, {"format": "pt"}):
        assert safetensors_bytes(arrays, metadata) == safetensors.numpy.save(arrays, metadata or None)
    (tmp_path / "w.safetensors").write_bytes(safetensors_bytes(arrays, {"format": "pt"}))
    found, metadata = read_safetensors(tmp_path / "w.safetensors")
    assert metadata == {"format": "pt"}
    assert found.keys() == arrays.keys()
    assert all(
        np.array_equal(found[name], array) and found[name].dtype == array.dtype for name, array in arrays.items()
    )


def test_preparation_and_class_names_travel_with_the_weights(tmp_path: Path) -> None:
    preparation = standard_preparation((9, 11), SPEC.in_channels)
    names = [f"class {number}" for number in range(SPEC.classes or 0)]
    rn.save_weights(tmp_path / "w", tiny_weights(), SPEC, preparation=preparation, classes=names)
    found = rn.read_weight_file(tmp_path / "w")
    assert (found.preparation, found.classes, found.format) == (preparation, tuple(names), "2")
    assert rn.load_weights(tmp_path / "w")[1] == SPEC
    plain = rn.read_weight_file(saved(tmp_path))
    assert (plain.preparation, plain.classes) == (None, None)


def test_a_file_of_format_1_is_read_for_ever() -> None:
    """It has no preparation, and a digest of the tensors alone."""
    found = rn.read_weight_file(FORMAT_1)
    assert (found.format, found.preparation, found.classes) == ("1", None, None)
    assert (found.spec.name, found.spec.input_size) == ("narrow", (9, 11))
    assert digest(found.weights) == read_safetensors(FORMAT_1)[1]["digest"]
    for name, array in rn.probe_weights(found.spec).items():
        np.testing.assert_array_equal(found.weights[name], array)


def test_a_field_of_a_later_version_is_kept_and_breaks_no_digest(tmp_path: Path) -> None:
    """The digest is of the stored bytes: a preparation with one more field, in another order, is still whole."""
    path = saved(tmp_path)
    text = json.dumps({"tone": "film", "size": [9, 11], "channels": SPEC.in_channels})
    found = rn.read_weight_file(rewrite(path, preparation=text))
    assert found.preparation is not None
    assert found.preparation.others == {"tone": "film"}
    rn.save_weights(path, found.weights, SPEC, preparation=found.preparation)
    again = rn.read_weight_file(path).preparation
    assert again == found.preparation


@pytest.mark.parametrize("key", ["spec", "preparation", "classes"])
def test_changed_metadata_do_not_pass_the_digest(key: str, tmp_path: Path) -> None:
    names = [f"class {number}" for number in range(SPEC.classes or 0)]
    preparation = standard_preparation((9, 11), SPEC.in_channels)
    rn.save_weights(tmp_path / "w", tiny_weights(), SPEC, preparation=preparation, classes=names)
    metadata = read_safetensors(tmp_path / "w")[1]
    changed = {"spec": ("0.9", "0.8"), "preparation": ("[9, 11]", "[9, 12]"), "classes": ("class 0", "class x")}[key]
    assert changed[0] in metadata[key]
    text = metadata[key].replace(*changed)
    path = rewrite(tmp_path / "w", **{key: text, "digest": metadata["digest"]})
    assert "the digest does not match" in refused(path)
    rn.read_weight_file(rewrite(path))  # with its own digest, it is a file


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        ({"preparation": "{"}, "preparation: not valid JSON"),
        ({"preparation": "{}"}, "preparation: size: missing"),
        ({"preparation": '{"size": 9, "channels": 7}'}, "preparation: received channels = 7; expected"),
        ({"preparation": '{"size": 9, "crop": 2}'}, "preparation: crop: received 2"),
        ({"classes": '["a"]'}, "classes: received 1 names; expected one for each of"),
        ({"classes": "{}"}, "classes: received"),
    ],
)
def test_metadata_that_do_not_fit_are_refused(metadata: dict[str, str], words: str, tmp_path: Path) -> None:
    assert words in refused(rewrite(saved(tmp_path), **metadata))


@pytest.mark.parametrize(
    "view",
    [
        np.asfortranarray,
        lambda array: array[::-1].copy()[::-1],
        lambda array: np.repeat(array, 2, axis=0)[::2],
        lambda array: np.ascontiguousarray(array.T).T,
    ],
    ids=["fortran", "twice reversed", "strided", "transposed"],
)
def test_an_array_of_another_memory_layout_is_written_rightly(
    view: Callable[[np.ndarray], np.ndarray], tmp_path: Path
) -> None:
    weights = {
        name: view(array) for name, array in rn.probe_weights(rn.spec(SPEC, stem_kernel=3, channels=(4,))).items()
    }
    assert not all(array.flags.c_contiguous for array in weights.values())
    spec = rn.spec(SPEC, stem_kernel=3, channels=(4,))
    rn.save_weights(tmp_path / "w", weights, spec)
    for name, array in rn.load_weights(tmp_path / "w")[0].items():
        np.testing.assert_array_equal(array, weights[name])


def test_a_dtype_converts_on_request_only(tmp_path: Path) -> None:
    rn.save_weights(tmp_path / "w", tiny_weights("float64"), SPEC)
    assert {array.dtype.name for array in rn.load_weights(tmp_path / "w")[0].values()} == {"float64"}
    assert {array.dtype.name for array in rn.load_weights(tmp_path / "w", dtype="float32")[0].values()} == {"float32"}
    with pytest.raises(InputError, match=r"^dtype: received 'float16'; expected one of float32, float64$"):
        rn.load_weights(tmp_path / "w", dtype="float16")


def test_big_endian_arrays_are_written_rightly(tmp_path: Path) -> None:
    weights = {name: array.astype(">f4") for name, array in tiny_weights().items()}
    rn.save_weights(tmp_path / "w", weights, SPEC)
    for name, array in rn.load_weights(tmp_path / "w")[0].items():
        np.testing.assert_array_equal(array, weights[name])


def test_a_name_with_any_character_survives(tmp_path: Path) -> None:
    spec = rn.spec(SPEC, name='größe "x"\\\n 漢')
    rn.save_weights(tmp_path / "w", tiny_weights(), spec)
    assert rn.load_weights(tmp_path / "w")[1] == spec


# Atomic writing


def test_the_file_gets_the_usual_permissions(tmp_path: Path) -> None:
    old = os.umask(0o027)
    try:
        path = saved(tmp_path)
    finally:
        os.umask(old)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def full_disk(*arguments: Any, **more: Any) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("step", ["fsync", "open", "replace", "chmod"])
def test_a_failed_write_leaves_the_old_file_and_nothing_else(
    step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = saved(tmp_path)
    before = path.read_bytes()
    owner = os if step == "fsync" else Path
    with monkeypatch.context() as patch:
        patch.setattr(owner, step, full_disk)
        with pytest.raises(InputError) as caught:
            rn.save_weights(path, rn.initialize(SPEC, 1), SPEC)
    assert str(caught.value) == f"{path}: cannot be written (No space left on device); nothing was changed"
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_an_interrupted_write_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = saved(tmp_path)
    before = path.read_bytes()

    def interrupt(handle: int) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", interrupt)
        with pytest.raises(KeyboardInterrupt):
            rn.save_weights(path, rn.initialize(SPEC, 1), SPEC)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_is_synced_before_it_takes_the_old_ones_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[str] = []
    fsync, replace = os.fsync, Path.replace
    monkeypatch.setattr(os, "fsync", lambda handle: (events.append("sync"), fsync(handle))[1])
    monkeypatch.setattr(Path, "replace", lambda self, target: (events.append("rename"), replace(self, target))[1])
    saved(tmp_path)
    assert events[:2] == ["sync", "rename"]


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("no/such/folder/w.safetensors", r"/folder is no folder; make it first, or write elsewhere$"),
        ("file/w.safetensors", r": cannot be written \(Not a directory\); nothing was changed$"),
    ],
)
def test_a_place_that_cannot_be_written_is_one_clear_line(place: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match=words):
        rn.save_weights(tmp_path / place, tiny_weights(), SPEC)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_directory_is_not_overwritten(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r": cannot be written \(Is a directory\); nothing was changed$"):
        rn.save_weights(tmp_path, tiny_weights(), SPEC)
    assert not list(tmp_path.iterdir())
    assert not list(tmp_path.parent.glob(f".{tmp_path.name}.*"))


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_one_clear_line(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(InputError, match=r": cannot be written \(Permission denied\); nothing was changed$"):
        rn.save_weights(tmp_path / "w", tiny_weights(), SPEC)


def test_a_read_only_file_system_is_one_clear_line_whoever_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_only(*arguments: Any) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr("resnet_core.files.temporary_file", read_only)
    with pytest.raises(InputError, match=r": cannot be written \(Read-only file system\); nothing was changed$"):
        rn.save_weights(tmp_path / "w", tiny_weights(), SPEC)


def test_wrong_weights_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    weights = tiny_weights()
    weights["head.linear.bias"] = np.full(2, np.nan, np.float32)
    with pytest.raises(WeightsError, match=r"^head.linear.bias: holds values that are not finite"):
        rn.save_weights(tmp_path / "w", weights, SPEC)
    assert not list(tmp_path.iterdir())


# Damaged files


@pytest.mark.parametrize("keep", [0, 1, 7, 8, 9, 100, 0.25, 0.5, 0.75, -64, -4, -1])
def test_a_truncated_file_is_refused(keep: float, tmp_path: Path) -> None:
    path = saved(tmp_path)
    data = path.read_bytes()
    path.write_bytes(data[: int(keep * len(data)) if 0 < keep < 1 else int(keep)])
    assert "not a readable safetensors file" in refused(path)


def test_a_longer_file_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path)
    path.write_bytes(path.read_bytes() + b"\0" * 8)
    assert "not a readable safetensors file" in refused(path)


def test_every_flipped_byte_is_noticed(tmp_path: Path) -> None:
    """Byte by byte: refused, or it made no difference (in the spec, a decay or a name)."""
    path = saved(tmp_path)
    data = path.read_bytes()
    weights, spec = rn.load_weights(path)
    harmless = []
    for position in range(len(data)):
        damaged = bytearray(data)
        damaged[position] ^= 1 << position % 8
        path.write_bytes(damaged)
        try:
            found, own = rn.load_weights(path, spec=SPEC)
        except WeightsError:
            continue
        harmless.append(position)
        assert own.block_strides() == spec.block_strides()
        for name, array in weights.items():
            np.testing.assert_array_equal(found[name], array, err_msg=str(position))
    start = 8 + int.from_bytes(data[:8], "little")
    assert all(position < start for position in harmless)
    assert len(harmless) < 0.15 * start


def test_flipped_bits_of_the_payload_are_refused_by_the_digest(tmp_path: Path) -> None:
    path = saved(tmp_path)
    data = bytearray(path.read_bytes())
    data[-1] ^= 0x01
    path.write_bytes(data)
    assert refused(path) == "the digest does not match: the file was damaged or changed; get a fresh copy"


# Foreign files


def renamed(weights: Weights) -> Weights:
    return {name.replace("stem", "root"): array for name, array in weights.items()}


def incomplete(weights: Weights) -> Weights:
    return {name: array for name, array in weights.items() if name != "head.linear.bias"}


def reshaped(weights: Weights) -> Weights:
    return {**weights, "head.linear.weight": np.zeros((2, 3), np.float32)}


def mixed(weights: Weights) -> Weights:
    return {**weights, "head.linear.bias": np.zeros(2, np.float64)}


def infinite(weights: Weights) -> Weights:
    return {**weights, "head.linear.bias": np.full(2, np.inf, np.float32)}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (renamed, "weights: 5 missing (stem.conv.weight, stem.norm.weight, stem.norm.bias, …) and 5 unknown (root."),
        (incomplete, "weights: 1 missing (head.linear.bias) of 17 expected tensors"),
        (reshaped, "head.linear.weight: received shape (2, 3), expected (2, 2)"),
        (mixed, "head.linear.bias: received float64, expected float32"),
        (infinite, "head.linear.bias: holds values that are not finite"),
    ],
)
def test_other_tensors_than_the_specs_are_refused(
    change: Callable[[Weights], Weights], words: str, tmp_path: Path
) -> None:
    path = saved(tmp_path)
    assert words in refused(rewrite(path, change(read_safetensors(path)[0])))


@pytest.mark.parametrize(("dtype", "name"), [(np.float16, "F16"), (np.int64, "I64"), (np.uint8, "U8"), (bool, "BOOL")])
def test_other_dtypes_are_refused(dtype: Any, name: str, tmp_path: Path) -> None:
    path = saved(tmp_path)
    weights = {key: array.astype(dtype) for key, array in tiny_weights().items()}
    assert refused(rewrite(path, weights)).endswith(f" is {name}; expected F32 or F64")


@pytest.mark.parametrize("missing", ["format", "spec", "digest"])
def test_a_file_without_our_metadata_is_refused(missing: str, tmp_path: Path) -> None:
    path = rewrite(saved(tmp_path), **{missing: None})
    assert refused(path).startswith("a safetensors file without this project's metadata (format, spec, digest)")


def test_a_file_without_any_metadata_is_refused(tmp_path: Path) -> None:
    (tmp_path / "w").write_bytes(safetensors.numpy.save(tiny_weights()))
    assert refused(tmp_path / "w").startswith("a safetensors file without this project's metadata")


def test_a_future_format_is_refused(tmp_path: Path) -> None:
    assert refused(rewrite(saved(tmp_path), format="3")) == "format '3'; this version reads formats 1 and 2"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "not valid JSON"),
        ("[]", "received a list; expected an object of spec fields"),
        ('{"depths": [1]}', "channels: missing"),
        ('{"depths": [0], "channels": [2], "block": "basic"}', "depths[0]: received 0"),
        ('{"depths": [1], "channels": [2], "block": "basic", "color": 1}', "color: unknown field"),
    ],
)
def test_a_file_whose_spec_is_no_spec_is_refused(text: str, words: str, tmp_path: Path) -> None:
    assert words in refused(rewrite(saved(tmp_path), spec=text))


def test_metadata_of_another_type_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path)
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    for metadata in ({"format": 1}, [], "x", 3):
        text = json.dumps({**header, "__metadata__": metadata}).encode()
        path.write_bytes(len(text).to_bytes(8, "little") + text + data[8 + length :])
        refused(path)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (
            {"classes": 3},
            "holds tiny, not the requested network: head.linear.weight: received shape (2, 2), expected (3",
        ),
        ({"depths": (2,)}, "holds tiny, not the requested network: weights: 10 missing ("),
        ({"norm_epsilon": 1e-3}, "was written for another network: stem.norm is BatchNorm("),
        ({"stem_stride": 1}, "was written for another network: stem.conv is Conv("),
        ({"stem_pool": "none"}, "was written for another network: stem.pool is MaxPool("),
    ],
)
def test_another_specs_file_is_refused(asked: dict[str, Any], words: str, tmp_path: Path) -> None:
    path = saved(tmp_path)
    assert words in refused(path, spec=rn.spec(SPEC, **asked))


def test_a_file_serves_another_size_output_stride_name_or_decay(tmp_path: Path) -> None:
    path = saved(tmp_path)
    spec = rn.spec(SPEC, input_size=64, name="x", norm_decay=0.5, initializer="he", global_pool=False, output_stride=4)
    weights, own = rn.load_weights(path, spec=spec)
    assert own == SPEC
    assert list(weights) == list(rn.state(spec))


class Bomb:
    """Unpickled, it leaves a mark."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.mark,))


def test_a_renamed_pickle_is_refused_and_never_executed(tmp_path: Path) -> None:
    path, mark = tmp_path / "w.safetensors", tmp_path / "executed"
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        path.write_bytes(pickle.dumps(Bomb(mark), protocol=protocol))
        assert "not a readable safetensors file" in refused(path)
    assert not mark.exists()
    pickle.loads(path.read_bytes())
    assert mark.exists()  # it would have left its mark


@pytest.mark.parametrize("content", [b"", b"\0", b"PK\x03\x04 a zip", b"\x93NUMPY", b"\xff" * 64, b"{}", b"\n" * 999])
def test_files_of_other_kinds_are_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "w.safetensors").write_bytes(content)
    assert "not a readable safetensors file" in refused(tmp_path / "w.safetensors")


def test_a_directory_a_missing_and_a_special_file_are_refused(tmp_path: Path) -> None:
    assert refused(tmp_path) == "is a directory; expected a .safetensors file"
    assert refused(tmp_path / "none") == "no such file; expected a .safetensors file"
    (tmp_path / "loop").symlink_to("loop")
    assert refused(tmp_path / "loop").startswith("cannot be read (")
    os.mkfifo(tmp_path / "pipe")
    assert refused(tmp_path / "pipe") == "is not a regular file; expected a .safetensors file"
    assert refused(tmp_path / ("x" * 300)).startswith("cannot be read (File name too long)")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_file_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path)
    path.chmod(0)
    assert refused(path) == "cannot be read (Permission denied); expected a .safetensors file"


def test_an_unreadable_file_is_refused_whoever_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(tmp_path)

    def deny(file: Path, *arguments: Any, **named: Any) -> Any:
        if file == path:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return opened(file, *arguments, **named)

    opened = os.open
    monkeypatch.setattr(os, "open", deny)
    assert refused(path) == "cannot be read (Permission denied); expected a .safetensors file"


@given(data=st.binary(max_size=400))
def test_no_bytes_whatever_raise_anything_else(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.safetensors"
    header = len(data).to_bytes(8, "little") + data
    for content in (data, header):
        path.write_bytes(content)
        with pytest.raises(WeightsError):
            rn.load_weights(path)


# Weights in memory


def test_checked_weights_are_in_file_order_and_contiguous() -> None:
    weights = {name: np.asfortranarray(array) for name, array in reversed(tiny_weights().items())}
    checked = check_weights(weights, rn.state(SPEC))
    assert list(checked) == list(rn.state(SPEC))
    assert all(array.flags.c_contiguous for array in checked.values())


def test_a_dtype_that_was_asked_for_is_demanded() -> None:
    with pytest.raises(WeightsError, match=r"^stem.conv.weight: received float64, expected float32; convert with "):
        check_weights(tiny_weights("float64"), rn.state(SPEC), "float32")
    with pytest.raises(WeightsError, match=r"^stem.conv.weight: received float16, expected float32 or float64; "):
        check_weights({name: array.astype(np.float16) for name, array in tiny_weights().items()}, rn.state(SPEC))


# What people try first


def test_build_takes_a_name_and_a_file(tmp_path: Path) -> None:
    path = saved(tmp_path)
    numpy = rn.load_backend("numpy")
    found = numpy.get_weights(rn.build(SPEC, "numpy", weights=path))
    for name, array in tiny_weights().items():
        np.testing.assert_array_equal(found[name], array)
    rn.save_spec(tmp_path / "mine.toml", SPEC)
    rn.build(tmp_path / "mine.toml", "numpy", weights=path)
    assert list(numpy.get_weights(rn.build("resnet20", "numpy"))) == list(rn.state(rn.spec("resnet20")))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda path: rn.from_torchvision(str(path)), "state_dict: received a str; expected names with tensors"),
        (lambda path: rn.save_weights(path, str(path), SPEC), "weights: received a str; expected {name: array}"),
        (lambda path: rn.load_weights(path.with_suffix(".pth")), "cannot be read as a checkpoint"),
        (lambda path: rn.build(7, "numpy"), "spec: received a int; expected a name, a file, a run or a ResNetSpec"),
        (lambda path: rn.spec(block="basic"), "depths: missing; expected"),
    ],
)
def test_a_natural_first_call_is_answered_in_one_line(call: Callable[[Any], Any], words: str, tmp_path: Path) -> None:
    path = saved(tmp_path)
    path.with_suffix(".pth").write_bytes(b"PK" + bytes(60))
    with pytest.raises(InputError) as caught:
        call(path)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
