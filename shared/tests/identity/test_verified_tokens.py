"""What is remembered of verified tokens, and what ends it."""

from shared.identity.verified_tokens import VerifiedTokens

from .fleet import Clock


def remembering(clock: Clock, size: int = 2) -> VerifiedTokens[str]:
    return VerifiedTokens(size, clock=clock)


def test_a_token_is_remembered_until_it_ends(clock: Clock) -> None:
    tokens, ends = remembering(clock), clock() + 10
    tokens.add("a", "ann", keys=1, ends=ends)
    assert tokens.find("a", 1) == "ann"
    clock.now += 10
    assert tokens.find("a", 1) is None
    assert len(tokens) == 0


def test_other_keys_end_what_was_verified_before(clock: Clock) -> None:
    tokens = remembering(clock)
    tokens.add("a", "ann", keys=1, ends=clock() + 10)
    assert tokens.find("a", 2) is None
    assert tokens.find("a", 1) is None


def test_the_token_least_recently_used_is_forgotten_first(clock: Clock) -> None:
    tokens, ends = remembering(clock), clock() + 10
    tokens.add("a", "ann", keys=1, ends=ends)
    tokens.add("b", "bob", keys=1, ends=ends)
    tokens.find("a", 1)
    tokens.add("c", "cy", keys=1, ends=ends)
    assert [tokens.find(token, 1) for token in "abc"] == ["ann", None, "cy"]
