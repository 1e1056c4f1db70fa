"""How a line of a table of training runs is named."""

import pandas as pd

ALWAYS = {"method": "method", "variant": "options", "budget": "budget"}
IF_SEVERAL = {"dataset": "data set", "teacher": "teacher", "run": "run"}


def naming(frame: pd.DataFrame) -> dict[str, str]:
    """Column of `frame` -> its head: what tells lines apart; data set, teacher and run only if there are several."""
    several = {column: head for column, head in IF_SEVERAL.items() if column in frame and frame[column].nunique() > 1}
    return ALWAYS | several
