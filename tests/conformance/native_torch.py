"""What a PyTorch user does with a model; runs in a worker process."""

from __future__ import annotations

import copy
import io
import sys
from typing import Any

import numpy as np
import safetensors.torch
import torch
from narrow import NEWER, SIZES, SPECS, TINY
from torch import fx, nn
from torch.utils.flop_counter import FlopCounterMode

import resnet_core as rn
import resnet_torch
from resnet_core.numerics import relative_error
from resnet_core.tree import BatchNorm, Dropout, DropPath, ReLU, leaves
from resnet_torch import habits
from resnet_torch.inference import to_native
from resnet_torch.lowering import lower
from resnet_torch.model import ResNet

Answer = tuple[Any, dict[str, np.ndarray] | None]
ALL = {**SPECS, **NEWER, "tiny": TINY}


def example(name: str, size: tuple[int, int] = SIZES[0]) -> tuple[nn.Module, torch.Tensor]:
    spec = ALL[name]
    torch.manual_seed(0)
    model = resnet_torch.build(spec, weights=rn.probe_weights(spec)).eval()
    return model, torch.randn(2, spec.in_channels, *size)


def deepcopy_is_independent(session: Any, arrays: Any, *, name: str) -> Answer:
    model, x = example(name)
    before = model(x)
    twin = copy.deepcopy(model)
    same = torch.equal(twin(x), before)
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.zero_()
    return {"same": same, "independent": torch.equal(model(x), before)}, None


def gray_images(session: Any, arrays: Any) -> Answer:
    """Strides of gray images as the model gets them; error of the stem in float32, and in channels_last."""
    spec = rn.spec("resnet18_d2l", depths=(1,), channels=(8,), classes=3)
    double, single = (
        resnet_torch.build(spec, weights=rn.initialize(spec, 0, dtype), dtype=dtype).train()
        for dtype in ("float64", "float32")
    )
    # A bright ground with little in it, as photographs of things on a table have.
    images = 5 + np.random.default_rng(1).random((128, 96, 96, 1), np.float32)
    with torch.no_grad():
        true = double.stem(to_native(double, images))
        native = to_native(single, images)
        errors = [
            float((single.stem(form).double() - true).abs().max() / true.abs().max())
            for form in (native, torch.from_numpy(images).permute(0, 3, 1, 2))
        ]
    return {"strides": native.stride(), "error": errors[0], "channels_last": errors[1]}, None


def compiled(session: Any, arrays: Any, *, name: str, backend: str) -> Answer:
    """Largest error of torch.compile(fullgraph=True) against the eager model, by image size."""
    model, _ = example(name)
    torch.compiler.reset()
    fast = torch.compile(model, fullgraph=True, backend=backend)
    errors = {}
    with torch.no_grad():
        for size in SIZES:
            _, x = example(name, size)
            eager, output = model(x), fast(x)
            errors[f"{size}"] = float((eager - output).abs().max() / eager.abs().max())
    return errors, None


def compiled_training(session: Any, arrays: Any, *, name: str) -> Answer:
    """The same of one training step's gradients and running statistics."""
    results = []
    for compile_it in (False, True):
        model, x = example(name)
        model.train()
        (torch.compile(model, fullgraph=True, backend="aot_eager") if compile_it else model)(
            x
        ).square().sum().backward()
        gradients = torch.cat([p.grad.flatten() for p in model.parameters()])
        statistics = torch.cat([b.flatten() for n, b in model.named_buffers() if not n.endswith("tracked")])
        results.append((gradients, statistics))
    pairs = zip(*results, strict=True)
    return [float((eager - fast).norm() / eager.norm()) for eager, fast in pairs], None


def state_names(session: Any, arrays: Any, *, name: str) -> Answer:
    model, _ = example(name)
    return {key: list(value.shape) for key, value in model.state_dict().items()}, None


def load_strictly(session: Any, arrays: Any, *, name: str, path: str) -> Answer:
    """A neutral file into a model of other weights, by PyTorch's own means."""
    model = resnet_torch.build(ALL[name], seed=99)
    keys = model.load_state_dict(safetensors.torch.load_file(path), strict=True)
    counters = [int(b) for key, b in model.named_buffers() if key.endswith("num_batches_tracked")]
    return {"missing": keys.missing_keys, "unexpected": keys.unexpected_keys, "counters": counters}, (
        resnet_torch.get_weights(model)
    )


def load_incomplete(session: Any, arrays: Any, *, name: str, path: str) -> Answer:
    """What PyTorch says of a neutral file that lacks a tensor."""
    tensors = safetensors.torch.load_file(path)
    tensors.pop("stem.norm.running_var")
    try:
        resnet_torch.build(SPECS[name]).load_state_dict(tensors, strict=True)
    except RuntimeError as error:
        return str(error), None
    return "", None


def modes(session: Any, arrays: Any, *, name: str) -> Answer:
    """train() and eval() do what they do in PyTorch, and predict and gradients leave every module's mode alone."""
    model, x = example(name)
    images = x.numpy().transpose(0, 2, 3, 1)
    fresh = resnet_torch.build(SPECS[name])
    model.train()
    training_statistics = copy.deepcopy(model.state_dict())
    model(x)
    moved = not torch.equal(model.state_dict()["stem.norm.running_mean"], training_statistics["stem.norm.running_mean"])
    model.stage1.eval()  # a frozen stage
    before = {key: module.training for key, module in model.named_modules()}
    statistics = copy.deepcopy(model.state_dict())
    first = resnet_torch.predict(model, images)
    resnet_torch.gradients(model, images, np.ones((2, 3), np.float32))
    after = {key: module.training for key, module in model.named_modules()}
    state = model.state_dict()
    unchanged = all(torch.equal(value, state[key]) for key, value in statistics.items())
    with torch.no_grad():
        evaluated = model.eval()(x).numpy()
    return {
        "a built model is in training mode, as PyTorch's are": fresh.training,
        "training updates": moved,
        "modes are kept": before == after and before["stage1.block1.conv1"] is False and before[""] is True,
        "predicting changes no state": unchanged,
        "predicting is evaluating": bool((first == evaluated).all()),
        "no gradient is left": all(p.grad is None for p in model.parameters()),
    }, None


def saved(session: Any, arrays: Any, *, name: str) -> Answer:
    """A model through torch.save: its state_dict, and as a whole."""
    model, x = example(name)
    state, whole = io.BytesIO(), io.BytesIO()
    torch.save(model.state_dict(), state)
    torch.save(model, whole)
    twin = resnet_torch.build(ALL[name], seed=5).eval()
    twin.load_state_dict(torch.load(io.BytesIO(state.getvalue()), weights_only=True))
    again = torch.load(io.BytesIO(whole.getvalue()), weights_only=False)
    return [torch.equal(other(x), model(x)) for other in (twin, again)], None


def printed(session: Any, arrays: Any, *, name: str) -> Answer:
    return str(example(name)[0]), None


def trained(session: Any, arrays: Any, *, name: str) -> Answer:
    """The loss of a few steps of torch.optim.SGD on random labels."""
    model, x = example(name)
    model.train()
    optimizer = torch.optim.SGD(model.parameters(), 0.05, momentum=0.9)
    losses = []
    for _ in range(8):
        loss = nn.functional.cross_entropy(model(x), torch.tensor([0, 2]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses, None


def random_layers(session: Any, arrays: Any, *, name: str) -> Answer:
    """{what random layers do in a user's own loop: whether they do}."""
    model, x = example(name)
    evaluated = model(x)
    found = {"nothing is random in evaluation mode": torch.equal(model(x), evaluated)}
    state = torch.get_rng_state()
    model.train()
    found["training mode is random"] = not torch.equal(model(x), model(x))
    torch.set_rng_state(state)
    resnet_torch.train_forward(model, x.numpy().transpose(0, 2, 3, 1))
    found["train_forward draws nothing"] = torch.equal(torch.get_rng_state(), state)
    found["train_forward leaves training on"] = all(layer.training for layer in model.modules())
    path, value = (lower(leaf(0.25)).train()(torch.ones(4000, 2, 3, 3)) for leaf in (DropPath, Dropout))
    for kind, dropped in (("path", path), ("dropout", value)):
        kept = dropped[dropped != 0]
        found[f"{kind}: what is kept is divided"] = torch.allclose(kept, torch.tensor(4 / 3))
        found[f"{kind}: a quarter is dropped"] = abs(1 - len(kept) / dropped.numel() - 0.25) < 0.03  # 4.4 deviations
    found["a path is an image's"] = torch.equal(path, path[:, :1, :1, :1].expand_as(path))
    return found, None


def input_is_kept(session: Any, arrays: Any) -> Answer:
    """A network whose first layer might rectify in place does not change the user's images."""
    spec = rn.spec(SPECS["cifar"], stem=False, preactivation=True, in_channels=3, classes=None, global_pool=False)
    model = resnet_torch.build(spec, weights=rn.probe_weights(spec)).eval()
    x = torch.randn(1, 3, 9, 8)
    before = x.clone()
    model(x)
    return torch.equal(x, before), None


def channels_last_and_half(session: Any, arrays: Any, *, name: str) -> Answer:
    """Errors of the usual speed-ups against the plain model: channels-last memory, bfloat16 autocast."""
    model, x = example(name)
    expected = model(x)
    scale = expected.abs().max()
    last = model.to(memory_format=torch.channels_last)(x.contiguous(memory_format=torch.channels_last))
    with torch.autocast("cpu", torch.bfloat16):
        half = model(x)
    return [float((value.float() - expected).abs().max() / scale) for value in (last, half)], None


def counted_macs(session: Any, arrays: Any, *, names: list[str]) -> Answer:
    """{name: multiply-accumulates for one image} as PyTorch's own counter sees them, without computing anything."""
    found = {}
    for name in names:
        spec = rn.spec(name)
        with torch.device("meta"):
            model = ResNet(rn.layer_tree(spec), spec.in_channels, ()).eval()
            images = torch.empty(1, spec.in_channels, *spec.input_size)
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            model(images)
        found[name] = counter.get_total_flops() // 2
    return found, None


def idioms(session: Any, arrays: Any, *, name: str, folder: str) -> Answer:
    """{what PyTorch's tools are asked: what comes of it}."""
    model, x = example(name)
    expected = model(x)
    found: dict[str, bool] = {}

    traced = fx.symbolic_trace(model)
    found["fx traces the whole graph"] = torch.equal(traced(x), expected)
    native = (BatchNorm, ReLU)  # fx looks into modules that are not PyTorch's own
    tree = rn.layer_tree(ALL[name])
    paths = {path.replace(".", "_") for path, leaf in leaves(tree) if isinstance(leaf, native)}
    found["fx names its nodes after the layers"] = {node.name for node in traced.graph.nodes} >= paths

    seen: list[torch.Size] = []
    handle = model.stage1.register_forward_hook(lambda module, inputs, output: seen.append(output.shape))
    model(x)
    handle.remove()
    found["a hook sees a stage"] = len(seen) == 1

    found |= _as_timm_has_it(model, x, ALL[name])

    sizes = {0: torch.export.Dim("batch"), 2: torch.export.Dim.AUTO, 3: torch.export.Dim.AUTO}
    program = torch.export.export(model, (x,), dynamic_shapes=(sizes,)).module()
    other = torch.randn(5, x.shape[1], x.shape[2] + 6, x.shape[3] + 4)
    found["an exported program takes other sizes"] = torch.allclose(program(other), model(other), atol=1e-5)

    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=0, world_size=1)
    try:
        pairs = zip(_gradients(model, x, distributed=True), _gradients(model, x, distributed=False), strict=True)
        found["DistributedDataParallel has the same gradients"] = all(torch.equal(a, b) for a, b in pairs)
    finally:
        torch.distributed.destroy_process_group()
    return found, None


def _gradients(model: Any, x: torch.Tensor, *, distributed: bool) -> list[torch.Tensor]:
    """Of a copy in training mode. Nothing outlives it: where DistributedDataParallel ends after its process group, it
    waits, holding Python's lock, for the group's threads, which may wait for that lock (PyTorch 2.13)."""
    twin = copy.deepcopy(model).train()
    torch.manual_seed(0)  # of dropouts
    (nn.parallel.DistributedDataParallel(twin) if distributed else twin)(x).square().mean().backward()
    return [parameter.grad for parameter in twin.parameters()]


def _as_timm_has_it(model: Any, x: torch.Tensor, spec: rn.ResNetSpec) -> dict[str, bool]:
    """{what timm's users expect: whether it is so}."""
    maps, expected = model.forward_features(x), model(x)
    vectors = model.forward_head(maps, pre_logits=True)
    taps = {tap: info for tap, info in rn.tap_info(spec).items() if tap == "stem_relu" or tap.startswith("stage")}
    levels = [{"num_chs": info.channels, "reduction": info.stride, "module": info.path} for info in taps.values()]
    found = {
        "forward_head of forward_features is forward": torch.equal(model.forward_head(maps), expected),
        "the classifier reads what comes before the logits": torch.equal(model.get_classifier()(vectors), expected),
        "num_features are the channels of the map": maps.ndim == 4 and maps.shape[1] == model.num_features,
        "feature_info is what the taps are": model.feature_info == levels,
    }
    if hasattr(model, "head"):
        other = copy.deepcopy(model)
        other.reset_classifier(7)
        found["a new classifier has its classes"] = other(x).shape[:2] == (len(x), 7)
        other.reset_classifier(0)
        found["without classes the features are returned"] = torch.equal(other(x), vectors)
    return found


def wrong_features(session: Any, arrays: Any) -> Answer:
    """What is noticed of features that end behind the pool."""
    model, x = example("cifar")
    true, habits._AFTER_FEATURES = habits._AFTER_FEATURES, ("dropout", "linear")
    try:
        found = _as_timm_has_it(model, x, ALL["cifar"])
    finally:
        habits._AFTER_FEATURES = true
    return [claim for claim, held in found.items() if not held], None


def tapped(session: Any, arrays: Any, *, name: str, taps: list[str], sizes: list[tuple[int, int]]) -> Answer:
    """Whether a model with taps computes the same by other ways of PyTorch's, and what it leaves alone."""
    spec = SPECS[name]
    model = resnet_torch.build(spec, weights=rn.probe_weights(spec), taps=tuple(taps)).eval()
    plain, x = example(name, sizes[0])
    buffer = io.BytesIO()
    torch.save(model, buffer)
    buffer.seek(0)
    torch.compiler.reset()
    size = dict.fromkeys((2, 3), torch.export.Dim.AUTO)
    with torch.no_grad():
        ways = {
            "compiled": torch.compile(model, fullgraph=True, backend="aot_eager"),
            "exported": torch.export.export(model, (x,), dynamic_shapes=(size,)).module(),
            "traced by fx": fx.symbolic_trace(model),
            "copied": copy.deepcopy(model),
            "saved": torch.load(buffer, weights_only=False),
        }
        found: dict[str, Any] = {"state": list(model.state_dict()) == list(plain.state_dict())}
        for height, width in sizes:
            x = torch.randn(2, spec.in_channels, height, width)
            true = model(x)
            for way, other in ways.items():
                output = other(x)
                same = all(torch.allclose(output[tap], true[tap], rtol=1e-4, atol=1e-5) for tap in taps)
                found[way] = found.get(way, True) and list(output) == taps and same
            found["logits"] = torch.equal(true["logits"], plain(x))
    calls: list[int] = []
    model.stage1.register_forward_hook(lambda module, given, output: calls.append(1))
    model(x)
    return {**found, "hooks run": calls == [1]}, None


def untapped(session: Any, arrays: Any, *, name: str) -> Answer:
    """The kinds of the modules of a model without taps, or only with those of its children, and of one with others."""
    spec = SPECS[name]
    built = [resnet_torch.build(spec, taps=taps) for taps in ((), ("stem", "stage2", "logits"), ("stage1.block1",))]
    stage = fx.symbolic_trace(built[0].stage1)  # without a place for what is kept
    placeholders = [node.name for node in stage.graph.nodes if node.op == "placeholder"]
    kinds = [sorted({type(module).__name__ for module in model.modules()}) for model in built]
    return {"kinds": kinds, "placeholders": placeholders, "printed": [str(model) for model in built]}, None


def float32_alone(session: Any, arrays: Any) -> Answer:
    """The precision of a process that has exported before it was set up, and whether it still exports."""
    network, x = nn.Conv2d(3, 3, 3).eval(), (torch.zeros(2, 3, 8, 8),)
    torch.export.export(network, x)  # leaves a precision of convolutions behind
    found = []
    for _ in range(2):
        resnet_torch.configure()
        torch.export.export(network, x)
        backends = torch.backends
        places = (backends, backends.cudnn.conv, backends.cuda.matmul, backends.mkldnn.conv, backends.mkldnn.matmul)
        found.append([place.fp32_precision for place in places])
    return found, None


def deep(session: Any, arrays: Any) -> Answer:
    """{how deep Python lets calls be: the error of ResNet-1202 for inference, or what went wrong}."""
    spec = rn.spec("resnet1202", channels=(2, 2, 2), classes=3)
    images = np.random.default_rng(3).standard_normal((2, 8, 8, spec.in_channels)).astype(np.float32)
    model = resnet_torch.build(spec, weights=rn.probe_weights(spec))
    expected, usual, found = resnet_torch.predict(model, images), sys.getrecursionlimit(), {}
    torch.compiler.config.force_disable_caches = True  # what was compiled once descends nowhere
    for name, limit in (("as usual", 1000), ("as deep as the network", None)):
        torch.compiler.reset()
        quick = resnet_torch.fast(model)
        sys.setrecursionlimit(limit or sys.getrecursionlimit())
        try:
            found[name] = relative_error(resnet_torch.predict(quick, images), expected)
        except Exception as error:
            found[name] = type(error).__name__ if "recursion" in str(error) else str(error)
    sys.setrecursionlimit(usual)
    torch.compiler.config.force_disable_caches = False
    return found, None
