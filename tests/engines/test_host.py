"""The engine's process: what arrives from it, and what a cancel does."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from localmag import paths
from localmag.engines import EngineSpec, host, state
from localmag.engines.host import HostedEngine
from localmag.engines.state import State
from localmag.errors import BadFile, ContextTooSmall, EngineDied, NotFound, RunFailed
from localmag.stream import fold
from localmag.types import Done, Loading, Message, Notice, Prefill, Sampling, Stop, Text, TextDelta, Turn
from tests.engines.conftest import mlx_runs
from tests.engines.hosting import (
    ASKED,
    HELLO,
    LONG,
    SOON,
    AtLook,
    Hosted,
    Spec,
    begins,
    gone,
    is_text,
    posix,
    reply,
    spell,
    until,
)
from tests.imports import loaded_by

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
    others = {"textual", "typer", "rich", "huggingface_hub", "llama_cpp", "localmag.tui", "localmag.cli"}
    assert not loaded_by("import localmag.engines.worker") & others


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


@posix
def test_a_child_that_does_not_hear_is_ended(
    hosted: Hosted, scripted: Spec, monkeypatch: pytest.MonkeyPatch
) -> None:
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


# ── What is kept of the KV cache ──────────────────────────────────────────────────────────────────


def said(engine: HostedEngine) -> Turn:
    """A reply is written; the turn that tells of it."""
    events, _ = reply(engine)
    return replace(ASKED, messages=(*ASKED.messages, Message("assistant", fold(events))))


@pytest.mark.parametrize("backend", ["llama.cpp", pytest.param("mlx", marks=mlx_runs), "scripted"])
def test_what_one_process_read_another_begins_with(
    hosted: Hosted, request: pytest.FixtureRequest, scripted: Spec, tmp_path: Path, backend: str
) -> None:
    spec = scripted(HELLO) if backend == "scripted" else request.getfixturevalue(MODELS[backend])
    engine = hosted(spec)
    turn = said(engine)
    kept = engine.keep(tmp_path / "kept", turn, 10**9, threading.Event())
    assert kept is not None
    engine.close()
    _, done = reply(hosted(replace(spec, state=tmp_path / "kept")))
    assert 0 < done.usage.cached_tokens == done.usage.prompt_tokens - 1 <= kept.tokens


MODELS = {"llama.cpp": "tiny", "mlx": "tiny_mlx"}


def test_a_state_that_cannot_be_used_is_a_notice_before_the_reply(
    hosted: Hosted, scripted: Spec, tmp_path: Path
) -> None:
    spec = scripted(HELLO)
    engine = hosted(spec)
    assert engine.keep(tmp_path / "kept", said(engine), 10**9, threading.Event())
    (tmp_path / "kept" / "ids.json").write_text("[1]")
    events, done = reply(hosted(replace(spec, state=tmp_path / "kept")))
    (notice,) = (event for event in events if isinstance(event, Notice))
    assert "damaged" in notice.text
    assert fold(events) == (Text("hello"),)
    assert done.usage.cached_tokens == 0


def test_a_state_that_fails_in_an_unforeseen_way_is_a_notice_too(
    hosted: Hosted, scripted: Spec, tmp_path: Path
) -> None:
    """What was signed by a mistake of ours must not make the conversation one that cannot go on."""
    spec, kept = scripted(HELLO), tmp_path / "kept"
    engine = hosted(spec)
    assert engine.keep(kept, said(engine), 10**9, threading.Event())
    (kept / "ids.json").write_text("{")
    told = json.loads((kept / "state").read_bytes().rpartition(b"\n")[0])
    told["files"]["ids.json"] = [1, hashlib.sha256(b"{").hexdigest()]
    (kept / "state").write_bytes(state._signed(json.dumps(told).encode(), state._key_to_sign()))
    events, done = reply(hosted(replace(spec, state=kept)))
    assert [event for event in events if isinstance(event, Notice)]
    assert fold(events) == (Text("hello"),)
    assert done.usage.cached_tokens == 0


def test_an_engine_that_dies_while_it_loads_begins_without_the_state(
    hosted: Hosted, scripted: Spec, tmp_path: Path
) -> None:
    spec, kept = scripted(HELLO, load_s=1), tmp_path / "kept"
    engine = hosted(spec)
    assert engine.keep(kept, said(engine), 10**9, threading.Event())
    engine = hosted(replace(spec, state=kept))
    engine.start()
    assert engine.pid
    os.kill(engine.pid, signal.SIGTERM)
    with pytest.raises(EngineDied):
        reply(engine)
    _, done = reply(engine)
    assert done.usage.cached_tokens == 0


def test_nothing_is_kept_that_is_not_there_or_too_much_or_not_wanted(
    hosted: Hosted, scripted: Spec, tmp_path: Path
) -> None:
    engine = hosted(scripted(HELLO))
    never, wanted = threading.Event(), threading.Event()
    assert engine.keep(tmp_path / "kept", ASKED, 10**9, never) is None
    turn = said(engine)
    assert engine.keep(tmp_path / "kept", turn, 10, never) is None
    wanted.set()
    assert engine.keep(tmp_path / "kept", turn, 10**9, wanted) is None
    assert not (tmp_path / "kept").exists()


def test_an_engine_that_dies_while_it_keeps_leaves_what_was_kept_before(
    hosted: Hosted, scripted: Spec, tmp_path: Path
) -> None:
    quick = hosted(scripted(HELLO))
    assert quick.keep(tmp_path / "kept", said(quick), 10**9, threading.Event())
    before = state.describe(tmp_path / "kept")
    engine = hosted(scripted(HELLO, save_s=30))
    turn = said(engine)
    assert engine.pid
    threading.Timer(0.3, os.kill, (engine.pid, signal.SIGTERM)).start()
    with pytest.raises(EngineDied, match="not kept"):
        engine.keep(tmp_path / "kept", turn, 10**9, threading.Event())
    assert state.describe(tmp_path / "kept") == before
    assert not list(tmp_path.glob("kept.*"))


def test_a_second_interrupt_while_it_keeps_leaves_nothing_half_done(
    hosted: Hosted, scripted: Spec, tmp_path: Path
) -> None:
    class Twice(AtLook):
        def is_set(self) -> bool:
            if super().is_set():
                raise KeyboardInterrupt
            return False

    engine = hosted(scripted(HELLO, save_s=30))
    turn = said(engine)
    with pytest.raises(KeyboardInterrupt):
        engine.keep(tmp_path / "kept", turn, 10**9, Twice(20))
    assert not list(tmp_path.glob("kept*"))


@posix
def test_an_engine_that_hangs_while_it_keeps_is_given_up(
    hosted: Hosted, scripted: Spec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host, "_KEEP_S", 0.5)
    engine = hosted(scripted(HELLO, save_s=30))
    turn, pid = said(engine), engine.pid
    assert pid
    threading.Timer(0.2, os.kill, (pid, signal.SIGSTOP)).start()
    with pytest.raises(RunFailed, match="longer than"):
        engine.keep(tmp_path / "kept", turn, 10**9, threading.Event())
    assert gone(pid)
    assert not list(tmp_path.glob("kept*"))


def test_what_is_on_disk_already_is_not_written_again(hosted: Hosted, scripted: Spec, tmp_path: Path) -> None:
    def keep(engine: HostedEngine) -> State | None:
        return engine.keep(tmp_path / "kept", said(engine), 10**9, threading.Event())

    spec = replace(scripted(HELLO), state=tmp_path / "kept")
    first, second = hosted(spec), hosted(spec)
    assert second.keep(tmp_path / "none", said(second), 10**9, threading.Event())
    assert keep(first)
    assert keep(first) is None
    assert keep(hosted(spec)) is None
    assert keep(second)  # which began with nothing, and knows nothing of what is there
    (tmp_path / "kept" / "ids.json").write_text("[1]")
    assert keep(hosted(spec))


def test_keeping_ends_when_the_user_does_not_want_to_wait(
    hosted: Hosted, scripted: Spec, tmp_path: Path
) -> None:
    engine = hosted(scripted(HELLO, save_s=30))
    turn, cancel = said(engine), threading.Event()
    threading.Timer(0.3, cancel.set).start()
    began = time.monotonic()
    assert engine.keep(tmp_path / "kept", turn, 10**9, cancel) is None
    assert time.monotonic() - began < 0.3 + SOON
    assert not list(tmp_path.glob("kept*"))
