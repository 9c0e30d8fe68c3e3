"""The figures in words and units."""

from typing import NamedTuple


class Metric(NamedTuple):
    title: str
    unit: str
    divisor: float


def metric(case, key):
    """How a figure of a case is shown."""
    unit = case.unit
    return {
        "cpu": Metric(f"CPU per {unit.name}", *unit.cpu),
        "worker": Metric("CPU of the worker", *unit.cpu),
        "client": Metric("CPU of the client", *unit.cpu),
        "rate": Metric(f"{unit.name}s" if unit.rate[0] == "/s"
                       else "throughput", *unit.rate),
        "p50": Metric("latency p50", "µs", 1),
        "p99": Metric("latency p99", "µs", 1),
        "lost": Metric("lost", "%", 0.01),
        "memory": Metric(f"memory per {unit.name}", "KB", 1024),
        "rest": Metric(f"CPU at rest per {unit.name}", "µs/s", 1000),
    }[key]


def number(value):
    """Three digits that count."""
    if value == 0:
        return "0"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    if abs(value) >= 10:
        return f"{value:.1f}"
    if abs(value) >= 0.1:
        return f"{value:.2f}"
    return f"{value:.3f}"


def spread(summary, divisor=1):
    """Median, and between what the others were."""
    if summary is None:
        return "–"
    median, low, high = (number(value / divisor) for value in summary[:3])
    return median if low == high else f"{median} ({low}–{high})"
