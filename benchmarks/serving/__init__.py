"""`must serve` under load: `python -m benchmarks.serving EXPORT`, or `make bench-serve EXPORT=...`."""
