"""An exercise on any network: more blocks, parameters counted by hand, and the answer with a program that counts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from html import escape

from msgspec import structs

from resnet_core.analysis import totals
from resnet_core.lessons.coloring import colored_lines
from resnet_core.lessons.texts import Texts
from resnet_core.presentation.folding import fold
from resnet_core.specification import ResNetSpec

#: {name of a spec: what comes next in the papers, and its depths}.
_NEXT = {
    "resnet18": ("ResNet-34", (3, 4, 6, 3)),
    "resnet18_d2l": ("ResNet-34", (3, 4, 6, 3)),
    "resnet50": ("ResNet-101", (3, 4, 23, 3)),
    "resnet101": ("ResNet-152", (3, 8, 36, 3)),
    "resnet20": ("ResNet-32", (5, 5, 5)),
    "resnet56": ("ResNet-110", (18, 18, 18)),
}


@dataclass(frozen=True, slots=True)
class Exercise:
    """Blocks of each stage before and after, and the answer: of each stage (name, more blocks, parameters of each)."""

    name: str
    spec: ResNetSpec
    before: int
    after: int
    stages: tuple[tuple[str, int, int], ...]


def exercise(spec: ResNetSpec) -> Exercise:
    """The next network of its family where that has one by these names, else one more block in every stage."""
    name, depths = "", tuple(depth + 1 for depth in spec.depths)
    if (found := _NEXT.get(spec.name)) and all(few <= many for few, many in zip(spec.depths, found[1], strict=False)):
        name, depths = found if len(found[1]) == len(spec.depths) and found[1] != spec.depths else (name, depths)
    larger = structs.replace(spec, name=name or "deeper", depths=depths)
    counts = [_of_stages(network) for network in (spec, larger)]
    stages = [
        (stage, many - few, (after - before) // (many - few))
        for (stage, before), (_, after), few, many in zip(*counts, spec.depths, depths, strict=True)
        if many > few
    ]
    return Exercise(name, larger, totals(spec).parameters, totals(larger).parameters, tuple(stages))


def _of_stages(spec: ResNetSpec) -> list[tuple[str, int]]:
    """(stage, its parameters)."""
    sections = fold(spec, rates=False)
    return [(part.name, part.parameters) for part in sections if part.blocks and part.blocks[0].names[0]]


def program(spec: ResNetSpec) -> str:
    """A program that prints the network's parameters; it says every field that is not the usual one."""
    usual = ResNetSpec(depths=spec.depths, channels=spec.channels, block=spec.block)
    fields = [
        f"    {field}={getattr(spec, field)!r},"
        for field in spec.__struct_fields__
        if field in ("depths", "channels", "block") or getattr(spec, field) != getattr(usual, field)
    ]
    lines = "\n".join(fields)
    return f"import resnet_core as rn\n\nspec = rn.ResNetSpec(\n{lines}\n)\nprint(rn.totals(spec).parameters)\n"


def exercise_part(spec: ResNetSpec, texts: Texts) -> Iterator[str]:
    """The question, a field for a guess, and the answer behind a summary."""
    found = exercise(spec)
    blocks = [", ".join(map(str, network.depths)) for network in (spec, found.spec)]
    change = texts("exercise.change", before=blocks[0], after=blocks[1])
    question = texts("exercise.to" if found.name else "exercise.deeper", name=found.name, change=change)
    yield f"<p>{escape(question)} {texts.html('exercise.hint')}</p>"
    yield (
        f'<form class="controls" id="exercise-form" data-answer="{found.after}"><label for="exercise-guess">'
        f'{texts.html("exercise.guess")}</label> <input id="exercise-guess" inputmode="numeric" autocomplete="off"> '
        f'<button type="submit">{texts.html("exercise.check")}</button> <span id="exercise-said" role="status"></span>'
        "</form>"
    )
    steps = "".join(
        f"<li>{texts.html('exercise.sum', stage=escape(stage), count=str(count), each=f'{each:,}')}</li>"
        for stage, count, each in found.stages
    )
    counts = {"before": f"{found.before:,}", "more": f"{found.after - found.before:,}", "after": f"{found.after:,}"}
    code = "\n".join(colored_lines(program(found.spec)))
    yield (
        f'<details class="answer"><summary>{texts.html("exercise.answer")}</summary><ul>{steps}</ul>'
        f"<p>{texts.html('exercise.total', **counts)}</p>"
        f"<p>{texts.html('exercise.run', package='<code>resnet-core</code>')}</p>"
        f'<pre class="program" id="exercise-program"><code>{code}</code></pre></details>'
    )
