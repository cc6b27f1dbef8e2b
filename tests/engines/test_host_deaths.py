"""What survives any death of either side of the engine's process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from itertools import islice

import pytest

from localmag.engines import EngineSpec, host
from localmag.errors import EngineDied
from localmag.stream import fold
from localmag.types import Loading, Prefill, Text, TextDelta
from tests.engines.hosting import (
    ASKED,
    HELLO,
    LONG,
    Hosted,
    Spec,
    begins,
    gone,
    is_text,
    posix,
    reply,
    running,
    until,
)


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
