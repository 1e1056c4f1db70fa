"""Claims name rows that the suite has, and metrics that can tell them apart. No torch."""

from collections.abc import Iterator

from ...reports.claims.model import Claim, Row
from .document import Location
from .fits import Complaint, entries
from .schema import MethodEntry, Suite

STOCHASTIC = {
    "ddpm": "it adds noise in every step",
    "ddim": "with eta it adds noise in every step",
    "consistency": "its steps after the first add noise",
    "consistency-training": "its steps after the first add noise",
    "ict": "its steps after the first add noise",
    "ect": "its steps after the first add noise",
}
"""Methods whose samples have noise of their own, of which an error against the exact solution says little."""
TO_THE_TRUTH = ("rmse", "psnr", "lpips")


def claims_differ(suite: Suite) -> Iterator[Complaint]:
    first: dict[str, int] = {}
    for k, claim in enumerate(suite.claims):
        if claim.id in first:
            yield ("claims", k, "id"), f"{claim.id!r} repeats a claim", ("claims", first[claim.id], "id")
        first.setdefault(claim.id, k)


def claims_are_about_metrics_of_the_suite(suite: Suite) -> Iterator[Complaint]:
    for k, claim in enumerate(suite.claims):
        if claim.metric not in suite.metrics:
            yield (
                ("claims", k, "metric"),
                f"the suite does not measure {claim.metric}; it has {', '.join(suite.metrics)}",
            )


def claims_name_rows_of_the_suite(suite: Suite) -> Iterator[Complaint]:
    """One row each, at NFEs that it has."""
    for k, claim in enumerate(suite.claims):
        for j, test in enumerate(claim.tests):
            place: Location = ("claims", k, "tests", j)
            for row in test.rows:
                yield from ((place, f"{claim.id}: {message}") for message in _row(suite, claim, row))


def _row(suite: Suite, claim: Claim, row: Row) -> Iterator[str]:
    own = [entry for _, entry in entries(suite) if entry.name == row.method]
    if not own:
        yield f"the suite has no row {row.method}"
    elif row.variant is None and len(own) > 1:
        yield f"the suite has several rows {row.method}; name one as variant: {_variants(own)}"
    elif named := [entry for entry in own if row.variant in (None, entry.untuned_label())]:
        yield from _evaluated(suite, claim, row, named)
    else:
        yield f"the suite has no row {row.method} of variant {row.variant!r}; there are {_variants(own)}"


def _evaluated(suite: Suite, claim: Claim, row: Row, named: list[MethodEntry]) -> Iterator[str]:
    wanted = [row.nfe] if row.nfe is not None else claim.at.nfe
    run = {nfe for entry in named for nfe in entry.nfe or suite.nfe if not entry.refusal(nfe)}
    if lacking := [nfe for nfe in wanted if nfe not in run]:
        yield f"{row} is not run at NFE {', '.join(map(str, lacking))}"
    if claim.metric.startswith(TO_THE_TRUTH) and (why := _stochastic(named[0], wanted)):
        yield f"{claim.metric} says little of {row.method}: {why}; choose a distance"


def _variants(own: list[MethodEntry]) -> str:
    return ", ".join(dict.fromkeys(repr(entry.untuned_label()) for entry in own))


def _stochastic(entry: MethodEntry, nfes: list[int]) -> str:
    if entry.name == "ddim" and not entry.options.get("eta"):
        return ""
    one_step = entry.name not in ("ddpm", "ddim") and max(nfes, default=1) == 1
    return "" if one_step else STOCHASTIC.get(entry.name, "")


def claims_about_speed_have_two_budgets(suite: Suite) -> Iterator[Complaint]:
    for k, claim in enumerate(suite.claims):
        for j, test in enumerate(claim.tests):
            if test.kind == "faster" and len(suite.budgets) < 2:
                yield ("claims", k, "tests", j), f"{claim.id}: the speed of training is seen over two budgets or more"


def untestable(suite: Suite) -> list[int]:
    """Which claims, by their place, are about what the suite does not have."""
    return sorted({int(place[1]) for rule in RULES for place, *_ in rule(suite)})


RULES = (
    claims_differ,
    claims_are_about_metrics_of_the_suite,
    claims_name_rows_of_the_suite,
    claims_about_speed_have_two_budgets,
)
