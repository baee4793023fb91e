"""Benchmarks: one folder or file per question, each says its protocol and writes JSON. `truckroll bench` runs them."""
