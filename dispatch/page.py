"""A plan as one HTML file that needs nothing else: the routes drawn to scale, the days as bars, and what is left out."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from dispatch.formats import Instance
from dispatch.plan import Plan, Route
from dispatch.reasons import clock_words

MAP_PX = 620
MARGIN_PX = 16
BAR_PX, ROW_PX, LABEL_PX, DAY_PX = 16, 24, 110, 900

STYLE = """
body{font:14px/1.45 system-ui,sans-serif;margin:24px;color:#1c2430;background:#fff}
h1{font-size:20px}h2{font-size:16px;margin-top:28px}
svg{border:1px solid #dde2e8;border-radius:6px;max-width:100%;height:auto}.route{fill:none;stroke-width:1.6;opacity:.8}
.route:hover,.on .route{stroke-width:4;opacity:1}.break{fill:#c9ced6}.late{stroke:#b00020;stroke-width:2}
td,th{padding:3px 12px 3px 0;text-align:left;vertical-align:top}.bad{color:#b00020}.good{color:#19733a}
"""


def page(instance: Instance, plan: Plan, *, verified: bool) -> str:
    """The whole document. Places draw the map; without them there are only the bars."""
    title = f"{instance.name}: {plan.served} jobs on {len(plan.routes)} routes"
    sums = (
        sum(route.duty_s for route in plan.routes) / instance.scale,
        sum(route.distance_m for route in plan.routes) / instance.scale,
    )
    verdict = '<span class="good">passes the checker</span>' if verified else '<span class="bad">is refused by the checker</span>'
    left = "".join(
        f"<tr><td>{escape(u.job)}</td><td>{escape(u.rule)}</td><td>{escape(u.words)}</td><td>{escape(u.nearest)}</td></tr>"
        for u in plan.unserved
    )
    table = (
        f"<h2>Left out</h2><table><tr><th>job</th><th>rule</th><th>why</th><th>what would do</th></tr>{left}</table>"
        if left
        else ""
    )
    drawing = f"<h2>Routes</h2>{_map(instance, plan)}" if instance.problem.places else ""
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(title)}</title><style>{STYLE}</style>'
        f"<h1>{escape(title)}</h1><p>Duration {sums[0]:,.1f}, distance {sums[1]:,.1f}, {len(plan.unserved)} left out; the plan "
        f"{verdict}.</p>{drawing}<h2>Days</h2>{_bars(instance, plan)}{table}</html>\n"
    )


def _colour(n: int) -> str:
    return f"hsl({n * 137.5 % 360:.0f} 65% 42%)"


def _map(instance: Instance, plan: Plan) -> str:
    places = instance.problem.places
    xs, ys = [p.lon for p in places], [p.lat for p in places]
    span = max(max(xs) - min(xs), max(ys) - min(ys)) or 1.0
    scale = (MAP_PX - 2 * MARGIN_PX) / span

    def at(place: int) -> tuple[float, float]:
        return MARGIN_PX + (xs[place] - min(xs)) * scale, MAP_PX - MARGIN_PX - (ys[place] - min(ys)) * scale

    drawn = []
    for n, route in enumerate(plan.routes):
        shift = instance.problem.worker(route.worker).shifts[route.shift]
        stops = [stop.place for stop in route.stops if stop.place >= 0]
        line = [p for p in (shift.start_place, *stops, shift.end_place) if p is not None]
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in map(at, line))
        dots = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{_colour(n)}"/>' for x, y in map(at, stops))
        words = escape(f"{route.worker}: {', '.join(route.jobs)}")
        path = f'<polyline class="route" stroke="{_colour(n)}" points="{points}"/>'
        drawn.append(f'<g data-route="{n}"><title>{words}</title>{path}{dots}</g>')
    size = f'viewBox="0 0 {MAP_PX} {MAP_PX}" width="{MAP_PX}" height="{MAP_PX}"'
    return f'<svg id="map" role="img" aria-label="Map of the routes" {size}>{"".join(drawn)}</svg>'


def _bars(instance: Instance, plan: Plan) -> str:
    if not plan.routes:
        return "<p>No route.</p>"
    begin, end = min(route.start_s for route in plan.routes), max(route.end_s for route in plan.routes)
    scale = DAY_PX / max(end - begin, 1)
    rows = "".join(_row(instance, n, route, begin, scale) for n, route in enumerate(plan.routes))
    height = ROW_PX * len(plan.routes) + 8
    size = f'viewBox="0 0 {LABEL_PX + DAY_PX + 8} {height}" width="{LABEL_PX + DAY_PX + 8}" height="{height}"'
    return f'<svg id="gantt" role="img" aria-label="Days of the workers" {size}>{rows}</svg>'


def _row(instance: Instance, n: int, route: Route, begin: int, scale: float) -> str:
    top, left, wide = 4 + n * ROW_PX, LABEL_PX + (route.start_s - begin) * scale, (route.end_s - route.start_s) * scale
    return (
        f'<text x="4" y="{top + 13}">{escape(route.worker)}</text>'
        f'<rect x="{left:.1f}" y="{top + 6}" width="{wide:.1f}" '
        f'height="4" fill="{_colour(n)}" opacity=".35"/>' + "".join(_blocks(instance, n, route, begin, scale))
    )


def _blocks(instance: Instance, n: int, route: Route, begin: int, scale: float) -> Iterator[str]:
    for stop in route.stops:
        name = stop.job or stop.kind
        when = (
            f"{stop.start_s / instance.scale:g}–{stop.end_s / instance.scale:g}"
            if instance.scale > 1
            else f"{clock_words(stop.start_s)}–{clock_words(stop.end_s)}"
        )
        fill = 'class="break"' if stop.kind == "break" else f'fill="{_colour(n)}"'
        yield (
            f'<rect {fill} x="{LABEL_PX + (stop.start_s - begin) * scale:.1f}" y="{4 + n * ROW_PX}" '
            f'width="{max(1.5, (stop.end_s - stop.start_s) * scale):.1f}" height="{BAR_PX}">'
            f"<title>{escape(f'{name}: {when}')}</title></rect>"
        )
