"""Record files of weights as torchvision, timm and transformers themselves write them, of narrow networks.

Run in an environment with torch, torchvision, timm and transformers (README.md names the versions):

    python tests/referees/record_files_torch.py
"""

from importlib.metadata import version
from typing import Any

import numpy as np
import timm
import torch
from recorded import drawn, fresh, picture, record
from timm.models import save_for_hf
from torch import nn
from torchvision.models import resnet
from transformers import ResNetConfig, ResNetForImageClassification

#: torchvision's widths are fixed, and a file of them would be of megabytes: {width of a stage there: here}.
NARROW = {64: 4, 128: 6, 256: 8, 512: 10}


class Narrow(resnet.ResNet):
    """torchvision's ResNet with other widths: its own blocks, names and forward pass."""

    def __init__(self, block: Any, layers: list[int], **arguments: Any) -> None:
        super().__init__(block, layers, **arguments)
        self.conv1 = nn.Conv2d(3, NARROW[64], 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(NARROW[64])
        self.fc = nn.Linear(NARROW[512] * block.expansion, self.fc.out_features)

    def _make_layer(self, block: Any, planes: int, *arguments: Any, **more: Any) -> nn.Sequential:
        if planes == 64:
            self.inplanes = NARROW[64]
        return super()._make_layer(block, NARROW[planes], *arguments, **more)


def filled(model: nn.Module, seed: int) -> nn.Module:
    """The model with drawn values, and counters that have counted."""
    state = model.state_dict()
    for name, tensor in state.items():
        if name.endswith("num_batches_tracked"):
            tensor.fill_(7)
        else:
            tensor.copy_(torch.from_numpy(drawn(name, tuple(tensor.shape), seed, "torch")))
    return model.eval()


def logits(model: nn.Module, seed: int) -> np.ndarray:
    """What the model computes in float64, from then on."""
    with torch.inference_mode():
        output = model.double()(torch.from_numpy(picture(seed)).double().permute(0, 3, 1, 2))
    return getattr(output, "logits", output).numpy()


def versions(*packages: str) -> dict[str, str]:
    return {package: version(package) for package in ("torch", *packages)}


def of_torchvision() -> None:
    own = versions("torchvision")
    model = filled(Narrow(resnet.BasicBlock, [1, 2, 1, 1], num_classes=5), 1)
    torch.save(model.state_dict(), fresh("torchvision_basic.pth"))
    record("torchvision_basic.pth", logits(model, 1), 1, own, format="torchvision")

    # In the form of the ImageNet example of PyTorch: the state of a DataParallel, an optimizer after a step, and
    # averaged weights, which are other ones.
    model = filled(Narrow(resnet.Bottleneck, [1, 1, 1, 1], num_classes=5, groups=2, width_per_group=32), 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)
    model.train()
    model(torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(2))).square().sum().backward()
    optimizer.step()
    average = torch.optim.swa_utils.AveragedModel(model)
    filled(model, 2)
    content = {
        "epoch": 3,
        "arch": "resnext",
        "state_dict": nn.DataParallel(model).state_dict(),
        "state_dict_ema": average.module.state_dict(),
        "optimizer": optimizer.state_dict(),
    }
    torch.save(content, fresh("torchvision_wrapped.pth"))
    record("torchvision_wrapped.pth", logits(model, 2), 2, own, format="torchvision")


#: (name of the folder, its network, its widths, whether as .safetensors).
_WIDTHS: dict[str, Any] = {"layers": (1, 1, 1, 1), "channels": (4, 6, 8, 10), "num_classes": 5}
_BOTTLENECKS: dict[str, Any] = {**_WIDTHS, "channels": (16, 16, 20, 24), "layers": (1, 2, 1, 1)}
TIMM: list[tuple[str, str, dict[str, Any], bool]] = [
    ("timm_plain", "resnet18", _WIDTHS, True),
    ("timm_deep", "resnet18d", {**_WIDTHS, "stem_width": 4}, True),
    ("timm_squeezed", "seresnet50", {**_WIDTHS, "channels": (4, 6, 8, 10)}, False),
    ("timm_eca", "ecaresnet26t", {**_WIDTHS, "channels": (4, 6, 8, 10), "stem_width": 4}, True),
    ("timm_v2", "resnetv2_50", {**_WIDTHS, "channels": (32, 32, 64, 64), "stem_chs": 8}, True),
]


def of_timm() -> None:
    for seed, (name, network, arguments, safe) in enumerate(TIMM, start=11):
        model = filled(timm.create_model(network, pretrained=False, **arguments), seed)
        save_for_hf(model, str(fresh(name)), safe_serialization=safe)
        record(name, logits(model, seed), seed, versions("timm"), format="timm", arguments=[network, arguments])


def of_transformers() -> None:
    for seed, name, dtype, arguments in (
        (21, "transformers_basic", torch.float32, {"layer_type": "basic", "hidden_sizes": [4, 6, 8, 10]}),
        (22, "transformers_bfloat16", torch.bfloat16, {"hidden_sizes": [8, 12, 16, 20]}),
    ):
        config = ResNetConfig(embedding_size=4, depths=[1, 2, 1, 1], num_labels=5, **arguments)
        model = filled(ResNetForImageClassification(config), seed).to(dtype)
        model.save_pretrained(fresh(name))
        about = {"format": "hf", "dtype": str(dtype).removeprefix("torch.")}
        record(name, logits(model, seed), seed, versions("transformers"), **about)


if __name__ == "__main__":
    of_torchvision()
    of_timm()
    of_transformers()
