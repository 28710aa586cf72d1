"""How long to wait before the next attempt."""

import random
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Backoff:
    """Exponential backoff with jitter: the wait doubles from `first_s` to `most_s` with each failure.

    The jitter takes up to half of the wait away, so that clients of a server that returns do not all arrive at once
    (AWS Architecture Blog, "Exponential Backoff and Jitter": equal jitter).
    """

    first_s: float = 0.1
    most_s: float = 5.0

    def longest_s(self, failures: int) -> float:
        """The wait after that many earlier failures, without jitter."""
        return min(self.most_s, self.first_s * 2.0 ** min(failures, 32))

    def wait_s(self, failures: int) -> float:
        """The wait after that many earlier failures."""
        return self.longest_s(failures) * random.uniform(0.5, 1.0)  # noqa: S311 - spreads load; not a secret
