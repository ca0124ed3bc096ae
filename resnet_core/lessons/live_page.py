"""The part of the page in which the network runs: its controls as HTML, and what its script reads."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from typing import Any

from resnet_core.architecture import layer_tree
from resnet_core.comparison.wording import scientific
from resnet_core.lessons.live import Live
from resnet_core.lessons.picture import size_text
from resnet_core.lessons.texts import Texts
from resnet_core.tree import Residual, leaves, walk


def live_part(live: Live, texts: Texts) -> Iterator[str]:
    """What is said of the network, then the controls, which only a script brings to life."""
    yield f"<p>{escape(texts('live.about'))} {escape(' '.join(_facts(live, texts)))}</p>"
    yield f'<p class="nojs">{escape(texts("live.script"))}</p>'
    yield f'<div class="live" id="network">{_input(live, texts)}{_classes(live, texts)}{_blocks(live, texts)}</div>'
    yield f'<div class="live maps">{_maps(live, texts)}</div>'


def live_texts(live: Live, texts: Texts) -> dict[str, Any]:
    """Texts and numbers that the script fills in."""
    names = ("class", "truth", "took", "before", "score", "range", "unreadable", "own")
    count = live.spec.classes or 0
    classes = live.classes or [texts("live.class", number=number) for number in range(count)]
    return {"texts": {name: texts.group("live")[name] for name in names}, "names": classes, "aliases": _aliases(live)}


def _facts(live: Live, texts: Texts) -> Iterator[str]:
    yield texts("live.shipped", size=size_text(live.preparation.size)) if live.shipped else texts("live.given")
    yield texts("live.rounded", count=f"{live.values:,}")
    yield texts("live.distance", count=len(live.pictures), distance=scientific(live.distance))
    if live.changed:
        names = live.classes or [texts("live.class", number=number) for number in range(live.spec.classes or 0)]
        which = ", ".join(
            texts("live.change", number=number + 1, before=names[before], after=names[after])
            for number, before, after in live.changed
        )
        yield texts("live.changed", count=len(live.changed), which=which)
    else:
        yield texts("live.unchanged")
    if live.labels is not None:
        right = sum(int(row.argmax()) == label for row, label in zip(live.logits, live.labels, strict=True))
        yield texts("live.right", right=right, count=len(live.labels))


def _input(live: Live, texts: Texts) -> str:
    height, width = live.preparation.size
    choices = "".join(
        f'<option value="{number}">{number + 1}{_truth(live, number)}</option>' for number in range(len(live.pictures))
    )
    drop = texts("live.drop" if live.preparation.channels == 1 else "live.drop_color", size=size_text((height, width)))
    sheet = '<canvas id="live-sheet" aria-hidden="true"></canvas>' if len(live.pictures) > 1 else ""
    return (
        f'<div class="live-input"><h3>{escape(texts("live.input"))}</h3>'
        f'<canvas id="live-picture" width="{width}" height="{height}" role="img" '
        f'aria-label="{escape(texts("live.input"))}"></canvas>'
        f'<p class="controls"><label for="live-sample">{escape(texts("live.sample"))}</label> '
        f'<select id="live-sample">{choices}<option value="">{escape(texts("live.own"))}</option></select> '
        f'<button type="button" id="live-draw" aria-pressed="false">{escape(texts("live.drawn"))}</button> '
        f'<button type="button" id="live-invert">{escape(texts("live.invert"))}</button> '
        f'<label class="file">{escape(texts("live.open"))} <input type="file" id="live-file" accept="image/*"></label>'
        f'</p>{sheet}<p class="note" id="live-how">{escape(texts("live.draw"))} {escape(drop)}</p></div>'
    )


def _truth(live: Live, number: int) -> str:
    if live.labels is None or live.classes is None:
        return ""
    return f": {escape(live.classes[live.labels[number]])}"


def _classes(live: Live, texts: Texts) -> str:
    score = ""
    if live.labels is not None:
        said = escape(texts("live.all", count=len(live.labels)))
        score = f'<button type="button" id="live-all">{said}</button> <span id="live-score" role="status"></span>'
    return (
        f'<div class="live-answer"><h3>{escape(texts("live.classes"))}</h3><div id="live-classes"></div>'
        f'<p class="note" id="live-said" role="status"></p><p class="controls">{score}</p></div>'
    )


def _blocks(live: Live, texts: Texts) -> str:
    blocks = [path for path, node in walk(layer_tree(live.spec)) if isinstance(node, Residual)]
    if not blocks:
        return f'<div><h3>{escape(texts("live.blocks"))}</h3><p class="note">{escape(texts("live.plain"))}</p></div>'
    options = "".join(
        f'<option value="{value}">{escape(texts(f"live.{key}"))}</option>'
        for key, value in (("whole", ""), ("skip", "skip"), ("cut", "cut"))
    )
    rows = "".join(
        f'<label><span>{escape(path)}</span> <select data-block="{escape(path)}">{options}</select></label>'
        for path in blocks
    )
    reset = f'<button type="button" id="live-reset">{escape(texts("live.reset"))}</button>'
    return (
        f'<div class="live-blocks"><h3 id="live-blocks">{escape(texts("live.blocks"))}</h3>'
        f'<p class="note">{escape(texts("live.ablation"))}</p>'
        f'<div class="blocks" role="group" aria-labelledby="live-blocks">{rows}</div>'
        f'<p class="controls">{reset}</p></div>'
    )


def _maps(live: Live, texts: Texts) -> str:
    groups: dict[str, list[str]] = {}
    for path in layer_paths(live.plan["root"]):
        groups.setdefault(path.rpartition(".")[0], []).append(path)
    options = "".join(
        f'<optgroup label="{escape(group)}">'
        + "".join(f'<option value="{escape(path)}">{escape(path)}</option>' for path in paths)
        + "</optgroup>"
        for group, paths in groups.items()
    )
    return (
        f"<h3>{escape(texts('live.maps'))}</h3>"
        f'<p class="controls"><label for="live-layer">{escape(texts("live.layer"))}</label> '
        f'<select id="live-layer">{options}</select> <span class="note" id="live-range"></span></p>'
        f'<canvas id="live-maps" role="img" aria-labelledby="live-range"></canvas>'
        f'<p class="note">{escape(texts("live.follow"))}</p>'
    )


def layer_paths(node: dict[str, Any]) -> Iterator[str]:
    """Paths of the layers of a plan in the order of computation, and of each block behind its layers."""
    parts = [child for name in ("parts", "pre", "body", "shortcut", "post") for child in node.get(name, ())]
    for child in parts:
        yield from layer_paths(child)
    if node["path"] and node["kind"] != "Chain":
        yield node["path"]


def _aliases(live: Live) -> dict[str, str]:
    """{a layer that the folded network does not have: the one before it, which gives what it gave}."""
    there, aliases, before = set(layer_paths(live.plan["root"])), {}, ""
    for path, _ in leaves(layer_tree(live.spec)):
        if path in there:
            before = path
        else:
            aliases[path] = before
    return aliases
