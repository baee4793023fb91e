"""A plan as GeoJSON (RFC 7946): a line for each route, a point for each stop and for each job left out."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from dispatch.plan import Plan, Route
from dispatch.problem import Problem

Feature = dict[str, object]


def geojson(problem: Problem, plan: Plan) -> bytes:
    """A FeatureCollection; positions are [longitude, latitude]. Raises ValueError when the problem's places have no coordinates.

    Lines run straight from stop to stop. A line has the properties of its route, a point those of its stop, in the plan's seconds.
    """
    if len(problem.places) != problem.travel.size:
        raise ValueError("the places have no coordinates")
    features: list[Feature] = []
    for route in plan.routes:
        features += _route(problem, route)
    for left in plan.unserved:
        properties: Feature = {"kind": "unserved", "job": left.job, "rule": left.rule, "words": left.words, "nearest": left.nearest}
        features.append(_feature("Point", _at(problem, problem.job(left.job).place), properties))
    return msgspec.json.encode({"type": "FeatureCollection", "features": features})


def _route(problem: Problem, route: Route) -> Iterator[Feature]:
    shift = problem.worker(route.worker).shifts[route.shift]
    stops = [stop.place for stop in route.stops if stop.place >= 0]
    places = [place for place in (shift.start_place, *stops, shift.end_place) if place is not None]
    who: Feature = {"worker": route.worker, "shift": route.shift}
    whole: Feature = {
        "kind": "route", "jobs": list(route.jobs), "start_s": route.start_s, "end_s": route.end_s, "travel_s": route.travel_s,
        "distance_m": route.distance_m, "duty_s": route.duty_s, "overtime_s": route.overtime_s,
    }  # fmt: skip
    line = [_at(problem, place) for place in places]
    yield _feature("LineString", line if len(line) > 1 else line * 2, who | whole)
    for n, stop in enumerate((stop for stop in route.stops if stop.place >= 0), 1):
        properties: Feature = {
            "kind": stop.kind, "job": stop.job, "order": n, "arrival_s": stop.arrival_s, "start_s": stop.start_s,
            "end_s": stop.end_s, "travel_s": stop.travel_s,
        }  # fmt: skip
        yield _feature("Point", _at(problem, stop.place), who | properties)


def _at(problem: Problem, place: int) -> list[float]:
    point = problem.places[place]
    return [point.lon, point.lat]


def _feature(kind: str, coordinates: list[float] | list[list[float]], properties: dict[str, object]) -> Feature:
    return {"type": "Feature", "geometry": {"type": kind, "coordinates": coordinates}, "properties": properties}
