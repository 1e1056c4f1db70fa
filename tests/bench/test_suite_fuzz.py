"""Thousands of damaged suites: each loads or is one line, in no time and little memory."""

import random
import resource
import sys
import time

import yaml

from fewstep.bench.errors import InputError
from fewstep.bench.suite import loading as suites

DAMAGED = 2000
LOADER, DUMPER = getattr(yaml, "CSafeLoader", yaml.SafeLoader), getattr(yaml, "CSafeDumper", yaml.SafeDumper)
VALUES = (
    None,
    True,
    False,
    0,
    -1,
    1.5,
    10**30,
    float("inf"),
    float("nan"),
    "",
    "x",
    "é²",
    "a\0b",
    [],
    {},
    [[]],
    [1, 1],
)
FRAGMENTS = (
    "\t",
    ":",
    "- ",
    "[",
    "}",
    "&a ",
    "*a",
    "!!python/object:os.system ",
    "'",
    "|\n",
    "\ufeff",
    "#",
    "? ",
    "<<: ",
)


def places(data, found=()):
    """Every place of nested lists and mappings, as its path."""
    items = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, value in items:
        yield (*found, key)
        yield from places(value, (*found, key))


def reshaped(data, rng):
    """One place dropped, renamed, or given another value, the value of another place, or a wrapping."""
    where = rng.choice(list(places(data)))
    parent = data
    for key in where[:-1]:
        parent = parent[key]
    match rng.randrange(5):
        case 0:
            del parent[where[-1]]
        case 1 if isinstance(parent, dict):
            name = rng.choice([*parent, f"{where[-1]}s"])
            parent[name] = parent.pop(where[-1])
        case 2:
            parent[where[-1]] = [parent[where[-1]]] if rng.random() < 0.5 else {"name": parent[where[-1]]}
        case 3:
            other = data
            for key in rng.choice(list(places(data))):
                other = other[key]
            parent[where[-1]] = yaml.load(yaml.dump(other, Dumper=DUMPER), LOADER)
        case _:
            parent[where[-1]] = rng.choice(VALUES)


def damaged(text, rng):
    """One to three changes of structure or of text."""
    if rng.random() < 0.6:
        data = yaml.load(text, LOADER)
        for _ in range(rng.randint(1, 3)):
            if list(places(data)):
                reshaped(data, rng)
        return yaml.dump(data, Dumper=DUMPER, sort_keys=False, allow_unicode=True).encode()
    content = bytearray(text.encode())
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(len(content))
        match rng.randrange(4):
            case 0:
                content[at] = rng.randrange(256)
            case 1:
                content[at:at] = rng.choice(FRAGMENTS).encode()
            case 2:
                del content[at : at + rng.randint(1, 40)]
            case _:
                content[at:at] = content[at : at + rng.randint(1, 80)]
    return bytes(content)


def peak_memory():
    """In MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def test_a_damaged_suite_loads_or_has_a_line_for_each_mistake(tmp_path):
    rng = random.Random(0)
    shipped = [suites.find(name).read_text(encoding="utf-8") for name in suites.shipped_names()]
    for text in shipped:
        (tmp_path / "whole.yaml").write_text(text, encoding="utf-8")
        suites.load(str(tmp_path / "whole.yaml"))
    # Long ones less often: most of the time would go into their parsing.
    chosen = rng.choices(shipped, [1 / len(text) for text in shipped], k=DAMAGED)
    before, loaded, slowest = peak_memory(), 0, 0.0
    file = tmp_path / "s.yaml"
    for text in chosen:
        file.write_bytes(damaged(text, rng))
        start = time.process_time()
        complaints = []
        try:
            suites.load(str(file))
            loaded += 1
        except InputError as error:
            complaints = str(error).splitlines()
        for complaint in complaints:
            assert complaint.startswith(str(file))
            assert complaint.isprintable(), repr(complaint)
            assert len(complaint) < 1000 + len(str(file))
        slowest = max(slowest, time.process_time() - start)
    assert DAMAGED / 50 < loaded < DAMAGED / 2
    assert slowest < 1
    assert peak_memory() - before < 200
