"""Programs that measure: each runs as ``python -m ixc.benchmarks.NAME`` and prints its figures with the hardware."""
