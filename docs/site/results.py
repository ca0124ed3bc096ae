"""The page of results: a comparison that is run when the site is built."""

from __future__ import annotations

from datetime import UTC, datetime

import resnet_core as rn
from resnet_core.benchmark.machine import core_versions, machine
from resnet_core.comparison.page import page
from resnet_core.comparison.picture import compared_keys, comparison_svg
from resnet_core.comparison.wording import scientific

BACKENDS = ("torch", "keras", "flax", "onnx")


def results_pages(*, quick: bool) -> dict[str, str]:
    """{file: text}; a quick one compares nothing."""
    lines = [
        "# Results",
        "",
        "The network that ships with the package, a ResNet-20 trained on Fashion-MNIST, in every backend, on the first",
        "100 test pictures, against the NumPy float64 reference: `resnet compare`.",
        "",
    ]
    if quick:
        return {"results.md": "\n".join([*lines, "Nothing was compared in this quick build.", "", *ELSEWHERE])}
    found = rn.compare(None, BACKENDS)
    date, facts = datetime.now(UTC).date().isoformat(), machine()
    depth, _ = compared_keys(found)
    rows = [
        f"| {name} | {' | '.join(scientific(result.max_error[tap]) for tap in depth)} | {result.accuracy:.1%} |"
        f" {', '.join(f'{package} {version}' for package, version in result.versions.items())} |"
        for name, result in found.backends.items()
        if result.error is None
    ]
    lines += [
        f"**{found.sentence()}**",
        "",
        ":::{div} scroll",
        "```{image} results.svg",
        ":alt: the error of each backend by depth, the time of a prediction and the memory",
        ":class: on-white dark-light",
        "```",
        ":::",
        "",
        f"| backend | {' | '.join(depth)} | accuracy | versions |",
        f"|---|{'--:|' * (len(depth) + 1)}---|",
        *rows,
        "",
        f"Made when this site was built, on {date}, on {facts['cpu']} with {facts['cores']} cores.",
        "<a href='report.html'>The whole report</a> is what `resnet compare --report` writes.",
        "",
        *ELSEWHERE,
    ]
    return {
        "results.md": "\n".join(lines),
        "results.svg": comparison_svg(found),
        "extra/report.html": page(found, date, facts, core_versions()),
    }


ELSEWHERE = [
    "## Measured elsewhere",
    "",
    "- [How equality is proven](concepts.md#the-proof), and what each check must catch.",
    "- [The same training in three frameworks](training.md#side-by-side): losses, accuracies, time.",
    "- [How fast each is](bench.md), after a proof that all do the same work, and [what makes it fast](speed.md).",
    "- [Against programs that others wrote](benchmarks.md).",
    "- [Weights from other libraries](weights.md), with the error of each conversion.",
    "",
]
