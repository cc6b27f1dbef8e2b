"""A reply is saved while it comes in: on a disk that fills up, and by a program that is killed."""

from __future__ import annotations

import random
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from queue import SimpleQueue

import pytest

from localmag.chat import Conversation
from localmag.errors import RunFailed
from localmag.sessions import CUT_OFF, Sessions
from localmag.types import Cancel, Event, Stop, Text, TextDelta, Thinking, Turn
from tests.stage import END, NEVER, REPLY, SETUP, Stage, in_memory, intact, reread

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
    intact(path)
