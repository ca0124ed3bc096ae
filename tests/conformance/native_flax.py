"""What an NNX user does with a model; runs in a worker process."""

from __future__ import annotations

import contextlib
import io
import os
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
from flax import nnx, serialization
from jax.sharding import NamedSharding, PartitionSpec
from narrow import NEWER, SIZES, SPECS

import resnet_core as rn
import resnet_flax
import resnet_flax.inference
from resnet_core.conversion.export import export_weights
from resnet_core.conversion.recognition import recognize
from resnet_core.numerics import relative_error
from resnet_core.training.contract import TrainingState
from resnet_core.training.random_factors import step_inputs
from resnet_core.training.recipe_files import recipe
from resnet_core.training.schedule import step_numbers
from resnet_core.training.targets import target_distribution
from resnet_core.weights import cast
from resnet_flax import repetition
from resnet_flax.convolution import conv_general_dilated
from resnet_flax.inference import evaluating
from resnet_flax.layers import DropPath
from resnet_flax.normalization import BatchNorm
from resnet_flax.pooling import max_pool
from resnet_flax.runtime import precision
from resnet_flax.state_dict import read_state_dict, write_state_dict

Answer = tuple[Any, dict[str, np.ndarray] | None]
ALL = {**SPECS, **NEWER}

#: What nnx.Conv says to a convolution besides strides and padding.
CONVOLUTION: dict[str, Any] = {
    "dimension_numbers": jax.lax.ConvDimensionNumbers((0, 3, 1, 2), (3, 2, 0, 1), (0, 3, 1, 2)),
    "feature_group_count": 1,
    "precision": None,
    "lhs_dilation": (1, 1),
    "rhs_dilation": (1, 1),
}


def example(name: str) -> tuple[nnx.Module, jax.Array]:
    spec = ALL[name]
    images = np.random.default_rng(3).standard_normal((2, *SIZES[0], spec.in_channels)).astype(np.float32)
    return resnet_flax.build(spec, weights=rn.probe_weights(spec)), jnp.asarray(images)


def split_merge_clone(session: Any, arrays: Any, *, name: str) -> Answer:
    model, x = example(name)
    run = nnx.jit(lambda model, x: model(x))
    model.eval()
    expected = run(model, x)
    graphdef, parameters, statistics = nnx.split(model, nnx.Param, nnx.BatchStat)
    merged = nnx.merge(graphdef, parameters, statistics)
    twin = nnx.clone(model)
    pure = jax.jit(lambda state, x: nnx.merge(graphdef, *state)(x))((parameters, statistics), x)
    results = {
        "merged": bool((run(merged, x) == expected).all()),
        "cloned": bool((run(twin, x) == expected).all()),
        "pure": bool(np.allclose(pure, expected, rtol=1e-5, atol=1e-6)),
        "eager": bool(np.allclose(model(x), expected, rtol=1e-4, atol=1e-5)),
    }
    nnx.update(twin, jax.tree.map(jnp.zeros_like, nnx.state(twin)))
    results["independent"] = bool((run(model, x) == expected).all())
    other = resnet_flax.build(ALL[name], seed=4)
    other.eval()
    results["equal specs have equal graphs"] = nnx.split(other)[0] == nnx.split(model)[0]
    return results, None


def state_from_a_file(session: Any, arrays: Any, *, name: str, folder: str) -> Answer:
    """A state that was written is what `nnx.update` takes, and every value is the same bits; and not with a defect.

    In msgpack by Flax' reader, in a folder by Orbax' own.
    """
    spec, path, orbax = ALL[name], Path(folder) / "state.msgpack", Path(folder) / "state"
    weights = rn.probe_weights(spec)
    orbax.mkdir()
    for place in (path, orbax):
        write_state_dict(place, export_weights(spec, weights, "nnx").arrays)

    def restored(place: Path) -> Any:
        if place.is_file():
            return serialization.msgpack_restore(place.read_bytes())
        with ocp.StandardCheckpointer() as checkpointer:
            return checkpointer.restore(place)

    def taken(place: Path, change: str) -> bool:
        model = resnet_flax.build(spec, seed=5)
        state = restored(place)
        module: Any = state
        *modules, last = change.split("/")
        for each in modules:
            module = module[each]
        if change:
            module[last] = np.nextafter(module[last], np.float32(9))
        nnx.update(model, state)
        found = resnet_flax.get_weights(model)
        return all(
            np.array_equal(found[key], array) and found[key].dtype == array.dtype for key, array in weights.items()
        )

    results = {}
    for kind, place in (("msgpack", path), ("Orbax", orbax)):
        own = recognize({key: array.shape for key, array in read_state_dict(place).items()}, spec=spec)
        results |= {
            f"{kind}: taken by nnx.update": taken(place, ""),
            f"{kind}: a last bit is seen": not taken(place, "head/linear/bias"),
            f"{kind}: read again": own.format.name == "nnx" and set(own.names.values()) == set(weights),
        }
    said = [file.name for file in orbax.rglob("*") if file.is_file() and str(orbax).encode() in file.read_bytes()]
    return {**results, "no file says where it was written": said == []}, None


def small_maps(session: Any, arrays: Any, *, everything: bool) -> Answer:
    """Convolutions of small maps in float64 beside XLA's own, and the cases that were not left to XLA.

    {case: largest error of the output and both gradients}, and the same for a kernel shifted by one row.
    """
    rng, products = np.random.default_rng(5), []
    errors: dict[str, dict[str, float]] = {"right": {}, "shifted": {}}
    sizes, strides, paddings = ((1, 1), (2, 2), (3, 2), (5, 7)), ((1, 1), (1, 2), (2, 2)), ("SAME", ((1, 1), (0, 2)))
    # Without everything, each stride with one of the paddings.
    windows = list(product(strides, paddings)) if everything else [*zip(strides, (*paddings, "SAME"), strict=True)]
    with precision("float64"):
        for size, (stride, padding) in product(sizes, windows):
            x, w = (jnp.asarray(rng.standard_normal(shape)) for shape in ((2, *size, 3), (3, 3, 3, 4)))
            ours, xlas = (
                partial(function, window_strides=stride, padding=padding, **CONVOLUTION)
                for function in (conv_general_dilated, jax.lax.conv_general_dilated)
            )
            case = f"{size} {stride} {padding}"
            true, pull_true = jax.vjp(xlas, x, w)
            for kind, kernel in (("right", w), ("shifted", jnp.roll(w, 1, axis=0))):
                found, pull = jax.vjp(ours, x, kernel)
                pairs = zip((found, *pull(true)), (true, *pull_true(true)), strict=True)
                errors[kind][case] = max(float(jnp.abs(own - truth).max()) for own, truth in pairs)
            if "conv_general_dilated" not in str(jax.make_jaxpr(ours)(x, w)):
                products.append(case)
    return {**errors, "products": products}, None


def other_forms(session: Any, arrays: Any) -> Answer:
    """{case: error of the output and of all gradients, in float64} of what is computed in another form, beside XLA's.

    Once as it is, and once with the last input shifted.
    """
    rng = np.random.default_rng(6)
    with precision("float64"):
        draw = lambda *shape: jnp.asarray(rng.standard_normal(shape))  # noqa: E731
        few = lambda *shape: jnp.asarray(rng.integers(0, 3, shape), jnp.float64)  # noqa: E731  (with equal values)
        cases: dict[str, tuple[Any, Any, tuple[Any, ...]]] = {}
        for groups, channels, size, stride, dilation, padding in (
            (32, 128, (7, 6), 1, 1, ((1, 1), (1, 1))),
            (32, 128, (7, 6), 2, 1, "SAME"),
            (6, 18, (9, 8), 2, 2, ((2, 2), (2, 2))),
            (2, 160, (5, 4), 1, 1, ((0, 1), (1, 0))),
        ):
            keywords = {
                **CONVOLUTION,
                "window_strides": (stride, stride),
                "padding": padding,
                "rhs_dilation": (dilation, dilation),
                "feature_group_count": groups,
            }
            ours, xlas = (partial(f, **keywords) for f in (conv_general_dilated, jax.lax.conv_general_dilated))
            given = draw(2, *size, channels), draw(3, 3, channels // groups, 2 * channels)
            cases[f"{groups} groups of {channels // groups}, stride {stride}"] = ours, xlas, given
        for stride in ((2, 2), (1, 3)):
            keywords = {**CONVOLUTION, "window_strides": stride, "padding": ((0, 0), (0, 0))}
            ours, xlas = (partial(f, **keywords) for f in (conv_general_dilated, jax.lax.conv_general_dilated))
            cases[f"1x1 with stride {stride}"] = ours, xlas, (draw(2, 7, 6, 3), draw(1, 1, 3, 4))
        for size, padding in (((7, 6), "same"), ((8, 5), ((1, 1), (1, 1))), ((6, 7), ((0, 1), (0, 0)))):
            pools = (partial(f, kernel=(3, 3), stride=(2, 2), padding=padding) for f in (max_pool, _xlas_pool))
            cases[f"max-pool of {size}, {padding}"] = *pools, (few(2, *size, 3),)
        norms = partial(_normalized, BatchNorm), partial(_normalized, nnx.BatchNorm)
        cases["batch norm"] = *norms, (draw(3) + 1, draw(3), 2 * draw(2, 5, 4, 3) + 3)
        errors: dict[str, dict[str, float]] = {"right": {}, "shifted": {}}
        for case, (ours, true, given) in cases.items():
            truth, pull_truth = jax.vjp(true, *given)
            cotangent = jax.tree.map(lambda value: jnp.asarray(rng.standard_normal(value.shape)), truth)
            shifted = (*given[:-1], jnp.roll(given[-1], 1, axis=-1))
            for kind, inputs in (("right", given), ("shifted", shifted)):
                found, pull = jax.vjp(jax.jit(ours), *inputs)
                pairs = zip(
                    *map(jax.tree.leaves, ((found, pull(cotangent)), (truth, pull_truth(cotangent)))), strict=True
                )
                errors[kind][case] = max(float(jnp.abs(own - right).max()) for own, right in pairs)
        largest = max_pool(
            jnp.asarray([[1.0, jnp.nan], [2.0, 3.0]]).reshape(1, 2, 2, 1), (2, 2), (2, 2), ((0, 0), (0, 0))
        )
        errors["right"]["a NaN in a max-pool"] = 0.0 if bool(jnp.isnan(largest).all()) else 1.0
    return errors, None


def loops(session: Any, arrays: Any) -> Answer:
    """{what: error in float64} of equal blocks in a loop beside those that are written out, and {case: loops}.

    Swapped are the weights of two of the blocks, in the loop.
    """
    spec = rn.spec("resnet20", depths=(1, 4), channels=(4, 6), classes=3, input_size=(9, 8))
    images = np.random.default_rng(5).standard_normal((6, 9, 8, spec.in_channels))
    weights = rn.cast(rn.probe_weights(spec), "float64")
    order = {"block3": "block4", "block4": "block3"}
    swapped = {".".join(order.get(part, part) for part in name.split(".")): value for name, value in weights.items()}
    build = partial(resnet_flax.build, spec, dtype="float64")
    written_out = _everything(spec, weights, images)
    least, repetition.LEAST = repetition.LEAST, 3
    try:
        found = _everything(spec, weights, images)
        found["swapped"] = {"logits": resnet_flax.predict(build(weights=swapped), images)}
        model = evaluating(build(weights=weights))
        counts = {"evaluating": _loops(model, images)}
        model.stage2.block4.norm1.use_running_average = False
        counts["one block in another mode"] = _loops(model, images)
    finally:
        repetition.LEAST = least
    written_out["swapped"] = written_out["logits"]
    errors = {
        what: float(max(np.abs(found[what][name] - right[name]).max() / np.abs(right[name]).max() for name in right))
        for what, right in written_out.items()
    }
    return {"errors": errors, "loops": counts}, None


def _everything(spec: rn.ResNetSpec, weights: rn.Weights, images: np.ndarray) -> dict[str, dict[str, np.ndarray]]:
    """What a network computes, forward and backward, and three steps of training with a frozen stem."""
    build = partial(resnet_flax.build, spec, weights=weights, dtype="float64")
    model = build()
    plan = recipe("d2l", learning_rate=0.05, momentum=0.9, freeze=("stem",))
    trainer = resnet_flax.Trainer(spec, plan, TrainingState(weights), dtype="float64")
    targets, numbers = target_distribution(np.arange(6) % 3, 3, 0.0), step_numbers(plan, 1, 0)
    for step in range(3):
        trainer.step(step_inputs(spec, 0, step, images, targets, numbers))
    return {
        "taps": resnet_flax.predict(build(taps=("stage2", "stage2.block3.norm1", "logits")), images),
        "logits": {"logits": resnet_flax.predict(model, images)},
        "gradients": resnet_flax.gradients(model, images, np.ones((6, 3))),
        "statistics": {"logits": resnet_flax.train_forward(model, images), **resnet_flax.get_weights(model)},
        "training": trainer.state().to_arrays(),
    }


def _loops(model: nnx.Module, images: np.ndarray) -> int:
    with precision("float64"):
        found = jax.make_jaxpr(lambda x: nnx.clone(model)(x))(jnp.asarray(images)).jaxpr
    return sum(equation.primitive.name == "scan" for equation in found.eqns)


def _xlas_pool(x: jax.Array, kernel: Any, stride: Any, padding: Any) -> jax.Array:
    return nnx.max_pool(x, kernel, stride, "SAME" if padding == "same" else padding)


def _normalized(kind: Any, scale: jax.Array, bias: jax.Array, x: jax.Array) -> list[jax.Array]:
    """The output in training, and the running statistics afterwards."""
    norm = kind(3, momentum=0.7, epsilon=1e-3, use_fast_variance=False, param_dtype="float64", rngs=nnx.Rngs(0))
    norm.scale.set_value(scale)
    norm.bias.set_value(bias)
    for statistic in (norm.mean, norm.var):  # NNX begins with float32, whatever the dtype
        statistic.set_value(jnp.ones_like(scale))
    return [norm(x, use_running_average=False), norm.mean.get_value(), norm.var.get_value()]


def flags(session: Any, arrays: Any) -> Answer:
    """XLA's options after `configure`, and sums that YNNPACK computes wrongly on some machines (jax#39103)."""
    resnet_flax.configure("cpu", "float64")
    sums = {}
    for rows, dtype in product((16_385, 2**20), ("float32", "float64")):
        ones = jnp.ones((rows, 4), dtype)
        total = jax.jit(jax.vmap(lambda row, ones=ones: jnp.sum((ones @ row) ** 2)))(jnp.ones((2, 4), dtype))
        sums[f"{rows} {dtype}"] = [float(total[0]), 16.0 * rows]
    return {"flags": os.environ.get("XLA_FLAGS", ""), "sums": sums}, None


def state_names(session: Any, arrays: Any, *, name: str) -> Answer:
    """{path: [type, shape, dtype]} of the model's state."""
    model, _ = example(name)
    return {
        "/".join(map(str, path)): [type(variable).__name__, list(variable.shape), str(variable.dtype)]
        for path, variable in nnx.to_flat_state(nnx.state(model))
    }, None


def modes(session: Any, arrays: Any, *, name: str) -> Answer:
    model, x = example(name)
    images = np.asarray(x)

    def flags() -> list[bool]:
        return [node.use_running_average for _, node in nnx.iter_graph(model) if isinstance(node, nnx.BatchNorm)]

    before = resnet_flax.get_weights(model)
    results = {"a built model is in training mode, as NNX's are": not any(flags())}
    for mode in ("train", "eval"):
        getattr(model, mode)()
        kept = flags()
        resnet_flax.predict(model, images)
        results[f"predict keeps {mode}"] = flags() == kept == [mode == "eval"] * len(kept)
    output = resnet_flax.predict(model, images)
    results["predicting is evaluating"] = bool(np.allclose(model(x), output, rtol=1e-4, atol=1e-5))
    after = resnet_flax.get_weights(model)
    results["predicting changes no state"] = all((before[key] == after[key]).all() for key in before)
    model.train()
    nnx.jit(lambda model, x: model(x))(model, x)
    moved = resnet_flax.get_weights(model)["stem.norm.running_mean" if name == "d2l" else "head.norm.running_mean"]
    results["training updates"] = not (
        moved == before["stem.norm.running_mean" if name == "d2l" else "head.norm.running_mean"]
    ).all()
    return results, None


def trained(session: Any, arrays: Any, *, name: str) -> Answer:
    """The loss of a few jitted steps of nnx.Optimizer on random labels."""
    model, x = example(name)
    labels = jnp.asarray([0, 2])
    optimizer = nnx.Optimizer(model, optax.sgd(0.05, momentum=0.9), wrt=nnx.Param)

    def loss_of(model: nnx.Module) -> jax.Array:
        return optax.softmax_cross_entropy_with_integer_labels(model(x), labels).mean()

    @nnx.jit
    def step(model: nnx.Module, optimizer: nnx.Optimizer) -> jax.Array:
        loss, gradients = nnx.value_and_grad(loss_of)(model)
        optimizer.update(model, gradients)
        return loss

    model.train()
    return [float(step(model, optimizer)) for _ in range(8)], None


def float64(session: Any, arrays: Any, *, name: str) -> Answer:
    """The dtypes of a float64 model's variables in a process that knows nothing of float64."""
    model = resnet_flax.build(SPECS[name], dtype="float64")
    found = sorted({str(variable.dtype) for _, variable in resnet_flax.weights.variables(model)})
    return {"dtypes": found, "x64 afterwards": bool(jax.config.jax_enable_x64)}, None


def printed(session: Any, arrays: Any) -> tuple[dict[str, str], None]:
    """The text of a model, before and after a user has changed it."""
    model = rn.build("resnet20", "flax")
    texts = {"resnet20": str(model)}
    model.head.linear = nnx.LoRA(64, 4, 10, rngs=nnx.Rngs(0))
    texts["with another head"] = repr(model)
    model.stage1.block2.conv1 = nnx.Conv(16, 16, (1, 1), rngs=nnx.Rngs(0))
    texts["with another block"] = repr(model)
    texts |= {name: str(rn.build(spec, "flax")) for name, spec in NEWER.items()}
    return texts, None


def nnx_shows(session: Any, arrays: Any) -> tuple[dict[str, str], None]:
    """What NNX' own functions show of a model: `nnx.tabulate` as a table, `nnx.display` printed, without a notebook."""
    model = rn.build("resnet20", "flax")
    model.eval()
    table = nnx.tabulate(model, jnp.zeros((1, 32, 32, 3)), depth=1, console_kwargs={"width": 160})
    displayed = io.StringIO()
    with contextlib.redirect_stdout(displayed):
        nnx.display(model)
    return {"tabulate": table, "display": displayed.getvalue()}, None


def by_onednn(session: Any, arrays: Any, *, name: str) -> Answer:
    """A prediction compiled for oneDNN: {float32 or float64: how many convolutions, and how far it is from the usual}.

    Of another network, too. An XLA that has no oneDNN takes the options all the same.
    """
    found = {}
    for dtype in ("float32", "float64"):
        weights = cast(rn.probe_weights(ALL[name]), dtype)
        other = {key: array * (1 + 1e-3 * key.endswith("conv2.weight")) for key, array in weights.items()}
        with precision(dtype):
            models = [resnet_flax.build(ALL[name], weights=own, dtype=dtype) for own in (weights, cast(other, dtype))]
            x = resnet_flax.inference.to_native(models[0], np.asarray(example(name)[1]))
            usual, counted = np.asarray(resnet_flax.inference.evaluate(models[0], x)), []
            for options in ({}, {"xla_cpu_use_onednn": True, "xla_cpu_experimental_onednn_custom_call": True}):
                with mock.patch.object(resnet_flax.inference, "inference_options", lambda options=options: options):
                    compiled = resnet_flax.inference._compiled.__wrapped__()
                counted.append(compiled.lower(models[0], x).as_text().count("stablehlo.convolution"))
            errors = [relative_error(np.asarray(compiled(model, x)), usual) for model in models]
        found[dtype] = {"convolutions": counted, "error": errors[0], "of another network": errors[1]}
    return found, None


def random_layers(session: Any, arrays: Any, *, name: str) -> Answer:
    """{what random layers do in a user's own loop: whether they do}."""
    model, x = example(name)
    run = nnx.jit(lambda model, x: model(x))
    model.eval()
    evaluated = run(model, x)
    found = {"nothing is random in evaluation mode": bool((run(model, x) == evaluated).all())}
    model.train()
    found["training mode is random"] = bool((run(model, x) != run(model, x)).any())
    layers = [layer for _, layer in nnx.iter_graph(model) if isinstance(layer, nnx.Dropout)]
    streams = {str(jax.random.key_data(layer.rngs.key.get_value())) for layer in layers}
    found["each layer draws its own"] = len(streams) == len(layers) > 2
    before = [int(layer.rngs.count.get_value()) for layer in layers]
    resnet_flax.train_forward(model, np.asarray(x))
    found["train_forward draws nothing"] = before == [int(layer.rngs.count.get_value()) for layer in layers]
    found["train_forward leaves training on"] = not any(layer.deterministic for layer in layers)
    model.eval()
    expected = run(model, x)
    graph, *states = nnx.split(model, nnx.Param, nnx.BatchStat, nnx.RngState)
    found["split and merged"] = bool((run(nnx.merge(graph, *states), x) == expected).all())
    ones, rngs = jnp.ones((4000, 2, 2, 3)), nnx.Rngs(dropout=3)
    for kind in (nnx.Dropout, DropPath):
        dropped = np.asarray(kind(0.25, rngs=rngs)(ones))
        kept = dropped[dropped != 0]
        found[f"{kind.__name__}: what is kept is divided"] = bool(np.allclose(kept, 4 / 3))
        found[f"{kind.__name__}: a quarter is dropped"] = abs(1 - len(kept) / dropped.size - 0.25) < 0.03
    found["a path is an image's"] = bool((dropped == dropped[:, :1, :1, :1]).all())
    return found, None


def sharded(session: Any, arrays: Any) -> tuple[dict[str, float], None]:
    """Errors of gradients on a batch that lies on two devices, and where norms see only a half."""
    mesh = jax.make_mesh((2,), ("batch",))
    split, whole = (NamedSharding(mesh, PartitionSpec(*axes)) for axes in (("batch",), ()))
    model, x = example("cifar")
    images = jnp.concatenate([x, 3 * x])  # the halves have other statistics

    @jax.jit
    def gradients(state: Any, images: jax.Array) -> Any:
        def loss_of(state: Any) -> jax.Array:
            return nnx.view(nnx.merge(graph, state, rest, copy=True), use_running_average=False)(images).var()

        return jax.grad(loss_of)(state)

    graph, state, rest = nnx.split(model, nnx.Param, ...)
    truth = gradients(state, images)
    shared = gradients(jax.device_put(state, whole), jax.device_put(images, split))
    halves = jax.tree.map(lambda a, b: (a + b) / 2, gradients(state, images[:2]), gradients(state, images[2:]))

    def error(found: Any) -> float:
        pairs = zip(jax.tree.leaves(found), jax.tree.leaves(truth), strict=True)
        return max(float(jnp.abs(own - true).max() / jnp.abs(true).max()) for own, true in pairs)

    return {"devices": len(jax.devices()), "shared": error(shared), "halves": error(halves)}, None


def tapped(session: Any, arrays: Any, *, name: str, taps: list[str]) -> Answer:
    """Whether a model with taps computes the same jitted, and split and merged; whether its state is the usual one."""
    spec = SPECS[name]
    model = nnx.view(
        resnet_flax.build(spec, weights=rn.probe_weights(spec), taps=tuple(taps)), use_running_average=True
    )
    plain, x = example(name)
    true = model(x)
    graphdef, state = nnx.split(model)
    ways = {
        "jitted": nnx.jit(lambda model, x: model(x))(model, x),
        "merged": jax.jit(lambda state, x: nnx.merge(graphdef, state)(x))(state, x),
        "cloned": nnx.clone(model)(x),
    }
    found: dict[str, Any] = {
        way: set(output) == set(taps) and all(np.allclose(output[tap], true[tap], rtol=1e-4, atol=1e-5) for tap in taps)
        for way, output in ways.items()
    }
    usual = jax.tree.structure(nnx.state(plain).to_pure_dict())
    return {**found, "state": jax.tree.structure(nnx.state(model).to_pure_dict()) == usual}, None
