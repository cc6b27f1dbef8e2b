"""Turns of a conversation: what is asked, what comes back, and what is on disk then."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from localmag import paths
from localmag.chat import Conversation
from localmag.engines.state import State
from localmag.errors import Cancelled, ContextTooSmall, EngineDied, NotFound, RunFailed, WrongUsage
from localmag.prompt import Codec
from localmag.sessions import Outcome, Sessions, contexts
from localmag.stream import fold
from localmag.types import (
    Cancel,
    Done,
    Event,
    Malformed,
    Message,
    Stop,
    Text,
    TextDelta,
    Thinking,
    ThinkingDelta,
    Timing,
    ToolCall,
    ToolCallReady,
    Turn,
    Usage,
)
from tests.conftest import Demo
from tests.stage import END, NEVER, PARTS, REPLY, SETUP, SYSTEM, Stage, dying, in_memory, reread

# ── A turn ────────────────────────────────────────────────────────────────────────────────────────


def test_a_turn_gives_every_event_and_keeps_what_they_say(sessions: Sessions) -> None:
    stage = Stage(REPLY)
    talk = Conversation.new(sessions, stage, SETUP, system=SYSTEM)
    assert list(talk.send("What is 478 + 356?", NEVER)) == list(REPLY)

    assert talk.messages == (Message.of("user", "What is 478 + 356?"), Message("assistant", PARTS))
    last = talk.last()
    assert last is not None
    assert last.outcome == Outcome(Stop.END, END.usage, END.timing, thinking_s=1.5)
    (turn,) = stage.turns
    assert turn.messages == (SYSTEM, Message.of("user", "What is 478 + 356?"))
    assert (turn.max_tokens, turn.keep_reasoning) == (512, False)
    assert last.setup is not None
    assert last.setup.sampling == turn.sampling
    assert reread(sessions, talk) == in_memory(talk)
    assert talk.session is not None
    assert talk.session.title == "What is 478 + 356?"


def test_the_question_is_on_disk_before_the_engine_hears_of_it(sessions: Sessions) -> None:
    found = []

    def look(turn: Turn, cancel: Cancel) -> Iterator[Event]:
        with Sessions(sessions.path) as other:
            found.append(other.load(other.latest().id).entries[0].message.text)
        yield END

    list(Conversation.new(sessions, Stage(look), SETUP).send("Bonjour", NEVER))
    assert found == ["Bonjour"]


def test_when_done_is_given_the_reply_is_on_disk(sessions: Sessions) -> None:
    talk = Conversation.new(sessions, Stage(REPLY), SETUP)
    for event in talk.send("Hi", NEVER):
        if isinstance(event, Done):
            assert reread(sessions, talk)[-1][0] == Message("assistant", PARTS)


def test_nothing_is_on_disk_before_the_first_message(sessions: Sessions) -> None:
    talk = Conversation.new(sessions, Stage(), SETUP, system=SYSTEM)
    with pytest.raises(WrongUsage, match="empty"):
        talk.send(" \n", NEVER)
    assert talk.id is None
    assert sessions.list() == ()


def test_without_sessions_it_keeps_nothing_but_talks(home: Path) -> None:
    stage = Stage(REPLY, REPLY)
    talk = Conversation.new(None, stage, SETUP)
    assert list(talk.send("Hi", NEVER)) == list(REPLY)
    list(talk.send("Again", NEVER))
    assert len(stage.turns[1].messages) == 3
    assert talk.entries[-1].outcome is not None
    assert list(home.rglob("*.db*")) == []


def test_each_reply_draws_its_own_seed_unless_one_is_given(sessions: Sessions) -> None:
    stage = Stage(*[REPLY] * 5)
    talk = Conversation.new(sessions, stage, SETUP)
    for _ in range(3):
        list(talk.send("Hi", NEVER))
    seeds = [turn.sampling.seed for turn in stage.turns]
    assert len(set(seeds)) == 3
    assert all(0 <= seed < 2**32 - 1 for seed in seeds)
    given = Conversation.new(sessions, stage, SETUP, seed=7)
    for _ in range(2):
        list(given.send("Hi", NEVER))
    assert [turn.sampling.seed for turn in stage.turns[3:]] == [7, 7]


def test_a_conversation_is_resumed_where_it_was(sessions: Sessions) -> None:
    talk = Conversation.new(sessions, Stage(REPLY), SETUP, system=SYSTEM)
    list(talk.send("Hi", NEVER))
    assert talk.id is not None
    stage = Stage(REPLY)
    again = Conversation.resume(sessions, talk.id, stage, SETUP)
    assert in_memory(again) == in_memory(talk)
    list(again.send("And now?", NEVER))
    assert stage.turns[0].messages == (SYSTEM, *talk.messages, Message.of("user", "And now?"))
    assert again.id == talk.id
    with pytest.raises(WrongUsage, match="another localmag"):  # the first one knows nothing of it
        talk.send("Me too", NEVER)
    with pytest.raises(NotFound):
        Conversation.resume(sessions, "nosuch", stage, SETUP)


def test_one_reply_at_a_time(sessions: Sessions) -> None:
    talk = Conversation.new(sessions, Stage(REPLY), SETUP)
    reply = talk.send("Hi", NEVER)
    next(reply)
    with pytest.raises(WrongUsage, match="still being written"):
        talk.send("And?", NEVER)
    assert talk.id is not None
    with Sessions(sessions.path) as other, pytest.raises(WrongUsage, match="being answered"):
        Conversation.resume(other, talk.id, Stage(), SETUP)
    list(reply)


# ── However it ends ───────────────────────────────────────────────────────────────────────────────


def test_a_dead_engine_leaves_what_it_had_said(sessions: Sessions) -> None:
    stage = Stage(dying(*REPLY[:5]), REPLY)
    talk = Conversation.new(sessions, stage, SETUP)
    seen: list[Event] = []
    with pytest.raises(EngineDied, match="signal 9"):
        seen.extend(talk.send("Hi", NEVER))
    last = talk.last()
    assert last is not None
    assert last.message.parts == (Thinking("478 + 356 = 834", closed=False),)
    assert last.outcome is not None
    assert last.outcome.stop == Stop.ERROR
    assert last.outcome.error == "The engine died (signal 9). Ask again; it restarts."
    assert reread(sessions, talk) == in_memory(talk)
    assert list(talk.send("Again", NEVER))[-1] == END


@pytest.mark.parametrize("error", [ZeroDivisionError("a bug"), RunFailed("It failed.", "Try again.")])
def test_so_does_any_other_failure(sessions: Sessions, error: Exception) -> None:
    talk = Conversation.new(sessions, Stage(dying(TextDelta("It"), error=error)), SETUP)
    with pytest.raises(type(error)):
        list(talk.send("Hi", NEVER))
    message, _, outcome = reread(sessions, talk)[-1]
    assert message == Message.of("assistant", "It")
    assert outcome == Outcome(Stop.ERROR, error=str(error))


def test_an_engine_that_just_ends_has_failed(sessions: Sessions) -> None:
    talk = Conversation.new(sessions, Stage((TextDelta("It"),)), SETUP)
    with pytest.raises(RunFailed, match="without saying why"):
        list(talk.send("Hi", NEVER))
    assert reread(sessions, talk)[-1][0] == Message.of("assistant", "It")


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt(), Cancelled("Stopped.", "Ask again.")])
def test_an_interrupt_is_the_user_stopping_it(sessions: Sessions, interrupt: BaseException) -> None:
    def scene(turn: Turn, cancel: Cancel) -> Iterator[Event]:
        yield TextDelta("It")
        raise interrupt

    talk = Conversation.new(sessions, Stage(scene), SETUP)
    with pytest.raises(type(interrupt)):
        list(talk.send("Hi", NEVER))
    message, _, outcome = reread(sessions, talk)[-1]
    assert message == Message.of("assistant", "It")
    assert outcome == Outcome(Stop.CANCELLED)


def test_walking_away_stops_the_engine_and_keeps_the_rest(sessions: Sessions) -> None:
    stage = Stage(REPLY, REPLY)
    talk = Conversation.new(sessions, stage, SETUP)
    reply = talk.send("Hi", NEVER)
    for event in reply:
        if isinstance(event, TextDelta):
            break
    assert stage.left == 0
    reply.close()  # type: ignore[attr-defined]
    assert stage.left == 1
    message, _, outcome = reread(sessions, talk)[-1]
    assert message == Message("assistant", (PARTS[0], Text("It is ")))
    assert outcome == Outcome(Stop.CANCELLED, thinking_s=1.5)
    assert list(talk.send("Again", NEVER))[-1] == END


def test_a_reply_never_asked_for_leaves_the_question(sessions: Sessions) -> None:
    stage = Stage(REPLY)
    talk = Conversation.new(sessions, stage, SETUP)
    talk.send("One", NEVER)
    list(talk.send("Two", NEVER))
    assert stage.turns[0].messages == (Message.of("user", "One"), Message.of("user", "Two"))
    assert [m.text for m in talk.messages] == ["One", "Two", "It is 834."]


def test_reasoning_left_open_has_taken_time_too(sessions: Sessions) -> None:
    def scene(turn: Turn, cancel: Cancel) -> Iterator[Event]:
        yield ThinkingDelta("hm")
        time.sleep(0.05)
        yield Done(Stop.LENGTH, Usage(), Timing())

    talk = Conversation.new(sessions, Stage(scene), SETUP)
    list(talk.send("Hi", NEVER))
    last = talk.last()
    assert last is not None
    assert last.outcome is not None
    assert last.outcome.thinking_s >= 0.05


# ── What the engine is told of earlier turns ──────────────────────────────────────────────────────


STOPPED = Done(Stop.CANCELLED, Usage(), Timing())
CONTROL = "a control token out of place"


@pytest.mark.parametrize(
    "reply",
    [
        REPLY,
        (STOPPED,),
        (ThinkingDelta("hm"), STOPPED),
        (*REPLY[:-2], Malformed("[INST]", CONTROL), TextDelta("834."), STOPPED),
        (ToolCallReady(ToolCall("add", "{}", "123456789")), Done(Stop.TOOL, Usage(), Timing())),
    ],
)
def test_earlier_turns_are_told_as_they_happened(reply: tuple[Event, ...]) -> None:
    stage = Stage(reply, REPLY)
    talk = Conversation.new(None, stage, SETUP, system=SYSTEM)
    list(talk.send("One", NEVER))
    list(talk.send("Two", NEVER))
    answer = Message("assistant", fold(reply))
    assert stage.turns[1].messages == (SYSTEM, Message.of("user", "One"), answer, Message.of("user", "Two"))


def test_whatever_happened_can_be_told_to_a_model(demo: Demo) -> None:
    """Every way a reply can end, and then a question, through the codec of a real model."""
    stage = Stage(
        REPLY,
        (STOPPED,),
        (ThinkingDelta("hm"), STOPPED),
        (ThinkingDelta("a"), Malformed("[INST]", CONTROL), ThinkingDelta("b"), TextDelta("c"), STOPPED),
        dying(),
        (ToolCallReady(ToolCall("add", "{}", "123456789")), Done(Stop.TOOL, Usage(), Timing())),
        (TextDelta(" "), STOPPED),
        REPLY,
    )
    talk = Conversation.new(None, stage, SETUP, system=SYSTEM)
    codec = Codec.load(demo.tokenizer)
    for question in "ABCDEFGH":
        with suppress(EngineDied):
            list(talk.send(question, NEVER))
    for turn in stage.turns:
        for keep in (False, True):
            assert codec.encode(turn.messages, keep_reasoning=keep)


def test_a_question_that_was_refused_is_not_asked_again(sessions: Sessions) -> None:
    refusal = ContextTooSmall("The prompt has 9,000 tokens; the context holds 4,096.", "Shorten it.")
    talk = Conversation.new(sessions, Stage(REPLY, dying(error=refusal)), SETUP)
    list(talk.send("One", NEVER))
    with pytest.raises(ContextTooSmall):
        list(talk.send("much too long", NEVER))
    assert talk.id is not None
    stage = Stage(REPLY)
    talk = Conversation.resume(sessions, talk.id, stage, SETUP)
    list(talk.send("Two", NEVER))
    assert [m.text for m in stage.turns[0].messages] == ["One", "It is 834.", "Two"]
    assert [m.text for m in talk.messages][2:4] == ["much too long", ""]


# ── What is not sent ──────────────────────────────────────────────────────────────────────────────


def test_what_is_written_moves_into_the_conversation_with_its_first_message(sessions: Sessions) -> None:
    talk = Conversation.new(sessions, Stage(REPLY), SETUP)
    assert talk.left_unsent() == ""
    talk.keep_unsent("What is")
    list(talk.send("What is 2 + 2?", NEVER))
    talk.keep_unsent("And then")
    talk.close()
    assert Conversation.new(sessions, Stage(), SETUP).left_unsent() == ""
    assert talk.id
    assert Conversation.resume(sessions, talk.id, Stage(), SETUP).left_unsent() == "And then"


def test_without_a_database_nothing_is_kept() -> None:
    talk = Conversation.new(None, Stage(REPLY), SETUP)
    assert talk.left_unsent() == ""
    talk.keep_unsent("What is")
    talk.close()


# ── What the engine has read ──────────────────────────────────────────────────────────────────────


class Keeping(Stage):
    """Writes a state of 100 bytes, and `meanwhile` something happens."""

    def __init__(self, *scenes: tuple[Event, ...], meanwhile: Callable[[], object] = lambda: None) -> None:
        super().__init__(*scenes)
        self.meanwhile = meanwhile
        self.asked = 0

    def keep(self, folder: Path, turn: Turn, most: int, cancel: Cancel) -> State | None:
        self.asked += 1
        self.meanwhile()
        folder.mkdir(parents=True)
        (folder / "kv").write_bytes(bytes(100))
        return State("scripted", "scripted 1", "f16", "", "demo", 1e9, (1, 2), {"kv": (100, "")})


def test_what_the_engine_has_read_is_kept(sessions: Sessions) -> None:
    talk = Conversation.new(sessions, Keeping(REPLY), SETUP)
    assert talk.keep_context(1_000, NEVER) == 0
    list(talk.send("One", NEVER))
    assert talk.keep_context(1_000, NEVER) == 100
    assert contexts.all_held() == {talk.id: 100}


def test_of_a_conversation_that_another_window_removed_nothing_is_kept(sessions: Sessions) -> None:
    stage = Keeping(REPLY)
    talk = Conversation.new(sessions, stage, SETUP)
    list(talk.send("One", NEVER))
    assert talk.id
    sessions.remove(talk.id)
    assert talk.keep_context(1_000, NEVER) == stage.asked == 0


@pytest.mark.parametrize("fails", [False, True])
def test_one_that_is_removed_while_it_is_kept_leaves_nothing(sessions: Sessions, fails: bool) -> None:
    def remove() -> None:
        assert talk.id
        sessions.remove(talk.id)
        if fails:
            raise RunFailed("The context could not be kept (no such folder).", "It is read again.")

    talk = Conversation.new(sessions, Keeping(REPLY, meanwhile=remove), SETUP)
    list(talk.send("One", NEVER))
    talk.keep_context(1_000, NEVER)
    assert not list(paths.contexts().glob("*"))


def test_what_was_left_of_others_that_are_gone_goes(sessions: Sessions) -> None:
    """A program may have been killed before it found that the conversation was gone."""
    (paths.contexts() / "gone").mkdir(parents=True)
    talk = Conversation.new(sessions, Keeping(REPLY), SETUP)
    list(talk.send("One", NEVER))
    talk.keep_context(1_000, NEVER)
    assert [path.name for path in paths.contexts().iterdir()] == [talk.id]


def test_whoever_wants_none_has_none_left(sessions: Sessions) -> None:
    talk = Conversation.new(sessions, Keeping(REPLY, REPLY), SETUP)
    list(talk.send("One", NEVER))
    assert talk.keep_context(1_000, NEVER)
    assert talk.keep_context(0, NEVER) == 0
    assert not list(paths.contexts().iterdir())
