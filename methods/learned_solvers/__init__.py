"""Solvers with learned coefficients: the network stays as it is, a handful of numbers is fitted to it."""
