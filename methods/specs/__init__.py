"""One file for each file of formulas, under the same name: its options, the NFEs that it reaches, its SPEC or SPECS.

Every module here is found by itself; see `registry`. No torch in this package, so that a mistake in a suite is
answered before anything heavy is imported.
"""
