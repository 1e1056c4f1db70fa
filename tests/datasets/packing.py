"""What sources are made of: images, and a zip of them."""

import json
import zipfile

GOOD = 3
"""How many images are without fault."""


def packed(tmp_path, members, labels=None, compression=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(tmp_path / "s.zip", "w", compression) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
        if labels is not None:
            archive.writestr("dataset.json", labels if isinstance(labels, str) else json.dumps({"labels": labels}))
    return tmp_path / "s.zip"
