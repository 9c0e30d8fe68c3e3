"""Plots of a case: a bar for each server, as SVG.

The bar ends at the median, a line goes from the least to the largest value,
and the numbers are beside it.  Bars much longer than the others are cut: one
slow server must not make the others unreadable.
"""

import statistics
from xml.sax.saxutils import escape

from bench import results
from bench.metrics import metric, number
from bench.servers import KINDS

WIDTH = 760
LEFT = 190          # of the bars
RIGHT = 590
ROW = 30
BAR = 18
TOP = 62
BOTTOM = 30
CUT = 3             # times the median of all

OURS, LIBRARY, OTHER = "#0b7a4b", "#5b7fb5", "#9aa0a6"
INK = "#1f2328"


def svg(case, servers, key):
    """Of a metric of the case; None if nothing was measured."""
    shown = metric(case, key)
    bars = [(name, results.summary(servers, name, key)) for name in servers]
    bars = [(name, found) for name, found in bars if found]
    if not bars:
        return None

    longest = max(found.high for _, found in bars)
    limit = CUT * statistics.median(found.median for _, found in bars)
    scale = (RIGHT - LEFT) / (min(longest, limit) or 1)
    height = TOP + ROW * len(bars) + BOTTOM

    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" '
        f'height="{height}" viewBox="0 0 {WIDTH} {height}" '
        'font-family="Helvetica, Arial, sans-serif" font-size="13">',
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        _text(16, 24, case.title, size=16, weight="bold"),
        _text(16, 44, f"{shown.title}, {shown.unit}: median, least and most "
              f"of {_runs(bars)}; less is better"),
    ]
    for row, (name, found) in enumerate(bars):
        lines += _bar(name, found, TOP + ROW * row, scale, shown.divisor)
    lines.append(f'<path d="M{LEFT} {TOP - 4}V{height - BOTTOM + 2}" '
                 f'stroke="{INK}"/>')
    lines.append(_legend(height - 10))
    lines.append("</svg>")
    return "\n".join(lines) + "\n"


def _runs(bars):
    runs = max(found.runs for _, found in bars)
    return f"{runs} run{'s'[:runs != 1]}"


def _color(name):
    if KINDS[name].library:
        return LIBRARY
    return OURS if name.startswith("wt") else OTHER


def _bar(name, found, top, scale, divisor):
    middle = top + ROW / 2
    length = found.median * scale
    cut = LEFT + length > RIGHT + 1
    end = min(LEFT + length, RIGHT)
    lines = [
        _text(LEFT - 10, middle + 4.5, KINDS[name].title, anchor="end"),
        f'<rect x="{LEFT}" y="{middle - BAR / 2:.1f}" '
        f'width="{end - LEFT:.1f}" height="{BAR}" fill="{_color(name)}"/>',
    ]
    label = end
    if cut:
        lines.append(f'<path d="M{end - 14:.1f} {middle + 11:.1f}l6 -22h5'
                     f'l-6 22z" fill="#ffffff"/>')
    else:
        low, high = (min(LEFT + value * scale, RIGHT)
                     for value in (found.low, found.high))
        lines.append(f'<path d="M{low:.1f} {middle:.1f}H{high:.1f}'
                     f'M{low:.1f} {middle - 5:.1f}v10'
                     f'M{high:.1f} {middle - 5:.1f}v10" '
                     f'stroke="{INK}" stroke-width="1.5" fill="none"/>')
        label = max(label, high)
    text = number(found.median / divisor)
    if found.runs > 1:
        text += (f" ({number(found.low / divisor)}–"
                 f"{number(found.high / divisor)})")
    lines.append(_text(label + 8, middle + 4.5, text))
    return lines


def _legend(y):
    x, parts = LEFT, []
    for color, title in ((OURS, "this module"), (LIBRARY, "libraries"),
                         (OTHER, "for comparison")):
        parts.append(f'<rect x="{x}" y="{y - 10}" width="10" height="10" '
                     f'fill="{color}"/>' + _text(x + 15, y, title, size=11))
        x += 110
    return "".join(parts)


def _text(x, y, text, anchor="start", size=None, weight=None):
    more = f' text-anchor="{anchor}"' if anchor != "start" else ""
    more += f' font-size="{size}"' if size else ""
    more += f' font-weight="{weight}"' if weight else ""
    return (f'<text x="{x:g}" y="{y:g}" fill="{INK}"{more}>{escape(text)}'
            "</text>")
