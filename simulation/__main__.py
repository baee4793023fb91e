"""`python -m simulation --seeds 1..20 --json out.json`."""

import sys

from simulation.main import main

sys.exit(main(sys.argv[1:]))
