"""`python -m demo`: the demo from a shell."""

import argparse
import sys
from pathlib import Path

from demo.company import Size
from demo.main import Options, run


def options(arguments: list[str]) -> Options:
    """Read the command line; argparse says what is wrong with it."""
    parser = argparse.ArgumentParser(prog="python -m demo", description="Play a day of a field service company, and check it.")
    parser.add_argument("--once", action="store_true", help="end when the day is checked, instead of serving on")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write what was found to FILE")
    parser.add_argument("--addresses", type=Path, metavar="FILE", help="a JSON file of real addresses to place the sites on")
    parser.add_argument("--city", default="", help="the city in FILE")
    parser.add_argument("--seed", type=int, default=7, help="what the company and its luck are made from (default 7)")
    parser.add_argument("--technicians", type=int, default=12, help="how many technicians, each with a device (default 12)")
    parser.add_argument("--jobs", type=int, default=60, help="how many jobs that can be served (default 60)")
    parser.add_argument("--plan-seconds", type=float, default=6.0, help="how long the planner may search (default 6)")
    given = parser.parse_args(arguments)
    if given.technicians < 3 or given.jobs < given.technicians:
        parser.error("the day needs at least 3 technicians, and as many jobs as technicians")
    size = Size(technicians=given.technicians, jobs=given.jobs)
    return Options(given.once, given.json, given.addresses, given.city, given.seed, size, given.plan_seconds)


if __name__ == "__main__":
    sys.exit(run(options(sys.argv[1:])))
