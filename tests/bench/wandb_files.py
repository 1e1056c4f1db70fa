"""Reads W&B's offline files back: a LevelDB log of protobuf records, in blocks of 32 KiB."""

import json
import struct

from wandb.proto import wandb_internal_pb2

HEADER, BLOCK = 7, 32 * 1024
FULL, LAST = 1, 4


def records(path):
    """The records of a .wandb file, in order."""
    data, place, parts = path.read_bytes(), HEADER, []
    assert data[:4] == b":W&B"
    while place + HEADER <= len(data):
        if BLOCK - place % BLOCK < HEADER:
            place += BLOCK - place % BLOCK
            continue
        _, length, kind = struct.unpack("<IHB", data[place : place + HEADER])
        parts.append(data[place + HEADER : place + HEADER + length])
        place += HEADER + length
        if kind in (FULL, LAST):
            record = wandb_internal_pb2.Record()
            record.ParseFromString(b"".join(parts))
            parts = []
            yield record


class OfflineRun:
    """What one file says: the run's facts, config, history rows, summary, and artifacts by type."""

    def __init__(self, path):
        self.config, self.rows, self.summary, self.artifacts = {}, [], {}, {}
        for record in records(path):
            kind = record.WhichOneof("record_type")
            if kind == "run":
                self.facts = record.run
                self.config |= _values(record.run.config.update)
            elif kind == "config":
                self.config |= _values(record.config.update)
            elif kind == "history":
                self.rows.append(_values(record.history.item))
                self.rows[-1].setdefault("_step", record.history.step.num)
            elif kind == "summary":
                self.summary |= _values(record.summary.update)
            elif kind == "artifact":
                contents = [entry.path for entry in record.artifact.manifest.contents]
                self.artifacts[record.artifact.type] = (record.artifact.name, contents)


def _values(items):
    return {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items}


def offline_runs(folder):
    """Name -> run, of the files under folder/wandb."""
    runs = [OfflineRun(path) for path in sorted(folder.glob("wandb/offline-run-*/*.wandb"))]
    return {run.facts.display_name: run for run in runs}
