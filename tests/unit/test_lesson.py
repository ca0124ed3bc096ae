"""The lesson: its code is the printed code, its picture and its lines find each other, and its numbers are computed."""

from __future__ import annotations

import base64
import hashlib
import os
import re
import subprocess
import sys
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path

import msgspec
import numpy as np
import pytest

import resnet_core as rn
from command_line import in_process
from engines import CPU, ENGINES, QUICK
from resnet_core.anti_unification import outline
from resnet_core.errors import InputError
from resnet_core.lessons.coloring import colored_lines
from resnet_core.lessons.columns import Column, Piece, column, rows
from resnet_core.lessons.damage import CHANGES, RUNS, has_room, measure
from resnet_core.lessons.documentation import PAGES
from resnet_core.lessons.mistakes import error_text
from resnet_core.lessons.places import block_places, gate_places, network_places
from resnet_core.lessons.texts import Texts

BACKENDS = ("torch", "keras", "flax", "numpy")

OWN = """
name = "mine </script><b>&"
depths = [1, 3]
channels = [16, 32]
block = "basic"
attention = "se"
activation = "gelu"
drop_path = 0.2
stem_type = "deep"
classes = 10
input_size = [48, 32]
"""

#: One of each way of building a block, a stem and a shortcut.
KINDS = (
    "resnet18",
    "resnet20",
    "plain20",
    "resnet_v2_50",
    "resnetrs50",
    "ecaresnet50d",
    "resnetblur50",
    "resnext50_32x4d",
)


@dataclass
class Thing:
    """An element with places, and its text."""

    tag: str
    kind: str
    own: frozenset[str]
    related: frozenset[str]
    place: str
    target: str
    text: str = ""


@dataclass(eq=False)
class Page(HTMLParser):
    """What a reader of the file finds in it."""

    html: str
    lines: list[Thing] = field(default_factory=list)
    boxes: list[Thing] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    attributes: list[tuple[str, str, str | None]] = field(default_factory=list)
    targets: list[str] = field(default_factory=list)
    layers: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()
        self.within: list[tuple[str, Thing | None]] = []
        self.feed(self.html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        self.attributes += [(tag, name, value) for name, value in attrs]
        self.ids += [found["id"]] if "id" in found else []
        self.layers += [found["data-layer"]] if "data-layer" in found else []
        self.targets += [found["href"]] if "href" in found else []
        thing = None
        if "data-n" in found or (tag == "a" and "data-own" in found):
            own, related = (frozenset(found.get(name, "").split()) for name in ("data-own", "data-rel"))
            thing = Thing(tag, found["class"], own, related, found.get("id", ""), found.get("href", ""))
            (self.lines if "data-n" in found else self.boxes).append(thing)
        self.within.append((tag, thing))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value) for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        while self.within and self.within.pop()[0] != tag:
            pass

    def handle_data(self, data: str) -> None:
        for _, thing in self.within:
            if thing is not None:
                thing.text += data

    def text(self, backend: str) -> str:
        return "".join(line.text + "\n" for line in self.of(backend))

    def of(self, backend: str) -> list[Thing]:
        found = [line for line in self.lines if line.place.startswith(f"{backend}-")]
        return sorted(found, key=lambda line: int(line.place.partition("-")[2]))

    def dark(self) -> set[str]:
        """Boxes of the pictures that light no line of some program, and lines that light no box."""
        chips = [box for box in self.boxes if not box.own.isdisjoint(EVERYWHERE)]
        boxes = [box for box in self.boxes if box not in chips and not kind_of_layer(box)]
        missing = {
            f"{box.target} in {backend}"
            for backend in BACKENDS
            for box in boxes
            if not any(box.own & line.own for line in self.of(backend))
        }
        for box in (found for found in self.boxes if found not in boxes):
            missing |= set() if any(lights(box, line) for line in self.lines) else {box.target}
        return missing | {
            f"{line.place}: {key}"
            for line in self.lines
            for key in line.own
            if not any(key in box.own for box in self.boxes)
        }


#: Parts of programs that the picture of the network does not have; they have chips below it.
EVERYWHERE = {"imports", "helpers", "weights", "training", "run"}


def kind_of_layer(box: Thing) -> bool:
    return any(key.startswith("kind.") for key in box.own)


def lights(one: Thing, other: Thing) -> bool:
    """As the page's script has it."""
    return bool(one.own & other.own or one.own & other.related or one.related & other.own)


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> rn.ResNetSpec:
    file = tmp_path_factory.mktemp("own") / "own.toml"
    file.write_text(OWN)
    return rn.spec(file)


@pytest.fixture(scope="module")
def resnet18() -> str:
    return rn.lesson("resnet18", train=True)


@pytest.fixture(scope="module")
def mine(own: rn.ResNetSpec) -> str:
    return rn.lesson(own)


def test_the_code_of_every_column_is_the_printed_program(resnet18: str, mine: str, own: rn.ResNetSpec) -> None:
    for html, spec, train in ((resnet18, rn.spec("resnet18"), True), (mine, own, False)):
        page = Page(html)
        for backend in BACKENDS:
            printed = rn.source(spec, backend, train=train and backend != "numpy")
            assert page.text(backend) == printed
            assert f'data-digest="{hashlib.sha256(printed.encode()).hexdigest()}"' in html


def test_a_number_that_is_changed_in_the_page_is_no_longer_the_printed_one(resnet18: str) -> None:
    changed = resnet18.replace("<i class=n>64</i>, <i class=n>128</i>", "<i class=n>64</i>, <i class=n>129</i>", 1)
    assert changed != resnet18
    digest = hashlib.sha256(Page(changed).text("torch").encode()).hexdigest()
    assert digest not in changed


def test_boxes_and_lines_find_each_other_in_both_directions(resnet18: str, mine: str) -> None:
    assert Page(resnet18).dark() == set()
    assert Page(mine).dark() == set()


@pytest.mark.parametrize(
    "change",
    [
        {"stem": False, "in_channels": 16},
        {"classes": None},
        {"shortcut": "none"},
        {"norm": "none"},
        {"deploy": True},
        {"attention": "eca", "preactivation": True},
        {"attention": "se", "attention_place": "inner", "block": "bottleneck"},
        {"output_stride": 8, "head_pool": "both"},
        {"antialias": "blur", "activation": "hardswish"},
        {"shortcut_pool": "average", "norm": "layer", "drop_path": 0.2},
        {"stem_pool_padding": "zeros", "standardize_weights": True},
    ],
    ids=str,
)
def test_they_find_each_other_in_a_network_of_ones_own(change: dict[str, object]) -> None:
    fields = {"depths": [1, 2], "channels": [16, 32], "block": "basic", "classes": 10, "input_size": (32, 32)}
    html = rn.lesson(rn.ResNetSpec(**{**fields, **change}), measured=False)  # type: ignore[arg-type]
    assert Page(html).dark() == set()
    assert "No program in" not in html


def test_what_lights_nothing_is_found(resnet18: str) -> None:
    pictures, programs = resnet18.split('<div class="legend"')
    for key in ("block.conv1", "stage2", "head.pool", "block.add"):
        without_boxes = Page(
            pictures.replace(key, "other") + '<div class="legend"' + programs.replace("kind.", "sort.")
        )
        assert [place for place in without_boxes.dark() if place.startswith("numpy-")]
        without_lines = Page(pictures + '<div class="legend"' + programs.replace(key, "other"))
        assert [place for place in without_lines.dark() if place.endswith("in keras")], key


@pytest.mark.parametrize("name", [*KINDS, *(pytest.param(n, marks=pytest.mark.long) for n in rn.names())])
def test_every_layer_has_a_line_in_every_program(name: str) -> None:
    spec = rn.spec(name)
    definitions = outline(rn.layer_tree(spec))
    places = [*block_places(definitions), *gate_places(definitions), *network_places(definitions)]
    assert len(places) > 8
    for backend in BACKENDS:
        found = column(backend, rn.source(spec, backend), definitions)
        said = {key for line in found.lines for key in line.own}
        assert {place.key for place in places} <= said, backend
        assert "\n".join(line.text for line in found.lines) + "\n" == found.text


def test_a_layer_is_found_where_it_is_made_and_where_it_is_computed() -> None:
    spec = rn.spec("resnet50")
    said: dict[str, dict[str, list[str]]] = {}
    for backend in BACKENDS:
        lines = column(backend, rn.source(spec, backend), outline(rn.layer_tree(spec))).lines
        for line in lines:
            for key in line.own:
                said.setdefault(key, {}).setdefault(backend, []).append(line.text.strip())
    assert said["block.relu2"] == {
        "torch": ["y = torch.relu(self.norm2(self.conv2(y)))"],
        "keras": ['y = layers.ReLU(name=f"{name}_relu2")(y)'],
        "flax": ["y = nnx.relu(self.norm2(self.conv2(y)))"],
        "numpy": ["y = np.maximum(y, 0)"],
    }
    assert said["block.add"]["torch"] == ["return torch.relu(y + self.shortcut(x))"]
    assert said["stem.pool"]["flax"] == ["x = nnx.max_pool(x, (3, 3), (2, 2), ((1, 1), (1, 1)))  # 56 x 56 x 64"]
    assert said["head.pool"]["numpy"] == ["x = x.mean((1, 2))"]
    assert said["stage3"]["torch"] == [
        "self.stage3 = stage(512, 256, depth=6, stride=2)",
        "x = self.stage3(x)  # 1024 x 14 x 14",
    ]


def test_rows_keep_the_order_of_every_program_whatever_it_is() -> None:
    def made(*names: str) -> Column:
        return Column("torch", "", tuple(Piece(name, ()) for name in names))

    columns = [made("a", "b", "c"), made("b", "a", "d"), made("a", "d", "c")]
    found = rows(columns)
    for number, given in enumerate(columns):
        assert [pieces[number] for _, pieces in found if pieces[number]] == list(given.pieces)
    assert all(piece is None or piece.row == row for row, pieces in found for piece in pieces)


def test_colors_change_no_text() -> None:
    program = rn.source(rn.spec("resnet18"), "keras", train=True) + "s = f\"{1 < 2}&amp;\" '''\n<b>\n'''\n"
    lines = colored_lines(program)
    assert any("<i class=s>" in line for line in lines)
    for line, text in zip(lines, program.split("\n"), strict=False):
        plain = re.sub(r"</?i[^>]*>", "", line)
        assert plain.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&") == text


def test_the_page_is_one_safe_file(mine: str, resnet18: str) -> None:
    for html in (mine, resnet18):
        page = Page(html)
        assert len(html.encode()) < 1_500_000
        assert not [name for _, name, _ in page.attributes if name.startswith("on")]
        assert not [name for tag, name, _ in page.attributes if name == "src" or tag in ("link", "img", "iframe")]
        documented = {address for pages in PAGES.values() for _, address in pages.values()}
        assert {target for target in page.targets if not target.startswith("#")} <= documented
        assert "url(" not in html
        assert "@import" not in html
        script = re.findall(r"<script>(.*?)</script>", html, re.S)
        assert len(script) == 1
        digest = base64.b64encode(hashlib.sha256(script[0].encode()).digest()).decode()
        assert f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'" in html
        assert len(page.ids) == len(set(page.ids))
        data = re.findall(r'<script type="application/json" id="lesson-data">(.*?)</script>', html, re.S)
        assert len(data) == 1
        assert "<" not in data[0]
    assert html.count("</script>") == 2
    assert "<h1>mine &lt;/script&gt;&lt;b&gt;&amp;</h1>" in mine


def test_every_link_leads_somewhere(mine: str, resnet18: str) -> None:
    for html in (mine, resnet18):
        page = Page(html)
        known = {*page.ids, *page.layers}
        assert {target for target in page.targets if target.startswith("#") and target[1:] not in known} == set()


def test_equal_specs_give_equal_pages(own: rn.ResNetSpec, mine: str) -> None:
    assert rn.lesson(own) == mine


def test_shapes_and_counts_are_those_of_the_network(resnet18: str) -> None:
    text = re.sub(r"<[^>]+>", " ", resnet18)
    assert re.search(r"total\s+1000\s+11,689,512\s+1,814,073,344", text)
    assert 'data-how="parameters: 64 × 64 × 3 × 3 = 36,864; multiply-accumulates: 56 × 56 × 64 × 3 × 3 × 64' in resnet18


def test_a_folded_block_with_other_rates_stands_once(mine: str) -> None:
    assert "block2…3 × 2" in mine
    assert "stage2.block3" not in Page(mine).ids


def test_the_measured_damage_is_that_of_the_wrong_number() -> None:
    spec = rn.spec("resnet20")
    found = measure(spec)
    network = found.network
    backend = rn.load_backend("numpy")
    weights = rn.probe_weights(network, dtype="float64")
    images = np.random.default_rng(0).standard_normal((16, *network.input_size, 3))
    outputs = [
        backend.predict(backend.build(changed, weights=weights, dtype="float64"), images)
        for changed in (network, msgspec.structs.replace(network, norm_epsilon=1e-3))
    ]
    error = abs(outputs[1] - outputs[0]).max() / abs(outputs[0]).max()
    assert found.damages["epsilon"].error == pytest.approx(error, rel=1e-9)
    assert found.damages["epsilon"].changed == (outputs[0].argmax(1) != outputs[1].argmax(1)).sum()
    assert error > 1e-4


def test_what_a_network_does_not_have_is_not_measured() -> None:
    damages = measure(rn.spec("resnet20")).damages
    assert {"padding", "momentum", "variance", "layout", "channels"} <= set(damages)
    assert {"pool", "gelu", "dilation", "stride"} & set(damages) == set()
    assert "epsilon" not in measure(rn.spec("resnet20", norm_epsilon=1e-3)).damages
    assert all(damage.error > 1e-6 for damage in damages.values())


def test_the_biased_variance_is_the_rule_of_keras_and_flax() -> None:
    """The smaller the batch's maps, the larger the damage: n / (n - 1)."""
    small, large = (measure(rn.spec("resnet20", input_size=(side, side))) for side in (4, 32))
    assert small.damages["variance"].error != large.damages["variance"].error
    assert 0 < large.damages["variance"].error < 0.1


def test_errors_are_said_in_two_digits() -> None:
    assert [error_text(error, Texts("en")) for error in (0, 0.00331, 0.47, 4.21)] == [
        "no change", "0.33 %", "47 %", "4.2 times the output",
    ]  # fmt: skip


def test_unmeasured_a_page_has_the_mistakes_that_the_network_has_room_for(own: rn.ResNetSpec) -> None:
    for spec in (rn.spec("resnet20"), rn.spec("resnet20", norm_epsilon=1e-3), own):
        found = {topic for topic in (*CHANGES, *RUNS) if has_room(spec, topic)}
        assert found == set(measure(spec).damages)
    html = rn.lesson("resnet20", measured=False)
    assert set(re.findall(r'id="topic-(\w+)"', html)) == {
        "padding", "epsilon", "momentum", "variance", "layout", "flip",
    }  # fmt: skip


def test_unmeasured_pages_say_so(own: rn.ResNetSpec) -> None:
    html = rn.lesson(own, measured=False)
    assert "Nothing was measured" in html
    assert "the most likely class" not in html
    assert Page(html).dark() == set()


def test_a_network_without_programs_has_a_page_that_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(network: object) -> None:
        raise InputError("source: received an odd tree; programs are printed for like blocks")

    monkeypatch.setattr("resnet_core.lessons.lesson.outline", refused)
    page = Page(rn.lesson("resnet20", measured=False))
    assert page.lines == []
    assert page.html.count("source: received an odd tree") == 4
    assert len(page.boxes) > 20


def test_the_command_writes_the_page(tmp_path: Path, mine: str) -> None:
    (tmp_path / "own.toml").write_text(OWN)
    run = in_process("lesson", str(tmp_path / "own.toml"), "-o", str(tmp_path / "page.html"))
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")
    assert (tmp_path / "page.html").read_text() == mine


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("resnet18", "-o", "page.pdf"), "lesson: received 'page.pdf'; expected a file that ends in .html"),
        (("resnet18", "-o", "page.html", "--recipe", "d2l"), "--recipe: received without --train"),
        (("resnet18", "-o", "page.html", "--train", "--recipe", "nothing"), "nothing"),
        (("resnet1", "-o", "page.html"), "resnet1"),
        (("resnet18", "-o", "no/folder/page.html", "--no-measure"), "no/folder"),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_written(
    arguments: tuple[str, ...], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run = in_process("lesson", *arguments)
    assert (run.returncode, run.stdout) == (2, "")
    assert run.stderr.count("\n") == 1
    assert said in run.stderr
    assert list(tmp_path.iterdir()) == []


#: What the page says that a framework does by itself, as a program in it.
ALONE = {
    "torch": """
from torch import nn
norm, conv, pool = nn.BatchNorm2d(1), nn.Conv2d(1, 1, 3), nn.MaxPool2d(3)
print(norm.eps, norm.momentum, conv.padding[0], pool.padding, nn.GELU().approximate)
""",
    "keras": """
import inspect
from keras import layers, ops
norm, conv, pool = layers.BatchNormalization(), layers.Conv2D(1, 3), layers.MaxPooling2D(3)
print(norm.epsilon, norm.momentum, conv.padding, pool.padding, layers.Activation("gelu").activation.__name__)
print(inspect.signature(layers.Activation("gelu").activation).parameters["approximate"].default)
""",
    "flax": """
import inspect
from flax import nnx
norm, conv = nnx.BatchNorm(1, rngs=nnx.Rngs(0)), nnx.Conv(1, 1, (3, 3), rngs=nnx.Rngs(0))
print(norm.epsilon, norm.momentum, conv.padding, inspect.signature(nnx.max_pool).parameters["padding"].default)
print(norm.use_fast_variance, inspect.signature(nnx.gelu).parameters["approximate"].default)
""",
}
SAID = {
    "torch": "1e-05 0.1 0 0 none",
    "keras": "0.001 0.99 valid valid gelu False",
    "flax": "1e-05 0.99 SAME VALID True True",
}


@pytest.mark.long
@pytest.mark.parametrize("framework", ALONE)
def test_the_frameworks_left_alone_do_what_the_page_says(framework: str) -> None:
    environment = {**os.environ, **CPU, **QUICK, **ENGINES[framework][1]}
    process = subprocess.run(
        [sys.executable, "-c", ALONE[framework]],
        env=environment,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert process.stdout.split() == SAID[framework].split(), process.stderr[-1000:]
