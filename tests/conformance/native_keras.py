"""What a Keras user does with a model; runs in a worker process, on the Keras backend of its environment."""

from __future__ import annotations

import io
import json
import shutil
import zipfile
from collections.abc import Iterator
from contextlib import redirect_stdout
from typing import Any

import keras
import numpy as np
from narrow import NEWER, SIZES, SPECS

import resnet_core as rn
import resnet_keras
from resnet_core import tree
from resnet_core.architecture import layer_tree
from resnet_core.errors import InputError
from resnet_core.numerics import relative_distance, relative_error
from resnet_core.precision import convolving_in
from resnet_keras import depth, lowering
from resnet_keras import model as model_file

Answer = tuple[Any, dict[str, np.ndarray] | None]


def example(name: str, taps: tuple[str, ...] = ()) -> tuple[keras.Model, np.ndarray]:
    spec = {**SPECS, **NEWER}[name]
    images = np.random.default_rng(3).standard_normal((2, *SIZES[0], spec.in_channels)).astype(np.float32)
    return resnet_keras.build(spec, weights=rn.probe_weights(spec), taps=taps), images


def save(session: Any, arrays: Any, *, name: str, path: str, taps: list[str], h5: bool) -> Answer:
    """Save as .keras, and in the format before it as .h5; answers images and what the model makes of them."""
    model, images = example(name, tuple(taps))
    model.save(path)
    if h5:
        model.save(path.replace(".keras", ".h5"))
    output = resnet_keras.predict(model, images)
    return None, {"images": images, **({"": output} if isinstance(output, np.ndarray) else output)}


def parts(path: str) -> Iterator[dict[str, Any]]:
    """Everything in a .keras file's configuration that names a class."""
    with zipfile.ZipFile(path) as archive:
        pending = [json.loads(archive.read("config.json"))]
    while pending:
        value = pending.pop()
        if isinstance(value, dict):
            if "class_name" in value:
                yield value
            pending += value.values()
        elif isinstance(value, list):
            pending += value


def classes(session: Any, arrays: Any, *, name: str, path: str) -> Answer:
    """[module, class, registered name] of everything in the saved file's configuration."""
    model, _ = example(name)
    model.save(path)
    return [[part.get("module"), part["class_name"], part.get("registered_name")] for part in parts(path)], None


def fit(session: Any, arrays: Any, *, name: str) -> Answer:
    """The loss of `fit`, epoch by epoch, and whether the running statistics moved."""
    model, images = example(name)
    before = resnet_keras.get_weights(model)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.05, momentum=0.9), loss, metrics=["accuracy"])
    history = model.fit(images, np.array([0, 2]), batch_size=2, epochs=8, verbose=0)
    after = resnet_keras.get_weights(model)
    moved = [key for key in before if not (before[key] == after[key]).all()]
    model.evaluate(images, np.array([0, 2]), verbose=0)
    return {"losses": [float(loss) for loss in history.history["loss"]], "moved": moved}, None


def reached(session: Any, arrays: Any, *, name: str) -> Answer:
    """What a model of every layer's own output computes, by the layer's name, and the layers' names in order."""
    model, images = example(name)
    outputs = {layer.name: keras.Model(model.input, model.get_layer(layer.name).output) for layer in model.layers}
    every = keras.Model(model.input, {layer: one.output for layer, one in outputs.items()})
    found = every.predict_on_batch(images)
    return [[layer.name for layer in model.layers], [list(model.input_shape), list(model.output_shape)]], found


def sized(session: Any, arrays: Any, *, name: str) -> Answer:
    """The summary of the network at the spec's size, and whether it computes the same bits."""
    model, images = example(name)
    fixed = keras.models.clone_model(model, input_tensors=keras.Input((*SIZES[0], images.shape[-1])))
    fixed.set_weights(model.get_weights())
    with redirect_stdout(io.StringIO()) as text:
        fixed.summary(line_length=120)
    same = resnet_keras.predict(fixed, images) == resnet_keras.predict(model, images)
    return [text.getvalue(), bool(same.all())], None


def drawn(session: Any, arrays: Any, *, name: str, path: str) -> Answer:
    """The layers and arrows of Keras' picture of the network at the spec's size, which Graphviz, if here, draws."""
    model, images = example(name)
    fixed = keras.models.clone_model(model, input_tensors=keras.Input((*SIZES[0], images.shape[-1])))
    graph = keras.utils.model_to_dot(fixed, show_shapes=True, show_layer_names=True)
    labels = [node.get("label") for node in graph.get_nodes() if node.get("label")]
    joined = sum(len(layer.input) if isinstance(layer.input, list) else 1 for layer in fixed.layers[1:])
    if shutil.which("dot"):
        keras.utils.plot_model(fixed, path, show_shapes=True, show_layer_names=True)
    return [labels, len(graph.get_edges()), [layer.name for layer in fixed.layers], joined], None


def nested(session: Any, arrays: Any, *, name: str, path: str) -> Answer:
    """Of a network whose graph is too deep to be flat: its layers, and what differs from the flat one."""
    flat, images = example(name)
    deepest = depth.DEEP
    try:
        depth.DEEP = 3
        model, _ = example(name)
    finally:
        depth.DEEP = deepest
    ends = [f"stage{number}" for number in (1, 2)]
    model.save(path)
    differing = []
    for one in (model, keras.models.load_model(path), keras.models.clone_model(model)):
        resnet_keras.set_weights(one, resnet_keras.get_weights(flat))
        found = keras.Model(one.input, [one.get_layer(end).output for end in ends]).predict_on_batch(images)
        truth = keras.Model(flat.input, [flat.get_layer(end).output for end in ends]).predict_on_batch(images)
        differing += [end for end, a, b in zip(ends, found, truth, strict=True) if not (a == b).all()]
        differing += [] if resnet_keras.get_weights(one).keys() == resnet_keras.get_weights(flat).keys() else ["names"]
    known = [variable.path for variable in model.variables]
    return [[layer.name for layer in model.layers], differing, len(known) - len(set(known))], None


def named(session: Any, arrays: Any, *, paths: list[str]) -> Answer:
    """[the layers' names, the paths that they stand for]."""
    names = [lowering.layer_name(path) for path in paths]
    return [names, [lowering.neutral_path(name) for name in names]], None


def named_like_the_addition(session: Any, arrays: Any) -> Answer:
    """A block in which something else is called `add`."""
    block = tree.Residual(tree.Chain(), tree.Chain((("add", tree.ReLU()),)), tree.Chain(), tree.Chain())
    resnet_keras.build_tree(tree.Chain((("block", block),)), channels=2, weights={})
    return None, None


def opened(session: Any, arrays: Any, *, name: str, path: str) -> Answer:
    """Whether a file of nested models, as an earlier version wrote them, is what is built now."""
    old, spec = keras.models.load_model(path), SPECS[name]
    model, images = example(name)
    weights = resnet_keras.get_weights(old)
    same = {key: bool((value == weights[key]).all()) for key, value in resnet_keras.get_weights(model).items()}
    before = resnet_keras.predict(old, images)
    resnet_keras.set_weights(old, rn.initialize(spec, 5))
    again = rn.initialize(spec, 5)["stage1.block1.conv1.weight"]
    moved = bool((resnet_keras.get_weights(old)["stage1.block1.conv1.weight"] == again).all())
    return [same, len(weights), bool((before == resnet_keras.predict(model, images)).all()), moved], None


def mixed(session: Any, arrays: Any, *, name: str, policy: str, ignored: bool) -> Answer:
    """What a model is under a global policy, in numbers; `ignored` plants a build that does not ask for it."""
    spec = SPECS[name]
    weights = rn.probe_weights(spec)
    exact, images = example(name)
    cotangent = np.random.default_rng(4).standard_normal((2, 3)).astype(np.float32)
    truth, gradients = resnet_keras.predict(exact, images), resnet_keras.gradients(exact, images, cotangent)
    right = model_file.dtype_policy
    try:
        keras.config.set_dtype_policy(policy)
        if ignored:
            model_file.dtype_policy = lambda dtype: keras.DTypePolicy("float32")
        model = resnet_keras.build(spec, weights=weights)
        explicit = resnet_keras.build(spec, weights=weights, dtype="float32")
        found = {
            "policy": model.dtype_policy.name,
            "computes": sorted({layer.compute_dtype for layer in model.layers[1:-1]}),
            "keeps": sorted({str(variable.dtype) for variable in model.variables}),
            "stage": model.get_layer("stage1").output.dtype,
            "output": model.output.dtype,
            "explicit": sorted({layer.compute_dtype for layer in explicit.layers[1:]}),
            "explicit is exact": bool((resnet_keras.predict(explicit, images) == truth).all()),
            "error": relative_error(resnet_keras.predict(model, images), truth),
        }
        own = resnet_keras.gradients(model, images, cotangent)
        off, size = (
            sum(float((array**2).sum()) for array in arrays)
            for arrays in ((own[key] - value for key, value in gradients.items()), gradients.values())
        )
        found["gradients"] = (off / size) ** 0.5  # of all together: a single ReLU decides over a small tensor
        resnet_keras.train_forward(model, images)
        resnet_keras.set_weights(model, weights)
        found["weights"] = all((value == weights[key]).all() for key, value in resnet_keras.get_weights(model).items())
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.SGD(0.05, momentum=0.9), loss)
        found["optimizer"] = type(model.optimizer).__name__
        history = model.fit(images, np.array([0, 2]), batch_size=2, epochs=8, verbose=0)
        found["losses"] = [float(loss) for loss in history.history["loss"]]
    finally:
        model_file.dtype_policy = right
        keras.config.set_dtype_policy("float32")
    return found, None


def refused(session: Any, arrays: Any, *, policy: str) -> Answer:
    """The error for a global policy whose weights would be of another kind."""
    try:
        keras.config.set_dtype_policy(policy)
        resnet_keras.build(SPECS["slim"])
    except rn.InputError as error:
        return str(error), None
    finally:
        keras.config.set_dtype_policy("float32")
    return "", None


def double(session: Any, arrays: Any, *, name: str, path: str) -> Answer:
    """[dtypes of the variables, error against NumPy] of a file's network where float64 is Keras' default."""
    spec = SPECS[name]
    rn.save_weights(path, rn.probe_weights(spec), spec)
    images = example(name)[1]
    floatx, policy = keras.config.floatx(), keras.config.dtype_policy()
    try:
        keras.config.set_floatx("float64")
        keras.config.set_dtype_policy("float64")
        model = rn.build(path, "keras")
    finally:
        keras.config.set_floatx(floatx)
        keras.config.set_dtype_policy(policy)
    truth = rn.load_backend("numpy").predict(rn.build(path, "numpy"), images)
    kinds = sorted({str(variable.dtype) for variable in model.variables})
    return [kinds, relative_error(resnet_keras.predict(model, images), truth)], None


def fine_tuned(session: Any, arrays: Any, *, name: str) -> Answer:
    """The tensors that move where all but the last stage and the head are frozen."""
    model, images = example(name)
    for layer in model.layers:
        layer.trainable = layer.name.startswith(("stage2", "head"))
    model.compile(keras.optimizers.SGD(0.05), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    before = resnet_keras.get_weights(model)
    model.fit(images, np.array([0, 2]), batch_size=2, epochs=1, verbose=0)
    after = resnet_keras.get_weights(model)
    return [key for key in before if not (before[key] == after[key]).all()], None


def deep(session: Any, arrays: Any, *, name: str, path: str, fields: dict[str, Any] | None = None) -> Answer:
    """A deep network, narrow: built, saved, opened, cloned; what differs from the weights it was given."""
    spec = rn.spec(name, channels=(2,) * len(rn.spec(name).channels), input_size=8, classes=3)
    spec = rn.spec(spec, **fields or {})
    weights = rn.probe_weights(spec)
    model = resnet_keras.build(spec, weights=weights)
    model.save(path)
    again = resnet_keras.get_weights(keras.models.load_model(path))
    keras.models.clone_model(model)
    keras.Model(model.input, model.get_layer("stage1").output)
    same = [key for key, array in weights.items() if not (again[key] == array).all()]
    return [same, len(again) - len(weights), len(model.layers)], None


def paths(session: Any, arrays: Any, *, name: str) -> Answer:
    """[path of every variable], and how many parameters Keras' PyTorch backend knows of (-1 on another)."""
    model, _ = example(name)
    known = len(list(model.parameters())) if keras.backend.backend() == "torch" else -1
    return [[variable.path for variable in model.variables], known], None


def odd_names(session: Any, arrays: Any, *, names: list[str]) -> Answer:
    """Shapes of what networks with such names compute."""
    shapes = []
    for name in names:
        spec = rn.spec(SPECS["cifar"], name=name)
        images = np.random.default_rng(7).standard_normal((2, *SIZES[0], spec.in_channels))
        shapes.append(list(resnet_keras.predict(resnet_keras.build(spec), images).shape))
    return shapes, None


def deep_taps(session: Any, arrays: Any, *, taps: list[str]) -> Answer:
    """{tap: what a deep network says of it}."""
    spec = rn.spec("resnet20", depths=(90, 90), channels=(2, 2), classes=2)
    found = {}
    for tap in taps:
        try:
            resnet_keras.build(spec, taps=(tap,))
            found[tap] = "built"
        except InputError as error:
            found[tap] = str(error)
    return found, None


def train_norm(session: Any, arrays: dict[str, np.ndarray], *, kind: str, settings: dict[str, float]) -> Answer:
    """A norm's output in training, its statistics afterwards, and its gradients, in float32 on TensorFlow or JAX.

    `kind` is "ours" or "keras". Answers whether it was computed in another form than Keras': by TensorFlow's one
    operation, or by products.
    """
    from resnet_keras.normalization import UnbiasedBatchNormalization

    kinds = {"ours": UnbiasedBatchNormalization, "keras": keras.layers.BatchNormalization}
    layer = kinds[kind](dtype="float32", **{"momentum": 0.9, "epsilon": 1e-5, **settings})
    layer.build(arrays["x"].shape)
    layer.set_weights([arrays[name] for name in ("scale", "shift", "mean", "variance")])
    values, statistics, form = _NORMS[keras.backend.backend()](layer, arrays)
    names = ("output", "gradient", "scale gradient", "shift gradient")
    found = dict(zip(names, map(np.asarray, values), strict=True))
    return form, {**found, **dict(zip(("mean", "variance"), map(np.asarray, statistics), strict=True))}


def _norm_of_tensorflow(layer: Any, arrays: dict[str, np.ndarray]) -> tuple[Any, Any, bool]:
    import tensorflow

    @tensorflow.function
    def step(x: Any) -> Any:
        with tensorflow.GradientTape() as tape:
            tape.watch(x)
            output = layer(x, training=True)
            total = tensorflow.reduce_sum(output * arrays["cotangent"])
        return output, *tape.gradient(total, [x, layer.gamma.value, layer.beta.value])

    x = tensorflow.constant(arrays["x"])
    values = step(x)
    operations = {operation.type for operation in step.get_concrete_function(x).graph.get_operations()}
    return values, (layer.moving_mean, layer.moving_variance), "FusedBatchNormV3" in operations


def _norm_of_jax(layer: Any, arrays: dict[str, np.ndarray]) -> tuple[Any, Any, bool]:
    import jax

    def step(x: Any, *parameters: Any) -> Any:
        return layer.stateless_call(parameters, [arrays["mean"], arrays["variance"]], x, training=True)

    given = arrays["x"], arrays["scale"], arrays["shift"]
    output, pull, statistics = jax.vjp(step, *given, has_aux=True)
    return (output, *pull(arrays["cotangent"])), statistics, "dot_general" in str(jax.make_jaxpr(step)(*given))


_NORMS = {"tensorflow": _norm_of_tensorflow, "jax": _norm_of_jax}


def other_forms(session: Any, arrays: dict[str, np.ndarray], *, dtype: str) -> Answer:
    """{case: error} of the output and all gradients of what an engine computes in another form, beside Keras' own.

    Once as it is, and once with the last input shifted; and whether TensorFlow's own groups have gradients.
    """
    from resnet_keras import convolution, pooling

    resnet_keras.configure(dtype=dtype)
    rng = np.random.default_rng(6)
    draw = lambda *shape: keras.ops.convert_to_tensor(rng.standard_normal(shape).astype(dtype))  # noqa: E731
    cases: dict[str, tuple[Any, Any, list[Any]]] = {}
    for groups, channels, (high, wide), stride, dilation, padding in (
        (32, 128, (7, 6), 1, 1, "same"),
        (32, 128, (7, 6), 2, 1, "valid"),
        (6, 18, (9, 8), 1, 2, "same"),
        (12, 12, (6, 5), 1, 1, "same"),
        (1, 6, (1, 2), 1, 1, "same"),
        (1, 6, (2, 2), 2, 1, "same"),
    ):
        settings = {"strides": stride, "padding": padding, "dilation_rate": dilation, "groups": groups, "dtype": dtype}
        keras_own, ours = (keras.layers.Conv2D(2 * channels, 3, **settings) for _ in range(2))
        given = [draw(2, high, wide, channels), draw(3, 3, channels // groups, 2 * channels)]
        quick = convolution.quickened(ours).convolution_op
        cases[f"{groups} groups of {channels // groups}, stride {stride}"] = quick, keras_own.convolution_op, given
    for stride in ((1, 1), (1, 3)):
        layers = [keras.layers.Conv2D(4, 1, strides=stride, dtype=dtype) for _ in range(2)]
        functions = convolution.quickened(layers[0]).convolution_op, layers[1].convolution_op
        cases[f"1x1 with stride {stride}"] = *functions, [draw(2, 7, 6, 3), draw(1, 1, 3, 4)]
    for size, padding in (((7, 6), "same"), ((8, 5), "valid")):
        kinds = pooling.MaxPooling2D, keras.layers.MaxPooling2D
        pools = (kind(3, 2, padding=padding, dtype=dtype).call for kind in kinds)
        cases[f"max-pool of {size}, {padding}"] = *pools, [draw(2, *size, 3)]
    errors: dict[str, dict[str, float]] = {"right": {}, "shifted": {}}
    for case, (ours, true, given) in cases.items():
        truth = true(*given)
        cotangent = draw(*truth.shape)
        expected = [truth, *_pulled(true, given, cotangent)]
        for kind, inputs in (("right", given), ("shifted", [*given[:-1], keras.ops.roll(given[-1], 1, axis=-1)])):
            found = [ours(*inputs), *_pulled(ours, inputs, cotangent)]
            errors[kind][case] = max(map(relative_error, map(np.asarray, found), map(np.asarray, expected)))
    own = keras.backend.backend() == "tensorflow" and convolution._has_gradients(dtype)
    return {**errors, "TensorFlow's own": own}, None


def _pulled(function: Any, given: list[Any], cotangent: Any) -> Any:
    """The gradients of a function's inputs."""
    if keras.backend.backend() == "jax":
        import jax

        return jax.jit(lambda given: jax.vjp(function, *given)[1](cotangent))(given)
    import tensorflow

    @tensorflow.function
    def pull(given: Any) -> Any:
        with tensorflow.GradientTape() as tape:
            tape.watch(given)
            output = function(*given)
        return tape.gradient(output, given, output_gradients=cotangent)

    return pull(given)


def rounding_in_xla(session: Any, arrays: Any) -> Answer:
    """How far a network with convolutions of bfloat16 is from the reference, without XLA in TensorFlow, and with it."""
    import tensorflow

    resnet_keras.configure()
    spec = rn.spec("resnet20", depths=(1,), channels=(32,))
    layers, weights = convolving_in(layer_tree(spec), "bfloat16"), rn.probe_weights(spec)
    images = np.random.default_rng(0).standard_normal((4, 16, 16, spec.in_channels)).astype(np.float32)
    truth, model = (
        backend.build_tree(layers, channels=spec.in_channels, weights=weights)
        for backend in (rn.load_backend("numpy"), resnet_keras)
    )
    expected, errors = rn.load_backend("numpy").predict(truth, images), {}
    for compiled in (False, True):
        call = tensorflow.function(lambda x: model(x, training=False), jit_compile=compiled)
        errors["XLA" if compiled else "TensorFlow"] = relative_distance(call(images).numpy(), expected)
    return errors, None
