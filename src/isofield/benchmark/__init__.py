"""Benchmarks: every method on the same measured data, quality and cost in one table; and the speed of each stage."""
