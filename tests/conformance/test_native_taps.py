"""Models with taps inside their blocks are what each framework's users expect; those without are as before."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conformance.narrow import SIZES

if TYPE_CHECKING:
    from conformance.conftest import Workers

#: Of the network "d2l": what a ReLU and an addition in place would change, an identity, and what has a name.
TAPS = [
    "stem_relu", "stage1.block1", "stage1.block1.conv1", "stage1.block1.norm1", "stage1.block1.norm2",
    "stage1.block1.shortcut", "stage2", "features", "logits",
]  # fmt: skip


def test_pytorch_compiles_exports_traces_copies_and_saves_taps(workers: Workers) -> None:
    found, _ = workers.call("torch", "native_torch:tapped", name="d2l", taps=TAPS, sizes=SIZES)
    ways = {"compiled", "exported", "traced by fx", "copied", "saved", "state", "logits", "hooks run"}
    assert found == dict.fromkeys(ways, True)


def test_a_pytorch_model_is_another_only_where_it_has_taps_inside(workers: Workers) -> None:
    found, _ = workers.call("torch", "native_torch:untapped", name="cifar")
    plain, ends, inside = found["kinds"]
    assert plain == ends
    assert {"Sequential", "Residual"} <= set(plain)
    assert {kind for kind in inside if kind not in plain} == {"TappedSequential"}
    assert found["printed"][0] == found["printed"][1]
    assert found["placeholders"] == ["input_1"]


def test_flax_jits_splits_and_clones_taps(workers: Workers) -> None:
    found, _ = workers.call("flax", "native_flax:tapped", name="d2l", taps=TAPS)
    assert found == dict.fromkeys(("jitted", "merged", "cloned", "state"), True)


def test_a_deep_keras_network_refuses_taps_inside(workers: Workers) -> None:
    """Its parts are models of their own, whose tensors another model cannot give."""
    found, _ = workers.call(
        "keras", "native_keras:deep_taps", taps=["stage1.block1", "features", "stem_relu", "stage1"]
    )
    assert found.pop("stage1") == "built"
    for tap, message in found.items():
        assert message == (
            f"taps: received '{tap}'; in Keras the children of so deep a network are models of their own, and only "
            "stem, stage1, stage2, head can be taps"
        )
