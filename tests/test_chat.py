from __future__ import annotations

import random
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue

import pytest

from localmag.chat import Conversation
from localmag.errors import Cancelled, ContextTooSmall, EngineDied, NotFound, RunFailed, WrongUsage
from localmag.prompt import Codec
from localmag.sessions import CUT_OFF, Outcome, Sessions, Setup
from localmag.stream import fold
from localmag.types import (
    Cancel,
    Done,
    Event,
    Loading,
    Malformed,
    Message,
    Prefill,
    Sampling,
    Stop,
    Text,
    TextDelta,
    Thinking,
    ThinkingClosed,
    ThinkingDelta,
    Timing,
    ToolCall,
    ToolCallReady,
    Turn,
    Usage,
)
from tests.conftest import Demo

SETUP = Setup("demo", "demo:Q8_0", "llama.cpp", Sampling(0.7, 0.95), 512)
SYSTEM = Message.of("system", "Think first.")
END = Done(Stop.END, Usage(20, 0, 5, 3), Timing(0.1, 0.2, 0.3, 0.4, 20.0))
REPLY: tuple[Event, ...] = (
    Loading(1.0),
    Prefill(20, 20),
    ThinkingDelta(""),
    ThinkingDelta("478 + 356"),
    ThinkingDelta(" = 834"),
    ThinkingClosed(5, 1.5),
    TextDelta("It is "),
    TextDelta("834."),
    END,
)
PARTS = (Thinking("478 + 356 = 834"), Text("It is 834."))
NEVER = threading.Event()

Scene = Callable[[Turn, Cancel], Iterator[Event]]


class Stage:
    """An engine that plays its scenes one after the other, and remembers what it was asked."""

    def __init__(self, *scenes: tuple[Event, ...] | Scene) -> None:
        self.scenes = list(scenes)
        self.turns: list[Turn] = []
        self.left = 0

    def reply(self, turn: Turn, cancel: Cancel) -> Iterator[Event]:
        self.turns.append(turn)
        scene = self.scenes.pop(0)
        try:
            yield from scene if isinstance(scene, tuple) else scene(turn, cancel)
        finally:
            self.left += 1

    def close(self) -> None: ...


def dying(*events: Event, error: Exception | None = None) -> Scene:
    def scene(turn: Turn, cancel: Cancel) -> Iterator[Event]:
        yield from events
        raise error or EngineDied("The engine died (signal 9).", "Ask again; it restarts.")

    return scene


@pytest.fixture
def sessions() -> Iterator[Sessions]:
    with Sessions() as store:
        yield store


def reread(sessions: Sessions, talk: Conversation) -> tuple[tuple[object, ...], ...]:
    """The conversation as another program finds it."""
    assert talk.id is not None
    with Sessions(sessions.path) as other:
        return tuple((e.message, e.setup, e.outcome) for e in other.load(talk.id).entries)


def in_memory(talk: Conversation) -> tuple[tuple[object, ...], ...]:
    return tuple((e.message, e.setup, e.outcome) for e in talk.entries)


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


# ── A disk that fails ─────────────────────────────────────────────────────────────────────────────


def fill(sessions: Sessions) -> None:
    sessions._db.execute("PRAGMA max_page_count = 1")  # SQLite clamps it to the present size


def free(sessions: Sessions) -> None:
    sessions._db.execute("PRAGMA max_page_count = 1000000")


LONG = "word " * 20_000


def test_a_disk_that_fills_up_takes_nothing_off_the_screen(sessions: Sessions) -> None:
    def scene(turn: Turn, cancel: Cancel) -> Iterator[Event]:
        fill(sessions)
        yield TextDelta(LONG)
        time.sleep(1.2)  # the autosave fails meanwhile, and says nothing yet
        yield END

    talk = Conversation.new(sessions, Stage(scene, REPLY), SETUP)
    seen: list[Event] = []
    with pytest.raises(RunFailed, match="full"):
        seen.extend(talk.send("Hi", NEVER))
    # extend() keeps what came before the exception
    assert seen == [TextDelta(LONG), END]
    assert talk.messages[-1].text == LONG
    with pytest.raises(RunFailed, match="full"):
        talk.send("Still full?", NEVER)
    free(sessions)
    list(talk.send("And now?", NEVER))
    assert reread(sessions, talk) == in_memory(talk)


def test_close_saves_what_could_not_be_saved(sessions: Sessions) -> None:
    def scene(turn: Turn, cancel: Cancel) -> Iterator[Event]:
        fill(sessions)
        yield TextDelta(LONG)
        yield END

    talk = Conversation.new(sessions, Stage(scene), SETUP)
    with pytest.raises(RunFailed, match="full"):
        list(talk.send("Hi", NEVER))
    with pytest.raises(RunFailed, match="full"):
        talk.close()
    free(sessions)
    talk.close()
    assert reread(sessions, talk) == in_memory(talk)


def test_the_autosave_goes_on_when_the_disk_does(sessions: Sessions) -> None:
    saved = []

    def scene(turn: Turn, cancel: Cancel) -> Iterator[Event]:
        fill(sessions)
        yield TextDelta(LONG)
        time.sleep(0.8)
        free(sessions)
        time.sleep(0.8)
        saved.append(sessions.load(sessions.latest().id).entries[-1].message.text)
        yield END

    list(Conversation.new(sessions, Stage(scene), SETUP).send("Hi", NEVER))
    assert saved == [LONG]


@pytest.mark.timeout(30)
def test_a_reply_may_end_just_when_it_is_taken_up_to_be_saved(
    sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    taking_up = threading.Event()

    class Slow(SimpleQueue[Event | None]):
        """Not emptied before the end of the reply is in it."""

        def get_nowait(self) -> Event | None:
            taking_up.set()
            while self.empty():
                time.sleep(0.01)
            return super().get_nowait()

    def scene(turn: Turn, cancel: Cancel) -> Iterator[Event]:
        yield TextDelta("834")
        assert taking_up.wait(10)
        yield END

    monkeypatch.setattr("localmag.chat.SimpleQueue", Slow)
    talk = Conversation.new(sessions, Stage(scene), SETUP)
    assert list(talk.send("Hi", NEVER))[-1] == END
    assert reread(sessions, talk) == in_memory(talk)


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


# ── kill -9 ───────────────────────────────────────────────────────────────────────────────────────

WRITER = '''
import sys, threading, time
from localmag.chat import Conversation
from localmag.sessions import Sessions, Setup
from localmag.types import *

class Clock:
    """Says what time it is, in bursts with silences between, and tells the test each time it has."""
    def reply(self, turn, cancel):
        yield ThinkingDelta("")
        for n in range(10**9):
            now = f"{time.time():.4f} "
            yield ThinkingDelta(now) if n % 200 < 100 else TextDelta(now)
            print(now, flush=True)
            time.sleep(0.005 if n % 60 else float(sys.argv[1]))
    def close(self): ...

setup = Setup("demo", "demo:Q8_0", "scripted", Sampling(), 512)
with Sessions() as sessions:
    talk = Conversation.new(sessions, Clock(), setup)
    for event in talk.send("What time is it? " + sys.argv[2], threading.Event()):
        pass
'''

LOST_AT_MOST_S = 1.0


def _kill_in_mid_reply(writer: subprocess.Popen[str], after: float) -> tuple[list[float], float]:
    """The times it had told when it was killed, and when that was."""
    assert writer.stdout is not None
    said = [float(writer.stdout.readline())]
    killed = []

    def kill() -> None:
        killed.append(time.time())
        writer.kill()

    killer = threading.Timer(after, kill)
    killer.start()
    said += [float(line) for line in writer.stdout if line.endswith("\n")]
    killer.join()
    return said, killed[0]


def test_kill_9_loses_at_most_the_last_second(home: Path) -> None:
    """20 programs, four at a time on one database, each killed at a random moment of its reply."""
    chance = random.Random(2)
    names = iter(range(20))
    fates: dict[str, tuple[list[float], float]] = {}

    def life(name: int, silence: float, after: float) -> None:
        command = [sys.executable, "-c", WRITER, str(silence), str(name)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
            fates[f"What time is it? {name}"] = _kill_in_mid_reply(writer, after)

    for _ in range(5):
        lives = [
            threading.Thread(target=life, args=(name, chance.choice([0.2, 3.0]), chance.uniform(0.1, 3.0)))
            for name, _ in zip(names, range(4), strict=False)
        ]
        for one in lives:
            one.start()
        for one in lives:
            one.join()

    with Sessions() as sessions:
        found = {session.title: sessions.load(session.id) for session in sessions.list()}
        path = sessions.path
    assert found.keys() == fates.keys()
    for title, (said, killed) in fates.items():
        question, reply = found[title].entries
        assert question.message.text == title
        assert reply.outcome is not None
        assert (reply.outcome.stop, reply.outcome.error) == (Stop.ERROR, CUT_OFF)
        texts = "".join(part.text for part in reply.message.parts if isinstance(part, Text | Thinking))
        kept = [float(word) for word in texts.split()]
        assert kept[: len(said)] == said[: len(kept)]
        due = [moment for moment in said if moment < killed - LOST_AT_MOST_S]
        assert len(kept) >= len(due), f"lost {killed - said[len(kept)]:.2f} s"
    db = sqlite3.connect(path)
    assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert db.execute("PRAGMA foreign_key_check").fetchall() == []
    assert db.execute("SELECT count(*) FROM arrivals").fetchone() == (0,)
    db.close()
    assert [p.name for p in path.parent.iterdir() if "-writing-" in p.name] == []


def test_the_whole_reply_costs_no_more_per_event_at_its_end(sessions: Sessions) -> None:
    """What is put on disk at each save is what has arrived since the last one."""
    rows: list[int] = []

    def scene(turn: Turn, cancel: Cancel) -> Iterator[Event]:
        for _ in range(4):
            yield from [TextDelta("word ")] * 500
            time.sleep(0.7)
        db = sqlite3.connect(sessions.path)
        rows.extend(length for (length,) in db.execute("SELECT length(text) FROM arrivals ORDER BY id"))
        db.close()
        yield END

    list(Conversation.new(sessions, Stage(scene), SETUP).send("Hi", NEVER))
    assert len(rows) >= 4
    assert max(rows) <= 2500
    assert sum(rows) == 10_000


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
