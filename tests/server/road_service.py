"""Road services of our own, on a real socket: they speak OSRM's and Valhalla's table formats over roads that run along a grid."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import msgspec


class Grid(BaseHTTPRequestHandler):
    """Driving along streets at 36 km/h; eastwards it takes twice as long; nothing leads to the island (longitude above 10)."""

    asked: list[str]
    broken = False

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        points = [tuple(reversed([float(x) for x in p.split(",")])) for p in parts.path.rsplit("/", 1)[1].split(";")]
        query = {
            name: [int(n) for n in values[0].split(";")] for name, values in parse_qs(parts.query).items() if name != "annotations"
        }
        assert parse_qs(parts.query)["annotations"] == ["duration,distance"]
        assert len(points) <= 100
        cells = [[self._leg(points[a], points[b]) for b in query["destinations"]] for a in query["sources"]]
        self._reply(
            {"code": "Ok"} | {name: [[c[k] for c in row] for row in cells] for k, name in enumerate(("durations", "distances"))}
        )

    def do_POST(self) -> None:
        asked = msgspec.json.decode(self.rfile.read(int(self.headers["content-length"])))
        assert (self.path, asked["costing"], asked["units"]) == ("/sources_to_targets", "auto", "kilometers")
        assert len(asked["sources"]) * len(asked["targets"]) <= 2500
        rows = []
        for i, a in enumerate(asked["sources"]):
            cells = [self._leg((a["lat"], a["lon"]), (b["lat"], b["lon"])) for b in asked["targets"]]
            rows.append(
                [
                    {"from_index": i, "to_index": j, "time": s, "distance": None if m is None else m / 1000}
                    for j, (s, m) in enumerate(cells)
                ]
            )
        self._reply({"sources_to_targets": rows, "units": "kilometers"})

    def _leg(self, a: tuple[float, ...], b: tuple[float, ...]) -> tuple[float | None, float | None]:
        if (a[1] > 10) != (b[1] > 10):
            return None, None
        east, north = (b[1] - a[1]) * 100_000, abs(b[0] - a[0]) * 100_000
        return (2 * east if east > 0 else -east) / 10 + north / 10, abs(east) + north

    def _reply(self, answer: object) -> None:
        self.asked.append(self.path)
        body = b"<html>sorry" if self.broken else msgspec.json.encode(answer)
        self.send_response(502 if self.broken else 200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Quiet."""


@contextmanager
def roads_served() -> Iterator[tuple[str, type[Grid]]]:
    """The address of a running service and its handler."""
    handler = type("Grid", (Grid,), {"asked": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", handler
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
