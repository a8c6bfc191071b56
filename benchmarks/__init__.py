"""Measures what this project costs, beside Model Garden and the physical floor: `python -m benchmarks`."""
