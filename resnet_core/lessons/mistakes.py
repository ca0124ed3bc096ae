"""What separates the frameworks, as cards: the defaults, the lines that say the number here, and the damage."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from math import log10

from resnet_core.lessons.columns import Column
from resnet_core.lessons.damage import PICTURES, Damage, Measurement, has_room
from resnet_core.lessons.differences import TOPICS, Topic, lines_of
from resnet_core.lessons.picture import size_text
from resnet_core.lessons.program_rows import FRAMEWORKS
from resnet_core.lessons.texts import Texts
from resnet_core.specification import ResNetSpec


def mistakes(
    spec: ResNetSpec, columns: Sequence[Column], found: Measurement | None, unmeasured: str, texts: Texts
) -> Iterator[str]:
    """What was computed on what, then a card for each mistake; without a measurement, why there is none."""
    if found is None:
        yield f"<p>{texts.html('measured.not', reason=escape(unmeasured))}</p>"
    else:
        network = found.network
        depths, widths = (", ".join(map(str, numbers)) for numbers in (network.depths, network.channels))
        size = size_text(network.input_size)
        how = texts("measured.how", depths=depths, channels=widths, size=size, count=PICTURES)
        yield f"<p>{escape(how)}</p>"
    columns = [column for column in columns if not column.missing]
    topics = topics_of(spec, found)
    for title, group in (
        ("", [topic for topic in topics if topic.alone]),
        (texts("measured.also"), [topic for topic in topics if not topic.alone]),
    ):
        if group:
            yield f"<h3>{escape(title)}</h3>" if title else ""
            damages = {} if found is None else found.damages
            cards = (_topic(topic, damages.get(topic.key), columns, texts) for topic in group)
            yield f'<div class="topics">{"".join(cards)}</div>'


def topics_of(spec: ResNetSpec, found: Measurement | None) -> list[Topic]:
    """What can go wrong in this network; unmeasured, only what separates frameworks."""
    if found is None:
        return [topic for topic in TOPICS if topic.alone and has_room(spec, topic.key)]
    return [topic for topic in TOPICS if topic.key in found.damages]


def _topic(topic: Topic, damage: Damage | None, columns: Sequence[Column], texts: Texts) -> str:
    body = []
    for column in columns:
        alone = texts(f"topic.{topic.key}.{column.backend}") if column.backend in topic.alone else ""
        quotes = [
            f'<a href="#{column.backend}-{line.number}"><code>{line.number}: {escape(line.text.strip())}</code></a>'
            for line in lines_of(topic, column)[:3]
        ]
        if alone or quotes:
            said = f"<span>{texts.html('measured.alone', text=escape(alone))}</span>" if alone else ""
            body.append(f"<tr><th scope=row>{FRAMEWORKS[column.backend]}<td>{said}{''.join(quotes)}</tr>")
    table = f"<table>{''.join(body)}</table>" if body else ""
    measured = "" if damage is None else _damage(damage, texts)
    wrong, name = (escape(texts(f"topic.{topic.key}.{text}")) for text in ("mistake", "title"))
    mistake, title = f"<p><strong>{texts.html('measured.mistake')}</strong> {wrong}</p>", f"<h3>{name}</h3>"
    return f'<article class="topic" id="topic-{topic.key}">{title}{table}{mistake}{measured}</article>'


def _damage(damage: Damage, texts: Texts) -> str:
    share = 0.0 if damage.error <= 0 else min(1.0, max(0.01, (log10(damage.error) + 6) / 7))
    bar = (
        '<svg viewBox="0 0 200 12" preserveAspectRatio="none" aria-hidden="true"><rect class="scale" width="200" '
        f'height="12"/><rect class="amount" width="{200 * share:.1f}" height="12"/></svg>'
    )
    changed = texts("measured.changed", changed=damage.changed, count=PICTURES)
    classes = f"<span>{escape(changed)}</span>" if damage.changed is not None else ""
    return f'<div class="damage">{bar}<strong>{error_text(damage.error, texts)}</strong>{classes}</div>'


def error_text(error: float, texts: Texts) -> str:
    """0.33 %, 47 %, 4.2 times."""
    if error >= 2:
        return texts("measured.times", error=f"{error:.2g}")
    return f"{100 * error:.2g} %" if error else texts("measured.none")
