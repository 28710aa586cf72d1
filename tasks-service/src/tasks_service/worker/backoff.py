"""How long a job waits for its next attempt."""

import random


def delay_s(attempt: int, first_s: float, most_s: float) -> float:
    """After attempt 1 about `first_s`, then doubling up to `most_s`; spread by a quarter, so that crowds disperse."""
    planned = min(most_s, first_s * 2.0 ** min(attempt - 1, 30))
    return planned * random.uniform(0.75, 1.25)  # noqa: S311 - spreads load, guards nothing
