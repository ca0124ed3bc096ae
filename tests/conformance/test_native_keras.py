"""The Keras model is what Keras' users expect, made of nothing that is ours, on each of Keras' backends."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

import resnet_core as rn
from conformance.narrow import NEWER, SPECS
from engines import CPU, ENGINES, QUICK
from resnet_core import InputError, tree
from resnet_core.architecture import layer_tree
from resnet_core.numerics import relative_error
from resnet_core.spec_files import to_json
from resnet_core.tolerances import TOLERANCES
from resnet_core.workers.parent import Worker
from resnet_keras.depth import DEEP, depth

if TYPE_CHECKING:
    from conformance.conftest import Workers

FIXTURES = Path(__file__).parents[1] / "fixtures"
QUICK_MIXED = ("keras", "mixed_bfloat16")
NAMES = [engine for engine, (backend, _) in ENGINES.items() if backend == "keras"]
#: Its other two engines are long, but for a training run of each (tests/parity/test_training_runs.py).
KERAS = [pytest.param(engine, marks=() if engine == "keras" else pytest.mark.long) for engine in NAMES]

# Opens models in a process in which nothing of ours can be imported.
OPEN = """
import sys

class NothingOfOurs:
    def find_spec(self, name, path=None, target=None):
        if name.startswith("resnet"):
            raise ModuleNotFoundError(f"{name} is not installed here")

sys.meta_path.insert(0, NothingOfOurs())
import keras
import numpy as np

for path in sys.argv[1:]:
    model = keras.models.load_model(path)
    output = model.predict_on_batch(np.load(path + ".npz")["images"])
    np.savez(path + ".out.npz", **(output if isinstance(output, dict) else {"": output}))
assert not [name for name in sys.modules if name.startswith("resnet")]
"""


@pytest.mark.parametrize(
    ("engine", "names"),
    [
        ("keras", ("d2l", "slim")),
        ("keras", tuple(NEWER)),
        *(pytest.param(engine, tuple(NEWER), marks=pytest.mark.long) for engine in NAMES if engine != "keras"),
        *(pytest.param(engine, tuple(SPECS), marks=pytest.mark.long) for engine in NAMES),
    ],
)
def test_a_saved_model_opens_without_us_and_computes_the_same_bits(
    engine: str, names: tuple[str, ...], tmp_path: Path, workers: Workers
) -> None:
    """Also in the format before `.keras`, but for taps, whose names `.h5` forgets.

    To rounding where a built model computes in another form than Keras' layers: groups, and everything on JAX.
    """
    expected, other_form = {}, set()
    for name in names:
        spec = {**SPECS, **NEWER}[name]
        for taps in ([], ["stage1", "stage1.block2.norm2", "logits"]) if name == "slim" else ([],):
            path = str(tmp_path / f"{name}{len(taps)}.keras")
            h5 = not taps and (engine == "keras" or len(names) > 1) and name not in NEWER
            _, arrays = workers.call(engine, "native_keras:save", name=name, path=path, taps=taps, h5=h5)
            images = arrays.pop("images")
            for saved in [path, path.replace(".keras", ".h5")] if h5 else [path]:
                np.savez(saved + ".npz", images=images)
                expected[saved] = arrays
                if engine == "keras_jax" or (engine == "keras" and (spec.groups > 1 or spec.group_channels)):
                    other_form.add(saved)
    environment = {
        **{key: value for key, value in os.environ.items() if key != "PYTHONPATH"},
        **QUICK,
        **ENGINES[engine][1],
        **CPU,
    }
    command = [sys.executable, "-P", "-c", OPEN, *expected]
    process = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert process.returncode == 0, process.stderr[-3000:]
    for path, arrays in expected.items():
        with np.load(path + ".out.npz") as found:
            assert set(found) == set(arrays)
            for key, value in arrays.items():
                if path in other_form:
                    assert relative_error(found[key], value) < TOLERANCES["output"]["float32"], f"{path} {key}"
                else:
                    np.testing.assert_array_equal(found[key], value, err_msg=f"{path} {key}")


@pytest.mark.parametrize("name", [*SPECS, *NEWER])
def test_only_built_in_layers_and_operations_are_used(name: str, tmp_path: Path, workers: Workers) -> None:
    found, _ = workers.call("keras", "native_keras:classes", name=name, path=str(tmp_path / "m.keras"))
    layers = {kind for _, kind, _ in found}
    assert {"Conv2D", "Add", "Dense", "Functional"} <= layers
    assert "Lambda" not in layers
    for module, kind, registered in found:
        if kind not in ("__keras_tensor__", "__slice__"):
            assert str(module).split(".")[0] in ("keras", "builtins"), (module, kind)
            assert registered in (None, kind)  # a registered custom class is "package>name"


@pytest.mark.parametrize("name", [pytest.param("d2l", marks=pytest.mark.long), "slim"])
@pytest.mark.parametrize("engine", KERAS)
def test_fit_runs_and_lowers_the_loss(engine: str, name: str, workers: Workers) -> None:
    result, _ = workers.call(engine, "native_keras:fit", name=name)
    assert result["losses"][-1] < 0.5 * result["losses"][0]
    assert {"stem.conv.weight", "head.linear.bias", "stage1.block1.norm1.running_var"} <= set(result["moved"])


@pytest.mark.parametrize("name", SPECS)
@pytest.mark.parametrize("engine", KERAS)
def test_every_variable_has_a_path_of_its_own(engine: str, name: str, workers: Workers) -> None:
    """Keras' PyTorch backend registers variables by path: one that another replaces keeps its old gradients."""
    (paths, known), _ = workers.call(engine, "native_keras:paths", name=name)
    assert len(paths) == len(set(paths))
    assert known in (-1, len(paths))


@pytest.mark.parametrize("name", SPECS)
def test_every_layer_of_the_tree_is_reached_by_its_path(name: str, workers: Workers) -> None:
    """`keras.Model(m.input, m.get_layer(name).output)`, and what it computes is what the reference does there."""
    spec = SPECS[name]
    (layers, shapes), found = workers.call("keras", "native_keras:reached", name=name)
    root = rn.layer_tree(spec)
    own = {path.replace(".", "_"): path for path, _ in tree.leaves(root)}
    ends = {path.replace(".", "_") + "_add" for path, node in tree.walk(root) if isinstance(node, tree.Residual)}
    pads = {f"{layer}_pad" for layer in own} & set(layers)
    assert set(layers) == {"images", *own, *(child for child, _ in root.children), *ends, *pads}
    assert set(found) == set(layers)
    positions = [None] * (found["head"].ndim - 1)
    assert shapes == [[None, None, None, spec.in_channels], [*positions, spec.classes]]
    numpy = rn.load_backend("numpy")
    reference = numpy.build(spec, weights=rn.probe_weights(spec), taps=rn.taps(spec))
    truth = numpy.predict(reference, found["images"])
    for tap, value in truth.items():
        assert relative_error(found["head" if tap == "logits" else tap], value) < 1e-5, tap
    for layer in own:  # after which the next one follows
        assert np.isfinite(found[layer]).all(), layer


def test_names_go_both_ways_and_never_collide(workers: Workers) -> None:
    paths = ["stem", "stage1.block1.conv1", "a_b.c", "a.b_c", "a.b.c", "a_b_c", "a__b", "a_.b"]
    (names, back), _ = workers.call("keras", "native_keras:named", paths=paths)
    assert back == paths
    assert len(set(names)) == len(paths)
    assert names[:3] == ["stem", "stage1_block1_conv1", "a-b_c"]
    for path in ("größe", "a-b", "_a", ""):
        with pytest.raises(InputError, match=r"is no name in Keras; rename the node"):
            workers.call("keras", "native_keras:named", paths=[path])


def test_a_part_with_the_name_of_the_addition_is_refused(workers: Workers) -> None:
    with pytest.raises(InputError, match=r"^block\.add: is the name of the addition in Keras; rename the node$"):
        workers.call("keras", "native_keras:named_like_the_addition")


@pytest.mark.parametrize("name", ["slim", pytest.param("cifar", marks=pytest.mark.long)])
def test_a_file_of_nested_models_is_the_network_of_today(name: str, workers: Workers) -> None:
    """Written by the version before, in which each stage and block was a model of its own."""
    path = str(FIXTURES / f"nested_{name}.keras")
    (same, count, bits, moved), _ = workers.call("keras", "native_keras:opened", name=name, path=path)
    assert list(same) == list(rn.state(SPECS[name]))
    assert all(same.values())
    assert [count, bits, moved] == [len(same), True, True]


@pytest.mark.parametrize("name", ["d2l"])
def test_a_summary_has_the_sizes_of_a_network_of_fixed_size(name: str, workers: Workers) -> None:
    (text, same), _ = workers.call("keras", "native_keras:sized", name=name)
    assert same
    for part in ("stem_conv", "(None, 11, 9, 4)", "stage1_block1_conv1", "stage2_block1_shortcut_conv", "head_linear"):
        assert part in text


def test_keras_draws_every_layer_by_its_name(tmp_path: Path, workers: Workers) -> None:
    pytest.importorskip("pydot", reason="Keras draws with pydot, of the extra dev")
    path = tmp_path / "d2l.png"
    (labels, arrows, layers, inputs), _ = workers.call("keras", "native_keras:drawn", name="d2l", path=str(path))
    assert len(labels) == len(layers)
    for layer, label in zip(layers, labels, strict=True):
        assert f"<b>{layer}</b>" in label
    assert arrows == inputs
    assert "(None, 11, 9, 4)" in labels[layers.index("stem_conv")]
    if shutil.which("dot"):
        with Image.open(path) as picture:
            assert picture.height > 50 * len(layers)


def test_a_network_too_deep_for_one_graph_is_nested(tmp_path: Path, workers: Workers) -> None:
    path = str(tmp_path / "m.keras")
    (layers, differing, twice), _ = workers.call("keras", "native_keras:nested", name="d2l", path=path)
    parts = ["stem", "stage1", "stage2", "head"]
    assert layers == ["images", *(name for part in parts for name in (f"{part}_model", part))]
    assert differing == []
    assert twice == 0


@pytest.mark.long
@pytest.mark.parametrize("engine", KERAS)
@pytest.mark.parametrize("name", ["resnet_v2_200", "resnet1202"])
def test_the_deepest_networks_build_save_and_open(engine: str, name: str, tmp_path: Path, workers: Workers) -> None:
    (differing, more, layers), _ = workers.call(engine, "native_keras:deep", name=name, path=str(tmp_path / "m.keras"))
    assert (differing, more) == ([], 0)
    assert layers == 11 if name == "resnet1202" else layers > 600


@pytest.mark.long
@pytest.mark.parametrize("engine", KERAS)
@pytest.mark.parametrize("fields", [{"activation": "leaky_relu"}, {"activation": "gelu_tanh"}, {"attention": "eca"}])
def test_up_to_the_greatest_depth_a_graph_is_flat(
    fields: dict[str, Any], engine: str, tmp_path: Path, workers: Workers
) -> None:
    """What is several of Keras' operations counts as many as its recursion goes through."""

    def depth_of(blocks: int) -> int:
        spec = rn.spec("resnet50", depths=[1, blocks], channels=[2, 2], stem_channels=2, **fields)
        return depth(layer_tree(spec))

    most = max(blocks for blocks in range(1, DEEP) if depth_of(blocks) <= DEEP)
    for blocks, parts in ((most, None), (most + 1, 9)):
        asked = {"depths": [1, blocks], "channels": [2, 2], "stem_channels": 2, **fields}
        path = str(tmp_path / "m.keras")
        found, _ = workers.call(engine, "native_keras:deep", name="resnet50", path=path, fields=asked)
        differing, more, layers = found
        assert (differing, more) == ([], 0)
        assert layers == parts if parts else layers > 400


#: {policy: what its rounding makes of logits and of gradients, at least and at most}; float32 is below 1e-6.
MIXED = {"mixed_bfloat16": ((1e-3, 0.02), (2e-3, 0.06)), "mixed_float16": ((5e-5, 1e-3), (5e-4, 0.02))}


def obeyed(found: dict[str, Any], policy: str) -> list[str]:
    """What a model under a policy is that it should not be."""
    half = policy.removeprefix("mixed_")
    (least, most), (least_gradient, most_gradient) = MIXED[policy]
    right = {
        "policy": found["policy"] == policy,
        "computes": found["computes"] == [half],
        "keeps": found["keeps"] == ["float32"],
        "stage": found["stage"] == half,
        "output": found["output"] == "float32",
        "error": least < found["error"] < most,
        "gradients": least_gradient < found["gradients"] < most_gradient,
        "explicit": found["explicit"] == ["float32"] and found["explicit is exact"],
        "weights": found["weights"],
        "optimizer": found["optimizer"] == ("LossScaleOptimizer" if half == "float16" else "SGD"),
        "fit": found["losses"][-1] < 0.5 * found["losses"][0],
    }
    return [name for name, held in right.items() if not held]


@pytest.mark.parametrize(
    ("engine", "policy"),
    [
        pytest.param(engine, policy, marks=() if (engine, policy) == QUICK_MIXED else pytest.mark.long)
        for engine in NAMES
        for policy in MIXED
    ],
)
def test_the_global_policy_is_obeyed(engine: str, policy: str, workers: Workers) -> None:
    found, _ = workers.call(engine, "native_keras:mixed", name="d2l", policy=policy, ignored=False)
    assert obeyed(found, policy) == [], found


def test_a_policy_that_is_ignored_is_caught(workers: Workers) -> None:
    found, _ = workers.call("keras", "native_keras:mixed", name="d2l", policy="mixed_float16", ignored=True)
    assert set(obeyed(found, "mixed_float16")) >= {"policy", "computes", "stage", "error", "gradients", "optimizer"}


@pytest.mark.parametrize("policy", ["bfloat16", "float16", "int8_from_float32"])
def test_a_policy_whose_weights_are_not_neutral_is_refused(policy: str, workers: Workers) -> None:
    message, _ = workers.call("keras", "native_keras:refused", policy=policy)
    assert message.startswith(f"dtype policy: received '{policy}'; expected one of float32, float64, mixed_bfloat16, ")


def test_frozen_layers_stay_as_they_are(workers: Workers) -> None:
    moved, _ = workers.call("keras", "native_keras:fine_tuned", name="cifar")
    assert moved == [name for name in rn.state(SPECS["cifar"]) if name.startswith(("stage2", "head"))]


@pytest.mark.parametrize("engine", KERAS)
def test_a_network_may_have_any_name(engine: str, workers: Workers) -> None:
    names = ["a/b.c", "größe 漢", "_x", "-"]
    shapes, _ = workers.call(engine, "native_keras:odd_names", names=names)
    assert shapes == [[2, 3]] * len(names)


@pytest.mark.parametrize("configured", [False, True])
def test_keras_on_jax_refuses_float64_until_it_is_configured(configured: bool) -> None:
    """JAX's 64-bit mode is global to the process; without it float64 would silently be float32."""
    weights = rn.probe_weights(SPECS["slim"], dtype="float64")
    with Worker(environment={**QUICK, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}) as engine:
        if configured:
            engine.call("open_backend", backend="keras", device="cpu", dtype="float64")
            engine.call("build", weights, spec=to_json(SPECS["slim"]), taps=[], dtype="float64")
            _, found = engine.call("get_weights")
            assert {array.dtype.name for array in found.values()} == {"float64"}
            return
        engine.call("open_backend", backend="keras", device="cpu", dtype="float32")
        with pytest.raises(InputError, match=r"^dtype: received 'float64' while JAX's 64-bit mode is off; call "):
            engine.call("build", weights, spec=to_json(SPECS["slim"]), taps=[], dtype="float64")


def test_a_files_weights_follow_the_global_dtype(tmp_path: Path, workers: Workers) -> None:
    path = str(tmp_path / "w.safetensors")
    (kinds, error), _ = workers.call("keras", "native_keras:double", name="slim", path=path)
    assert kinds == ["float64"]
    assert error < 1e-12


def trained_norm(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The formulas in float64: what `native_keras.train_norm` answers."""
    x, scale, shift, mean, variance, cotangent = (np.asarray(array, np.float64) for array in arrays.values())
    axes, count = (0, 1, 2), x.size // x.shape[-1]
    deviation = np.sqrt(x.var(axes) + 1e-5)
    normal = (x - x.mean(axes)) / deviation
    shared = cotangent.mean(axes) + normal * (cotangent * normal).mean(axes)
    return {
        "output": normal * scale + shift,
        "gradient": scale / deviation * (cotangent - shared),
        "scale gradient": (cotangent * normal).sum(axes),
        "shift gradient": cotangent.sum(axes),
        "mean": 0.9 * mean + 0.1 * x.mean(axes),
        "variance": 0.9 * variance + 0.1 * x.var(axes) * count / (count - 1),
    }


#: What TensorFlow's function would do to the epsilon, Keras' own rule, and another number.
NORMS: dict[str, tuple[str, dict[str, float], set[str]]] = {
    "right": ("ours", {}, set()),
    "a larger epsilon": ("ours", {"epsilon": 1.001e-5}, {"output", "gradient", "scale gradient"}),
    "biased variance": ("keras", {}, {"variance"}),
    "momentum": ("ours", {"momentum": 0.89}, {"mean", "variance"}),
}


@pytest.mark.parametrize("engine", ["keras", "keras_jax"])
@pytest.mark.parametrize("name", NORMS)
def test_a_norm_in_another_form_is_the_neutral_one(name: str, engine: str, workers: Workers) -> None:
    """In one operation, or by products.

    In float32, which other checks of training have with larger variances, to which an epsilon of 1e-5 is nothing.
    """
    rng = np.random.default_rng(5)
    width = 4
    x = 3e-3 * rng.standard_normal((2, 3, 4, width))  # a variance as small as the epsilon
    given = {
        "x": x, "scale": rng.uniform(0.5, 1.5, width), "shift": rng.standard_normal(width),
        "mean": rng.standard_normal(width) * 1e-3, "variance": rng.uniform(0.5, 1.5, width) * 1e-5,
        "cotangent": rng.standard_normal(x.shape),
    }  # fmt: skip
    arrays = {key: array.astype(np.float32) for key, array in given.items()}
    kind, settings, defects = NORMS[name]
    another, found = workers.call(engine, "native_keras:train_norm", arrays, kind=kind, settings=settings)
    assert another == (kind == "ours")
    limits = {"output": "training output", "mean": "running statistics", "variance": "running statistics"}
    wrong = {
        key
        for key, truth in trained_norm(arrays).items()
        if not relative_error(found[key], truth) <= TOLERANCES[limits.get(key, "gradients")]["float32"]
    }
    assert wrong == defects


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("settings", "own"),
    [({}, True), ({"TF_ENABLE_ONEDNN_OPTS": "0"}, False), ({"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}, False)],
    ids=["tensorflow", "without oneDNN", "jax"],
)
def test_what_is_computed_in_another_form_is_the_same(settings: dict[str, str], own: bool, dtype: str) -> None:
    """Convolutions and max-pools, and their gradients, beside those of Keras' layers."""
    path = os.pathsep.join(filter(None, [str(Path(__file__).parent), os.environ.get("PYTHONPATH")]))
    with Worker(environment={**QUICK, **settings, "PYTHONPATH": path}) as worker:
        found, _ = worker.call("native_keras:other_forms", dtype=dtype)
    assert found["TensorFlow's own"] == (own and dtype == "float32")
    assert len(found["right"]) == 10
    assert max(found["right"].values()) < {"float32": 5e-6, "float64": 1e-14}[dtype], found["right"]  # 1.0e-6, 1.3e-15
    assert min(found["shifted"].values()) > 1e-2, found["shifted"]


@pytest.mark.parametrize(("said", "kept"), [("", True), ("--xla_allow_excess_precision=true", False)])
def test_xla_in_tensorflow_keeps_every_rounding_unless_the_user_says_otherwise(said: str, kept: bool) -> None:
    path = os.pathsep.join(filter(None, [str(Path(__file__).parent), os.environ.get("PYTHONPATH")]))
    with Worker(environment={**CPU, "PYTHONPATH": path, "XLA_FLAGS": said}) as worker:
        found, _ = worker.call("native_keras:rounding_in_xla")
    assert found["TensorFlow"] < 2e-5  # 2.4e-7
    assert (found["XLA"] < 2e-5) == kept, found  # 2.6e-7; 2.2e-4 where roundings are left out
