"""torchvision's feature extractor on this project's models, in an environment that has both.

    python tests/conformance/torchvision_features.py

Prints a line for each network, and exits with 1 where a feature is not what a tap gives. `test_native_torch.py` runs it
with the interpreter that RESNET_TORCHVISION_PYTHON names.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "backends")]

import torch  # noqa: E402
from torchvision.models.feature_extraction import create_feature_extractor  # noqa: E402

import resnet_core as rn  # noqa: E402
import resnet_torch  # noqa: E402

#: Name to changes: a residual network, one with gates and pools in its blocks, one with TensorFlow's padding.
NETWORKS: dict[str, dict[str, list[int]]] = {
    "resnet18": {},
    "seresnetaa50d": {"depths": [1, 2, 1, 1]},
    "resnet_v2_50": {"depths": [1, 2, 1, 1]},
}
TAPS = ("stage1", "stage2.block2.conv1", "stage4")


def main() -> int:
    """The exit code."""
    wrong = 0
    for name, fields in NETWORKS.items():
        spec = rn.spec(name, classes=10, **fields)
        weights = rn.probe_weights(spec)
        model = resnet_torch.build(spec, weights=weights).eval()
        tapped = resnet_torch.build(spec, weights=weights, taps=TAPS).eval()
        extractor = create_feature_extractor(model, return_nodes=list(TAPS))
        images = torch.randn(2, 3, 66, 52, generator=torch.Generator().manual_seed(1))
        with torch.inference_mode():
            found, truth = extractor(images), tapped(images)
        same = {tap: torch.equal(found[tap], truth[tap]) for tap in TAPS}
        print(name, same)
        wrong += not all(same.values())
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
