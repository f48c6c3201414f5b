"""The ratios as a bar chart, drawn as SVG: crisp, a few kilobytes, and no plotting library to install."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from ixc.benchmarks.measuring import Figure

_WIDTH, _LABEL_WIDTH, _VALUE_WIDTH = 1000, 430, 250
_ROW, _TOP, _BOTTOM, _BAR = 30, 70, 46, 16
_OURS, _MISSED, _INK, _FAINT = "#4f46e5", "#c2410c", "#1f2937", "#9ca3af"
_FONT = "font-family='system-ui, sans-serif'"


def plot_svg(figures: Sequence[Figure], title: str) -> str:
    """One bar for each figure with a baseline, on a logarithmic scale; a tick marks the target, 1 is the baseline."""
    shown = [figure for figure in figures if figure.ratio]
    height = _TOP + _ROW * len(shown) + _BOTTOM
    top_ratio = max([figure.ratio for figure in shown] + [_target(figure) for figure in shown] + [2.0])
    low_ratio = min([figure.ratio for figure in shown] + [1.0])
    scale = _Scale(low_ratio, top_ratio)
    parts = [
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {_WIDTH} {height}' role='img' {_FONT} font-size='13'>",
        f"<title>Times faster than the official code: {escape(title)}</title>",
        f"<rect width='{_WIDTH}' height='{height}' fill='#ffffff'/>",
        _text(20, 28, "Times faster than the official code", size=17, weight=600),
        _text(20, 48, title, colour="#6b7280", size=12),
        _text(_WIDTH - 20, 28, "mark: target; orange: target missed", colour="#6b7280", anchor="end", size=12),
    ]
    for ratio in scale.ticks():
        x = scale.x(ratio)
        parts.append(f"<line x1='{x:.1f}' y1='{_TOP - 6}' x2='{x:.1f}' y2='{height - _BOTTOM}' stroke='#e5e7eb'/>")
        parts.append(_text(x, height - _BOTTOM + 18, f"{ratio:g}x", colour=_FAINT, anchor="middle", size=12))
    for row, figure in enumerate(shown):
        parts += _bar(figure, _TOP + _ROW * row, scale)
    one = scale.x(1)
    parts.append(f"<line x1='{one:.1f}' y1='{_TOP - 6}' x2='{one:.1f}' y2='{height - _BOTTOM}' stroke='{_INK}'/>")
    return "\n".join([*parts, "</svg>", ""])


class _Scale:
    """Ratios to x positions, logarithmic."""

    def __init__(self, low: float, high: float) -> None:
        self._low, self._high = math.log(low * 0.97), math.log(high * 1.05)

    def x(self, ratio: float) -> float:
        share = (math.log(ratio) - self._low) / (self._high - self._low)
        return _LABEL_WIDTH + share * (_WIDTH - _LABEL_WIDTH - _VALUE_WIDTH)

    def ticks(self) -> list[float]:
        steps = [step * 10.0**power for power in range(-2, 5) for step in (1, 2, 5)]
        return [step for step in steps if self._low <= math.log(step) <= self._high]


def _bar(figure: Figure, y: float, scale: _Scale) -> list[str]:
    one, end = scale.x(1), scale.x(figure.ratio)
    colour = _MISSED if figure.is_met is False else _OURS
    middle = y + _BAR / 2
    parts = [
        _text(_LABEL_WIDTH - 14, middle + 4.5, f"{figure.name} ({figure.baseline_name})", anchor="end", size=12),
        f"<rect x='{min(one, end):.1f}' y='{y}' width='{abs(end - one):.1f}' height='{_BAR}' rx='3' fill='{colour}'/>",
    ]
    if figure.target is not None and figure.target.is_ratio and figure.target.bound != 1:
        x = scale.x(figure.target.bound)
        parts.append(f"<line x1='{x:.1f}' y1='{y - 4}' x2='{x:.1f}' y2='{y + _BAR + 4}' stroke='{_INK}' stroke-width='2'/>")
    value = f"{figure.ratio:.1f}x: {_amount(figure.value)} against {_amount(figure.baseline)} {figure.unit}"
    parts.append(_text(_WIDTH - _VALUE_WIDTH + 12, middle + 4.5, value, size=12))
    return parts


def _target(figure: Figure) -> float:
    return figure.target.bound if figure.target is not None and figure.target.is_ratio else 1.0


def _text(
    x: float, y: float, text: str, *, colour: str = _INK, anchor: str = "start", size: int = 13, weight: int = 400
) -> str:
    style = f"fill='{colour}' text-anchor='{anchor}' font-size='{size}' font-weight='{weight}'"
    return f"<text x='{x:.1f}' y='{y:.1f}' {style}>{escape(text)}</text>"


def _amount(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
