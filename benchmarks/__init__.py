"""Benchmarks: `pytest benchmarks --benchmark-json FILE.json`, then `python -m benchmarks.table`."""
