"""The network that runs in the page: its JavaScript computes what NumPy computes, and runs or refuses every leaf."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

import resnet_core as rn
from command_line import in_process
from resnet_core import tree
from resnet_core.architecture import layer_tree
from resnet_core.comparison.narrow import narrowed
from resnet_core.comparison.wording import scientific
from resnet_core.conformance.leaves import LEAVES
from resnet_core.data.shipped import FOLDER, shipped_images, shipped_model
from resnet_core.errors import InputError
from resnet_core.folding import folded
from resnet_core.lessons.live import MOST_VALUES, has_shipped_blocks, live, size_of
from resnet_core.lessons.live_page import layer_paths, live_part
from resnet_core.lessons.lowering import RUN, lower, rounded, stored
from resnet_core.lessons.texts import Texts
from resnet_core.prediction.network import trained_network
from resnet_core.weights import Weights

NODE = shutil.which("node")
needs_node = pytest.mark.skipif(not NODE, reason="the network's JavaScript is run by node, which is not on the path")
SCRIPT = (files("resnet_core.lessons") / "network.js").read_text(encoding="utf-8")

#: Both sides compute in float64 on the same numbers: they differ by the order in which they add.
SAME = 1e-9

#: What a page may be away from the reference.
ALLOWED = 1e-4

KINDS = ("resnet_v2_50", "resnetrs50", "ecaresnet50d", "resnetblur50", "resnext50_32x4d", "plain20", "resnet18_d2l")


@dataclass
class Case:
    """A folded tree with rounded weights, images, and how blocks are changed."""

    root: tree.Chain
    weights: Weights
    images: np.ndarray
    changes: dict[str, str] | None = None

    @property
    def expected(self) -> np.ndarray:
        """By NumPy in float64."""
        backend = rn.load_backend("numpy")
        weights = {name: array.astype(np.float64) for name, array in self.weights.items()}
        channels = self.images.shape[-1]
        model = backend.build_tree(self.root, channels=channels, weights=weights, dtype="float64")
        images = self.images.astype(np.float64)
        return np.concatenate([backend.predict(model, images[at : at + 10]) for at in range(0, len(images), 10)])

    def to_json(self) -> dict[str, Any]:
        return {
            "plan": lower(self.root, self.images.shape[1:]),
            "weights": stored(self.weights),
            "images": self.images.reshape(len(self.images), -1).astype(float).tolist(),
            "changes": self.changes or {},
        }


def case(root: tree.Chain, weights: Weights, images: np.ndarray) -> Case:
    root, of_root = folded(root, {name: array.astype(np.float64) for name, array in weights.items()})
    return Case(root, rounded(root, of_root), images)


def computed(cases: Sequence[Case], script: str = SCRIPT) -> list[np.ndarray]:
    """What the JavaScript gives for each case, in one process."""
    program = (
        script
        + """
const cases = JSON.parse(require("fs").readFileSync(0, "utf8"));
const found = cases.map((one) => {
  const model = network.read(one.plan, one.weights);
  return one.images.map((image) => [...network.run(model, image, one.changes)]);
});
console.log(JSON.stringify(found));
"""
    )
    given = json.dumps([one.to_json() for one in cases])
    done = subprocess.run(
        [str(NODE), "-e", program], input=given, capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    nothing = float("nan")
    outputs = [
        [[nothing if value is None else value for value in row] for row in one] for one in json.loads(done.stdout)
    ]
    return [np.array(output) for output in outputs]


def errors(cases: Sequence[Case], script: str = SCRIPT) -> list[float]:
    """max|a - b| / max|b| of each case; infinite where the sizes differ or a number is none."""
    found = []
    for one, output in zip(cases, computed(cases, script), strict=True):
        right = one.expected.reshape(len(one.images), -1)
        same = output.shape == right.shape and np.isfinite(output).all()
        found.append(float(np.abs(output - right).max() / np.abs(right).max()) if same else float("inf"))
    return found


def of_leaf(name: str) -> list[Case]:
    subject = LEAVES[name]
    return [case(subject.tree, subject.weights("float64"), subject.images(size)) for size in subject.sizes]


@pytest.fixture(scope="module")
def shipped() -> Case:
    network = trained_network(FOLDER / "fashion_resnet20.safetensors")
    return case(layer_tree(network.spec), network.weights, shipped_images()[0])


@needs_node
def test_every_kind_of_node_computes_what_numpy_computes() -> None:
    named = [(name, one) for name in LEAVES for one in of_leaf(name)]
    found = errors([one for _, one in named])
    wrong = {name: error for (name, _), error in zip(named, found, strict=True) if not error <= SAME}
    assert wrong == {}
    assert len(found) > len(LEAVES)


@needs_node
def test_whole_networks_of_every_kind_compute_what_numpy_computes() -> None:
    specs = [rn.spec(narrowed(rn.spec(name)), input_size=32) for name in KINDS]
    cases = []
    for spec in specs:
        images = np.random.default_rng(3).standard_normal((2, *spec.input_size, spec.in_channels))
        cases.append(case(layer_tree(spec), rn.probe_weights(spec, dtype="float64"), images))
    assert max(errors(cases)) <= SAME


@needs_node
def test_the_network_that_ships_gives_the_logits_of_the_reference(shipped: Case) -> None:
    output = computed([shipped])[0]
    assert output.shape == (100, 10)
    assert np.abs(output - shipped.expected).max() <= SAME < ALLOWED
    assert (output.argmax(1) == shipped_images()[1]).mean() > 0.9


#: What is planted in the script, and where it has to show.
DEFECTS = {
    "stride of a convolution": ("Math.floor(pixel / width) * node.stride[0]", "Math.floor(pixel / width)", "*"),
    "padding on the other side": ("(row + top) *", "(row + bottom) *", "convolution, uneven padding"),
    "epsilon": ("Math.sqrt(variance[c] + node.epsilon)", "Math.sqrt(variance[c] + 1e-3)", "norm, first"),
    "half's exponent": ("2 ** (exponent - 15)", "2 ** (exponent - 14)", "*"),
    "half's smallest numbers": ("fraction * 2 ** -24", "fraction * 2 ** -14", ""),
    "kernel flipped": ("channel * area + position", "channel * area + area - 1 - position", "*"),
    "bias lost": ("(bias ? bias[output + n] : 0)", "0", "*"),
    "ReLU": ("Math.max(value, 0))", "Math.max(value, -0.1))", "*"),
    "shortcut lost": ("value + short.data[n]", "value", "*"),
    "channels at the end": ("node.before + (n % channels)", "(n % channels)", "*"),
    "blur not reflected": ("before < 0 ? behind : before", "before", "blur"),
    "variance with n - 1": ("squares[set(n)] / count[set(n)]", "squares[set(n)] / (count[set(n)] - 1)", "group norm"),
    "slope of GELU": ("0.044715", "0.04", "gelu tanh"),
}  # fmt: skip


@needs_node
@pytest.mark.parametrize("name", DEFECTS)
def test_a_planted_defect_is_found(name: str, shipped: Case) -> None:
    old, new, where = DEFECTS[name]
    assert SCRIPT.count(old) == 1
    few = Case(shipped.root, shipped.weights, shipped.images[:2])
    if not where:  # the shipped weights with one that float16 holds only as one of its smallest numbers
        first, path = next((array, name) for name, array in few.weights.items())[:2]
        small = np.full_like(first, 3e-5)
        few = Case(few.root, {**few.weights, path: small}, few.images)
    cases = of_leaf(where) if where in LEAVES else [few]
    assert max(errors(cases)) <= SAME
    try:
        found = max(errors(cases, SCRIPT.replace(old, new)))
    except AssertionError:
        found = float("inf")
    assert found > ALLOWED


@needs_node
def test_a_block_is_skipped_and_its_shortcut_cut(shipped: Case) -> None:
    """The same as in a tree without the block's layers, or without its shortcut."""
    images = shipped.images[:3]
    path = "stage2.block2"
    skipped = Case(shipped.root, shipped.weights, images, {path: "skip"})
    cut = Case(shipped.root, shipped.weights, images, {path: "cut"})
    block = next(node for place, node in tree.walk(shipped.root) if place == path)
    assert isinstance(block, tree.Residual)
    found = computed([skipped, cut])
    without = _with(shipped.root, path, tree.Chain(block.post.children))
    plain = _with(shipped.root, path, tree.Chain((*block.body.children, *block.post.children)))
    for output, root in zip(found, (without, plain), strict=True):
        kept = {name for name, _ in tree.walk(root)}
        weights = {name: array for name, array in shipped.weights.items() if name.rpartition(".")[0] in kept}
        assert np.abs(output - Case(root, weights, images).expected).max() <= SAME
    assert np.abs(found[0] - found[1]).max() > 0.1


def _with(root: tree.Chain, path: str, block: tree.Chain) -> tree.Chain:
    stage, _, name = path.partition(".")
    children = dict(root.children)
    inner = children[stage]
    assert isinstance(inner, tree.Chain)
    children[stage] = tree.Chain(tuple((n, block if n == name else child) for n, child in inner.children))
    return tree.Chain(tuple(children.items()))


def test_every_leaf_is_run_or_refused_by_name() -> None:
    leaves = {
        kind for kind in vars(tree).values()
        if isinstance(kind, type) and issubclass(kind, tree.Leaf) and kind is not tree.Leaf
    }  # fmt: skip
    assert set(RUN) <= leaves
    examples = {type(leaf): leaf for subject in LEAVES.values() for _, leaf in tree.leaves(subject.tree)}
    for kind in leaves - set(RUN):
        root = tree.Chain((("odd", examples[kind]),))
        with pytest.raises(InputError, match=f"^odd: a page's network does not run {kind.__name__}$"):
            lower(root, (8, 8, 4))
    assert {kind.__name__ for kind in leaves - set(RUN)} == {"Dropout", "DropPath"}  # which no folded tree has


def test_a_leaf_that_is_new_is_refused_by_name() -> None:
    class Swirl(tree.Leaf):
        pass

    with pytest.raises(InputError, match=r"^stem\.swirl: a page's network does not run Swirl$"):
        lower(tree.Chain((("stem", tree.Chain((("swirl", Swirl()),))),)), (8, 8, 3))


@needs_node
def test_the_script_runs_what_python_says_that_it_runs() -> None:
    program = SCRIPT + "console.log(JSON.stringify([network.kinds, network.functions]))"
    done = subprocess.run([str(NODE), "-e", program], capture_output=True, text=True, timeout=60, check=True)
    kinds, functions = json.loads(done.stdout)
    assert set(kinds) == {kind.__name__ for kind in (*RUN, tree.Chain, tree.Residual, tree.Gate)}
    assert set(functions) == set(get_args(tree.Function))


def test_what_float16_cannot_hold_is_refused() -> None:
    root = tree.Chain((("conv", tree.Conv(1, 1, (1, 1))),))
    with pytest.raises(InputError, match=r"^conv.weight: holds 70000, and float16 ends at 65504$"):
        rounded(root, {"conv.weight": np.full((1, 1, 1, 1), 7e4)})


def test_the_page_says_what_the_rounding_changes() -> None:
    """As it is computed here another way: by the float32 network of the package, without folding."""
    found = live(trained_network(FOLDER / "fashion_resnet20.safetensors"), shipped=True)
    images, labels = shipped_images()
    right = Case(layer_tree(found.spec), shipped_model()[0], images).expected
    assert found.distance == pytest.approx(np.abs(found.logits - right).max() / np.abs(right).max(), rel=1e-9)
    assert 1e-6 < found.distance < 1e-3
    assert [number for number, _, _ in found.changed] == list(np.flatnonzero(right.argmax(1) != found.logits.argmax(1)))
    assert found.labels == tuple(labels)
    html = rn.lesson("resnet20", measured=False)
    assert f"at most {scientific(found.distance)} of the largest" in html
    assert "No picture changes its most likely class." in html
    assert len(html.encode()) < 1_500_000


def test_a_class_that_changes_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """With kernels of so few digits that some do."""

    def coarse(root: tree.Chain, weights: Weights) -> Weights:
        return {name: np.round(array * 4).astype(np.float16) / np.float16(4) for name, array in weights.items()}

    monkeypatch.setattr("resnet_core.lessons.live.rounded", coarse)
    found = live(trained_network(FOLDER / "fashion_resnet20.safetensors"), shipped=True)
    assert found.classes is not None
    number, before, after = found.changed[0]
    said = "\n".join(live_part(found, Texts("en")))
    assert f"picture {number + 1} from {found.classes[before]} to {found.classes[after]}" in said


def test_which_page_runs() -> None:
    assert [name for name in ("resnet20", "resnet18", "plain20", "resnet56") if has_shipped_blocks(rn.spec(name))] == [
        "resnet20"
    ]
    assert "no weights were given" in rn.lesson("resnet18_d2l", measured=False)
    assert size_of(rn.spec("resnet18")) > MOST_VALUES > size_of(rn.spec("resnet20"))


def test_a_weight_file_runs_where_it_fits(tmp_path: Path) -> None:
    spec = rn.spec("resnet20", depths=[1, 1], channels=[8, 16], classes=3)
    rn.save_weights(tmp_path / "w.safetensors", rn.probe_weights(spec), spec)
    html = rn.lesson(spec, weights=tmp_path / "w.safetensors", measured=False)
    assert "The weights are those that were given when this page was made." in html
    data = json.loads(html.split('id="lesson-data">')[1].split("</script>")[0])["live"]
    assert data["count"] == 1  # the photo
    assert data["names"] == ["class 0", "class 1", "class 2"]
    assert {path.split(".")[0] for path in layer_paths(data["plan"]["root"])} == {"stem", "stage1", "stage2", "head"}
    arguments = ("lesson", tmp_path / "w.safetensors", "-o", tmp_path / "page.html", "--no-measure")
    assert in_process(*arguments).returncode == 0  # in the place of the spec
    assert "The weights are those that were given" in (tmp_path / "page.html").read_text()
    large = rn.spec("resnet20", channels=[32, 64, 128])
    rn.save_weights(tmp_path / "large.safetensors", rn.probe_weights(large), large)
    assert f"it has {size_of(large):,} values" in rn.lesson(
        large, weights=tmp_path / "large.safetensors", measured=False
    )
    with pytest.raises(InputError):
        rn.lesson("resnet20", weights=tmp_path / "large.safetensors", measured=False)
