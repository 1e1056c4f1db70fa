"""The metrics that suites name, a file for each kind of features: a file's METRICS are found by its being here."""
