"""Benchmarks: speed as ratios measured in one run, with the machine beside the figures."""
