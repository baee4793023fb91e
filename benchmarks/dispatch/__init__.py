"""How good are the plans, how fast do they come, and beside whom?

trsp       technician routing: duration against the best known, and the same without service time
vrptw      1000 customers, distance against the best known, beside PyVRP
pcvrptw    the same with prizes
field      generated days with breaks, skills and priorities beside VROOM and OR-Tools alone; without breaks beside PyVRP
realtime   a day at noon: an emergency put in, a week's slots graded, a repair, beside planning anew
growth     seconds to a first full plan and peak memory from 100 to 10 000 jobs

Every answer, ours or a peer's, becomes a plan by one road: the order of jobs on each shift is laid out, checked by `verify` and
priced by `score`. Run: uv run truckroll bench dispatch --suite trsp --seconds 60 --json trsp.json
"""
