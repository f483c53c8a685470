"""Bytes against size as a picture: what was recorded, what was tried, and the card that they have to fit."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from memdoctor.foundation.batch_sizes import BatchSize
from memdoctor.foundation.units import format_bytes

_WIDTH, _HEIGHT = 640, 400
_LEFT, _RIGHT, _TOP, _BOTTOM = 90, 20, 40, 50


def batch_size_svg(result: BatchSize) -> str:
    """One SVG element; it needs no font, script or style from elsewhere."""
    return "\n".join(_elements(result))


def _elements(result: BatchSize) -> Iterator[str]:
    fitting = [(trial.batch_size, trial.peak_bytes) for trial in result.trials if trial.peak_bytes is not None]
    recorded = [(each.batch_size, each.peak_bytes) for each in result.recorded]
    failing = [trial.batch_size for trial in result.trials if not trial.fits]
    card_bytes = (result.peak_bytes or 0) + (result.margin_bytes or 0)
    scale = _Scale(
        max([1, *failing, *(size for size, _ in (*fitting, *recorded))]),
        max([1, card_bytes, *(peak for _, peak in (*fitting, *recorded))]),
    )
    yield f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="sans-serif">'
    yield f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>'
    yield _text(_WIDTH / 2, 20, f"bytes against {result.what} on {result.card}", "middle")
    yield from _axes(scale, result.what)
    if card_bytes:
        yield _line(scale, (0, card_bytes), (scale.largest, card_bytes), "firebrick")
        yield _text(_WIDTH - _RIGHT, scale.y(card_bytes) - 6, f"the card: {format_bytes(card_bytes)}", "end")
    points = sorted({*fitting, *recorded})
    for start, end in zip(points, points[1:]):
        yield _line(scale, start, end, "steelblue")
    for size, nbytes in points:
        label = f"{size}: {format_bytes(nbytes)}"
        x, y = scale.x(size), scale.y(nbytes)
        yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="steelblue"><title>{escape(label)}</title></circle>'
    for size in failing:
        yield _text(scale.x(size), _TOP + 12, "×", "middle", f"{size}: does not fit")
    yield "</svg>"


class _Scale:
    """From sizes and bytes, both from 0, to places in the picture."""

    def __init__(self, largest: int, most_bytes: int) -> None:
        self.largest = largest
        self.most_bytes = most_bytes

    def x(self, size: int) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * size / self.largest

    def y(self, nbytes: int) -> float:
        return _HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * nbytes / self.most_bytes


def _axes(scale: _Scale, what: str) -> Iterator[str]:
    yield _line(scale, (0, 0), (scale.largest, 0), "black")
    yield _line(scale, (0, 0), (0, scale.most_bytes), "black")
    for part in (0, 1, 2, 3, 4):
        size, nbytes = scale.largest * part // 4, scale.most_bytes * part // 4
        yield _text(scale.x(size), _HEIGHT - _BOTTOM + 18, str(size), "middle")
        yield _text(_LEFT - 8, scale.y(nbytes) + 4, format_bytes(nbytes), "end")
    yield _text((_LEFT + _WIDTH - _RIGHT) / 2, _HEIGHT - 12, what, "middle")


def _line(scale: _Scale, start: tuple[int, int], end: tuple[int, int], colour: str) -> str:
    (x1, y1), (x2, y2) = ((scale.x(size), scale.y(nbytes)) for size, nbytes in (start, end))
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}"/>'


def _text(x: float, y: float, text: str, anchor: str, title: str = "") -> str:
    tip = f"<title>{escape(title)}</title>" if title else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="12" text-anchor="{anchor}">{tip}{escape(text)}</text>'
