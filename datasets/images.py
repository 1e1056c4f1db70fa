"""Images that were made anywhere: a folder, zip or tar of files, or guided-diffusion's npz."""

import hashlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from .arrays import is_npz, sample_batch
from .decoding import decode
from .facts import ArchiveError
from .files import Member, members, unread

MODES = ("RGB", "L")


class Images:
    """`images[slice]` is uint8 (B, C, H, W); a folder's or archive's images stand in the order of their names.

    `unread` is one line on the files of the source that are not read, empty where there are none.
    ArchiveError says what is wrong, by the file's name: here for the source as a whole, on reading for one image.
    """

    def __init__(self, source: Path) -> None:
        if not source.exists():
            raise ArchiveError(f"{source}: no such file or folder")
        self.source = source
        self._array: Tensor | None = None
        self._members: list[Member] = []
        self.unread = ""
        if is_npz(source):
            self._array = torch.from_numpy(sample_batch(source)[0].transpose(0, 3, 1, 2))
            self.shape: tuple[int, ...] = tuple(self._array.shape[1:])
            self.count = len(self._array)
            return
        found = members(source)
        self._members = [member for member in found if member.is_image]
        self.count, line = len(self._members), unread(found)
        if not self._members:
            raise ArchiveError(f"{source}: there are no images" + (f"; {line}" if line else ""))
        self.unread = f"{source}: {line}" if line else ""
        first = decode(self._members[0].name, self._members[0].read(), modes=MODES)
        self.shape = (first.shape[2], *first.shape[:2])

    def content(self) -> str:
        """A hash of the files' names and bytes."""
        digest = hashlib.sha256()
        if self.source.is_file():
            with self.source.open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        for member in self._members:
            # A name that is not UTF-8 holds its bytes as surrogates.
            digest.update(f"{member.name}\0".encode("utf-8", "surrogatepass"))
            digest.update(hashlib.sha256(member.read()).digest())
        return digest.hexdigest()

    @property
    def names(self) -> list[str]:
        """The files' names in the order of the images; none of an npz."""
        return [member.name for member in self._members]

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, rows: slice) -> Tensor:
        if self._array is not None:
            return self._array[rows].contiguous()
        size, mode = (self.shape[2], self.shape[1]), MODES[0] if self.shape[0] == 3 else MODES[1]
        pixels = [decode(member.name, member.read(), size, (mode,)) for member in self._members[rows]]
        return torch.from_numpy(np.stack(pixels).transpose(0, 3, 1, 2).copy())
