"""Plain and residual network of the same depth: curves that were recorded once, and what to do with them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from html import escape
from importlib.resources import files
from typing import Any

from resnet_core.lessons.plot import Curve, plot
from resnet_core.lessons.texts import Texts

#: What was recorded, by benchmarks/degradation.py, which says how.
FILE = "degradation.json"


def recorded() -> dict[str, Any]:
    """{"date", "command", "versions", "machine", "window", "steps", "layers", "parameters", "residual", "plain"}.

    Each of the last two has the network's `spec`, `training`, its error as (step, mean of the `window` batches
    before), and `test`, its error as (step, error) after each epoch.
    """
    found: dict[str, Any] = json.loads((files("resnet_core.lessons") / FILE).read_text(encoding="utf-8"))
    return found


def degradation_part(texts: Texts) -> Iterator[str]:
    """What was seen, the question, and the curves; a script hides the plain one until the reader has decided."""
    found = recorded()
    facts = {"layers": str(found["layers"]), "parameters": f"{found['parameters']:,}"}
    yield f"<p>{texts.html('degradation.about', field='<code>shortcut = &quot;none&quot;</code>', **facts)}</p>"
    curves = [
        Curve(texts(f"degradation.{name}"), found[name]["training"], found[name]["test"], look, name)
        for look, name in enumerate(("residual", "plain"))
    ]
    ends = {name: f"{100 * found[name]['training'][-1][1]:.1f} %" for name in ("residual", "plain")}
    label = "; ".join(texts("plot.ends", name=curve.name, value=ends[curve.key]) for curve in curves)
    drawn = plot(label, (texts("plot.step"), texts("degradation.error")), curves)
    yield (
        f"<p><strong>{texts.html('degradation.task')}</strong> {texts.html('degradation.think')}</p>"
        f'<p class="controls js-only"><button type="button" id="take-away" aria-pressed="false">'
        f"{texts.html('degradation.button')}</button></p>"
        f'<div id="degradation" class="degradation">{drawn}'
        f'<p class="note">{texts.html("degradation.caption", window=str(found["window"]), **ends)}</p></div>'
    )
    said = {name: escape(str(found[name])) for name in ("date", "versions", "machine", "steps")}
    command = f"<code>{escape(found['command'])}</code>"
    yield f'<p class="note">{texts.html("degradation.recorded", command=command, **said)}</p>'
