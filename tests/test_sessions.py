from __future__ import annotations

import multiprocessing
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from localmag import paths
from localmag.errors import NotFound, WrongUsage
from localmag.sessions import CUT_OFF, Entry, Outcome, Sessions, Setup
from localmag.stream import fold
from localmag.types import (
    Event,
    Malformed,
    Message,
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
    Usage,
)

SETUP = Setup("demo", "demo:Q8_0", "llama.cpp", Sampling(0.7, 0.95, 4294967294), 512, keep_reasoning=True)
HELLO = Message.of("user", "Hello")
SYSTEM = Message("system", (Text("First "), Thinking("draft"), Text(" then answer.")))
DONE = Outcome(Stop.END, Usage(10, 4, 7, 3), Timing(0.5, 0.25, 0.3, 1.5, 31.5), thinking_s=1.25)
EVERY_PART = (
    Thinking("hm\u2028…"),
    Text("**834**\0 and a NUL"),
    ToolCall("add", '{"a": 1}', "abc123456"),
    Malformed("[/THINK]", "no reasoning was open"),
    Thinking("", closed=False),
)


def leftovers(store: Sessions) -> list[str]:
    return [p.name for p in store.path.parent.iterdir() if "-writing-" in p.name or "-unsent-" in p.name]


# ── What is kept comes back ───────────────────────────────────────────────────────────────────────


def test_a_whole_conversation_comes_back_as_it_was(sessions: Sessions) -> None:
    made = sessions.create(HELLO, SETUP, SYSTEM)
    draft = sessions.begin_reply(made.session.id, SETUP)
    reply = Message("assistant", EVERY_PART)
    entry = draft.finish(reply, DONE)
    again = sessions.append_user(made.session.id, Message.of("user", "Merci"), after=entry.id)
    sessions.close()

    with Sessions() as reopened:
        got = reopened.load(made.session.id)
    assert got.system == SYSTEM
    assert [e.message for e in got.entries] == [HELLO, reply, Message.of("user", "Merci")]
    assert got.entries[1:] == (entry, again)
    assert got.entries[1].setup == SETUP
    assert got.entries[1].outcome == DONE
    assert got.session.messages == 3
    assert (got.session.model, got.session.build, got.session.backend) == ("demo", "demo:Q8_0", "llama.cpp")


def test_a_reply_without_numbers_has_none(sessions: Sessions) -> None:
    made = sessions.create(HELLO, SETUP)
    failed = Outcome(Stop.ERROR, error="The engine died.")
    sessions.begin_reply(made.session.id, SETUP).finish(Message("assistant", ()), failed)
    assert sessions.load(made.session.id).entries[-1].outcome == failed


def test_half_a_surrogate_pair_does_not_stop_the_saving(sessions: Sessions) -> None:
    made = sessions.create(Message.of("user", "a\ud83d b"), SETUP)
    draft = sessions.begin_reply(made.session.id, SETUP)
    draft.save([TextDelta("x\udc80")])
    draft.finish(Message.of("assistant", "x\udc80"), DONE)
    assert [e.message.text for e in sessions.load(made.session.id).entries] == ["a\ufffd b", "x\ufffd"]
    assert made.session.title == "a\ufffd b"


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("What is 2 + 2?", "What is 2 + 2?"),
        ("\n\n  first \t line \nsecond", "first line"),
        ("x" * 61, "x" * 59 + "…"),
        ("x" * 60, "x" * 60),
        ("", "Untitled"),
    ],
)
def test_the_title_is_the_first_line(sessions: Sessions, text: str, title: str) -> None:
    assert sessions.create(Message.of("user", text), SETUP).session.title == title


# ── Finding, renaming, removing ───────────────────────────────────────────────────────────────────


def test_the_last_one_written_to_is_the_latest(sessions: Sessions) -> None:
    with pytest.raises(NotFound, match="localmag chat"):
        sessions.latest()
    one = sessions.create(HELLO, SETUP)
    two = sessions.create(HELLO, SETUP)
    assert sessions.latest() == two.session
    sessions.begin_reply(one.session.id, SETUP).finish(HELLO, DONE)
    assert sessions.latest().id == one.session.id
    assert [s.id for s in sessions.list()] == [one.session.id, two.session.id]


def test_a_beginning_is_enough_if_only_one_begins_so(sessions: Sessions) -> None:
    ids = [sessions.create(HELLO, SETUP).session.id for _ in range(40)]
    whole = ids[0]
    assert sessions.load(whole.upper()).session.id == whole
    shortest = next(n for n in range(1, 7) if sum(i.startswith(whole[:n]) for i in ids) == 1)
    assert sessions.load(whole[:shortest]).session.id == whole
    shared = next(i[0] for i in ids if sum(j[0] == i[0] for j in ids) > 1)  # 40 ids, 27 letters
    with pytest.raises(WrongUsage, match="Give more of it"):
        sessions.load(shared)
    for unknown in ("", "%", "_", "aeiou", whole + "x"):
        with pytest.raises(NotFound, match="sessions list"):
            sessions.load(unknown)


def test_rename_and_remove(sessions: Sessions) -> None:
    id = sessions.create(HELLO, SETUP, SYSTEM).session.id
    assert sessions.rename(id, "  My\nsums ").title == "My"
    draft = sessions.begin_reply(id, SETUP)
    with pytest.raises(WrongUsage, match="being written"):
        sessions.remove(id)
    draft.save([TextDelta("x")])
    draft.finish(HELLO, DONE)
    assert sessions.remove(id).title == "My"
    assert sessions.list() == ()
    db = sqlite3.connect(sessions.path)
    for table in ("messages", "parts", "arrivals"):
        assert db.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)
    db.close()
    for refused in (lambda: sessions.append_user(id, HELLO, 1), lambda: sessions.begin_reply(id, SETUP)):
        with pytest.raises(NotFound, match="removed"):
            refused()
    assert leftovers(sessions) == []


def test_what_is_removed_is_nowhere_in_the_files(sessions: Sessions) -> None:
    secret = "tell nobody about this " * 400
    kept = sessions.create(Message.of("user", "keep this one"), SETUP)
    id = sessions.create(Message.of("user", secret), SETUP).session.id
    draft = sessions.begin_reply(id, SETUP)
    for _ in range(20):
        draft.save([TextDelta(secret)])
    draft.finish(Message.of("assistant", secret * 20), DONE)
    sessions.remove(id)
    found = b"".join(path.read_bytes() for path in sessions.path.parent.iterdir())
    assert b"nobody" not in found
    assert b"keep this one" in found
    assert sessions.load(kept.session.id) == kept


# ── A reply on its way ────────────────────────────────────────────────────────────────────────────

EVENTS: list[Event] = [
    ThinkingDelta(""),
    *(ThinkingDelta(f"{n} ") for n in range(50)),
    ThinkingClosed(50, 1.5),
    *(TextDelta(f"{n}.") for n in range(50)),
    Malformed("[INST]", "a control token out of place"),
    ToolCallReady(ToolCall("add", "{}", "123456789")),
    ThinkingDelta("again"),
]
ARRIVED = (
    Thinking("".join(f"{n} " for n in range(50))),
    Text("".join(f"{n}." for n in range(50))),
    Malformed("[INST]", "a control token out of place"),
    ToolCall("add", "{}", "123456789"),
    Thinking("again", closed=False),
)


def test_what_has_arrived_can_be_read_by_others_and_is_not_theirs_to_close(sessions: Sessions) -> None:
    id = sessions.create(HELLO, SETUP).session.id
    draft = sessions.begin_reply(id, SETUP)
    for event in EVENTS:
        draft.save([event])
    with Sessions() as other:
        entry = other.load(id).entries[-1]
        assert entry.message.parts == ARRIVED
        assert entry.outcome is None
        with pytest.raises(WrongUsage, match="another localmag"):
            other.append_user(id, HELLO, after=entry.id)
    assert draft.finish(Message("assistant", ARRIVED), DONE) == sessions.load(id).entries[-1]


def test_events_saved_together_take_few_rows(sessions: Sessions) -> None:
    id = sessions.create(HELLO, SETUP).session.id
    draft = sessions.begin_reply(id, SETUP)
    draft.save(EVENTS)
    assert sessions.load(id).entries[-1].message.parts == ARRIVED
    db = sqlite3.connect(sessions.path)
    assert db.execute("SELECT count(*) FROM arrivals").fetchone() == (6,)
    draft.finish(HELLO, DONE)
    assert db.execute("SELECT count(*) FROM arrivals").fetchone() == (0,)
    db.close()


TEXTS = st.text(max_size=5)
CONTENT = st.one_of(
    TEXTS.map(TextDelta),
    TEXTS.map(ThinkingDelta),
    st.builds(ThinkingClosed, st.integers(0, 99), st.floats(0, 99)),
    st.builds(Malformed, TEXTS, st.sampled_from(["a", "b"])),
    st.builds(ToolCall, TEXTS, TEXTS, TEXTS).map(ToolCallReady),
)


@given(st.lists(st.lists(CONTENT, max_size=12), max_size=5))
@settings(max_examples=60)
def test_whatever_has_arrived_is_read_back_however_it_was_saved(batches: list[list[Event]]) -> None:
    with TemporaryDirectory() as folder, Sessions(Path(folder) / "s.db") as store:
        id = store.create(HELLO, SETUP).session.id
        draft = store.begin_reply(id, SETUP)
        for batch in batches:
            draft.save(batch)
        parts = fold(event for batch in batches for event in batch)
        assert store.load(id).entries[-1].message.parts == parts
        draft.abandon()
        assert store.load(id).entries[-1].message.parts == parts


def test_a_draft_whose_program_is_gone_is_closed_as_cut_off(sessions: Sessions) -> None:
    id = sessions.create(HELLO, SETUP).session.id
    with Sessions() as other:
        other.begin_reply(id, SETUP).save(EVENTS)
    entry = sessions.load(id).entries[-1]  # this program was running all along
    assert entry.message.parts == ARRIVED
    assert entry.outcome == Outcome(Stop.ERROR, thinking_s=1.5, error=CUT_OFF)
    assert leftovers(sessions) == []
    sessions.append_user(id, HELLO, after=entry.id)


def test_what_was_not_sent_goes_to_the_next_program_on_that_conversation(sessions: Sessions) -> None:
    id = sessions.create(HELLO, SETUP).session.id
    for place, text in ((id, "first"), (id, "second"), (None, "to nobody yet")):
        with Sessions() as other:
            unsent = other.unsent(None)
            unsent.keep("once", None)
            unsent.keep(text, place)
            unsent.close()
    here = sessions.unsent(id)
    assert here.text == "first\n\nsecond"
    assert sessions.unsent(id).text == ""  # it is somebody's
    here.close()
    assert sessions.unsent(id).text == "first\n\nsecond"
    assert sessions.unsent(None).text == "to nobody yet"


def test_a_program_that_was_killed_leaves_what_was_not_sent(sessions: Sessions) -> None:
    code = """
import os, signal
from localmag.sessions import Sessions
unsent = Sessions().unsent(None)
unsent.keep("half a thou", None)
os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode
    unsent = sessions.unsent(None)
    assert unsent.text == "half a thou"
    unsent.keep("", None)
    unsent.close()
    assert sessions.unsent(None).text == ""


def test_what_was_not_sent_outlives_its_conversation_only_where_it_is_being_written(
    sessions: Sessions,
) -> None:
    id = sessions.create(HELLO, SETUP).session.id
    with Sessions() as other:
        left = other.unsent(id)
        left.keep("left", id)
        left.close()
        open_there = other.unsent(id)
        open_there.keep("being written", id)
        sessions.remove(id)
        open_there.keep("being written still", id)
        open_there.close()
    assert sessions.unsent(None).text == "being written still"


def test_two_programs_on_one_conversation_do_not_talk_across_each_other(sessions: Sessions) -> None:
    made = sessions.create(HELLO, SETUP)
    seen = made.entries[-1].id
    with Sessions() as other:
        other.append_user(made.session.id, HELLO, after=seen)
    with pytest.raises(WrongUsage, match="gone on in another"):
        sessions.append_user(made.session.id, HELLO, after=seen)


def test_threads_may_share_one_store(sessions: Sessions) -> None:
    failures: list[BaseException] = []

    def chat() -> None:
        try:
            id = sessions.create(HELLO, SETUP).session.id
            draft = sessions.begin_reply(id, SETUP)
            for n in range(20):
                draft.save([TextDelta(f"{n} ")])
            draft.finish(Message.of("assistant", "done"), DONE)
            assert sessions.load(id).entries[-1].message.text == "done"
        except BaseException as exc:
            failures.append(exc)

    threads = [threading.Thread(target=chat) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(sessions.list()) == 4


def _open_and_chat(path: str, ready: int) -> None:
    with Sessions(Path(path)) as store:
        for n in range(10):
            id = store.create(HELLO, SETUP).session.id
            draft = store.begin_reply(id, SETUP)
            draft.save([TextDelta(str(n))])
            draft.finish(Message.of("assistant", str(n)), DONE)


def test_programs_may_share_one_file_from_its_first_moment(tmp_path: Path) -> None:
    path = tmp_path / "new.db"
    spawn = multiprocessing.get_context("spawn")
    programs = [spawn.Process(target=_open_and_chat, args=(str(path), n)) for n in range(4)]
    for program in programs:
        program.start()
    for program in programs:
        program.join(60)
        assert program.exitcode == 0
    with Sessions(path) as store:
        assert len(store.list()) == 40


def test_by_default_it_lies_where_paths_says(sessions: Sessions) -> None:
    assert sessions.path == paths.database()
    assert isinstance(sessions.create(HELLO, SETUP).entries[0], Entry)
