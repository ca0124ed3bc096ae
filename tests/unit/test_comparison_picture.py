"""A comparison as a picture and as a page: every number that it has, and nothing from elsewhere."""

from __future__ import annotations

import re
import sys
from dataclasses import replace
from functools import cache
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import resnet_core as rn
from command_line import in_process
from resnet_core.comparison.page import page
from resnet_core.comparison.picture import comparison_svg, draw_comparison
from resnet_core.comparison.result import BackendResult, Comparison
from resnet_core.errors import InputError
from resnet_core.spec_files import from_toml
from resnet_core.workers.answers import Seconds

SPEC = rn.spec("resnet20", depths=[1, 1], channels=[2, 3], classes=3, input_size=9)
MACHINE = {"cpu": "a <processor>", "cores": 2, "load_before": 0.25}


def result(scale: float, *, gate: float = 1e-5, **changes: Any) -> BackendResult:
    errors = {tap: scale * (number + 1) for number, tap in enumerate(rn.taps(SPEC))}
    known = {
        "device": "cpu", "dtype": "float32", "versions": {"toy": "1.5"}, "max_error": errors,
        "tolerances": dict.fromkeys(errors, gate), "seconds": Seconds(1.234, 0.0567, 10), "parameters": 1234,
        "peak_memory_bytes": 300 * 2**20, "state": 5678,
    }  # fmt: skip
    return BackendResult(**{**known, **changes})


def comparison(level: str = "logits", **backends: BackendResult) -> Comparison:
    return Comparison(
        spec=SPEC, level=level, dtype="float32", asked_device="cpu", reference="numpy float64", batch=4,
        backends=backends, named=True,
    )  # fmt: skip


BOTH = comparison(torch=result(1e-7), keras=result(2e-7))


def markers(svg: str, panel: int = 2) -> list[float]:
    """How high each marker of a backend's line stands in the first panel, in the order of drawing."""
    (axes,) = re.findall(rf'<g id="axes_{panel - 1}">(.*?)<g id="axes_{panel}">', svg, re.S)
    lines = re.findall(r'<g clip-path="[^"]*">\s*((?:<use [^>]*/>\s*)+)</g>', axes)
    return [float(y) for line in lines for y in re.findall(r'y="([\d.]+)"', line)]


def labels(svg: str) -> list[str]:
    return [unescape(text) for text in re.findall(r">([^<>\n]+)</text>", svg)]


@cache
def drawing() -> str:
    return comparison_svg(BOTH)


# The picture


def test_every_tap_and_every_backend_is_in_the_picture_with_the_gate() -> None:
    found = labels(drawing())
    assert {"stem", "stage1", "stage2", "logits", "torch", "keras", "gate", "1e-5"} <= set(found)
    assert found.count("56.7, first 1,234") == 2


def test_a_larger_error_stands_higher() -> None:
    places = markers(drawing())
    assert len(places) == 8
    torch, keras = places[:4], places[4:]
    assert torch == sorted(torch, reverse=True)  # y points down, and the errors grow with the depth
    assert all(lower < upper for lower, upper in zip(keras, torch, strict=True))


def test_the_gate_stands_where_the_largest_allowed_error_would() -> None:
    """A backend whose error is the gate has its markers on the dashes."""
    exact = result(1e-5, max_error=dict.fromkeys(rn.taps(SPEC), 1e-5))
    svg = comparison_svg(comparison(torch=exact, keras=result(1e-8)))
    (gate, *_) = re.findall(
        r'd="M [\d.]+ ([\d.]+) \nL [\d.]+ [\d.]+ \n" [^>]*style="fill: none; stroke-dasharray[^"]*#b00020', svg
    )
    assert markers(svg)[:4] == [pytest.approx(float(gate), abs=1e-3)] * 4


def test_quantities_without_a_depth_stand_apart_and_unbounded_ones_are_drawn() -> None:
    errors = {**result(1e-7).max_error, "gradients": 0.25, "gradients_narrow": 0.0, "loss": float("inf")}
    deep = result(1e-7, max_error=errors, tolerances={"logits": 1e-5, "gradients_narrow": 5e-5, "loss": 1e-4})
    svg = comparison_svg(comparison("training", torch=deep))
    assert {"gradients narrow", "loss"} <= set(labels(svg))
    assert len(markers(svg)) == 7


def test_names_and_shapes_alone_have_no_errors_to_draw() -> None:
    bare = result(1e-7, max_error={}, tolerances={})
    found = labels(comparison_svg(comparison("shapes", torch=bare)))
    assert "peak memory, MiB" in found
    assert not [text for text in found if "depth" in text]


def test_who_failed_is_not_drawn(tmp_path: Path) -> None:
    draw_comparison(comparison(torch=result(1e-7), keras=BackendResult(error="keras: fell over")), tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.width > picture.height > 300
    assert "keras" not in labels(comparison_svg(comparison(torch=result(1e-7), keras=BackendResult(error="no"))))
    with pytest.raises(InputError, match=r"^figure of the comparison: received 'a\.pdf'"):
        draw_comparison(BOTH, tmp_path / "a.pdf")


# The page


@cache
def made_of_both() -> str:
    return made(BOTH)


def made(compared: Comparison) -> str:
    return page(compared, "2026-11-29", MACHINE, {"python": "3.11.7", "numpy": "2.4.6"})


def plain(html: str) -> str:
    return unescape(re.sub(r"<[^>]*>", " ", html))


def test_the_page_has_the_outcome_the_errors_the_machine_and_the_date() -> None:
    text = plain(made_of_both())
    for words in (
        BOTH.sentence(), "8e-7", "2026-11-29", "a <processor>", "python 3.11.7, numpy 2.4.6", "toy 1.5", "1,234",
    ):  # fmt: skip
        assert words in text
    assert "load" not in text
    (toml,) = re.findall(r"<pre[^>]*>(.*?)</pre>", made_of_both(), re.S)
    assert from_toml(unescape(toml)) == SPEC


def test_the_page_asks_for_nothing_from_elsewhere() -> None:
    html = made_of_both()
    assert "<script" not in html
    assert re.findall(r'(?:src|href)="(?!#)[^"]*"', html.replace(' xlink:href="#', ' data-"')) == []
    assert "default-src 'none'" in html


def test_an_error_beyond_its_gate_is_marked_and_said() -> None:
    wrong = replace(result(1e-7), max_error={**result(1e-7).max_error, "stage2": 0.03})
    html = made(comparison(torch=wrong))
    assert '<span class="no">3e-2 > gate</span>' in html.replace("&gt;", ">")
    assert "torch: stage2 differs by 3e-2; allowed is 1e-5" in plain(html)
    assert '<p class="verdict no">NOT equal' in html
    assert 'class="no"' not in made_of_both()


def test_what_a_backend_says_is_text() -> None:
    html = made(comparison(torch=result(1e-7), keras=BackendResult(error="<script>alert(1)</script>\x1b[31m")))
    assert "<script" not in html
    assert "\x1b" not in html
    assert "<svg" not in made(comparison(keras=BackendResult(error="no")))


# The command


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Comparisons are done already; the list has one entry for each that was asked for."""
    asked: list[object] = []

    def compare(*arguments: object, **_: object) -> Comparison:
        asked.append(arguments)
        return BOTH

    monkeypatch.setattr("resnet_core.comparison.compare.compare", compare)
    return asked


def test_the_command_writes_both(tmp_path: Path, done: list[object]) -> None:
    ended = in_process("compare", "resnet20", "--plot", tmp_path / "a.svg", "--report", tmp_path / "a.html")
    assert (ended.returncode, ended.stderr, len(done)) == (0, "", 1)
    assert (tmp_path / "a.svg").read_text() == drawing()
    assert BOTH.sentence() in plain((tmp_path / "a.html").read_text())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--plot", "a.pdf"], "figure of the comparison: received 'a.pdf'; expected a file that ends in .svg or .png"),
        (["--report", "a.txt"], "--report: received 'a.txt'; expected a file that ends in .html"),
        (["--plot", "no/a.svg"], "no/a.svg: no is no folder; make it first, or write elsewhere"),
        (["--report", "no/a.html"], "no/a.html: no is no folder; make it first, or write elsewhere"),
    ],
)
def test_a_bad_place_is_said_before_the_work(arguments: list[str], words: str, done: list[object]) -> None:
    ended = in_process("compare", "resnet20", *arguments)
    assert (ended.returncode, ended.stdout, ended.stderr, done) == (2, "", f"resnet: {words}\n", [])


def test_without_matplotlib_it_is_said_before_the_work(monkeypatch: pytest.MonkeyPatch, done: list[object]) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    for option, name in (("--plot", "a.svg"), ("--report", "a.html")):
        ended = in_process("compare", "resnet20", option, name)
        assert ended.returncode == 2
        assert ended.stderr.startswith("resnet: a figure of the comparison needs matplotlib")
    assert done == []
