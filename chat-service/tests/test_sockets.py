"""Conversations over real sockets."""

import asyncio
import json
import time

import httpx2
import pytest

from shared.testing import eventually

from .conftest import MakeRoom, Members, Said, Talking
from .talk import talk


async def test_welcome_comes_first(base_url: str, members: Members) -> None:
    async with await talk(base_url, members("ann")) as ann:
        welcome = await ann.expect("welcome")
    assert welcome["user_id"] == str(members.id("ann"))
    assert (welcome["username"], welcome["heartbeat_s"]) == ("ann", 25)


async def test_two_people_talk(connected: Talking, make_room: MakeRoom, members: Members) -> None:
    room = await make_room("ann", "bob")
    async with connected("ann") as ann, connected("bob") as bob:
        await ann.subscribe(room)
        subscribed = await bob.subscribe(room, ref="s1")
        assert (subscribed["last_seq"], subscribed["recovered"], subscribed["ref"]) == (0, None, "s1")
        ack = await ann.send(room, "ahoy", "a-1")
        heard = await bob.expect("message")
        assert heard == await ann.expect("message")
    assert ack["seq"] == heard["seq"] == 1
    assert ack["id"] == heard["id"]
    assert (heard["text"], heard["client_id"]) == ("ahoy", "a-1")
    assert heard["sender"] == {"id": str(members.id("ann")), "username": "ann"}


async def test_two_replicas_have_one_conversation(
    connected: Talking, make_room: MakeRoom, second_url: str, client: httpx2.AsyncClient, members: Members
) -> None:
    """Four senders on two replicas: everybody hears every message once, in the order that history has."""
    room = await make_room("ann", "bob", "cy", "dee")
    async with (
        connected("ann") as ann,
        connected("bob", at=second_url) as bob,
        connected("cy") as cy,
        connected("dee", at=second_url) as dee,
    ):
        people = (ann, bob, cy, dee)
        for person in people:
            await person.subscribe(room)

        async def chatter(who: int) -> None:
            for number in range(30):
                await people[who].send(room, f"{who} says {number}")

        await asyncio.gather(*(chatter(who) for who in range(4)))
        for person in people:
            assert await person.reaches(room, 120) == list(range(1, 121))
        heard = [[f["id"] for f in person.heard if f["type"] == "message"] for person in people]
    reply = await client.get(f"/api/v1/rooms/{room}/messages?after=0&limit=200", headers=members("ann"))
    stored = [message["id"] for message in reply.json()["items"]]
    assert heard == [stored] * 4


async def test_a_newcomer_gets_the_newest_fifty_and_then_what_comes(
    connected: Talking, make_room: MakeRoom, said: Said
) -> None:
    room = await make_room("ann", "bob")
    await said(room, 120)
    async with connected("ann") as ann, connected("bob") as late:
        subscribed = await late.subscribe(room)
        await ann.send(room)
        assert await late.reaches(room, 121) == list(range(71, 122))
    assert (subscribed["last_seq"], subscribed["recovered"]) == (120, None)


async def test_a_drop_is_resumed_without_gap_or_double(
    connected: Talking, make_room: MakeRoom, second_url: str, said: Said
) -> None:
    room = await make_room("ann", "bob")
    async with connected("ann") as ann:
        await ann.subscribe(room)
        async with connected("bob") as first:
            epoch = (await first.subscribe(room))["epoch"]
            await ann.send(room)
            before = await first.reaches(room, 1)
            await first.drop()

        async def keep_talking() -> None:
            for _ in range(6):
                await said(room, 5)

        talking = asyncio.create_task(keep_talking())
        await ann.reaches(room, 6)
        async with connected("bob", at=second_url) as again:
            subscribed = await again.subscribe(room, after=before[-1], epoch=epoch)
            await talking
            after = await again.reaches(room, 31)
    assert subscribed["recovered"] is True
    assert before + after == list(range(1, 32))


@pytest.mark.parametrize(
    ("after", "epoch", "recovered"), [(2, None, True), (99, None, False), (0, "another", False), (3, "same", True)]
)
async def test_what_recovered_says(
    connected: Talking, make_room: MakeRoom, after: int, epoch: str | None, recovered: bool
) -> None:
    room = await make_room("ann")
    async with connected("ann") as ann:
        for _ in range(3):
            await ann.send(room)
        own = (await ann.subscribe(room))["epoch"]
        await ann.reaches(room, 3)
        ann.heard.clear()
        asked = {"after": after} | ({} if epoch is None else {"epoch": own if epoch == "same" else epoch})
        subscribed = await ann.subscribe(room, **asked)
        await ann.send(room)
        seqs = await ann.reaches(room, 4)
    assert subscribed["recovered"] is recovered
    assert seqs == (list(range(after + 1, 5)) if recovered else [1, 2, 3, 4])


async def test_a_message_sent_again_is_one_message(connected: Talking, make_room: MakeRoom, second_url: str) -> None:
    room = await make_room("ann")
    async with connected("ann") as ann, connected("ann", at=second_url) as other:
        acks = await asyncio.gather(*(who.send(room, "once", "same") for who in (ann, other) for _ in range(1)))
        acks.append(await ann.send(room, "once", "same"))
        assert len({ack["id"] for ack in acks}) == 1
        await ann.send(room, "next")
        await ann.subscribe(room)
        assert await ann.reaches(room, 2) == [1, 2]


async def test_typing_is_told_to_the_others(connected: Talking, make_room: MakeRoom, second_url: str) -> None:
    room = await make_room("ann", "bob")
    async with connected("ann") as ann, connected("bob", at=second_url) as bob:
        await ann.subscribe(room)
        await bob.subscribe(room)

        async def typed() -> bool:  # a hint is lost while the other replica subscribes to the room's channel
            await ann.say("typing", room_id=room, is_typing=True)
            return any(f["type"] == "typing" for f in bob.heard)

        await eventually(typed, every_s=0.1, saying="typing reaches the other replica")
        told = await bob.expect("typing")
        async with connected("bob") as near:
            await near.subscribe(room)
            await ann.say("typing", room_id=room, is_typing=False)
            await near.expect("typing", is_typing=False)
            await ann.send(room)
            await near.expect("message")
            assert [f for f in near.heard if f["type"] == "typing"] == []  # once, also on the writer's replica
        assert (told["user"]["username"], told["is_typing"]) == ("ann", True)
        assert [f for f in ann.heard if f["type"] == "typing"] == []


async def test_typing_above_its_rate_is_dropped_and_counted(
    client: httpx2.AsyncClient, connected: Talking, make_room: MakeRoom
) -> None:
    """Ten at once, then five a second, per person; the connection stays and nothing is answered."""
    room = await make_room("ann", "bob")

    async def dropped() -> float:
        lines = (await client.get("/metrics")).text.splitlines()
        return sum(float(line.split()[1]) for line in lines if line.startswith("flotilla_chat_typing_dropped_total "))

    before = await dropped()
    async with connected("ann") as ann, connected("bob") as bob:
        await ann.subscribe(room)
        await bob.subscribe(room)
        for _ in range(60):
            await ann.say("typing", room_id=room, is_typing=True)
        await ann.say("ping")
        await ann.expect("pong")
        await ann.send(room)
        await bob.expect("message")
        heard = [f for f in bob.heard if f["type"] == "typing"]
        assert len(heard) >= 10
        assert len(heard) + await dropped() - before == 60
        assert [f for f in ann.heard if f["type"] == "error"] == []


async def test_ping_is_answered_with_its_ref(connected: Talking) -> None:
    async with connected("ann") as ann:
        await ann.say("ping", ref=7)
        assert await ann.expect("pong") == {"type": "pong", "ref": 7}


async def test_read_moves_the_marker_and_says_nothing(connected: Talking, make_room: MakeRoom) -> None:
    room = await make_room("ann")
    async with connected("ann") as ann:
        await ann.send(room)
        await ann.say("read", room_id=room, seq=1)
        await ann.say("ping")
        await ann.expect("pong")
        assert [f for f in ann.heard if f["type"] == "error"] == []


async def test_a_room_that_is_not_ones_own_is_not_found(
    connected: Talking, make_room: MakeRoom, members: Members
) -> None:
    private, public = await make_room("ann"), await make_room("ann", kind="public", name="quay")
    async with connected("bob") as bob, connected("eve", tenant="globex", roles=["admin"]) as eve:
        for kind, more in (
            ("subscribe", {}),
            ("send", {"text": "ahoy", "client_id": "1"}),
            ("typing", {"is_typing": True}),
            ("get_users", {}),
            ("read", {"seq": 1}),
            ("unsubscribe", {}),
        ):
            await bob.say(kind, room_id=private, ref=f"{kind} private", **more)
            assert (await bob.expect("error", ref=f"{kind} private"))["code"] == "not_found"
            await eve.say(kind, room_id=public, ref=f"{kind} foreign", **more)
            assert (await eve.expect("error", ref=f"{kind} foreign"))["code"] == "not_found"
        await bob.say("send", room_id=public, text="ahoy", client_id="1")
        assert (await bob.expect("error"))["code"] == "not_found"
        await bob.subscribe(public)  # makes a member
        await bob.send(public)


async def test_scopes_are_asked_for(connected: Talking, make_room: MakeRoom) -> None:
    room = await make_room("ann")
    async with connected("ann", scopes=["chat:read"]) as reader:
        await reader.subscribe(room)
        await reader.say("send", room_id=room, text="ahoy", client_id="1")
        assert (await reader.expect("error"))["code"] == "forbidden"
    async with connected("ann", scopes=["notifications:read"]) as other:
        await other.say("subscribe", room_id=room)
        assert (await other.expect("error"))["code"] == "forbidden"


def frame(**fields: object) -> str:
    return json.dumps(fields)


ROOM = "01890a5d-ac96-774b-bcce-b302099a8057"

BAD_FRAMES = [
    ("no JSON", "hello", "invalid_frame"),
    ("an array", "[]", "invalid_frame"),
    ("a number", "1", "invalid_frame"),
    ("no type", "{}", "invalid_frame"),
    ("a type that is no text", frame(type=1), "invalid_frame"),
    ("NaN", '{"type": "ping", "ref": NaN}', "invalid_frame"),
    ("NUL", frame(type="send", room_id=ROOM, text="a\0b", client_id="1"), "invalid_frame"),
    ("half a surrogate", frame(type="send", room_id=ROOM, text="\ud800", client_id="1"), "invalid_frame"),
    ("deep nesting", '{"type":"ping","ref":' + "[" * 3000 + "]" * 3000 + "}", "invalid_frame"),
    ("an unknown type", frame(type="dance"), "unknown_type"),
    ("an unknown field", frame(type="ping", loud=True), "invalid_frame"),
    ("a missing field", frame(type="send", room_id=ROOM, text="x"), "invalid_frame"),
    ("a room that is no id", frame(type="subscribe", room_id="harbour"), "invalid_frame"),
    ("a number as text", frame(type="send", room_id=ROOM, text=1, client_id="1"), "invalid_frame"),
    ("an empty text", frame(type="send", room_id=ROOM, text="", client_id="1"), "invalid_frame"),
    ("text as a bool", frame(type="typing", room_id=ROOM, is_typing="yes"), "invalid_frame"),
    ("a negative number", frame(type="subscribe", room_id=ROOM, after=-1), "invalid_frame"),
    ("a number as text", frame(type="subscribe", room_id=ROOM, after="1"), "invalid_frame"),
    ("a bool as number", frame(type="subscribe", room_id=ROOM, after=True), "invalid_frame"),
    ("beyond 64 bits", frame(type="read", room_id=ROOM, seq=2**63), "invalid_frame"),
    ("a long text", frame(type="send", room_id=ROOM, text="x" * 4001, client_id="1"), "too_long"),
    ("a long client_id", frame(type="send", room_id=ROOM, text="x", client_id="x" * 65), "too_long"),
    ("a ref that is a list", frame(type="ping", ref=[1]), "invalid_frame"),
    ("a long ref", frame(type="ping", ref="x" * 129), "invalid_frame"),
    ("a long field", '{"type": "ping", "' + "x" * 60_000 + '": 1}', "invalid_frame"),
]


async def test_bad_frames_are_answered_and_the_connection_stays(connected: Talking) -> None:
    for start in range(0, len(BAD_FRAMES), 9):  # ten in a minute would close it
        async with connected("ann") as ann:
            for name, text, code in BAD_FRAMES[start : start + 9]:
                await ann.socket.send(text)
                error = await ann.expect("error")
                assert error["code"] == code, name
                assert error["title"]
                assert error["ref"] is None
                assert len(error["detail"]) < 200
            await ann.say("ping")
            await ann.expect("pong")


SENTENCES = [
    ({"type": "ping", "loud": 1}, "loud: There is no field of this name."),
    ({"type": "send", "room_id": ROOM, "text": "x"}, "client_id: This field is required."),
    ({"type": "subscribe", "room_id": "harbour"}, "room_id: Must be a UUID."),
    (
        {"type": "send", "room_id": ROOM, "text": "x" * 4001, "client_id": "1"},
        "text: Must have at most 4000 characters.",
    ),
    ({"type": "typing", "room_id": ROOM, "is_typing": "yes"}, "is_typing: Must be true or false."),
    ({"type": "read", "room_id": ROOM, "seq": "1"}, "seq: Must be a whole number."),
    ({"type": "read", "room_id": ROOM, "seq": 2**63}, "seq: Must fit in 64 bits."),
]


async def test_a_frame_s_fields_have_the_sentences_of_field_errors(connected: Talking) -> None:
    async with connected("ann") as ann:
        for bad, detail in SENTENCES:
            await ann.socket.send(frame(**bad))
            await ann.expect("error", detail=detail)


@pytest.mark.parametrize("ref", ["a-1", "", 7, -1, 2**63 - 1])
async def test_a_bad_frame_s_answer_repeats_its_ref(connected: Talking, ref: str | int) -> None:
    async with connected("ann") as ann:
        for bad in ({"type": "ping", "loud": 1}, {"type": "dance"}, {"type": "read", "room_id": ROOM, "seq": 2**63}):
            await ann.socket.send(frame(**bad, ref=ref))
            await ann.expect("error", ref=ref)
        await ann.socket.send(frame(type="send", room_id=ROOM, text="a\0", client_id="1", ref=ref))
        await ann.expect("error", ref=ref, code="invalid_frame", detail="text: Must not contain the character NUL.")


async def test_the_tenth_bad_frame_in_a_minute_closes(connected: Talking) -> None:
    async with connected("ann") as ann:
        for _ in range(10):
            await ann.say("dance")
        assert await ann.closed() == 4000
        assert len([f for f in ann.heard if f["type"] == "error"]) == 10


async def test_a_text_of_4000_characters_is_taken(connected: Talking, make_room: MakeRoom) -> None:
    room = await make_room("ann")
    async with connected("ann") as ann:
        await ann.subscribe(room)
        await ann.send(room, "😀" * 4000, "x" * 64)
        assert (await ann.expect("message"))["text"] == "😀" * 4000


async def test_frames_that_are_no_text_close_with_their_code(connected: Talking) -> None:
    async with connected("ann") as ann:
        await ann.socket.send(b"\x00\x01")
        assert await ann.closed() == 1003
    async with connected("ann") as ann:
        await ann.socket.send("x" * (64 * 1024 + 1))
        assert await ann.closed() == 1009
    async with connected("ann") as ann:
        await ann.socket.send(b"\xff\xfe", text=True)
        assert await ann.closed() == 1007


async def test_more_than_the_rate_is_refused_and_can_be_sent_again(
    connected: Talking, make_room: MakeRoom, second_url: str
) -> None:
    """The rate is a person's, over both of their devices on two replicas."""
    room = await make_room("ann")
    async with connected("ann") as one, connected("ann", at=second_url) as two:
        began = time.monotonic()
        for number in range(60):
            for device, name in ((one, "one"), (two, "two")):
                await device.say("send", room_id=room, text="ahoy", client_id=f"{name}-{number}", ref=f"{number}")
        await eventually(lambda: len(one.heard) + len(two.heard) >= 120, saying="every frame is answered")
        answers = one.heard + two.heard
        acked = [f for f in answers if f["type"] == "ack"]
        assert 40 <= len(acked) <= 42 + 20 * (time.monotonic() - began)
        refused = [f for f in answers if f["type"] == "error"]
        assert {f["code"] for f in refused} == {"rate_limited"}

        async def again() -> bool:
            await one.say("send", room_id=room, text="ahoy", client_id="later", ref="later")
            answer = await eventually(lambda: next((f for f in one.heard if f.get("ref") == "later"), None))
            one.heard.remove(answer)
            return bool(answer["type"] == "ack")

        await eventually(again, every_s=0.2, saying="the rate comes back")


async def test_who_does_not_heed_the_rate_is_closed(connected: Talking, make_room: MakeRoom) -> None:
    room = await make_room("ann")
    async with connected("ann") as ann:
        for number in range(300):
            await ann.say("send", room_id=room, text="ahoy", client_id=str(number))
        assert await ann.closed() == 4029


@pytest.mark.parametrize(
    ("kind", "fields", "answer"),
    [
        ("subscribe", {}, "subscribed"),
        ("get_users", {}, "active_users"),
        ("unsubscribe", {}, "error"),  # not_found: it follows no room
        ("read", {"room_id": ROOM, "seq": 1}, "error"),
        ("renew", {"token": "nonsense"}, "error"),
        ("ping", {}, "pong"),
    ],
)
async def test_many_frames_at_once_are_all_answered(
    connected: Talking, make_room: MakeRoom, kind: str, fields: dict[str, object], answer: str
) -> None:
    """Only messages have a rate."""
    named = {} if kind in ("renew", "ping") else {"room_id": await make_room("ann")}
    async with connected("ann") as ann:
        for ref in range(180):
            await ann.say(kind, ref=ref, **named | fields)
        await eventually(lambda: len(ann.heard) >= 180, within_s=20, saying="180 answers")
        await ann.say("ping", ref="last")
        await ann.expect("pong", ref="last")
        answers = [f for f in ann.heard if f["type"] == answer]
        assert sorted(f["ref"] for f in answers) == list(range(180))
        assert {f.get("code") for f in ann.heard} <= {None, "not_found", "forbidden"}
