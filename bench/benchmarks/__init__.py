"""Measurements that are not part of a run: time of solvers, metrics and reading, orders of accuracy."""
