"""YAML, read as the person who wrote it means it. No torch.

Where YAML 1.1 reads something else than what is written, YAML 1.2 is followed or the value stays text, which a schema
that wants a number refuses: 010 and 1:30 are no numbers here, 2024-01-01 is no date, and 1e3 is a thousand. A key
twice in a mapping is an error. Merge keys (`<<`) and aliases work; values that aliases share are not shared in the
result, so that a change to one leaves the others as they are.
"""

import re
from collections.abc import Iterator
from typing import Any

import yaml
from yaml.constructor import ConstructorError

# What is read reaches a result through the tasks' parameters.
PART_OF_RESULTS = False

DEEPEST = 50
MOST_VALUES = 20_000
"""Keys and values of a document, each alias counted as what it stands for."""

PREFIX = "tag:yaml.org,2002:"
BOOLEANS = {"yes": True, "true": True, "on": True, "no": False, "false": False, "off": False}
DIGITS, EXPONENT = r"[0-9]+(?:_[0-9]+)*", r"(?:[eE][-+]?[0-9]+)"
PATTERNS = {
    "null": ("~nN\0", r"~|null|Null|NULL|"),
    "bool": ("yYnNtTfFoO", "|".join(f"{word}|{word.title()}|{word.upper()}" for word in BOOLEANS)),
    "int": ("-+0123456789", r"[-+]?(?:0|[1-9][0-9]*(?:_[0-9]+)*)|0x[0-9a-fA-F]+|0o[0-7]+|0b[01]+"),
    "float": (
        "-+.0123456789",
        rf"[-+]?(?:{DIGITS}\.[0-9]*|\.[0-9]+){EXPONENT}?|[-+]?{DIGITS}{EXPONENT}"
        r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
    ),
    "merge": ("<", "<<"),
}
"""The plain scalars that are no text: first letters, and the whole."""


class Unclear(yaml.MarkedYAMLError):
    """YAML that could be read, and would not mean what it says; `first` is the line of what comes before, if any."""

    def __init__(self, problem: str, mark: Any, first: int | None = None) -> None:
        super().__init__(problem=problem, problem_mark=mark)
        self.first = first


def parsed(text: str) -> tuple[Any, yaml.Node | None]:
    """The data, and the node that they come from. YAMLError, with a mark where there is a place."""
    loader = _Loader(text)
    try:
        root = loader.get_single_node()
        return (None if root is None else loader.data(root)), root
    except (ValueError, OverflowError) as error:  # PyYAML's own, of escapes and directives
        raise yaml.MarkedYAMLError(problem=str(error), problem_mark=loader.get_mark()) from None
    finally:
        loader.dispose()


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers: dict[str, Any] = {}

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._open: list[str] = []
        self._depth, self._values = 0, 0
        self._sizes: dict[int, int] = {}

    def compose_node(self, parent: Any, index: Any) -> yaml.Node:
        event = self.peek_event()
        if isinstance(event, yaml.AliasEvent) and event.anchor in self._open:
            raise Unclear(f"*{event.anchor} is inside of what it stands for", event.start_mark)
        anchor = None if isinstance(event, yaml.AliasEvent) else event.anchor
        before = self._values
        self._depth += 1
        if self._depth > DEEPEST:
            raise Unclear(f"nested more than {DEEPEST} levels deep", event.start_mark)
        self._open.append(anchor or "")
        node = super().compose_node(parent, index)
        assert node is not None
        self._open.pop()
        self._depth -= 1
        self._values += self._sizes.get(id(node), 0) + 1
        self._sizes.setdefault(id(node), self._values - before)
        if self._values > MOST_VALUES:
            raise Unclear(f"more than {MOST_VALUES} values, with what aliases stand for", event.start_mark)
        return node

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node: yaml.MappingNode = super().compose_mapping_node(anchor)
        lines: dict[Any, int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise Unclear("a key must be a single value", key.start_mark)
            value = key.value if key.tag == f"{PREFIX}merge" else self.data(key)
            if value in lines:
                raise Unclear(f"the key {value!r} appears twice", key.start_mark, lines[value])
            if not isinstance(value, str):
                raise Unclear(f"a key must be text: put {key.value[:40]!r} in quotes", key.start_mark)
            lines[value] = key.start_mark.line + 1
        return node

    def data(self, node: yaml.Node) -> Any:
        """What a node means. Mapping nodes are changed: merged keys come first, then their own."""
        if isinstance(node, yaml.MappingNode) and node.tag == f"{PREFIX}map":
            self.flatten_mapping(node)
            return {self.data(key): self.data(value) for key, value in node.value}
        if isinstance(node, yaml.SequenceNode) and node.tag == f"{PREFIX}seq":
            return [self.data(value) for value in node.value]
        kind = node.tag.removeprefix(PREFIX)
        if not isinstance(node, yaml.ScalarNode) or kind not in ("str", "null", "bool", "int", "float"):
            raise ConstructorError(problem=f"the tag {node.tag} has no meaning here", problem_mark=node.start_mark)
        try:
            return _scalar(kind, node.value)
        except (KeyError, ValueError):
            problem = f"{node.value[:40]!r} cannot be read as {kind}"
            raise ConstructorError(problem=problem, problem_mark=node.start_mark) from None


def _scalar(kind: str, text: str) -> Any:
    """KeyError or ValueError where the text is not of that kind."""
    if kind == "str":
        text.encode()  # Halves of surrogate pairs can be in no file and on no screen.
        return text
    if kind == "null":
        return None
    if kind == "bool":
        return BOOLEANS[text.lower()]
    if kind == "int":
        return int(text, 0)
    number = float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
    whole = "e" in text.lower() and abs(number) < 2**53 and number.is_integer()
    return int(number) if whole else number


def pattern_of() -> Iterator[tuple[str, str, list[str]]]:
    """(kind, pattern of the whole, first letters) of each kind of plain scalar that is no text."""
    for kind, (letters, pattern) in PATTERNS.items():
        yield kind, f"(?:{pattern})$", [letter.replace("\0", "") for letter in letters]


for kind, pattern, first in pattern_of():
    _Loader.add_implicit_resolver(f"{PREFIX}{kind}", re.compile(pattern), first)
