"""The command line: what it prints, and one clear line and exit code 2 for whatever cannot be used."""

from __future__ import annotations

import csv
import io
import json
import os
import pickle
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

import resnet_core as rn
from command_line import in_process
from hidden import hide
from resnet_core.cli import tables
from resnet_core.cli.commands import COMMANDS
from resnet_core.cli.listing import summary
from resnet_core.cli.options import _without_standard_error
from resnet_core.comparison.result import BackendResult, Comparison
from resnet_core.data.prepare import load_image
from resnet_core.preparation import Preparation, standard_preparation
from resnet_core.spec_files import from_json
from resnet_core.workers.answers import Seconds
from resnet_core.zoo import FAMILIES, REFERENCES

NARROW = ["resnet20", "--set", "depths=[1]", "--set", "channels=[2]", "--set", "input_size=[9, 11]"]


def resnet(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The command, in a process of its own where it has other variables."""
    if not environment:
        return in_process(*arguments)
    return in_its_own_process(*arguments, **environment)


def in_its_own_process(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "resnet_core", *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def printed(*arguments: str, **environment: str) -> str:
    """Standard output of a command that must succeed and say nothing on standard error."""
    process = resnet(*arguments, **environment)
    assert (process.returncode, process.stderr) == (0, "")
    return process.stdout


def refused(*arguments: str, **environment: str) -> str:
    """The one line on standard error of a command that must end with exit code 2 and print nothing else."""
    process = resnet(*arguments, **environment)
    assert process.returncode == 2, process.stderr
    assert process.stdout == ""
    (line,) = process.stderr.splitlines()
    return line


# What the commands print


def test_list_prints_every_named_spec_below_its_family() -> None:
    blocks = printed("list").split("\n\n")[1:]
    listed = {block.split(":")[0]: [line.split()[0] for line in block.splitlines()[1:]] for block in blocks}
    assert listed == {family: list(members) for family, members in FAMILIES.items()}
    assert "se: Hu et al. 2017 (arXiv:1709.01507), as in timm" in blocks[list(FAMILIES).index("se")]
    (row,) = [line for line in blocks[0].splitlines() if line.startswith("  resnet50 ")]
    for cell in (
        "bottleneck",
        "3 4 6 3",
        "64 128 256 512",
        "25,557,032",
        "25,610,152",
        "4,089,184,256",
        "224 x 224 x 3",
    ):
        assert cell in row


def test_list_json_has_the_promised_fields() -> None:
    rows = json.loads(printed("list", "--json"))
    assert [row["name"] for row in rows] == rn.names()
    fields = {"name", "block", "depths", "channels", "parameters", "state", "macs", "input", "family", "reference"}
    for row in rows:
        assert fields <= row.keys()
    (d2l,) = [row for row in rows if row["name"] == "resnet18_d2l"]
    assert d2l == {
        "name": "resnet18_d2l",
        "family": "d2l",
        "block": "basic",
        "depths": [2, 2, 2, 2],
        "channels": [64, 128, 256, 512],
        "parameters": 11_178_378,
        "state": 11_186_186,
        "macs": 318_657_536,
        "input": [96, 96, 1],
        "reference": None,
    }
    assert {row["name"]: row["reference"] for row in rows if row["reference"]} == REFERENCES


def test_list_filters() -> None:
    assert [row["name"] for row in json.loads(printed("list", "--family", "keras", "--like", "*50*", "--json"))] == [
        "keras_resnet50",
        "keras_resnet50_v2",
    ]
    assert "family: received 'kears'; did you mean keras? known are resnet, resnext," in refused(
        "list", "--family", "kears"
    )
    assert refused("list", "--like", "rsnet50").startswith(
        "resnet: like: no name matches 'rsnet50'; the nearest are resnet50, "
    )


def test_completion_knows_commands_and_families() -> None:
    def completed(line: str) -> list[str]:
        place = {"COMP_WORDS": line, "COMP_CWORD": str(line.count(" "))}
        program = "import sys; sys.argv = ['resnet']; from resnet_core.cli.commands import main; main()"
        process = subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "_RESNET_COMPLETE": "complete_bash", **place},
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        return process.stdout.split()

    assert completed("resnet li") == ["list"]
    assert completed("resnet list --family ca") == ["caffe"]


def rows(*arguments: str) -> dict[str, list[str]]:
    """{first cell: the others} of each row of `resnet show`, the first of equal names."""
    found: dict[str, list[str]] = {}
    for line in printed("show", *arguments).splitlines():
        cells = re.split(r" {2,}", line.strip())
        found.setdefault(cells[0], cells[1:])
    return found


def test_show_prints_path_kind_shape_parameters_and_macs_totals_and_taps() -> None:
    text = printed("show", "resnet50")
    found = rows("resnet50")
    assert found["conv"] == ["Conv 7x7, stride 2", "112 x 112 x 64", "9,408", "118,013,952"]
    assert found["stage3"] == ["6 blocks", "14 x 14 x 1024", "7,098,368", "1,464,336,384"]
    assert found["block2…6"] == ["5 alike, each", "14 x 14 x 1024", "1,117,184", "218,365,952"]
    assert found["shortcut.conv"][0] == "Conv 1x1"
    assert found["total"] == ["1000", "25,557,032", "4,089,184,256"]
    assert "every BatchNorm: epsilon 1e-05, decay 0.9" in text
    assert "25,610,152" in text
    assert "taps: stem 56 x 56 x 64, stage1 56 x 56 x 256" in text


def test_show_says_what_is_added_to_the_body() -> None:
    lines = [line.split() for line in printed("show", "resnet_v2_50").splitlines()]
    assert [line[1:] for line in lines if line[0] == "+"][:2] == [["shortcut", "of", "relu1"], ["identity"]]


def test_show_stops_at_a_depth() -> None:
    layers, blocks, sections = (rows("resnet18", "--depth", depth) for depth in "321")
    assert {"stem", "conv", "block1…2", "conv1"} <= layers.keys()
    of_blocks = {f"{kind}{number}" for kind in ("conv", "norm", "relu") for number in "12"}
    assert blocks.keys() == layers.keys() - of_blocks - {"+", "shortcut.conv", "shortcut.norm"}
    assert sections.keys() < blocks.keys()
    assert "stage4" in sections
    assert "block1" not in sections


def test_show_fits_into_80_columns() -> None:
    lines = printed("show", "resnet50", FORCE_COLOR="1", TERM="dumb").splitlines()  # a terminal of 80 columns
    assert max(map(len, lines)) == 80
    assert not any("…" in line for line in lines if "alike" not in line)


def test_show_has_a_frameworks_own_names_beside_the_neutral_ones() -> None:
    program = (
        "import json, resnet_core as rn\n"
        'spec = rn.spec("resnet20", depths=(1,), channels=(2,), input_size=(9, 11))\n'
        'tensors = rn.build(spec, "torch").state_dict().items()\n'
        "print(json.dumps({name: list(value.shape) for name, value in tensors}))"
    )
    native = json.loads(
        subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    )
    shown = json.loads(printed("show", *NARROW, "--backend", "torch", "--json"))
    spec = rn.spec("resnet20", depths=(1,), channels=(2,), input_size=(9, 11))
    assert {row["name"]: tuple(row["shape"]) for row in shown["tensors"]} == rn.state(spec)
    own = {row["own_name"]: tuple(row["own_shape"]) for row in shown["tensors"]}
    assert own == {name: tuple(shape) for name, shape in native.items() if "num_batches" not in name}
    assert ["head.linear.weight", "10 x 2", "head.linear.weight", "10 x 2"] in [
        re.split(r" {2,}", line.strip()) for line in printed("show", *NARROW, "--backend", "numpy").splitlines()
    ]


def test_show_draws_a_diagram_and_for_a_png_wants_matplotlib(tmp_path: Path) -> None:
    hidden = hide(tmp_path, "matplotlib")
    assert printed("show", *NARROW, "--diagram", str(tmp_path / "a.svg"), PYTHONPATH=hidden) == ""
    assert "9 × 11 × 3" in (tmp_path / "a.svg").read_text()
    line = refused("show", *NARROW, "--diagram", str(tmp_path / "b.png"), PYTHONPATH=hidden)
    assert line.endswith('a diagram needs matplotlib, which is not installed: pip install "matplotlib>=3.9"')
    assert not (tmp_path / "b.png").exists()


def test_show_json_lists_every_layer() -> None:
    shown = json.loads(printed("show", *NARROW, "--json"))
    spec = rn.spec("resnet20", depths=(1,), channels=(2,), input_size=(9, 11))
    totals = rn.totals(spec)
    assert (shown["parameters"], shown["state"], shown["macs"]) == (totals.parameters, totals.state, totals.macs)
    assert shown["input"] == [9, 11, 3]
    assert shown["taps"] == {"stem": [9, 11, 2], "stage1": [9, 11, 2], "logits": [10]}
    assert [layer["path"] for layer in shown["layers"]] == [layer.path for layer in rn.layers(spec)]
    tensors = {f"{row['path']}.{key}": tuple(shape) for row in shown["layers"] for key, shape in row["tensors"].items()}
    assert tensors == rn.state(spec)
    assert sum(layer["macs"] for layer in shown["layers"]) == totals.macs
    assert from_json(json.dumps(shown["spec"])) == spec


@pytest.mark.parametrize(
    ("size", "expected"), [("64", [64, 64, 3]), ("33x66", [33, 66, 3]), ("33X66", [33, 66, 3]), (None, [9, 11, 3])]
)
def test_show_takes_any_input_size(size: str | None, expected: list[int]) -> None:
    option = [] if size is None else ["--input", size]
    assert json.loads(printed("show", *NARROW, *option, "--json"))["input"] == expected


def test_a_spec_is_a_name_or_a_file_with_overrides(tmp_path: Path) -> None:
    rn.save_spec(tmp_path / "mine.toml", rn.spec("resnet20"))
    shown = json.loads(printed("show", str(tmp_path / "mine.toml"), "--set", "classes=none", "--json"))
    assert shown["spec"]["classes"] is None
    assert shown["output"] == [64]


def test_show_folds_repeated_blocks_of_the_deepest_network() -> None:
    assert len(printed("show", "resnet1202").splitlines()) < 80


def test_resnet_alone_is_the_help() -> None:
    for arguments in ((), ("-h",), ("--help",)):
        text = printed(*arguments)
        assert text.startswith("Usage: resnet [OPTIONS] COMMAND [ARGS]...")
        assert {"list", "show", "compare", "predict", "train", "source", "diff"} <= set(text.split())
    assert printed("--version").startswith("resnet-core 0.")
    assert "--top" in printed("predict", "-h")


@pytest.mark.parametrize(
    ("name", "meant"), [("jax", "flax"), ("pytorch", "torch"), ("tf", "keras"), ("Torch", "torch")]
)
def test_a_backend_by_another_name_is_answered_with_its_own(name: str, meant: str) -> None:
    assert f"backends: received {name!r}; did you mean {meant}? registered are" in refused(
        "compare", "--backends", name
    )
    assert f"backend: received {name!r}; did you mean {meant}?" in refused("source", "resnet18", "--backend", name)


def test_a_wrong_option_points_at_the_commands_own_help() -> None:
    assert refused("predict", "--color").endswith("See `resnet predict --help`.")


def result(**changes: Any) -> BackendResult:
    values: dict[str, Any] = {
        "tolerance": 1e-5, "parameters": 25_557_032, "state": 25_610_152, "output_shape": (4, 1000), "device": "cpu",
        "seconds": Seconds(12.3, 0.456, 9), "peak_memory_bytes": 2**31, "versions": {"tensorflow": "2.21.0"},
        "max_error": {"stage4": 3.5e-7, "logits": 1e-7}, "tolerances": {"stage4": 1e-5, "logits": 1e-5},
        "accuracy": 0.93, "dtype": "float32",
    }  # fmt: skip
    return BackendResult(**{**values, **changes})


@pytest.mark.parametrize("width", [60, 72, 80, 100, 120, 160])
def test_in_a_narrow_terminal_columns_are_left_out_and_no_number_is_cut(width: int) -> None:
    comparison = Comparison(
        spec=rn.spec("resnet50"), level="logits", dtype="float32", asked_device="cpu", reference="numpy float64",
        batch=4, backends={"torch": result(), "keras": result(error="gone", missing=True)},
    )  # fmt: skip
    console = Console(width=width, file=io.StringIO(), markup=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tables, "terminal_width", lambda: width)
        console.print(tables.comparison_table(comparison))
        console.print(tables.spec_table([summary(name) for name in rn.names()]))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= width
    assert "3.5e-7" in text
    assert ("too narrow for" in text) == (width < 160)


def test_diff_prints_what_separates_two_networks_and_their_programs() -> None:
    lines = [
        re.split(r" {2,}", line.strip()) for line in printed("diff", "resnet50", "--set", "stride_on=1x1").splitlines()
    ]
    assert ["conv1 of stage2…4.block1", "Conv: stride 1", "Conv: stride 2"] in lines
    assert ["-", "self.conv1 = conv(in_channels, channels, 1)"] in lines
    assert ["+", "self.conv1 = conv(in_channels, channels, 1, stride)"] in lines


def test_diff_writes_a_page_or_json(tmp_path: Path) -> None:
    for name in ("a.html", "a.json"):
        assert printed("diff", "resnet18", "--backends", "torch,keras", "-o", str(tmp_path / name)) == ""
    assert "<title>resnet18 in torch and resnet18 in keras</title>" in (tmp_path / "a.html").read_text()
    assert json.loads((tmp_path / "a.json").read_text())["same_network"] is True
    shown = printed("diff", "resnet18", "--backends", "torch,keras", "--json")
    assert json.loads(shown) == json.loads((tmp_path / "a.json").read_text())


def test_compare_json_is_json_alone_on_standard_output() -> None:
    result = json.loads(printed("compare", *NARROW, "--device", "cpu", "--backends", "torch", "--json", "-"))
    assert {"spec", "equal", "level", "dtype", "device", "reference", "backends"} <= result.keys()
    assert (result["equal"], result["level"], result["dtype"], result["device"]) == (True, "logits", "float32", "cpu")
    assert list(result["backends"]) == ["torch"]
    entry = result["backends"]["torch"]
    fields = {
        "parameters",
        "state",
        "output_shape",
        "max_error",
        "tolerance",
        "seconds",
        "peak_memory_bytes",
        "versions",
    }
    assert fields <= entry.keys()
    assert list(entry["max_error"]) == ["stem", "stage1", "logits"]
    assert entry["output_shape"] == [4, 10]


def test_compare_prints_a_table_and_one_plain_sentence_and_writes_json(tmp_path: Path) -> None:
    text = printed(
        "compare",
        *NARROW,
        "--device",
        "cpu",
        "--backends",
        "torch",
        "--dtype",
        "float64",
        "--json",
        str(tmp_path / "r.json"),
    )
    assert text.splitlines()[-1].startswith(
        "Equal: resnet20 in torch has logits and every tap equal to the numpy float64"
    )
    result = json.loads((tmp_path / "r.json").read_text())
    assert result["dtype"] == "float64"
    assert result["backends"]["torch"]["tolerance"] == 1e-12
    assert max(result["backends"]["torch"]["max_error"].values()) <= 1e-12


def test_compare_shapes_needs_no_numbers() -> None:
    result = json.loads(
        printed("compare", *NARROW, "--device", "cpu", "--backends", "torch", "--level", "shapes", "--json", "-")
    )
    assert result["equal"] is True
    assert result["backends"]["torch"]["max_error"] == {}


def test_help_names_every_command() -> None:
    text = printed("--help")
    for command in ("list", "show", "compare", "predict"):
        assert f"\n  {command} " in text


@pytest.mark.parametrize("command", [None, *COMMANDS])
def test_help_is_cut_nowhere_and_has_arguments_as_they_are_typed(
    command: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At 80 columns: no sentence ends in dots, and nothing is left of the program's types and braces."""
    monkeypatch.setenv("COLUMNS", "80")
    text = printed(*([command] if command else []), "--help")
    usage, _, rest = text.partition("\n")
    assert "..." not in rest
    assert not {"<str>", "<path>", "<int", "TEXT", "INTEGER"} & set(text.split())
    assert not set("{}<>") & set(usage)
    assert "[[" not in usage
    assert printed("help", *([command] if command else [])) == text


def test_what_a_framework_writes_while_it_is_imported_is_dropped(capfd: pytest.CaptureFixture[str]) -> None:
    with _without_standard_error():
        os.write(2, b"dropped\n")
    os.write(2, b"said\n")
    assert capfd.readouterr().err == "said\n"


# Bad input: exit code 2, one line on standard error, nothing on standard output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["show", "resnet5"], "resnet5: no spec has this name; did you mean resnet"),
        (["show", "resnet20", "--set", "classes"], "override: received 'classes'; expected key=value"),
        (["show", "resnet20", "--set", "classes=0"], "classes: received 0; allowed is an integer from 1"),
        (["show", "resnet20", "--set", "clases=3"], "clases: unknown field; did you mean classes?"),
        (["show", "resnet20", "--set", "depths=[1,0,1]"], "depths[1]: received 0; allowed is"),
        (["show", "resnet20", "--input", "x"], "--input: received 'x'; expected a size such as 224 or 480x640"),
        (["show", "resnet20", "--input", "0"], "--input: received '0'; expected a size"),
        (["show", "resnet20", "--input", "1x2x3"], "--input: received '1x2x3'; expected a size"),
        (["show", "resnet20", "--input", "²"], "--input: received '²'; expected a size"),
        (["show", "resnet18", "--set", "stem_kernel=4", "--input", "1"], "stem.conv: kernel 4x4"),
        (["show", "no.toml"], "no.toml: no such file; expected a spec in TOML or JSON"),
        (["show"], "Missing argument 'SPEC'"),
        (["show", "resnet18", "--color"], "No such option: --color. See `resnet show --help`"),
        (
            ["show", "resnet18", "--num-classes", "9"],
            "--num-classes; classes is a field of the spec, --set classes=VALUE.",
        ),
        (
            ["train", "resnet18", "--lr", "0.1"],
            "--lr; learning_rate is a field of the recipe, --with learning_rate=VALUE.",
        ),
        (["show", "resnet18", "--depth", "4"], "Invalid value for '--depth'"),
        (["show", "resnet18", "--diagram", "a.pdf"], "received 'a.pdf'; expected a file that ends in .svg or .png"),
        (["show", "resnet18", "--diagram", "a.svg", "--json"], "show: received --diagram and --json; expected one"),
        (["diff", "resnet18"], "diff: received one network and one backend (resnet18, torch); expected a second"),
        (["diff", "resnet18", "resnet50", "-o", "a.txt"], "diff: received 'a.txt'; expected a file that ends in .html"),
        (["diff", "resnet18", "--backends", "a,b,c"], "--backends: received 'a,b,c'; expected one name, or two"),
        (["shw", "resnet18"], "No such command"),
        (["compare", "resnet20", "--backends", "numpy"], "backends: numpy is the reference and always runs"),
        (["compare", "resnet20", "--backends", ","], "backends: received none; registered are"),
        (["compare", "resnet20", "--device", "tpu"], "device: received 'tpu'; expected one of auto, cpu, gpu"),
        (
            ["compare", "resnet20", "--device", "cuda"],
            "device: received 'cuda'; did you mean gpu? expected one of auto",
        ),
        (["compare", "resnet20", "--level", "logit"], "level: received 'logit'; did you mean logits? expected one of"),
        (["list", "--family", "*50*"], "family: received '*50*'; like selects by name; known are "),
        (["recipes", "adamm"], "recipe: received 'adamm'; did you mean fashion-adam? expected a .toml or .json file"),
        (["compare", "resnet20", "--level", "all"], "level: received 'all'; expected one of shapes, logits"),
        (["compare", "resnet20", "--dtype", "float16"], "dtype: received 'float16'; expected one of float32, float64"),
        (["compare", "resnet20", "--python", "torch"], "--python: received 'torch'; expected NAME=PATH"),
        (
            ["compare", "resnet20", "--python", "mxnet=x"],
            "pythons: received one for 'mxnet'; the compared backends are",
        ),
        (["compare", "resnet20", "--time-limit", "0"], "Invalid value for '--time-limit'"),
        (
            ["compare", "resnet20", "--weights", "no.safetensors"],
            "no.safetensors: no such file; expected a .safetensors",
        ),
        (["predict", "resnet20", "--weights", "w", "--backend", "numpy"], "Missing argument"),
        (
            ["predict", "resnet20", "a.png", "--backend", "numpy"],
            "resnet20: received no weights; expected some with it",
        ),
        (
            ["predict", "resnet20", "a.png", "--weights", "w", "-o", "a.txt"],
            "predict: received 'a.txt'; expected a file",
        ),
        (["predict", "resnet20", "a.png", "--weights", "w.pth", "--backend", "numpy"], "w.pth: no such file; expected"),
        (
            ["predict", "resnet20", "a.png", "--weights", "w", "--backend", "numpy", "--top", "0"],
            "Invalid value for '--top'",
        ),
    ],
)
def test_bad_arguments_are_one_clear_line(arguments: list[str], words: str) -> None:
    line = refused(*arguments)
    assert line.startswith("resnet: ")
    assert words in line


@pytest.mark.parametrize("command", ["compare", "predict"])
def test_a_backend_that_is_not_registered_is_one_line_with_those_that_are(folder: Path, command: str) -> None:
    if command == "compare":  # the reference is not compared
        line, names = refused("compare", "resnet20", "--backends", "mxnet"), set(rn.backends()) - {"numpy"}
    else:
        line, names = refused(*predict(folder, backend="mxnet")), set(rn.backends())
    assert line.endswith(f"received 'mxnet'; registered are {', '.join(sorted(names))}")


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.toml", "depths = [1\n", "not valid TOML: "),
        (
            "a.toml",
            'depths = [1]\nchannels = [8, 8]\nblock = "basic"\n',
            "channels: received [8, 8]; allowed is one width",
        ),
        ("a.json", "{", "not valid JSON: "),
    ],
)
def test_a_bad_spec_file_is_one_clear_line(name: str, text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    assert words in refused("show", str(tmp_path / name))


def test_an_interpreter_that_does_not_exist_is_one_clear_line() -> None:
    line = refused(
        "compare",
        *NARROW,
        "--device",
        "cpu",
        "--backends",
        "torch",
        "--python",
        "torch=/no/such/python",
    )
    assert line == "resnet: torch: /no/such/python cannot be started (No such file or directory)"


@pytest.mark.parametrize(
    ("backend", "framework", "pip"),
    [
        ("torch", "torch", 'pip install "resnet-core[torch]"'),
        ("keras", "keras", 'pip install "resnet-core[keras]"'),
        ("flax", "flax", 'pip install "resnet-core[flax]"'),
        ("flax", "jax", 'pip install "resnet-core[flax]"'),
    ],
)
def test_a_missing_framework_is_one_line_with_the_exact_pip_line(
    backend: str, framework: str, pip: str, tmp_path: Path
) -> None:
    process = resnet("compare", *NARROW, "--backends", backend, PYTHONPATH=hide(tmp_path, framework))
    assert process.returncode == 2
    (line,) = process.stderr.splitlines()
    assert line.startswith(f"resnet: backend {backend} needs {framework}, which is not installed: {pip}")
    assert line.count("pip install") == 1


def test_a_backend_that_nobody_asked_for_may_be_missing(tmp_path: Path) -> None:
    hidden = hide(tmp_path, "keras", "flax")
    process = resnet("compare", *NARROW, "--device", "cpu", "--json", "-", PYTHONPATH=hidden)
    result = json.loads(process.stdout)
    assert process.returncode == 0
    assert result["equal"] is True
    assert [name for name, entry in result["backends"].items() if entry.get("missing")] == ["flax", "keras"]


def test_comparing_without_any_framework_is_one_line_with_every_pip_line(tmp_path: Path) -> None:
    hidden = hide(tmp_path, "keras", "flax", "torch")
    program = f"""
import sys
from resnet_core.cli.commands import main
from resnet_core.comparison import compare
compare.usual_backends = lambda: ["flax", "keras", "torch"]  # whatever else there is on this machine
sys.argv = {["resnet", "compare", *NARROW]}
main()
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([hidden, os.environ.get("PYTHONPATH", "")])}
    process = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False
    )
    assert process.returncode == 2
    (line,) = process.stderr.splitlines()
    assert line.startswith("resnet: no backend is installed, so there is nothing to compare: ")
    assert line.count("pip install") == 3


# Prediction


SPEC = rn.spec("resnet20", depths=(1,), channels=(2,), input_size=(9, 9), name="mine")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A spec, its weights and a picture."""
    folder = tmp_path_factory.mktemp("predict")
    rn.save_spec(folder / "mine.toml", SPEC)
    weights, preparation = rn.probe_weights(SPEC), standard_preparation((9, 9), 3)
    rn.save_weights(folder / "w.safetensors", weights, SPEC, preparation=preparation)
    rn.save_weights(folder / "bare.safetensors", weights, SPEC)
    pixels = np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8)
    Image.fromarray(pixels).save(folder / "a.png")
    (folder / "broken.png").write_bytes((folder / "a.png").read_bytes()[:200])
    (folder / "names.txt").write_text("\n".join(f"thing {k}" for k in range(10)))
    (folder / "few.txt").write_text("thing")
    (folder / "bad.safetensors").write_bytes((folder / "w.safetensors").read_bytes()[:-1])
    (folder / "bad.pth").write_bytes(pickle.dumps({"a": 1}))
    return folder


def predict(folder: Path, **changes: Any) -> list[str]:
    values = {"image": "a.png", "weights": "w.safetensors", "backend": "numpy", **changes}
    arguments = ["predict", str(folder / "mine.toml"), str(folder / values["image"])]
    return [*arguments, "--weights", str(folder / values["weights"]), "--backend", values["backend"]]


def test_predict_prints_the_most_likely_classes_first(folder: Path) -> None:
    arguments = (*predict(folder), "--labels", str(folder / "names.txt"), "--top", "3")
    (found,) = json.loads(printed(*arguments, "--json"))
    assert found["image"] == str(folder / "a.png")
    assert len(found["top"]) == 3
    probabilities = [entry["probability"] for entry in found["top"]]
    assert probabilities == sorted(probabilities, reverse=True)
    assert found["top"][0]["label"] == f"thing {found['top'][0]['class']}"
    image = load_image(folder / "a.png", (9, 9), 3)[None]
    model = rn.build(SPEC, "numpy", weights=rn.probe_weights(SPEC))
    logits = rn.load_backend("numpy").predict(model, image)[0]
    assert [entry["class"] for entry in found["top"]] == np.argsort(-logits)[:3].tolist()
    np.testing.assert_allclose(probabilities[0], np.exp(logits.max()) / np.exp(logits).sum(), rtol=1e-12)
    assert f"thing {found['top'][0]['class']}" in printed(*arguments)


def test_predict_shows_the_preparation_below_its_table_and_an_assumed_one_only_once(folder: Path) -> None:
    prepared = (
        "pictures: shorter side to 10 (bilinear), center 9 x 9, RGB, "
        "mean 0.485 0.456 0.406, deviation 0.229 0.224 0.225"
    )
    assert printed(*predict(folder)).splitlines()[-1] == prepared
    caffe = Preparation(size=(9, 9), resize="stretch", channel_order="bgr", white=255)
    rn.save_weights(folder / "caffe.safetensors", rn.probe_weights(SPEC), SPEC, preparation=caffe)
    assert printed(*predict(folder, weights="caffe.safetensors")).splitlines()[-1] == f"pictures: {caffe}"
    for quiet in ("--quiet", "--csv"):
        assert "pictures: " not in printed(*predict(folder), quiet)
    assert "pictures: " not in resnet(*predict(folder, weights="bare.safetensors")).stdout


def test_predict_says_what_it_assumes_of_weights_that_say_nothing(folder: Path) -> None:
    process = resnet(*predict(folder, weights="bare.safetensors"), "--json")
    assert process.returncode == 0
    assert process.stdout == printed(*predict(folder), "--json")
    (line,) = process.stderr.splitlines()
    assert line.endswith(
        "bare.safetensors: says nothing of its pictures; assumed is shorter side to 10 (bilinear), center 9 x 9, RGB, "
        "mean 0.485 0.456 0.406, deviation 0.229 0.224 0.225"
    )


def test_one_bad_picture_is_named_and_the_rest_predicted(folder: Path) -> None:
    """Exit code 1; a weight file stands for its network; CSV and JSON have the error beside the picture."""
    pictures = [str(folder / name) for name in ("a.png", "broken.png", "none.png")]
    arguments = ["predict", str(folder / "w.safetensors"), *pictures, "--backend", "numpy", "--top", "2"]
    process = resnet(*arguments, "--json")
    assert process.returncode == 1
    good, broken, none = json.loads(process.stdout)
    assert [good] == json.loads(printed(*predict(folder), "--top", "2", "--json"))
    assert broken["top"] == none["top"] == []
    assert [line.removeprefix("resnet: ") for line in process.stderr.splitlines()] == [broken["error"], none["error"]]
    rows = list(csv.DictReader(io.StringIO(resnet(*arguments, "--csv").stdout)))
    assert [row["image"] for row in rows] == [pictures[0], *pictures]
    assert rows[-1]["error"] == none["error"]
    assert float(rows[0]["probability"]) == pytest.approx(good["top"][0]["probability"], rel=1e-8)


def test_a_folder_is_its_pictures_and_a_file_takes_the_result(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "pictures" / "deep").mkdir(parents=True)
    for name in ("b.png", "a.png", "deep/c.PNG"):
        (tmp_path / "pictures" / name).write_bytes((folder / "a.png").read_bytes())
    (tmp_path / "pictures" / "notes.txt").write_text("no picture")
    arguments = ["predict", str(folder / "w.safetensors"), str(tmp_path / "pictures"), "--backend", "numpy"]
    assert printed(*arguments, "-o", str(tmp_path / "found.json")) == ""
    found = json.loads((tmp_path / "found.json").read_text())
    assert [Path(entry["image"]).name for entry in found] == ["a.png", "b.png", "c.PNG"]
    assert found[0]["top"] == found[1]["top"] == found[2]["top"]
    (tmp_path / "empty").mkdir()
    assert "a folder without pictures" in refused("predict", str(folder / "w.safetensors"), str(tmp_path / "empty"))


def test_show_and_compare_take_a_weight_file_for_its_network(folder: Path) -> None:
    text = printed("show", str(folder / "w.safetensors"))
    assert "pictures: shorter side to 10 (bilinear), center 9 x 9, RGB, mean" in text
    assert json.loads(printed("show", str(folder / "w.safetensors"), "--json"))["spec"]["name"] == "mine"
    process = resnet("compare", str(folder / "w.safetensors"), "--backends", "torch", "--json", "-")
    assert process.returncode == 0, process.stderr
    assert json.loads(process.stdout)["spec"]["name"] == "mine"


@pytest.mark.parametrize(
    ("changes", "extra", "words"),
    [
        ({"image": "none.png"}, [], "does not exist, expected a picture"),
        ({"image": "broken.png"}, [], "is damaged or unsupported"),
        ({"image": "mine.toml"}, [], "is not a picture, expected a picture"),
        ({"weights": "bad.safetensors"}, [], "not a readable safetensors file"),
        ({"weights": "bad.pth"}, [], "bad.pth: "),
        ({"weights": "."}, [], "is a directory; expected"),
        ({}, ["--device", "gpu"], "NumPy computes on the CPU only"),
        ({}, ["--labels", "few.txt"], "few.txt: received 1 names; expected 10, one per line"),
        ({}, ["--labels", "a.png"], "a.png: not UTF-8 text; expected class names, one per line"),
        (
            {},
            ["--set", "classes=3"],
            "holds mine, not the requested network: head.linear.weight: received shape (10, 2)",
        ),
        ({}, ["--set", "in_channels=1"], "holds mine, not the requested network: stem.conv.weight: received shape"),
    ],
)
def test_bad_input_of_predict_is_one_clear_line(
    folder: Path, changes: dict[str, str], extra: list[str], words: str
) -> None:
    extra = [str(folder / part) if "." in part else part for part in extra]
    assert words in refused(*predict(folder, **changes), *extra)


def test_predict_with_a_missing_framework_is_one_line_with_the_pip_line(folder: Path, tmp_path: Path) -> None:
    line = refused(*predict(folder, backend="torch"), PYTHONPATH=hide(tmp_path, "torch"))
    assert line.startswith(
        'resnet: backend torch needs torch, which is not installed: pip install "resnet-core[torch]"'
    )


def test_a_demanded_gpu_that_is_not_there_is_one_clear_line(folder: Path) -> None:
    line = refused(*predict(folder, backend="torch"), "--device", "gpu", CUDA_VISIBLE_DEVICES="")
    assert "no GPU is visible to PyTorch " in line


def test_output_that_nobody_reads_is_no_error() -> None:
    process = subprocess.run(
        f"{sys.executable} -m resnet_core list --json | head -c 10",
        shell=True,
        capture_output=True,
        text=True,
        check=True,
    )
    assert process.stderr == ""


def test_compare_without_a_spec_takes_the_shipped_network_and_says_how_many_it_gets_right() -> None:
    process = resnet("compare", "--backends", "torch", "--device", "cpu", "--json", "-")
    assert process.returncode == 0, process.stderr
    result = json.loads(process.stdout)
    assert (result["spec"]["name"], result["batch"]) == ("resnet20", 100)
    assert result["backends"]["torch"]["accuracy"] >= 0.9
    assert "name the network they are for" in refused("compare", "--set", "classes=10")


@pytest.mark.parametrize("level", ["gradients", "training"])
def test_compare_goes_as_deep_as_training(level: str) -> None:
    process = resnet("compare", *NARROW, "--backends", "torch", "--device", "cpu", "--level", level, "--json", "-")
    assert process.returncode == 0, process.stderr
    result = json.loads(process.stdout)
    found = result["backends"]["torch"]["max_error"]
    assert result["dtype"] == "float64"
    deep = {"gradients"} if level == "gradients" else {"gradients", "loss", "weights", "statistics"}
    assert set(found) == {"stem", "stage1", "logits"} | deep
    assert max(found.values()) < 1e-11
