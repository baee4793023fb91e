"""A day in the field, played with real processes on bad lines, and checked to the last record. `python -m demo --help`."""
