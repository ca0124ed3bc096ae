"""Lessons on well-known networks: a page each, made when the site is built, and one that shows them all."""

from __future__ import annotations

import resnet_core as rn

#: {name: why one looks at it}.
LESSONS = {
    "resnet18": "The smallest network of the paper, as torchvision has it: basic blocks, two a stage.",
    "resnet50": "Bottlenecks, with the stride on the 3×3: what most people mean by a ResNet.",
    "resnet50_v1": "The paper's own ResNet-50 of 2015, with the stride on the first 1×1.",
    "resnet_v2_50": "Pre-activation, as TF-slim has it: norm and activation before each convolution.",
    "resnet20": "CIFAR's: three stages, shortcuts that only pad. The network that ships is one of it.",
    "plain20": "The same depth without shortcuts, which trains worse the deeper it is.",
    "wrn_28_10": "Wide: few blocks with many channels.",
    "resnext50_32x4d": "Grouped convolutions, 32 of them in each block.",
    "seresnext50_32x4d": "Squeeze-and-excitation: each channel is weighed by the whole picture.",
    "resnet18_d2l": "As in Dive into Deep Learning, with biases and a bare 1×1 on the shortcut.",
}


def gallery_pages(*, quick: bool) -> dict[str, str]:
    """{file: text}; a quick one has the cards and no lessons."""
    cards = [_card(name, about, linked=not quick) for name, about in LESSONS.items()]
    page = "\n".join(
        [
            "# Lessons",
            "",
            "One page on a network: its picture from the overview to the formula, beside its programs in PyTorch,",
            "Keras, Flax and NumPy. `resnet lesson SPEC -o lesson.html` makes one of any spec, yours too",
            "([how to teach with it](teaching.md#one-page-on-any-network)). These were made with the site:",
            "",
            "::::{grid} 1 2 2 3",
            ":gutter: 3",
            "",
            *cards,
            "::::",
            "",
        ]
    )
    lessons = {} if quick else {f"extra/lessons/{name}.html": rn.lesson(name) for name in LESSONS}
    return {"gallery.md": page, **lessons}


def _card(name: str, about: str, *, linked: bool) -> str:
    counted = rn.totals(rn.spec(name))
    lines = [
        f":::{{grid-item-card}} {name}",
        *([f":link: lessons/{name}.html", ":link-type: url"] if linked else []),
        "",
        about,
        "",
        f"{counted.parameters:,} parameters, {counted.macs:,} multiply-accumulates",
        ":::",
        "",
    ]
    return "\n".join(lines)
