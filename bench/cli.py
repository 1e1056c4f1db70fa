"""The command line under the name that other packages call it by."""

from .commands.main import main as main
