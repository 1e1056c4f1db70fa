"""How papers measured, as far as it is known: `leaderboards/papers.csv`, a line for each of their tables."""

import csv
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from importlib.resources import files

UNPUBLISHED = "unpublished"
REFERENCES = {"edm": ("cifar10-32x32", "ffhq-64x64", "afhqv2-64x64", "imagenet-64x64"), "adm": ("VIRTUAL_",)}
"""How a reference is called, and how the names of its files begin."""

FRECHET = ("fid", "fid_clean", "fid_legacy")
WITHOUT_REFERENCE = (
    "inception_score", "clip_score", "clip_score_g14", "aesthetic", "image_reward", "pickscore", "hpsv2_1",
)  # fmt: skip


@dataclass(frozen=True)
class Protocol:
    """Of one table; a field that is empty is not known.

    teacher: whose networks, or unpublished. metric: fewstep's name of its FID. reference: whose statistics.
    statistic: one-block, mean or min-of-3 of the paper's number. over_nfes: lowest where the number is the least over
    all NFEs of a row, and the NFE beside it the smallest whose number is within 3 % of that.
    """

    paper_key: str
    paper_table: str
    teacher: str
    metric: str
    reference: str
    samples: str
    statistic: str
    over_nfes: str
    labels: str
    rounding: str
    verified: str
    note: str

    def differences(self, ours: Mapping[str, str]) -> tuple[str, ...] | None:
        """What we did otherwise; None where too little of the paper's protocol is known to say.

        ours: metric, reference, samples, labels, rounding of the suite.
        """
        if self.verified != "yes" or not self.metric:
            return None
        # `metric` and `reference` say which FID; other metrics of the table have one form.
        metric = ours.get("metric")
        names = ("metric",) * (metric in FRECHET) + ("samples", "labels", "rounding")
        found = [
            f"{name} {ours[name]}, the paper's {getattr(self, name)}"
            for name in names
            if ours.get(name) and getattr(self, name) and ours[name] != getattr(self, name)
        ]
        if (
            self.reference
            and metric not in WITHOUT_REFERENCE
            and not ours.get("reference", "").startswith(REFERENCES[self.reference])
        ):
            found.append(
                f"reference {ours.get('reference') or 'of our own'}, the paper's is {self.reference.upper()}'s"
            )
        return tuple(found)


COLUMNS = tuple(field.name for field in fields(Protocol))


@cache
def protocols() -> dict[tuple[str, str], Protocol]:
    text = files("fewstep").joinpath("leaderboards", "papers.csv").read_text(encoding="utf-8")
    found = [Protocol(**row) for row in csv.DictReader(text.splitlines())]
    return {(one.paper_key, one.paper_table): one for one in found}


def protocol(paper_key: str, table: str) -> Protocol | None:
    """Of the table, or of the whole paper where it has one for all."""
    known = protocols()
    return known.get((paper_key, table)) or known.get((paper_key, ""))
