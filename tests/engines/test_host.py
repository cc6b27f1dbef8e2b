"""The engine's process: what arrives, what a cancel does, and what survives any death of either side."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest

from localmag import paths
from localmag.engines import EngineSpec, host
from localmag.engines.host import HostedEngine, engine_for
from localmag.errors import BadFile, ContextTooSmall, EngineDied, NotFound, RunFailed
from localmag.stream import fold
from localmag.types import Done, Event, Loading, Message, Prefill, Sampling, Stop, Text, TextDelta, Turn

Spec = Callable[..., EngineSpec]

ASKED = Turn((Message.of("user", "How many?"),), Sampling(temperature=0), 10_000)
SOON = 1.0
"""Seconds that stand for `at once` on a busy machine; the bench measures the real ones."""

posix = pytest.mark.skipif(sys.platform == "win32", reason="signals and process groups are POSIX's")


def spell(words: str) -> list[int]:
    return [1_000 + byte for byte in words.encode()]


HELLO = spell("hello")
LONG = spell("x" * 3_000)


@pytest.fixture
def hosted() -> Iterator[Callable[[EngineSpec], HostedEngine]]:
    """Makes engines that are closed at the end."""
    made: list[HostedEngine] = []

    def make(spec: EngineSpec) -> HostedEngine:
        made.append(engine_for(spec))
        return made[-1]

    yield make
    for engine in made:
        engine.close()


Hosted = Callable[[EngineSpec], HostedEngine]


def reply(engine: HostedEngine, cancel: threading.Event | None = None) -> tuple[list[Event], Done]:
    *events, done = engine.reply(ASKED, cancel or threading.Event())
    assert isinstance(done, Done)
    return events, done


def until(engine: HostedEngine, enough: Callable[[Event], bool]) -> tuple[list[Event], Iterator[Event]]:
    """The events up to one that is enough, and the rest of the reply."""
    events = engine.reply(ASKED, threading.Event())
    seen: list[Event] = []
    for event in events:
        seen.append(event)
        if enough(event):
            return seen, events
    raise AssertionError("the reply ended before")


def is_text(event: Event) -> bool:
    return isinstance(event, TextDelta)


def begins(engine: HostedEngine) -> bool:
    """Whether a reply gets as far as its first text; the rest is not waited for."""
    seen, rest = until(engine, is_text)
    rest.close()  # type: ignore[attr-defined]
    return bool(seen)


def running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    return not (stat.exists() and stat.read_text().rpartition(")")[2].split()[0] == "Z")


def gone(pid: int, within: float = 5) -> bool:
    end = time.monotonic() + within
    while running(pid):
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


# ── What arrives ──────────────────────────────────────────────────────────────────────────────────


def test_a_reply_loads_reads_and_answers(hosted: Hosted, scripted: Spec) -> None:
    events, done = reply(hosted(scripted(HELLO, load_s=0.2)))
    kinds = [type(event) for event in events]
    assert kinds.index(Loading) < kinds.index(Prefill) < kinds.index(TextDelta)
    fractions = [event.fraction for event in events if isinstance(event, Loading)]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1
    assert fold(events) == (Text("hello"),)
    assert done.stop is Stop.END
    assert done.timing.load_s >= 0.2


def test_the_second_reply_loads_nothing(hosted: Hosted, scripted: Spec) -> None:
    engine = hosted(scripted(HELLO, spell("again")))
    reply(engine)
    events, done = reply(engine)
    assert not any(isinstance(event, Loading) for event in events)
    assert fold(events) == (Text("again"),)
    assert done.timing.load_s == 0


def test_start_loads_before_anyone_asks(hosted: Hosted, scripted: Spec) -> None:
    engine = hosted(scripted(HELLO))
    began = time.monotonic()
    engine.start()
    engine.start()
    assert time.monotonic() - began < SOON
    pid = engine.pid
    reply(engine)
    assert engine.pid == pid


def test_real_llama_cpp_gives_the_same_as_in_this_process(
    hosted: Hosted, tiny: EngineSpec, codec: object
) -> None:
    engine = hosted(tiny)
    events, done = reply(engine)
    again, _ = reply(engine)
    assert done.stop in (Stop.LENGTH, Stop.END)
    assert fold(events) == fold(again)
    assert engine.log is not None
    assert "llama_kv_cache" in engine.log.read_text("utf-8")


def test_text_arrives_in_few_pieces_when_it_comes_fast(hosted: Hosted, scripted: Spec) -> None:
    events, _ = reply(hosted(scripted(LONG)))
    deltas = [event for event in events if isinstance(event, TextDelta)]
    assert "".join(delta.text for delta in deltas) == "x" * 3_000
    assert len(deltas) < 1_000


def test_text_arrives_at_once_when_it_comes_slowly(hosted: Hosted, scripted: Spec) -> None:
    events, _ = reply(hosted(scripted(HELLO, id_s=0.1)))
    assert [event.text for event in events if isinstance(event, TextDelta)] == list("hello")


def test_the_log_is_new_for_each_engine_and_few_are_kept(hosted: Hosted, scripted: Spec) -> None:
    for number in range(15):
        (paths.logs() / f"engine-20200101-0000{number:02}-1-1.log").touch()
    engine = hosted(scripted(HELLO))
    reply(engine)
    kept = sorted(paths.logs().iterdir())
    assert engine.log in kept
    assert len(kept) == 10


def test_where_no_log_can_be_written_it_answers_without(
    hosted: Hosted, scripted: Spec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("LOCALMAG_HOME", str(tmp_path / "file"))
    engine = hosted(scripted(HELLO))
    assert fold(reply(engine)[0]) == (Text("hello"),)
    assert engine.log is None


def test_the_childs_process_holds_the_engine_and_nothing_else() -> None:
    code = """
import sys, localmag.engines.worker
for name in ("textual", "typer", "rich", "huggingface_hub", "llama_cpp", "localmag.tui", "localmag.cli"):
    assert name not in sys.modules, name
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_files_in_the_working_folder_are_not_imported(
    hosted: Hosted, scripted: Spec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("random", "json", "localmag", "numpy"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('imported from the working folder')")
    monkeypatch.chdir(tmp_path)
    assert fold(reply(hosted(scripted(HELLO)))[0]) == (Text("hello"),)


# ── Errors ────────────────────────────────────────────────────────────────────────────────────────


def test_an_error_of_loading_keeps_its_type_and_comes_again(hosted: Hosted, tiny: EngineSpec) -> None:
    engine = hosted(replace(tiny, weights=tiny.tokenizer))
    for _ in range(2):
        with pytest.raises(BadFile, match="not a GGUF"):
            reply(engine)


def test_an_error_of_background_loading_waits_for_the_reply(hosted: Hosted, tiny: EngineSpec) -> None:
    engine = hosted(replace(tiny, tokenizer=tiny.weights.with_name("absent.json")))
    engine.start()
    pid = engine.pid
    assert pid is not None
    assert gone(pid, within=30)
    with pytest.raises(NotFound):
        reply(engine)


def test_an_error_of_a_reply_leaves_the_engine_running(hosted: Hosted, scripted: Spec) -> None:
    engine = hosted(scripted(HELLO, context=200))
    long = Turn((Message.of("user", "many words " * 100),), Sampling(), 10)
    with pytest.raises(ContextTooSmall, match="200"):
        list(engine.reply(long, threading.Event()))
    pid = engine.pid
    assert fold(reply(engine)[0]) == (Text("hello"),)
    assert engine.pid == pid


def test_an_unexpected_failure_names_the_log_which_has_the_traceback(hosted: Hosted, scripted: Spec) -> None:
    engine = hosted(scripted(HELLO, surprise=1))
    with pytest.raises(RunFailed, match="TypeError") as raised:
        reply(engine)
    assert engine.log is not None
    assert str(engine.log) in raised.value.todo
    assert "Traceback" in engine.log.read_text("utf-8")


# ── Cancelling ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("slow_at", "arrived"),
    [("load_s", Loading), ("chunk_s", Prefill), ("id_s", TextDelta)],
    ids=["loading", "prefill", "decode"],
)
def test_cancel_ends_the_reply_soon_wherever_it_is(
    hosted: Hosted, scripted: Spec, slow_at: str, arrived: type
) -> None:
    slow = {"load_s": 3.0, "chunk_s": 60.0, "id_s": 60.0}[slow_at]
    ids = [*HELLO[:1], *LONG] if slow_at == "chunk_s" else LONG
    spec = scripted(ids, HELLO, **{slow_at: slow if slow_at != "id_s" else 0.2})
    engine, cancel, at = hosted(spec), threading.Event(), 0.0
    for event in engine.reply(ASKED, cancel):
        if isinstance(event, arrived) and not cancel.is_set():
            cancel.set()
            at = time.monotonic()
    assert time.monotonic() - at < SOON
    assert isinstance(event, Done)
    assert event.stop is Stop.CANCELLED


def test_after_a_cancel_the_next_reply_works(hosted: Hosted, scripted: Spec) -> None:
    engine, cancel = hosted(scripted(LONG, HELLO, id_s=0.01)), threading.Event()
    for event in engine.reply(ASKED, cancel):
        if is_text(event):
            cancel.set()
    assert fold(reply(engine)[0]) == (Text("hello"),)


def test_loading_goes_on_after_a_cancel(hosted: Hosted, scripted: Spec) -> None:
    engine, cancel = hosted(scripted(HELLO, load_s=1)), threading.Event()
    cancel.set()
    assert reply(engine, cancel)[1].stop is Stop.CANCELLED
    pid = engine.pid
    assert fold(reply(engine)[0]) == (Text("hello"),)
    assert engine.pid == pid


def test_an_abandoned_reply_is_cancelled(hosted: Hosted, scripted: Spec) -> None:
    engine = hosted(scripted(LONG, HELLO, id_s=0.01))  # half a minute, if it went on
    _, rest = until(engine, is_text)
    rest.close()  # type: ignore[attr-defined]
    began = time.monotonic()
    assert fold(reply(engine)[0]) == (Text("hello"),)
    assert time.monotonic() - began < 5


def test_a_new_reply_ends_the_one_before(hosted: Hosted, scripted: Spec) -> None:
    engine = hosted(scripted(LONG, HELLO, id_s=0.01))
    _, rest = until(engine, is_text)
    assert fold(reply(engine)[0]) == (Text("hello"),)
    *_, done = rest
    assert isinstance(done, Done)
    assert done.stop is Stop.CANCELLED


def test_a_child_that_does_not_hear_is_ended(
    hosted: Hosted, scripted: Spec, monkeypatch: pytest.MonkeyPatch
) -> None:
    if sys.platform == "win32":
        pytest.skip("needs SIGSTOP")
    monkeypatch.setattr(host, "_PATIENCE_S", 0.3)
    engine, cancel = hosted(scripted(LONG, id_s=0.01)), threading.Event()
    for event in engine.reply(ASKED, cancel):
        if is_text(event) and not cancel.is_set():
            assert engine.pid
            os.kill(engine.pid, signal.SIGSTOP)
            cancel.set()
    assert isinstance(event, Done)
    assert event.stop is Stop.CANCELLED
    assert begins(engine)


@posix
def test_a_long_turn_to_a_child_that_hangs_can_be_cancelled(
    hosted: Hosted, scripted: Spec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host, "_PATIENCE_S", 0.3)
    engine, cancel = hosted(scripted(HELLO)), threading.Event()
    reply(engine)
    assert engine.pid
    os.kill(engine.pid, signal.SIGSTOP)
    threading.Timer(0.3, cancel.set).start()
    long = Turn((Message.of("user", "many words " * 100_000),), Sampling(), 10)
    *_, done = engine.reply(long, cancel)
    assert isinstance(done, Done)
    assert done.stop is Stop.CANCELLED
    assert fold(reply(engine)[0]) == (Text("hello"),)


def test_close_in_the_middle_ends_the_reply_as_cancelled(hosted: Hosted, scripted: Spec) -> None:
    engine = hosted(scripted(LONG, id_s=0.01))
    _, rest = until(engine, is_text)
    pid = engine.pid
    assert pid
    began = time.monotonic()
    engine.close()
    engine.close()
    assert time.monotonic() - began < SOON
    *_, done = rest
    assert isinstance(done, Done)
    assert done.stop is Stop.CANCELLED
    assert gone(pid)
    with pytest.raises(RunFailed, match="closed"):
        reply(engine)


# ── Deaths ────────────────────────────────────────────────────────────────────────────────────────


@posix
@pytest.mark.timeout(300)
def test_kill_nine_in_mid_reply_twenty_times(hosted: Hosted, tiny: EngineSpec) -> None:
    """Real llama.cpp: what had arrived is kept, we live, the next reply works, no child is left."""
    engine = hosted(replace(tiny, context=4096))
    pids: list[int] = []
    for round in range(20):
        events = engine.reply(ASKED, threading.Event())
        seen = list(islice((event for event in events if is_text(event)), 1 + round % 5))
        assert engine.pid
        pids.append(engine.pid)
        os.kill(engine.pid, signal.SIGKILL)
        with pytest.raises(EngineDied, match="SIGKILL") as raised:
            seen.extend(events)
        assert len(fold(seen)[0].text) > 0  # type: ignore[union-attr]
        assert str(engine.log) in raised.value.todo
    assert begins(engine)
    assert len(set(pids)) == 20
    assert all(gone(pid) for pid in pids)


@posix
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGABRT, signal.SIGSEGV, signal.SIGTERM])
@pytest.mark.parametrize("when", [Loading, Prefill, TextDelta])
def test_any_death_at_any_moment(hosted: Hosted, scripted: Spec, how: signal.Signals, when: type) -> None:
    engine = hosted(scripted(LONG, HELLO, load_s=0.3, chunk_s=0.3, id_s=0.01))
    seen, rest = until(engine, lambda event: isinstance(event, when))
    assert engine.pid
    os.kill(engine.pid, how)
    with pytest.raises(EngineDied, match=how.name):
        seen.extend(rest)
    assert begins(engine)


@posix
def test_a_crash_leaves_its_stack_in_the_log(hosted: Hosted, scripted: Spec) -> None:
    engine = hosted(scripted(LONG, id_s=0.01))
    _, rest = until(engine, is_text)
    assert engine.pid
    os.kill(engine.pid, signal.SIGABRT)
    with pytest.raises(EngineDied):
        list(rest)
    assert engine.log
    assert "Fatal Python error: Aborted" in engine.log.read_text("utf-8")


@posix
def test_a_death_between_replies_is_not_noticed(hosted: Hosted, scripted: Spec) -> None:
    engine = hosted(scripted(HELLO))
    reply(engine)
    pid = engine.pid
    assert pid
    os.kill(pid, signal.SIGKILL)
    while engine.pid:
        time.sleep(0.01)
    assert fold(reply(engine)[0]) == (Text("hello"),)


@pytest.mark.parametrize(
    "code",
    [
        "print('Hello from a library that prints', flush=True); input()",
        "import os; os.write(1, bytes(100_000)); input()",
        "import os, struct; os.write(1, struct.pack('<4sI', b'lmag', 9) + b'no pickle'); input()",
        "import os, pickle, struct; os.write(1, struct.pack('<4sI', b'lmag', 5) + pickle.dumps(7))",
        "raise SystemExit(3)",
        "",
    ],
    ids=["text", "zeros", "no pickle", "no frame", "exit 3", "exit 0"],
)
def test_garbage_on_the_pipe_is_a_death(
    hosted: Hosted, scripted: Spec, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    monkeypatch.setattr(host, "_CODE", code)
    engine = hosted(scripted(HELLO))
    with pytest.raises(EngineDied):
        reply(engine)
    monkeypatch.undo()


PARENT = """
import sys, threading, time
from pathlib import Path
from localmag.engines import EngineSpec
from localmag.engines.host import engine_for
from localmag.types import Message, Sampling, TextDelta, Turn

backend, weights, tokenizer, when = sys.argv[1:]
engine = engine_for(EngineSpec(backend, Path(weights), Path(tokenizer), 4096, threads=1))
asked = Turn((Message.of("user", "How many?"),), Sampling(temperature=0), 10_000)

def talk():
    for event in engine.reply(asked, threading.Event()):
        if type(event).__name__ == when:
            print(engine.pid, flush=True)
            time.sleep(0.001)

thread = threading.Thread(target=talk, daemon=True)
thread.start()
thread.join()
"""


CARELESS = """
import sys, threading
from pathlib import Path
from localmag.engines import EngineSpec
from localmag.engines.host import engine_for
from localmag.types import Message, Sampling, Turn

weights, tokenizer, when = sys.argv[1:]
engine = engine_for(EngineSpec("scripted", Path(weights), Path(tokenizer), 4096))
arrived = threading.Event()

def talk():
    for event in engine.reply(Turn((Message.of("user", "?"),), Sampling(), 10_000), threading.Event()):
        if type(event).__name__ == when:
            arrived.set()

if when == "start":
    engine.start()
else:
    threading.Thread(target=talk, daemon=True).start()
    arrived.wait()
print(engine.pid)
"""


def start_parent(spec: EngineSpec, when: str) -> tuple[subprocess.Popen[str], int]:
    """A program with an engine in the middle of a reply, and its engine's process id."""
    process = subprocess.Popen(
        [sys.executable, "-c", PARENT, spec.backend, str(spec.weights), str(spec.tokenizer), when],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout
    return process, int(process.stdout.readline())


@posix
@pytest.mark.parametrize("when", ["Loading", "Prefill", "TextDelta"])
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
def test_the_parents_death_leaves_no_child(scripted: Spec, when: str, how: signal.Signals) -> None:
    load_s = 20 if when == "Loading" else 0
    process, child = start_parent(scripted(LONG, load_s=load_s, chunk_s=0.1, id_s=0.01), when)
    os.kill(process.pid, how)
    process.wait()
    assert gone(child)


@pytest.mark.parametrize("when", ["start", "Loading", "Prefill", "TextDelta"])
def test_a_program_that_ends_without_closing_leaves_nothing_behind(scripted: Spec, when: str) -> None:
    load_s = 20 if when in ("start", "Loading") else 0
    spec = scripted(LONG, load_s=load_s, chunk_s=0.1, id_s=0.01)
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-c", CARELESS, str(spec.weights), str(spec.tokenizer), when],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    if sys.platform != "win32":
        assert gone(int(done.stdout))


@posix
def test_the_parents_death_ends_native_work_too(slow: EngineSpec) -> None:
    process, child = start_parent(slow, "TextDelta")
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert gone(child)


@posix
def test_ctrl_c_in_the_terminal_is_for_the_program_alone(scripted: Spec) -> None:
    process, child = start_parent(scripted(LONG, id_s=0.01), "TextDelta")
    os.killpg(process.pid, signal.SIGSTOP)  # so that it cannot end its child
    os.killpg(process.pid, signal.SIGINT)
    time.sleep(0.3)
    assert running(child)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert gone(child)
