"""Benchmarks: `make bench` measures whole processes, in one run on one machine, against the design's bars.
One file in `subjects/` is one thing measured; `docs/benchmarks.md` is written from what comes out."""
