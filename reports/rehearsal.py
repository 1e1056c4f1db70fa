"""How results of a rehearsal (`fewstep run --smoke`) are told from others: by a word that no suite's name can hold."""

# What it marks is named by what is reported.
PART_OF_RESULTS = False

MARK = " [smoke]"
"""After the name of the suite and of each data set."""
WATERMARK = "rehearsal"
"""The name of the mark across a figure."""
PROTOCOL = "smoke/"
"""Before every protocol."""


def marked(name: str) -> str:
    return name + MARK


def is_marked(name: str) -> bool:
    """Of a suite or a data set, or of several suites with " + " between them."""
    return any(part.endswith(MARK) for part in name.split(" + "))
