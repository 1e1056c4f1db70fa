"""Published networks by the form of their files: each module reads one form and builds its network."""

from .base import Checkpoint as Checkpoint
from .base import CheckpointError as CheckpointError
from .building import build as build
from .building import classifier as classifier
from .reading import read as read
from .reading import recognise as recognise
