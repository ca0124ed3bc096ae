"""The figure of a network: what stands in it, and that it is the same file twice."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import pytest
from PIL import Image

import resnet_core as rn
from resnet_core.analysis import Layer
from resnet_core.errors import InputError
from resnet_core.presentation.canvas import SvgCanvas
from resnet_core.presentation.diagram import draw, layer_label
from resnet_core.tree import Leaf


def labels(file: Path) -> Counter[str]:
    return Counter(re.findall(r">([^<>\n]+)</text>", file.read_text()))


def test_every_folded_block_is_drawn_with_its_widths_and_sizes(tmp_path: Path) -> None:
    draw(rn.spec("resnet50"), tmp_path / "a.svg")
    found = labels(tmp_path / "a.svg")
    assert {"stem", "stage1", "stage4", "head", "224 × 224 × 3", "14 × 14 × 1024", "block2…6", "× 5"} <= found.keys()
    # A projecting and a folded block in each stage: two shortcuts, one of them with a convolution on it.
    assert found["+"] == 8
    assert found["1×1, 2048, /2, batch norm"] == 1
    assert found["3×3, 512, /2"] == found["3×3, 512"] == 1
    assert found["25.6 million parameters, 4.09 billion multiply-accumulates"] == 1


def test_the_same_network_is_the_same_file(tmp_path: Path) -> None:
    for name in ("a.svg", "b.svg"):
        draw(rn.spec("resnet20"), tmp_path / name)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


def test_a_preactivated_network_of_another_size(tmp_path: Path) -> None:
    """Projections stand behind the first ReLU; what an output stride does is written on the boxes."""
    draw(rn.spec("resnet_v2_50", output_stride=8), tmp_path / "a.svg", (65, 129))
    found = labels(tmp_path / "a.svg")
    assert found["3×3, 512, rate 4"] == 2
    assert found["subsample, /2"] == 1
    assert found["65 × 129 × 3"] == 1


def test_a_png_is_a_picture_wider_than_high(tmp_path: Path) -> None:
    draw(rn.spec("resnet20"), tmp_path / "a.PNG")
    with Image.open(tmp_path / "a.PNG") as picture:
        assert picture.width > picture.height > 500


def test_an_svg_is_xml_whatever_the_name_is_and_everything_is_on_its_page(tmp_path: Path) -> None:
    draw(rn.spec("resnet50", name="a < b & $c$ \x1b[31m"), tmp_path / "a.svg")
    root = ElementTree.parse(tmp_path / "a.svg").getroot()
    assert "a < b & $c$ \\x1b[31m" in [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    width, height = (float(root.attrib[side].removesuffix("pt")) for side in ("width", "height"))
    for element in root.iter("{http://www.w3.org/2000/svg}rect"):
        x, y, wide, high = (float(element.get(name, "0")) for name in ("x", "y", "width", "height"))
        assert 0 <= x <= x + wide <= width + 0.01
        assert 0 <= y <= y + high <= height + 0.01


@pytest.mark.parametrize(
    ("end", "corners"),
    [
        ((1, 2), "72,144 74,139.5 70,139.5"),  # down, right, left: the tip is where the arrow ends
        ((2, 1), "144,72 139.5,70 139.5,74"),
        ((0, 1), "0,72 4.5,74 4.5,70"),
    ],
)
def test_an_arrow_points_where_it_ends(end: tuple[float, float], corners: str) -> None:
    canvas = SvgCanvas(3, 3, "arrows")
    canvas.arrow([(1, 1), end], "black")
    assert f'<polygon points="{corners}" fill="black"/>' in canvas.content()


def test_a_layer_of_a_new_kind_has_a_label() -> None:
    @dataclass(frozen=True)
    class SoftGate(Leaf):
        pass

    assert layer_label(Layer("gate", SoftGate(), (4,), (4,), 0, 0, 0)) == "soft gate"


def test_another_ending_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^diagram: received 'a\.pdf'; expected a file that ends in \.svg or \.png$"):
        draw(rn.spec("resnet20"), tmp_path / "a.pdf")
    assert not list(tmp_path.iterdir())
