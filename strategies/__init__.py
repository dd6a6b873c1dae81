"""Flower strategies: verification round by round, exact aggregation."""
