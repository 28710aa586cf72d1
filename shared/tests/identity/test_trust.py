"""The trust file: every fault at once, and a rotation without a restart."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from shared.dev.fleet import fleet, repository
from shared.dev.identity import trust_document
from shared.identity.keys import KeyInvalid, generate_key, parse_private_key, write_private_key
from shared.identity.principal import Principal
from shared.identity.tokens import InternalVerifier, Signer
from shared.identity.trust import GRANTS, Trust, TrustInvalid, parse_trust, watch_trust
from shared.identity.verifier import Verifier
from shared.identity.watched_file import WatchedFile
from shared.problems import InvalidToken

from .fleet import Clock, Fleet


def write(path: Path, document: Any) -> None:
    fresh = path.with_suffix(".new")
    fresh.write_text(document if isinstance(document, str) else json.dumps(document))
    fresh.replace(path)


def follow(path: Path, clock: Clock) -> WatchedFile[Trust]:
    return WatchedFile(path, lambda raw: parse_trust(raw, development=False), errors=(TrustInvalid,), clock=clock)


def test_every_fault_is_reported_at_once_and_no_key_is_shown(fleet: Fleet) -> None:
    document = fleet.document()
    document["services"]["Bad Name"] = {"keys": [generate_key().public_jwk]}
    document["services"]["users"] = {"keys": [{**fleet.auth.public_jwk, "d": "c2VjcmV0"}]}
    document["services"]["chat"] = {"keys": [generate_key().public_jwk], "grants": ["rooms:close", "tickets:redeem"]}
    document["services"]["mail"] = {"keys": [generate_key().public_jwk], "acts_with": ["everything"]}
    document["surprise"] = True
    with pytest.raises(TrustInvalid) as fault:
        parse_trust(json.dumps(document).encode(), development=True)
    text = str(fault.value)
    for part in ("Bad Name", "users.keys.0", "services.mail", "everything", "surprise"):
        assert part in text
    assert "services.chat.grants: unknown grants: rooms:close; known: " in text
    assert "c2VjcmV0" not in text
    assert fleet.auth.public_jwk["x"] not in text


def test_the_trust_file_of_the_fleet_gives_each_grant_and_the_cap_of_tasks() -> None:
    services = fleet(repository())
    document = trust_document({name: generate_key() for name in services}, services)
    trusted = {key.service: key.terms for key in _parsed(document).services.values()}
    assert frozenset().union(*(terms.grants for terms in trusted.values())) == GRANTS
    assert [name for name, terms in trusted.items() if terms.forwards] == ["gateway"]
    assert trusted["tasks"].acts_with == {
        "admin:read",
        "analytics:read",
        "files:read",
        "files:write",
        "moderation:read",
        "posts:read",
        "profile:read",
        "user:read",
    }
    assert [name for name, terms in trusted.items() if terms.acts_with is not None] == ["tasks", "gateway"]


def _parsed(document: Any) -> Trust:
    return parse_trust(json.dumps(document).encode(), development=False)


@pytest.mark.parametrize("document", [b"", b"[]", b"{}", b"\xff", b'{"services": []}', b"[" * 100_000])
def test_what_is_no_trust_file_is_refused(document: bytes) -> None:
    with pytest.raises(TrustInvalid):
        parse_trust(document, development=True)


def test_two_services_never_share_a_key(fleet: Fleet) -> None:
    document = fleet.document()
    document["services"]["users"] = {"keys": [{**fleet.gateway.public_jwk, "kid": "another name"}]}
    with pytest.raises(TrustInvalid, match="the same key"):
        parse_trust(json.dumps(document).encode(), development=True)
    document["services"]["users"] = {"keys": [{**generate_key().public_jwk, "kid": fleet.gateway.kid}]}
    with pytest.raises(TrustInvalid, match="the same key"):
        parse_trust(json.dumps(document).encode(), development=True)


def test_only_development_takes_a_development_issuer(fleet: Fleet) -> None:
    issuer = {"issuer": "flotilla-development", "keys": [fleet.developer.public_jwk]}
    document = json.dumps({**fleet.document(), "development_issuer": issuer}).encode()
    assert parse_trust(document, development=True).development_issuer == "flotilla-development"
    with pytest.raises(TrustInvalid, match="development"):
        parse_trust(document, development=False)


async def test_a_service_key_rotates_without_a_restart_or_a_refused_call(
    fleet: Fleet, mounted: Path, tmp_path: Path, clock: Clock, ann: Principal
) -> None:
    key_file, new = tmp_path / "key.pem", generate_key()
    write_private_key(key_file, fleet.gateway)
    private = WatchedFile(key_file, parse_private_key, errors=(KeyInvalid,), clock=clock)
    signer = Signer("gateway", private.current)
    verifier = Verifier(InternalVerifier("chat", follow(mounted, clock).current))
    old_token = signer.forward(ann, "chat")

    document = fleet.document()
    document["services"]["gateway"]["keys"].append(new.public_jwk)  # next: listed, not yet used
    write(mounted, document)
    clock.now += 2
    await verifier.verify(signer.forward(ann, "chat"))

    write_private_key(key_file, new)  # active: signs, while the old one still counts
    clock.now += 2
    new_token = signer.forward(ann, "chat")
    await verifier.verify(new_token)
    await verifier.verify(old_token)

    del document["services"]["gateway"]["keys"][0]  # retired: counts no longer
    write(mounted, document)
    clock.now += 2
    await verifier.verify(new_token)
    with pytest.raises(InvalidToken):
        await verifier.verify(old_token)


def test_a_faulty_edit_changes_nothing_and_is_reported_once(mounted: Path, clock: Clock) -> None:
    trust = follow(mounted, clock)
    before = trust.current()
    write(mounted, "{")
    with capture_logs() as logs:
        for _ in range(5):
            clock.now += 2
            assert trust.current() is before
    assert [line["event"] for line in logs] == ["mounted_file_kept_as_it_was"]


def test_a_file_that_is_gone_for_a_while_changes_nothing(mounted: Path, fleet: Fleet, clock: Clock) -> None:
    trust = follow(mounted, clock)
    before = trust.current()
    mounted.unlink()
    clock.now += 2
    assert trust.current() is before
    write(mounted, {"services": {"auth": fleet.document()["services"]["auth"]}})
    clock.now += 2
    assert [key.service for key in trust.current().services.values()] == ["auth"]


def test_the_swap_of_a_symbolic_link_is_seen(tmp_path: Path, mounted: Path, fleet: Fleet, clock: Clock) -> None:
    """How Kubernetes renews a mounted Secret: the same size and even the same time, behind another link."""
    link = tmp_path / "link.json"
    link.symlink_to(mounted)
    trust = follow(link, clock)
    other = tmp_path / "other.json"
    other.write_text(mounted.read_text().replace('"auth"', '"mail"'))
    os.utime(other, ns=(mounted.stat().st_atime_ns, mounted.stat().st_mtime_ns))
    (tmp_path / "swap").symlink_to(other)
    (tmp_path / "swap").replace(link)
    clock.now += 2
    assert "mail" in {key.service for key in trust.current().services.values()}


def test_the_first_reading_must_succeed(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        watch_trust(tmp_path / "none.json", development=True)
    (tmp_path / "faulty.json").write_text("{}")
    with pytest.raises(TrustInvalid):
        watch_trust(tmp_path / "faulty.json", development=True)
