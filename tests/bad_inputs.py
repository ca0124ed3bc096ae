"""Bad inputs as a grammar: values x options x commands, and damaged files of every kind.

A new command or option is covered by being there: every option that takes a text is given every bad text, every number
every bad number, every file to write every impossible place, every field of a spec and of a recipe every bad value.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import struct
import tarfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args, get_type_hints

import numpy as np
from PIL import Image
from typer.models import ArgumentInfo, OptionInfo

import resnet_core as rn
from resnet_core.cli.commands import COMMANDS, command_function
from resnet_core.cli.options import output_file, output_folder
from resnet_core.safetensors_file import safetensors_bytes
from resnet_core.specification import FIELDS as SPEC_FIELDS
from resnet_core.training.recipe import FIELDS as RECIPE_FIELDS
from resnet_core.weight_file import file_metadata

SPEC = b'depths = [1]\nchannels = [2]\nblock = "basic"\nclasses = 2\nin_channels = 1\ninput_size = [9, 11]\n'
RECIPE = b"learning_rate = 0.1\nbatch_size = 4\nepochs = 1\n"

DIGITS = "9" * 5000
ESCAPE = "\x1b[31mred\x1b]0;title\x07"

#: No option or argument takes any of them.
TEXTS = {
    "empty": "",
    "escape": ESCAPE,
    "c1": "\x9b31m",
    "turned": "\u202egnp.exe",
    "half": "a\udcff",
    "lines": "a\nb\rc",
    "long": "x" * 5000,
    "missing": "nothing/of/this/name",
    "dots": "." * 300,
}
NUMBERS = ("", "x", "nan", "inf", "-inf", "-1", "1e999", "0x10", "1,5", DIGITS, ESCAPE)
PLACES = {
    "empty": "",
    "folder": "folder",
    "missing": "missing/out.json",
    "behind a file": "spec.toml/out.json",
    "long": "x" * 256,
    "proc": "/proc/out.json",
    "loop": "loop",
    "escape": f"missing/{ESCAPE}.json",
}
#: For a field, as TOML or as text. Some are right for some fields; then the command does its work.
VALUES = (
    "", "none", "nan", "-inf", "-1", "0", "1e400", "1e9", DIGITS, "0x" + "f" * 5000, "[" * 400, "[" * 60 + "]" * 60,
    "{a=" * 300, "[]", "[1e9, 1e9]", "1000000", "true", ESCAPE, "'\udcff'", "2026-01-01", '"' + "y" * 300 + '"',
    "[-1, 3]", "$\\frac{$",
)  # fmt: skip

#: A command that works, for each: what is named, and options.
WORKING: dict[str, tuple[list[str], dict[str, str]]] = {
    "list": ([], {}),
    "show": (["spec.toml"], {}),
    "compare": (["spec.toml"], {}),
    "bench": (["spec.toml"], {}),
    "predict": (["net.safetensors", "picture.png"], {}),
    "convert": (["net.safetensors", "out.safetensors"], {}),
    "certify": (["net.safetensors", "net.safetensors"], {}),
    "source": (["spec.toml"], {"--backend": "torch"}),
    "lesson": (["spec.toml"], {"--output": "page.html"}),
    "diff": (["spec.toml"], {}),
    "train": (["spec.toml"], {"--data": "data.npz", "--backend": "numpy", "--out": "new"}),
    "recipes": ([], {}),
    "data": (["data.npz"], {}),
    "evaluate": (["run"], {}),
    "curves": (["run"], {}),
    "conformance": (["numpy"], {}),
}

#: Options that a working command does not look at: where named data sets are, for one that is no named one.
UNUSED = {("train", "--data-dir"), ("data", "--data-dir"), ("evaluate", "--data-dir")}
#: What makes a command look at an option.
NEEDED = {
    ("source", "--recipe"): ["--train"],
    ("source", "--with"): ["--train"],
    ("convert", "--set"): ["--spec", "spec.toml"],
    ("lesson", "--recipe"): ["--train"],
}


@dataclass(frozen=True)
class Case:
    """A command; `refused` where it must be, with exit code 2."""

    name: str
    arguments: tuple[str, ...]
    refused: bool = True


@dataclass(frozen=True)
class Parameter:
    """An argument or an option of a command, as its function declares it."""

    name: str
    kind: type
    argument: bool
    check: Any

    @property
    def writes(self) -> bool:
        """Whether it names a file or a folder to write."""
        return self.check in (output_file, output_folder)


def commands() -> dict[str, list[Parameter]]:
    """{name: parameters} of the command line, as it is."""
    return {name: [*_parameters(command_function(name))] for name in COMMANDS}


def _parameters(function: Any) -> Iterator[Parameter]:
    for name, hint in get_type_hints(function, include_extras=True).items():
        if name == "return":
            continue
        kinds = {each for each in _kinds(get_args(hint)[0]) if each is not type(None)}
        about = next(each for each in get_args(hint)[1:] if isinstance(each, OptionInfo | ArgumentInfo))
        argument = isinstance(about, ArgumentInfo)
        declared = [each for each in about.param_decls or () if each.startswith("-")]
        option = declared[0] if declared else f"--{name.replace('_', '-')}"
        yield Parameter(name if argument else option, kinds.pop(), argument, about.callback)


def _kinds(hint: Any) -> Iterator[type]:
    if parts := get_args(hint):
        for part in parts:
            yield from _kinds(part)
    else:
        yield hint


def cases() -> list[Case]:
    """All of them, without a name twice."""
    found = [*_of_options(), *_of_fields(), *_of_files()]
    assert len({case.name for case in found}) == len(found)
    return found


def _of_options() -> Iterator[Case]:
    for command, parameters in commands().items():
        named, options = WORKING[command]
        for index, parameter in enumerate(each for each in parameters if each.argument):
            for kind, text in _values(parameter):
                given = [*named[:index], text, *named[index + 1 :]]
                yield Case(f"{command} {parameter.name} {kind}", (command, *_flat(options), "--", *given))
        for parameter in parameters:
            option = parameter.name
            if parameter.argument or parameter.kind is bool or (command, option) in UNUSED:
                continue
            more = NEEDED.get((command, option), [])
            for kind, text in _values(parameter):
                line = (*named, *_flat({**options, option: text}), *more)
                yield Case(f"{command} {option} {kind}", (command, *line))


def _values(parameter: Parameter) -> Iterator[tuple[str, str]]:
    if parameter.check is output_folder:
        yield from ((kind, PLACES[kind]) for kind in ("empty", "behind a file", "long", "proc", "loop"))
    elif parameter.writes:
        yield from PLACES.items()
    elif parameter.kind in (int, float):
        yield from ((f"number {number[:9]!r}", number) for number in NUMBERS)
    else:
        yield from TEXTS.items()


def _flat(options: Mapping[str, str]) -> list[str]:
    return [word for option, value in options.items() for word in (option, value)]


def _of_fields() -> Iterator[Case]:
    for field in (*SPEC_FIELDS, ESCAPE, "unknown", "a.b"):
        for value in VALUES:
            text = f"{field}={value}"
            yield Case(f"show --set {field!r} {value[:12]!r} {len(value)}", ("show", "spec.toml", "--set", text), False)
    for field in (*RECIPE_FIELDS, ESCAPE, "unknown", "rates.head"):
        for value in VALUES:
            text = f"{field}={value}"
            line = ("source", "spec.toml", "--backend", "torch", "--train", "--with", text)
            yield Case(f"source --with {field!r} {value[:12]!r} {len(value)}", line, False)
    for text in BOMBS:
        for command in ("show", "source", "diff", "compare", "train", "convert"):
            named, options = WORKING[command]
            more = NEEDED.get((command, "--set"), [])
            line = (command, *named, *_flat(options), *more, "--set", text)
            yield Case(f"{command} --set {text[:40]}", line)
    for text in RECIPE_BOMBS:
        named, options = WORKING["train"]
        yield Case(f"train --with {text[:40]}", ("train", *named, *_flat(options), "--with", text))


#: What a field of a few characters asks for, and no machine has.
BOMBS = (
    "depths=[10000]", "channels=[1000000]", "channels=[65536]", "input_size=[100000, 100000]", "in_channels=1000000000",
    "classes=1000000000", "depths=[2001]", "name='" + "n" * 300 + "'", "depths=" + "[" * 500, "classes=" + DIGITS,
    "norm_epsilon=nan", "norm_decay=inf", "name='\udcff'",
)  # fmt: skip
RECIPE_BOMBS = (
    "resize=100000", "resize=[16384, 16384]", "resize=[100000, 1]", "mean=[nan]", "mean=[inf]", "deviation=[inf]",
    "milestones=" + "[" * 500, "epochs=" + DIGITS, "learning_rate=nan", "name='" + "n" * 300 + "'", "steps=1e400",
)  # fmt: skip


# Files


def text_files() -> dict[str, bytes]:
    """Specs that are none, by file name."""
    deep = b"a = " + b"[" * 500 + b"]" * 500
    return {
        "empty.toml": b"",
        "latin.toml": SPEC + "name = 'é'\n".encode("latin-1"),
        "utf16.toml": SPEC.decode().encode("utf-16"),
        "binary.toml": bytes(range(256)),
        "null.toml": SPEC + b"name = '\0'\n",
        "deep.toml": SPEC + deep,
        "tables.toml": SPEC + b"a = " + b"{a = " * 500,
        "dotted.toml": SPEC + b".".join([b"a"] * 20_000) + b" = 1\n",
        "dotted_table.toml": b"[" + b".".join([b"a"] * 20_000) + b"]\n" + SPEC,
        "digits.toml": SPEC.replace(b"classes = 2", b"classes = " + DIGITS.encode()),
        "hex.toml": SPEC.replace(b"classes = 2", b"classes = 0x" + b"f" * 5000),
        "large.toml": SPEC + b"# " + b"x" * 2**19,
        "escape.toml": SPEC + b'"\\u001b[31mred" = 1\n',
        "turned.toml": SPEC + '"\u202eabc" = 1\n'.encode(),
        "wide.toml": SPEC.replace(b"channels = [2]", b"channels = [1000000]"),
        "long.toml": SPEC.replace(b"depths = [1]", b"depths = [10000]"),
        "twice.json": b'{"depths": [1], "channels": [2], "block": "basic", "depths": [2]}',
        "deep.json": b"[" * 100_000,
        "nested.json": b'{"depths": ' + b"[" * 200 + b"]" * 200 + b', "channels": [2], "block": "basic"}',
        "digits.json": b'{"depths": [' + DIGITS.encode() + b'], "channels": [2], "block": "basic"}',
        "half.json": b'{"name": "a\\ud800", "depths": [1], "channels": [2], "block": "basic"}',
        "nan.json": b'{"norm_epsilon": NaN, "depths": [1], "channels": [2], "block": "basic"}',
        "list.json": b"[]",
        "cut.json": b'{"depths": [1',
    }


def recipe_files() -> dict[str, bytes]:
    """Recipes that are none."""
    return {
        "deep_recipe.toml": RECIPE + b"a = " + b"[" * 500 + b"]" * 500,
        "twice_recipe.json": b'{"learning_rate": 1.0, "batch_size": 4, "epochs": 1, "epochs": 2}',
        "digits_recipe.toml": RECIPE + b"seed = " + DIGITS.encode(),
        "digits_recipe.json": b'{"learning_rate": 1.0, "batch_size": 4, "epochs": ' + DIGITS.encode() + b"}",
        "escape_recipe.toml": RECIPE + b'"\\u001b[31mred" = 1\n',
        "many_recipe.toml": RECIPE + b"milestones = [" + b"1, " * 200_000 + b"]\n",
        "nan_recipe.toml": RECIPE + b"mean = [nan]\n",
    }


def comparison_files() -> dict[str, bytes]:
    """Finished comparisons that are none, or of another network."""
    spec = {"depths": [1], "channels": [2], "block": "basic", "classes": 2, "in_channels": 1, "input_size": [9, 11]}
    facts = {"level": "logits", "dtype": "float32", "reference": "numpy", "batch": 4}
    good = {"spec": spec, **facts, "backends": {"torch": {"equal": True}}}
    changes: dict[str, dict[str, Any]] = {
        "no_backends": {"backends": None},
        "backend_number": {"backends": {"torch": 1}},
        "error_text": {"backends": {"torch": {"max_error": {"logits": "small"}}}},
        "escape": {"backends": {"torch": {"tolerance": ESCAPE}}},
        "other": {"spec": {**spec, "depths": [2]}},
        "bad_spec": {"spec": {**spec, "depths": "two"}},
        "batch_text": {"batch": "four"},
        "machine": {"made": {"date": 1}},
    }
    found = {f"{name}_comparison.json": json.dumps({**good, **change}).encode() for name, change in changes.items()}
    return {**found, "binary_comparison.json": bytes(range(256)), "large_comparison.json": b" " * (5 * 2**20)}


def npz(**arrays: np.ndarray | None) -> bytes:
    """A data set of eight pictures, with other arrays in the place of some."""
    given: dict[str, Any] = {
        "x_train": np.zeros((8, 9, 11), np.uint8),
        "y_train": np.arange(8, dtype=np.uint8) % 2,
        "x_test": np.zeros((4, 9, 11), np.uint8),
        "y_test": np.arange(4, dtype=np.uint8) % 2,
        **arrays,
    }
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **{name: array for name, array in given.items() if array is not None})
    return buffer.getvalue()


def _npy(header: str) -> bytes:
    text = header.encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text


def _zipped(members: Mapping[str, bytes], change: Callable[[bytearray], None] = lambda data: None) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    data = bytearray(buffer.getvalue())
    change(data)
    return bytes(data)


def _members() -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(npz())) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def _every(data: bytearray, mark: bytes, offset: int, value: bytes) -> None:
    start = data.find(mark)
    while start >= 0:
        data[start + offset : start + offset + len(value)] = value
        start = data.find(mark, start + 4)


def npz_files() -> dict[str, bytes]:
    """Data sets in .npz files that are none."""
    members = _members()

    def with_header(header: str) -> bytes:
        return _zipped({**members, "x_train.npy": _npy(header)})

    def encrypted(data: bytearray) -> None:
        _every(data, b"PK\x03\x04", 6, b"\x01\x00")
        _every(data, b"PK\x01\x02", 8, b"\x01\x00")

    def other_method(data: bytearray) -> None:
        _every(data, b"PK\x03\x04", 8, b"\x63\x00")
        _every(data, b"PK\x01\x02", 10, b"\x63\x00")

    def changed(data: bytearray) -> None:
        for place in range(60, 90):
            data[place] ^= 0x55

    labels = np.zeros(8, np.int64)
    return {
        "array.npz": _npy("{'descr': '|u1', 'fortran_order': False, 'shape': (0,), }"),
        "cut.npz": npz()[:-40],
        "escape.npz": _zipped({**members, f"{ESCAPE}.npy": b"", "y_test.npy": b"x"}),
        "missing.npz": _zipped({f"{ESCAPE}.npy": b""}),
        "encrypted.npz": _zipped(members, encrypted),
        "method.npz": _zipped(members, other_method),
        "changed.npz": _zipped(members, changed),
        "claims.npz": with_header("{'descr': '|u1', 'fortran_order': False, 'shape': (1000000000000000,), }"),
        "overflow.npz": with_header("{'descr': '|u1', 'fortran_order': False, 'shape': (" + "9" * 40 + ", 9), }"),
        "objects.npz": with_header("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }"),
        "tokens.npz": with_header("{'descr': '|u1', 'fortran_order': False, 'shape': (1,"),
        "rank.npz": with_header("{'descr': '|u1', 'fortran_order': False, 'shape': (" + "1, " * 30 + "), }"),
        "text.npz": _zipped({**members, "x_train.npy": b"no array"}),
        "label.npz": npz(y_train=labels + 10**12),
        "label8.npz": npz(y_train=labels + 10**8),
        "label63.npz": npz(y_train=labels + (2**63 - 1)),
        "label64.npz": npz(y_train=np.full(8, 2**64 - 1, np.uint64)),
        "negative.npz": npz(y_train=labels - 1),
        "none.npz": npz(x_train=np.zeros((0, 9, 11), np.uint8), y_train=np.zeros(0, np.uint8)),
        "floats.npz": npz(x_train=np.zeros((8, 9, 11), np.float32)),
    }


def idx(values: np.ndarray, shape: tuple[int, ...] | None = None) -> bytes:
    """An IDX file that says it has this shape."""
    sizes = shape or values.shape
    return bytes((0, 0, 8, len(sizes))) + b"".join(size.to_bytes(4, "big") for size in sizes) + values.tobytes()


IDX_NAMES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


def idx_folders() -> dict[str, dict[str, bytes]]:
    """Folders of IDX files that are none."""
    pictures, labels = np.zeros((8, 9, 11), np.uint8), np.arange(8, dtype=np.uint8) % 2
    good = dict(zip(IDX_NAMES, map(idx, (pictures, labels, pictures, labels)), strict=True))
    first = IDX_NAMES[0]
    packed = bytearray(gzip.compress(good[first] + bytes(range(256))))
    packed[30] ^= 0xFF
    wrong_crc = bytearray(gzip.compress(good[first]))
    wrong_crc[-8] ^= 1
    rest = {name: content for name, content in good.items() if name != first}
    return {
        "idx_rank": {**good, first: bytes((0, 0, 8, 255)) + b"\0\0\0\1" * 255 + b"\0"},
        "idx_large": {**good, first: idx(pictures, (2**32 - 1, 2**32 - 1, 2**32 - 1))},
        "idx_short": {**good, first: good[first][:-1]},
        "idx_long": {**good, first: good[first] + b"\0"},
        "idx_body": {**rest, f"{first}.gz": bytes(packed)},
        "idx_crc": {**rest, f"{first}.gz": bytes(wrong_crc)},
        "idx_bomb": {**rest, f"{first}.gz": gzip.compress(good[first] + bytes(2**24))},
    }


def cifar(
    change: Callable[[bytearray], None] = lambda data: None, name: str = "data_batch_1.bin", size: int = 3073
) -> bytes:
    """CIFAR's archive with two members, changed."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for member in (name, "test_batch.bin"):
            about = tarfile.TarInfo(member)
            about.size = size
            archive.addfile(about, io.BytesIO(bytes(size)))
    data = bytearray(gzip.compress(buffer.getvalue(), mtime=0))
    change(data)
    return bytes(data)


def cifar_archives() -> dict[str, bytes]:
    """Archives of CIFAR-10 that are none."""

    def crc(data: bytearray) -> None:
        data[-8] ^= 1

    def body(data: bytearray) -> None:
        data[60] ^= 0xFF

    return {
        "cifar_crc": cifar(crc),
        "cifar_body": cifar(body),
        "cifar_cut": cifar()[:-30],
        "cifar_name": cifar(name=f"{ESCAPE}.bin"),
        "cifar_size": cifar(size=3000),
        "cifar_text": b"no archive",
    }


def weight_files(good: bytes) -> dict[str, bytes]:
    """Neutral weight files that are none."""
    length = int.from_bytes(good[:8], "little")
    header = json.loads(good[8 : 8 + length])

    def with_header(change: Callable[[dict[str, Any]], None]) -> bytes:
        found = json.loads(json.dumps(header))
        change(found)
        text = json.dumps(found).encode()
        return len(text).to_bytes(8, "little") + text + good[8 + length :]

    def of_metadata(**values: str) -> bytes:
        return with_header(lambda found: found["__metadata__"].update(values))

    def with_spec(**fields: Any) -> bytes:
        return of_metadata(spec=json.dumps({**json.loads(header["__metadata__"]["spec"]), **fields}))

    name = next(each for each in header if each != "__metadata__")
    return {
        "empty.safetensors": b"",
        "cut.safetensors": good[:-1],
        "flipped.safetensors": good[:-1] + bytes((good[-1] ^ 1,)),
        "length.safetensors": (2**63).to_bytes(8, "little") + good[8:],
        "header.safetensors": (2**25).to_bytes(8, "little") + b"{" + b" " * 2**25,
        "deep.safetensors": (100_000).to_bytes(8, "little") + b"[" * 100_000,
        "newer.safetensors": of_metadata(format="3"),
        "blocks.safetensors": with_spec(depths=[10_000] * 100, channels=[2] * 100),
        "wide.safetensors": with_spec(channels=[1_000_000]),
        "digits.safetensors": of_metadata(spec='{"depths": [' + DIGITS + "]}"),
        "nested.safetensors": of_metadata(spec="[" * 5000),
        "epsilon.safetensors": with_spec(norm_epsilon=5e-5),
        "escape.safetensors": with_header(lambda found: found.update({ESCAPE: found.pop(name)})),
        "dtype.safetensors": with_header(lambda found: found[name].update(dtype=ESCAPE)),
        "unknown.safetensors": with_spec(**{ESCAPE: 1}),
    }


def runs(good: Mapping[str, bytes]) -> dict[str, dict[str, bytes]]:
    """Folders of runs that are none; `good` are the files of one."""
    about = json.loads(good["run.json"])

    def with_about(**values: Any) -> dict[str, bytes]:
        return {**good, "run.json": json.dumps({**about, **values}).encode()}

    def with_log(line: bytes) -> dict[str, bytes]:
        return {**good, "log.jsonl": good["log.jsonl"] + line + b"\n" + good["log.jsonl"]}

    return {
        "run_deep": {**good, "run.json": b"[" * 100_000},
        "run_utf16": {**good, "run.json": good["run.json"].decode().encode("utf-16")},
        "run_newer": with_about(format=2),
        "run_format": with_about(format="x"),
        "run_sessions": with_about(sessions=[]),
        "run_twice": {**good, "run.json": good["run.json"].replace(b"{", b'{"data": "x",', 1)},
        "run_spec": {**good, "spec.toml": SPEC + b"a = " + b"[" * 500 + b"]" * 500},
        "log_object": with_log(b"{}"),
        "log_list": with_log(b"[]"),
        "log_null": with_log(b"null"),
        "log_text": with_log(b'{"kind": "step", "step": "x"}'),
        "log_none": with_log(b'{"kind": "step", "step": null}'),
        "log_kind": with_log(b'{"step": 1}'),
        "log_loss": with_log(b'{"kind": "step", "step": 1}'),
        "log_deep": with_log(b"[" * 60_000),
        "log_long": with_log(b"1" * 2**17),
    }


def _of_files() -> Iterator[Case]:
    for name in (*text_files(), "pipe.toml", "folder.toml", "device.toml"):
        for command in ("show", "source", "diff", "compare", "train"):
            named, options = WORKING[command]
            yield Case(f"{command} {name}", (command, *_flat(options), name, *named[1:]))
        yield Case(f"convert --spec {name}", ("convert", *WORKING["convert"][0], "--spec", name))
        yield Case(f"predict {name}", ("predict", name, "picture.png", "--weights", "net.safetensors"))
    for name in (*recipe_files(), "pipe.toml"):
        yield Case(f"recipes {name}", ("recipes", name))
        yield Case(
            f"train --recipe {name}", ("train", *WORKING["train"][0], *_flat(WORKING["train"][1]), "--recipe", name)
        )
        yield Case(
            f"source --recipe {name}", ("source", "spec.toml", "--backend", "torch", "--train", "--recipe", name)
        )
    lesson = ("lesson", "spec.toml", "--output", "page.html", "--no-measure")
    for name in (*comparison_files(), "list.json", "deep.json", "pipe.toml", "folder.toml"):
        yield Case(f"lesson --comparison {name}", (*lesson, "--comparison", name))
    for name in (
        *npz_files(),
        *idx_folders(),
        *cifar_archives(),
        "pipe.npz",
        "cifar_pipe",
        "classes_escape",
        "classes_half",
    ):
        if name != "classes_escape":
            yield Case(f"data {name}", ("data", name))
        named, options = WORKING["train"]
        yield Case(f"train --data {name}", ("train", *named, *_flat({**options, "--data": name})))
    for name in (*weight_files(_weights()), "pipe.safetensors"):
        for line in (
            ("show", name),
            ("predict", name, "picture.png"),
            ("convert", name, "out.safetensors"),
            ("certify", name, "net.safetensors"),
            ("compare", "spec.toml", "--weights", name),
            (*lesson, "--weights", name),
        ):
            if line[0] == "show" and name in SHOWN:
                continue
            yield Case(" ".join(line), line)
    for name in RUNS:
        yield Case(f"curves {name}", ("curves", name))
        yield Case(f"lesson --runs {name}", (*lesson, "--runs", name))
        yield Case(f"train --resume {name}", ("train", "--resume", "--out", name))
        if not name.startswith("log_"):
            yield Case(f"evaluate {name}", ("evaluate", name))
    for name in ("labels_few", "labels_tab", "labels_latin", "pipe.toml", "labels_escape"):
        yield Case(f"predict --labels {name}", ("predict", "net.safetensors", "picture.png", "--labels", name))


#: Damage that the header alone does not show, of which `show` reads no more.
SHOWN = (
    "cut.safetensors", "flipped.safetensors", "epsilon.safetensors", "escape.safetensors", "dtype.safetensors",
    "newer.safetensors",
)  # fmt: skip
RUNS = (
    "run_deep", "run_utf16", "run_newer", "run_format", "run_sessions", "run_twice", "run_spec", "log_object",
    "log_list", "log_null", "log_text", "log_none", "log_kind", "log_loss", "log_deep", "log_long",
)  # fmt: skip
LABELS = {
    "labels_few": b"one\n",
    "labels_tab": b"one\ttwo\nthree\n",
    "labels_latin": "é\nè\n".encode("latin-1"),
    "labels_escape": f"one{ESCAPE}\ntwo\n".encode(),
}


def _weights() -> bytes:
    spec = rn.spec(depths=[1], channels=[2], block="basic", classes=2, in_channels=1, input_size=[9, 11])
    weights = rn.initialize(spec)
    return safetensors_bytes(weights, file_metadata(weights, spec))


def write_all(folder: Path) -> None:
    """Every file that the cases name, in `folder`, which is the current one."""
    for name, content in {
        **text_files(),
        **recipe_files(),
        **comparison_files(),
        **npz_files(),
        **weight_files(_weights()),
        **LABELS,
    }.items():
        (folder / name).write_bytes(content)
    (folder / "spec.toml").write_bytes(SPEC)
    (folder / "net.safetensors").write_bytes(_weights())
    (folder / "data.npz").write_bytes(npz())
    Image.new("L", (11, 9)).save(folder / "picture.png")
    for name, files in idx_folders().items():
        (folder / name).mkdir()
        for file, content in files.items():
            (folder / name / file).write_bytes(content)
    for name, content in cifar_archives().items():
        (folder / name).mkdir()
        (folder / name / "cifar-10-binary.tar.gz").write_bytes(content)
    for name in ("pipe.toml", "pipe.npz", "pipe.safetensors"):
        os.mkfifo(folder / name)
    for name in ("folder", "folder.toml", "cifar_pipe"):
        (folder / name).mkdir()
    os.mkfifo(folder / "cifar_pipe" / "cifar-10-binary.tar.gz")
    (folder / "device.toml").symlink_to("/dev/zero")
    (folder / "loop").symlink_to(folder / "loop")
    for name, word in (("classes_escape", ESCAPE.replace("/", "")), ("classes_half", "a\udcff")):
        for part in ("train", "test"):
            for label in ("one", word) if part == "train" else ("one", "other"):
                (folder / name / part / label).mkdir(parents=True)
                Image.new("L", (11, 9)).save(folder / name / part / label / "picture.png")
    result = rn.train("spec.toml", "data.npz", backend="numpy", out="run", recipe=rn.recipe("fashion-adam", epochs=1))
    assert result.ended == "finished"
    files = {
        str(path.relative_to("run")): path.read_bytes() for path in sorted(Path("run").rglob("*")) if path.is_file()
    }
    for name, changed in runs(files).items():
        for file, content in changed.items():
            path = folder / name / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
