"""Benchmarks: each measures ours and its raw limit in turns in one run, and reports the median of the ratios."""
