"""Lines over each other in a frame with numbers at its sides, as SVG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from math import ceil, floor, log10

from resnet_core.lessons import svg

WIDTH, HEIGHT = 520, 300
LEFT, RIGHT, TOP, BOTTOM = 52, 14, 14, 44

#: As many looks as there are: a color and a dash each.
LOOKS = 6


@dataclass(frozen=True, slots=True)
class Curve:
    """Points (x, y) in order; `dots` are drawn as such. `look` is the number of its color and dash."""

    name: str
    points: Sequence[tuple[float, float]]
    dots: Sequence[tuple[float, float]] = ()
    look: int = 0
    key: str = ""


def plot(label: str, axes: tuple[str, str], curves: Sequence[Curve]) -> str:
    """The curves, with a legend below."""
    places = [place for curve in curves for place in (*curve.points, *curve.dots)]
    across = ticks(min(0.0, *(x for x, _ in places)), max(x for x, _ in places))
    up = ticks(min(y for _, y in places), max(y for _, y in places))
    frame = _Frame(across[0], max(across[-1], max(x for x, _ in places)), up[0], up[-1])
    parts = [_grid(frame, across, up, axes), *(_curve(frame, curve) for curve in curves)]
    drawn = (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" class="plot" role="img" aria-label="{escape(label)}">'
        f"{''.join(parts)}</svg>"
    )
    names = "".join(
        f'<span data-curve="{escape(curve.key)}"><svg viewBox="0 0 30 8" aria-hidden="true">'
        f'<path class="curve look-{curve.look % LOOKS}" d="M1 4H29"/></svg>{escape(curve.name)}</span>'
        for curve in curves
    )
    return f'<figure class="curves">{drawn}<figcaption>{names}</figcaption></figure>'


def ticks(low: float, high: float) -> list[float]:
    """Four to eight round numbers that enclose both."""
    if high <= low:
        high = low + (abs(low) or 1.0)
    rough = (high - low) / 5
    unit = 10.0 ** floor(log10(rough))
    step = next(unit * factor for factor in (1, 2, 2.5, 5, 10) if unit * factor >= rough * 0.999)
    first, last = floor(low / step + 1e-9), ceil(high / step - 1e-9)
    return [round(step * n, 10) for n in range(first, last + 1)]


@dataclass(frozen=True, slots=True)
class _Frame:
    left: float
    right: float
    bottom: float
    top: float

    def x(self, value: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * (value - self.left) / (self.right - self.left)

    def y(self, value: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (value - self.bottom) / (self.top - self.bottom)


def _grid(frame: _Frame, across: Sequence[float], up: Sequence[float], axes: tuple[str, str]) -> str:
    parts = []
    for value in up:
        y = frame.y(value)
        parts.append(f'<path class="grid" d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}"/>')
        parts.append(f'<text x="{LEFT - 7}" y="{y + 4:.1f}" class="small end">{value:g}</text>')
    for value in across:
        if value <= frame.right:
            parts.append(svg.text(round(frame.x(value), 1), HEIGHT - BOTTOM + 17, f"{value:g}", "small"))
    parts.append(svg.text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 8, axes[0], "small"))
    parts.append(
        f'<text transform="translate(13 {(TOP + HEIGHT - BOTTOM) / 2:g}) rotate(-90)" class="small">'
        f"{escape(axes[1])}</text>"
    )
    return "".join(parts)


def _curve(frame: _Frame, curve: Curve) -> str:
    look = curve.look % LOOKS
    way = "L".join(f"{frame.x(x):.1f} {frame.y(y):.1f}" for x, y in curve.points)
    line = f'<path class="curve look-{look}" d="M{way}"/>' if way else ""
    dots = "".join(
        f'<circle class="spot look-{look}" cx="{frame.x(x):.1f}" cy="{frame.y(y):.1f}" r="4"/>' for x, y in curve.dots
    )
    return f'<g data-curve="{escape(curve.key)}">{line}{dots}</g>'
