"""What `bench` measures, through a real engine; no number is asserted that a slow machine could miss."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from localmag import bench
from localmag.bench import Finding, Held, LeftOut, Opened, Speed, measure
from localmag.engines import EngineSpec
from localmag.errors import Cancelled, ContextTooSmall
from localmag.prompt import system_message
from localmag.types import Cancel, Event, Sampling, Turn
from tests.conftest import Demo
from tools import mlx_build

NEVER = threading.Event()


@pytest.fixture(scope="module", params=["llama.cpp", "mlx"])
def spec(request: pytest.FixtureRequest, demo: Demo, tmp_path_factory: pytest.TempPathFactory) -> EngineSpec:
    if request.param == "llama.cpp":
        return EngineSpec("llama.cpp", demo.weights, demo.tokenizer, context=128, threads=1)
    folder = mlx_build.write(demo.weights, tmp_path_factory.mktemp("mlx"), "float32")
    return EngineSpec("mlx", folder, demo.tokenizer, context=128)


def all_of(spec: EngineSpec, demo: Demo, **more: object) -> list[Finding]:
    system = system_message(demo.system_prompt.read_text("utf-8"))
    return list(measure(spec, NEVER, sampling=Sampling(), system=system, runs=2, **more))  # type: ignore[arg-type]


def test_it_loads_reads_and_writes(spec: EngineSpec, demo: Demo) -> None:
    opened, read, written, held = all_of(spec, demo)
    assert isinstance(opened, Opened)
    assert opened.load_s > 0
    assert opened.ttft_s > 0
    assert opened.prompt_tokens > 30
    assert isinstance(read, Speed)
    assert isinstance(written, Speed)
    assert (read.name, written.name) == ("pp64", "tg16")
    assert len(read.rates) == len(written.rates) == 2
    assert min(*read.rates, *written.rates) > 0
    assert min(read.rates) <= read.median <= max(read.rates)
    assert isinstance(held, Held)
    assert held.memory > 30 * 2**20


def test_at_a_depth_only_what_is_new_is_read(demo: Demo, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many ids as the row's name says, whatever the cache held before."""
    spec = EngineSpec("llama.cpp", demo.weights, demo.tokenizer, context=512, threads=1)
    done = []
    replied = bench._Bench._reply

    def watched(self: bench._Bench, text: str, most: int) -> bench.Done:
        done.append(replied(self, text, most))
        return done[-1]

    monkeypatch.setattr(bench._Bench, "_reply", watched)
    names = [one.name for one in all_of(spec, demo, depths=[0, 90]) if isinstance(one, Speed)]
    assert names == ["pp256", "tg64", "pp256 @ d90", "tg64 @ d90"]
    read = [d.usage for d in done if d.usage.prompt_tokens - d.usage.cached_tokens >= 200]
    assert len(read) == 6  # at each depth one to warm up, and two that count
    assert {u.prompt_tokens - u.cached_tokens for u in read[1:]} == {256}
    assert [u.cached_tokens for u in read[1:]] == [2, 2, 92, 92, 92]


def test_the_seed_decides_what_is_asked(demo: Demo, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = EngineSpec("llama.cpp", demo.weights, demo.tokenizer, context=128, threads=1)
    turns: list[Turn] = []
    reply = bench.HostedEngine.reply

    def watched(self: bench.HostedEngine, turn: Turn, cancel: Cancel) -> Iterator[Event]:
        turns.append(turn)
        return reply(self, turn, cancel)

    monkeypatch.setattr(bench.HostedEngine, "reply", watched)
    asked = []
    for seed in (0, 0, 2**32 - 2):
        turns.clear()
        list(measure(spec, NEVER, sampling=Sampling(temperature=0, seed=seed), runs=1, written=4))
        asked.append([(turn.messages, turn.sampling.seed) for turn in turns])
    assert asked[0] == asked[1] != asked[2]
    assert all(0 <= seed < 2**32 - 1 for _, seed in asked[2])


def test_a_depth_that_takes_minutes_is_left_out_unless_asked_for(
    demo: Demo, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = EngineSpec("llama.cpp", demo.weights, demo.tokenizer, context=512, threads=1)
    monkeypatch.setattr(bench, "DEPTHS", (0, 20))
    monkeypatch.setattr(bench, "_MOST_S", 0.0)
    left_out = [one for one in all_of(spec, demo) if isinstance(one, LeftOut)]
    assert [one.depth for one in left_out] == [20]


def test_a_depth_without_room_is_refused(demo: Demo) -> None:
    spec = EngineSpec("llama.cpp", demo.weights, demo.tokenizer, context=256, threads=1)
    with pytest.raises(ContextTooSmall):
        all_of(spec, demo, depths=[300])


def test_cancelled_it_ends_and_its_engine_with_it(demo: Demo) -> None:
    spec = EngineSpec("llama.cpp", demo.weights, demo.tokenizer, context=256, threads=1)
    cancel = threading.Event()
    findings: Iterator[Finding] = measure(spec, cancel, sampling=Sampling(), runs=1000)
    assert isinstance(next(findings), Opened)
    cancel.set()
    with pytest.raises(Cancelled):
        next(findings)
