"""A plan as one HTML file that needs nothing else: routes drawn to scale, days as bars, figures, and why jobs are left out.

The drawing is complete without a script; the script (`page.js`) highlights a route and tells a stop's details. The page's policy
forbids any request to a network.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from pathlib import Path

from dispatch.figures import Figures, figures
from dispatch.formats import Instance
from dispatch.plan import Plan, Route, Stop
from dispatch.problem import Job
from dispatch.reasons import clock_words

MAP_PX, MARGIN_PX = 620, 16
BAR_PX, ROW_PX, LABEL_PX, DAY_PX, AXIS_PX = 16, 24, 120, 1100, 20
NAME_LETTERS = 15  # that fit before the bars
TICKS = (900, 1800, 3600, 7200, 14400, 43200, 86400, 172800, 604800)
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
HERE = Path(__file__)


@dataclass(frozen=True, slots=True)
class _Drawing:
    instance: Instance
    plan: Plan

    def when(self, t_s: int) -> str:
        """A moment in the file's own unit, or as day and time."""
        return f"{t_s / self.instance.scale:g}" if self.instance.scale > 1 else clock_words(t_s)

    def long(self, seconds: int) -> str:
        """A length of time in the file's own unit, or in hours and minutes."""
        if self.instance.scale > 1:
            return f"{seconds / self.instance.scale:,.1f}"
        return f"{seconds // 3600} h {seconds % 3600 // 60:02d} min" if seconds >= 3600 else f"{round(seconds / 60)} min"

    def far(self, metres: int) -> str:
        """A distance in the file's own unit, or in kilometres."""
        return f"{metres / self.instance.scale:,.1f}" if self.instance.scale > 1 else f"{metres / 1000:,.1f} km"


def page(instance: Instance, plan: Plan, *, verified: bool) -> str:
    """The whole document. Places draw the map; without them there are only the bars."""
    drawing = _Drawing(instance, plan)
    found = figures(instance.problem, plan)
    title = f"{instance.name}: {plan.served} of {found.jobs} jobs on {len(plan.routes)} routes"
    verdict = '<span class="good">passes the checker</span>' if verified else '<span class="bad">is refused by the checker</span>'
    picture = f"<section><h2>Routes</h2>{_map(drawing)}</section>" if instance.problem.places else "<section></section>"
    data = json.dumps(_data(drawing), separators=(",", ":")).replace("<", "\\u003c")
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        f'<meta name="viewport" content="width=device-width"><link rel="icon" href="data:,">'
        f"<style>{HERE.with_suffix('.css').read_text(encoding='utf-8')}</style></head><body>"
        f"<h1>{escape(title)}</h1><p>The plan {verdict}. Click a route or a worker to see it alone, a stop for its details.</p>"
        f"<main>{picture}<section><h2>Details</h2><div id='details' aria-live='polite'>"
        f'<span class="hint">Nothing is chosen.</span></div><h2>Workers</h2>{_legend(drawing)}</section>'
        f"<section id='wide'><h2>Days</h2>{_bars(drawing)}</section></main>{_left(plan)}{_tables(drawing, found)}"
        f'<script id="plan" type="application/json">{data}</script>'
        f"<script>{HERE.with_suffix('.js').read_text(encoding='utf-8')}</script></body></html>\n"
    )


def _colour(n: int) -> str:
    return f"hsl({n * 137.5 % 360:.0f} 65% 42%)"


def _data(drawing: _Drawing) -> dict[str, object]:
    """What the details panel tells, by route and by stop."""
    routes, stops = [], {}
    for n, route in enumerate(drawing.plan.routes):
        rows = [
            ("leaves", drawing.when(route.start_s)),
            ("is back", drawing.when(route.end_s)),
            ("visits", str(len(route.jobs))),
            ("travel", drawing.long(route.travel_s)),
            ("distance", drawing.far(route.distance_m)),
            ("duty", drawing.long(route.duty_s)),
        ]
        rows += [("overtime", drawing.long(route.overtime_s))] if route.overtime_s else []
        routes.append({"title": _name(route), "rows": rows})
        for k, stop in enumerate(route.stops):
            stops[f"{n}-{k}"] = {"title": stop.job or stop.kind, "rows": list(_told(drawing, route, stop))}
    return {"routes": routes, "stops": stops}


def _told(drawing: _Drawing, route: Route, stop: Stop) -> Iterator[tuple[str, str]]:
    yield "worker", _name(route)
    if stop.kind != "break":
        yield "arrives", drawing.when(stop.arrival_s)
    yield "starts", drawing.when(stop.start_s)
    yield "ends", drawing.when(stop.end_s)
    if stop.kind != "break":
        yield "travel", f"{drawing.long(stop.travel_s)}, {drawing.far(stop.distance_m)}"
    if stop.start_s > stop.arrival_s:
        yield "waits", drawing.long(stop.start_s - stop.arrival_s)
    if stop.kind == "job":
        yield from _asked(drawing, drawing.instance.problem.job(stop.job), stop)


def _asked(drawing: _Drawing, job: Job, stop: Stop) -> Iterator[tuple[str, str]]:
    for name, windows in (("windows", job.windows), ("soft windows", job.soft_windows)):
        if windows:
            yield name, ", ".join(f"{drawing.when(w.start_s)}–{drawing.when(w.end_s)}" for w in windows)
    if job.due_s is not None:
        yield "due", drawing.when(job.due_s) + (f", {drawing.long(stop.end_s - job.due_s)} late" if stop.end_s > job.due_s else "")
    yield "priority", "optional" if job.priority is None else str(job.priority)
    needs = [f"{need.skill} {need.level}" for need in job.skills]
    needs += [*sorted(job.tools), *(f"{need.count} × {need.part}" for need in job.parts)]
    if needs:
        yield "needs", ", ".join(needs)
    if job.crew > 1:
        yield "crew", str(job.crew)
    if job.after:
        yield "comes after", ", ".join(sorted(job.after))


def _name(route: Route) -> str:
    return f"{route.worker}, shift {route.shift + 1}" if route.shift else route.worker


def _legend(drawing: _Drawing) -> str:
    rows = "".join(
        f'<li><button type="button" data-route="{n}" aria-pressed="false"><span class="key" style="background:{_colour(n)}"></span>'
        f"{escape(_name(route))}: {len(route.jobs)} visits, {drawing.long(route.duty_s)}</button></li>"
        for n, route in enumerate(drawing.plan.routes)
    )
    return f'<ul id="legend">{rows}</ul>'


def _map(drawing: _Drawing) -> str:
    problem = drawing.instance.problem
    xs, ys = [p.lon for p in problem.places], [p.lat for p in problem.places]
    span = max(max(xs) - min(xs), max(ys) - min(ys)) or 1.0
    scale = (MAP_PX - 2 * MARGIN_PX) / span

    def at(place: int) -> tuple[float, float]:
        return MARGIN_PX + (xs[place] - min(xs)) * scale, MAP_PX - MARGIN_PX - (ys[place] - min(ys)) * scale

    drawn = []
    for n, route in enumerate(drawing.plan.routes):
        shift = problem.worker(route.worker).shifts[route.shift]
        line = [p for p in (shift.start_place, *(s.place for s in route.stops if s.place >= 0), shift.end_place) if p is not None]
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in map(at, line))
        marks = [f'<polyline class="route" tabindex="0" stroke="{_colour(n)}" points="{points}"/>']
        for place in {p for p in (shift.start_place, shift.end_place) if p is not None}:
            x, y = at(place)
            marks.append(f'<rect class="home" x="{x - 4:.1f}" y="{y - 4:.1f}" width="8" height="8" stroke="{_colour(n)}"/>')
        for k, stop in enumerate(route.stops):
            if stop.place >= 0:
                x, y = at(stop.place)
                kind = "stop depot" if stop.kind == "depot" else "stop"
                marks.append(f'<circle class="{kind}" data-stop="{n}-{k}" cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{_colour(n)}"/>')
        drawn.append(f'<g data-route="{n}"><title>{escape(_name(route))}</title>{"".join(marks)}</g>')
    for left in drawing.plan.unserved:
        x, y = at(problem.job(left.job).place)
        cross = f"M{x - 3:.1f} {y - 3:.1f}l6 6m0-6l-6 6"
        drawn.append(f'<path class="left" d="{cross}"><title>{escape(f"{left.job} is left out: {left.words}")}</title></path>')
    size = f'viewBox="0 0 {MAP_PX} {MAP_PX}" width="{MAP_PX}" height="{MAP_PX}"'
    return f'<svg id="map" role="img" aria-label="Map of the routes" {size}>{"".join(drawn)}</svg>'


def _bars(drawing: _Drawing) -> str:
    routes = drawing.plan.routes
    if not routes:
        return "<p>No route.</p>"
    begin, end = min(route.start_s for route in routes), max(route.end_s for route in routes)
    scale = DAY_PX / max(end - begin, 1)
    height = AXIS_PX + ROW_PX * len(routes) + 8
    width = LABEL_PX + DAY_PX + 8
    step = next((tick for tick in TICKS if (end - begin) / drawing.instance.scale / tick <= 16), TICKS[-1])
    step *= drawing.instance.scale
    axis = []
    for t_s in range(-(-begin // step) * step, end + 1, step):
        x = LABEL_PX + (t_s - begin) * scale
        axis.append(f'<line class="tick" x1="{x:.1f}" x2="{x:.1f}" y1="{AXIS_PX}" y2="{height}"/>')
        axis.append(f'<text x="{x + 2:.1f}" y="13">{escape(drawing.when(t_s))}</text>')
    rows = "".join(_row(drawing, n, route, begin, scale) for n, route in enumerate(routes))
    size = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    return f'<svg id="gantt" role="img" aria-label="Days of the workers" {size}>{"".join(axis)}{rows}</svg>'


def _row(drawing: _Drawing, n: int, route: Route, begin: int, scale: float) -> str:
    top, left, wide = AXIS_PX + 4 + n * ROW_PX, LABEL_PX + (route.start_s - begin) * scale, (route.end_s - route.start_s) * scale
    line = f'<rect class="duty" x="{left:.1f}" y="{top + 6}" width="{wide:.1f}" height="4" fill="{_colour(n)}" opacity=".35"/>'
    blocks = []
    for k, stop in enumerate(route.stops):
        words = escape(f"{stop.job or stop.kind}: {drawing.when(stop.start_s)}–{drawing.when(stop.end_s)}")
        x, width = LABEL_PX + (stop.start_s - begin) * scale, max(1.5, (stop.end_s - stop.start_s) * scale)
        fill = "" if stop.kind == "break" else f' fill="{_colour(n)}"'
        blocks.append(
            f'<rect class="bar {stop.kind}" tabindex="0" data-stop="{n}-{k}"{fill} x="{x:.1f}" y="{top}" width="{width:.1f}" '
            f'height="{BAR_PX}"><title>{words}</title></rect>'
        )
    short = _name(route) if len(_name(route)) <= NAME_LETTERS else _name(route)[: NAME_LETTERS - 1] + "…"
    name = f'<text class="who" x="4" y="{top + 13}">{escape(short)}<title>{escape(_name(route))}</title></text>'
    return f'<g data-route="{n}">{name}{line}{"".join(blocks)}</g>'


def _left(plan: Plan) -> str:
    rows = "".join(
        f"<tr><td>{escape(u.job)}</td><td>{escape(u.rule)}</td><td>{escape(u.words)}</td><td>{escape(u.nearest)}</td></tr>"
        for u in plan.unserved
    )
    head = "<tr><th>job</th><th>rule</th><th>why</th><th>what would do</th></tr>"
    return f'<h2>Left out</h2><table id="left">{head}{rows}</table>' if rows else ""


def _tables(drawing: _Drawing, found: Figures) -> str:
    shares = {
        "travel share of duty": found.travel_share,
        "utilisation of shifts": found.utilisation,
        "work share of shifts": found.worked_share,
        "on time": found.on_time_share,
    }
    rows = {name: "–" if share is None else f"{share:.1%}" for name, share in shares.items()}
    rows |= {
        "visits a route": f"{found.visits_per_route:.1f}",
        "duty": drawing.long(found.duty_s),
        "travel": drawing.long(found.travel_s),
        "distance": drawing.far(found.distance_m),
        "waiting": drawing.long(found.wait_s),
        "overtime": drawing.long(found.overtime_s),
        "balance (deviation of utilisation)": f"{found.balance:.3f}",
    }
    scale = drawing.instance.scale
    levels = {name: f"{value / scale:,.1f}" if name == "cost" else f"{value:,}" for name, value in found.levels.items()}
    costs = {f"cost of {name.replace('_', ' ')}": f"{value / scale:,.1f}" for name, value in found.cost.items() if value}
    return f"<h2>Figures</h2>{_table('figures', rows)}<h2>Score, level before level</h2>{_table('score', levels | costs)}"


def _table(name: str, rows: dict[str, str]) -> str:
    body = "".join(f'<tr><td>{escape(key)}</td><td class="number">{escape(value)}</td></tr>' for key, value in rows.items())
    return f'<table id="{name}">{body}</table>'
