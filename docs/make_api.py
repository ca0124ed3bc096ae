"""Writes docs/api.md, the reference of `import resnet_core as rn`, from signatures and docstrings.

    python docs/make_api.py

A test says where the page is not what this would write.
"""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import resnet_core as rn

PAGE = Path(__file__).with_name("api.md")

#: The page's order: every public name once.
SECTIONS: dict[str, tuple[str, ...]] = {
    "Specs": (
        "spec", "names", "save_spec", "ResNetSpec", "layers", "totals", "parameters", "state", "taps", "tap_info",
        "TapInfo", "layer_tree",
    ),
    "Models": ("build", "features", "backends", "load_backend", "unbiased_variances"),
    "Weights": (
        "initialize", "probe_weights", "save_weights", "load_weights", "read_weight_file", "WeightFile", "read_weights",
        "import_weights", "Imported", "convert", "Conversion", "certify", "Certificate", "from_torchvision", "cast",
        "deploy",
    ),
    "Training": ("train", "TrainingResult", "recipe", "dataset", "evaluate", "Evaluation"),
    "Pictures": ("predict", "Prediction", "trained_network", "TrainedNetwork", "Preparation", "load_images"),
    "Comparing": ("compare", "Comparison", "BackendResult", "source", "diff", "Difference", "lesson"),
    "Speed": ("bench", "Benchmark", "BenchmarkRow"),
    "Errors": ("ResNetError", "InputError", "SpecError", "WeightsError", "MissingBackendError"),
}  # fmt: skip


def page() -> str:
    """The whole page."""
    lines = [
        "# Reference",
        "",
        "`import resnet_core as rn` imports no framework. Errors are `rn.ResNetError`s, with a message of one line.",
        "This page is written by `python docs/make_api.py`.",
    ]
    for title, names in SECTIONS.items():
        lines += ["", f"## {title}"]
        for name in names:
            lines += ["", f"### rn.{name}", "", *_entry(name, getattr(rn, name))]
    return "\n".join(lines) + "\n"


def _entry(name: str, item: object) -> list[str]:
    text = _plain(inspect.getdoc(item) or "")
    if isinstance(item, type) and issubclass(item, Exception):
        return [text]
    lines = ["```python", _signature(name, item), "```", "", text]
    members: list[str] = []
    if isinstance(item, type):
        for member, value in vars(item).items():
            function = value.fget if isinstance(value, property) else value
            if not member.startswith("_") and inspect.isfunction(function) and function.__doc__:
                call = "" if isinstance(value, property) else "()"
                members.append(f"- `{member}{call}`: {_plain(inspect.getdoc(function) or '').partition(chr(10))[0]}")
    return [*lines, "", *members] if members else lines


def _signature(name: str, item: object) -> str:
    """The call as one writes it, a parameter to a line where it is long."""
    found = inspect.signature(item)  # type: ignore[arg-type]
    shown: list[str] = []
    for parameter in found.parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and "*" not in shown:
            shown.append("*")
        # Annotations of modules are text; those of a spec's fields are objects, and in docs/spec.md in words.
        kind = f": {parameter.annotation}" if isinstance(parameter.annotation, str) else ""
        default = "" if parameter.default is parameter.empty else f" = {_value(parameter.default)}"
        shown.append(f"{parameter.name}{kind}{default if kind else default.replace(' ', '')}")
        if parameter.kind is parameter.POSITIONAL_ONLY:
            shown.append("/")
    result = f" -> {found.return_annotation}" if isinstance(found.return_annotation, str) else ""
    short = f"rn.{name}({', '.join(shown)}){result}"
    return short if len(short) <= 100 else f"rn.{name}(\n" + "".join(f"    {line},\n" for line in shown) + f"){result}"


def _value(default: object) -> str:
    return "..." if callable(default) or type(default).__repr__ is object.__repr__ else repr(default)


def _plain(text: str) -> str:
    """A docstring as Markdown: its examples are code."""
    text = re.sub(r"(?m)^((?:>>>|\.\.\.).*(?:\n(?!\n).*)*)", r"```python\n\1\n```", text)
    return text.replace("\n    ", "\n")


if __name__ == "__main__":
    PAGE.write_text(page())
