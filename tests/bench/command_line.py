"""The command line in the process of the test, with workers of its own."""

import logging
import os
from subprocess import CompletedProcess
from unittest.mock import patch

from click.testing import CliRunner

from fewstep.bench.cli import main


def fewstep(*words, **environment):
    """What `subprocess.run` gives, a quarter of a minute sooner where it runs a suite.

    Torch and Lightning, which take most of that to import, are imported once for the workers of all such runs, and
    pandas and matplotlib once for their reports.
    """
    # Without pytest's handlers the command sets its own, and warnings go to its stderr.
    with patch.dict(os.environ, environment), patch.object(logging.root, "handlers", []):
        result = CliRunner().invoke(main, list(map(str, words)))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return CompletedProcess(words, result.exit_code, result.stdout, result.stderr)
