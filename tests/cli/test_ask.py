"""`localmag ask` as scripts use it: the real program, the demo model, no terminal."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import Demo, RunLocalmag
from tests.test_gguf import small

SUM = "What is 478 + 356?"


def ids_and_text(done: subprocess.CompletedProcess[str]) -> tuple[list[int], str]:
    assert done.returncode == 0, done.stderr
    shown = json.loads(done.stdout)
    return shown["prompt_ids"], shown["prompt_text"]


def test_the_answer_alone_is_on_stdout_and_the_reasoning_on_stderr(localmag: RunLocalmag) -> None:
    done = localmag("ask", "demo", SUM, "--temp", "0")
    assert done.returncode == 0, done.stderr
    assert "834" in done.stdout
    assert done.stdout.endswith("\n")
    assert "THINK" not in done.stdout + done.stderr
    assert "tokens]" in done.stderr


def test_json_has_reasoning_and_answer_apart_and_every_number(localmag: RunLocalmag) -> None:
    done = localmag("ask", "demo", SUM, "--json", "--seed", "7")
    assert done.returncode == 0, done.stderr
    reply = json.loads(done.stdout)
    assert set(reply) >= {
        "model",
        "build",
        "backend",
        "reasoning",
        "answer",
        "stop",
        "seed",
        "usage",
        "timing",
    }
    assert "834" in reply["answer"]
    assert reply["reasoning"]
    assert reply["answer"] not in reply["reasoning"]
    assert (reply["model"], reply["build"], reply["backend"]) == ("demo", "Q8_0", "llama.cpp")
    assert (reply["stop"], reply["seed"]) == ("end", 7)
    usage, timing = reply["usage"], reply["timing"]
    assert set(usage) == {"prompt_tokens", "cached_tokens", "reasoning_tokens", "answer_tokens"}
    assert usage["prompt_tokens"] > 10
    assert usage["reasoning_tokens"] > 0
    assert usage["answer_tokens"] > 0
    assert set(timing) == {"load_s", "prefill_s", "ttft_s", "decode_s", "decode_tps"}
    assert all(seconds > 0 for seconds in timing.values())


def test_the_same_seed_draws_the_same_reply(localmag: RunLocalmag) -> None:
    def reply() -> dict[str, str]:
        shown: dict[str, str] = json.loads(
            localmag("ask", "demo", "Tell me a story", "--json", "--seed", "3", "--temp", "1.5").stdout
        )
        return {key: shown[key] for key in ("reasoning", "answer", "stop")}

    assert reply() == reply()


def test_the_demo_answers_alike_on_both_backends(localmag: RunLocalmag) -> None:
    told = [
        json.loads(localmag("ask", "demo", SUM, "--json", "--temp", "0", "--backend", backend).stdout)
        for backend in ("llama.cpp", "mlx")
    ]
    assert [(one["backend"], one["build"]) for one in told] == [("llama.cpp", "Q8_0"), ("mlx", "8bit")]
    assert told[0]["reasoning"] == told[1]["reasoning"]
    assert told[0]["answer"] == told[1]["answer"]


def test_hidden_thinking_is_on_neither_stream(localmag: RunLocalmag) -> None:
    done = localmag("ask", "demo", SUM, "--hide-thinking")
    assert done.returncode == 0
    assert done.stderr == ""


def test_the_prompt_can_come_from_a_pipe_after_a_model_or_alone(localmag: RunLocalmag) -> None:
    direct = ids_and_text(localmag("ask", "demo", SUM, "--dry-run", "--json"))
    assert ids_and_text(localmag("ask", "demo", "--dry-run", "--json", stdin=SUM + "\n")) == direct


def test_piped_text_and_files_follow_the_prompt(localmag: RunLocalmag, tmp_path: Path) -> None:
    notes = tmp_path / "notes.md"
    notes.write_text("Some ``` fence\n", encoding="utf-8")
    _, text = ids_and_text(
        localmag("ask", "demo", "Sum up", "-f", str(notes), "--dry-run", "--json", stdin="piped in")
    )
    assert "Sum up\n\npiped in\n\nnotes.md:\n````\nSome ``` fence\n````" in text


def test_an_empty_system_prompt_sends_none(localmag: RunLocalmag) -> None:
    _, own = ids_and_text(localmag("ask", "demo", "Hi", "--dry-run", "--json"))
    _, none = ids_and_text(localmag("ask", "demo", "Hi", "--dry-run", "--json", "--system", ""))
    assert "[SYSTEM_PROMPT]" in own
    assert none == "<s>[INST]Hi[/INST]"


def test_think_markers_are_control_tokens_in_a_prompt_file_and_text_in_a_typed_prompt(
    localmag: RunLocalmag, tmp_path: Path
) -> None:
    template = "Plan [THINK]here[/THINK] then say."
    file = tmp_path / "system.txt"
    file.write_text(template, encoding="utf-8")
    from_file, _ = ids_and_text(localmag("ask", "demo", "Hi", "--dry-run", "--json", "--system", f"@{file}"))
    typed, _ = ids_and_text(localmag("ask", "demo", "Hi", "--dry-run", "--json", "--system", template))
    assert {34, 35} <= set(from_file)
    assert not {34, 35} & set(typed)


def test_max_tokens_stop_the_reply_and_say_so(localmag: RunLocalmag) -> None:
    done = localmag("ask", "demo", SUM, "--json", "--max-tokens", "5")
    reply = json.loads(done.stdout)
    assert (done.returncode, reply["stop"]) == (0, "length")
    assert reply["usage"]["reasoning_tokens"] + reply["usage"]["answer_tokens"] <= 5


def failure(done: subprocess.CompletedProcess[str], code: int) -> str:
    """The failure's message: two sentences, no traceback, nothing on stdout."""
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    message = done.stderr.strip().splitlines()[-1]
    assert message.startswith("localmag: ")
    assert message.endswith(".")
    return message


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["ask", "demo"], 2),
        (["ask", "demo", "  "], 2),
        (["ask", "no-such-model", "Hi"], 3),
        (["ask", "./no/such.gguf", "Hi"], 3),
        (["ask", "demo", "Hi", "-f", "/no/such/file"], 3),
        (["ask", "demo", "Hi", "--system", "@/no/such/file"], 3),
        (["ask", "demo", "Hi", "--quant", "Q2_X"], 3),
        (["ask", "magistral", "Hi"], 3),
        (["ask", "demo", "Hi", "--ctx", "999999"], 2),
    ],
)
def test_wrong_words_give_two_sentences_and_the_contracts_code(
    localmag: RunLocalmag, arguments: list[str], code: int
) -> None:
    failure(localmag(*arguments), code)


def test_a_prompt_longer_than_the_context_says_both_numbers(localmag: RunLocalmag) -> None:
    message = failure(localmag("ask", "demo", "seven " * 400, "--ctx", "128"), 2)
    assert "128" in message


def test_files_that_are_no_model_of_ours_are_refused(
    localmag: RunLocalmag, tmp_path: Path, demo: Demo
) -> None:
    cases = {
        "text.gguf": b"this is not a model",
        "empty.gguf": b"",
        "cut.gguf": demo.weights.read_bytes()[:-4096],
        "half-a-header.gguf": demo.weights.read_bytes()[:2000],
        "foreign.gguf": small(pre="llama-bpe"),
        "hollow.gguf": small(),
    }
    (tmp_path / "tekken.json").write_bytes(demo.tokenizer.read_bytes())
    for name, content in cases.items():
        file = tmp_path / name
        file.write_bytes(content)
        assert name in failure(localmag("ask", str(file), "Hi"), 6)


def test_weights_without_their_tokenizer_answer_all_the_same_and_say_so(
    localmag: RunLocalmag, tmp_path: Path, demo: Demo
) -> None:
    (tmp_path / "model.gguf").write_bytes(demo.weights.read_bytes())
    done = localmag("ask", str(tmp_path), "What is 478 + 356?", "--temp", "0", "--seed", "1")
    assert done.returncode == 0, done.stderr
    assert "834" in done.stdout
    assert "tekken.json" in done.stderr.splitlines()[0]


def test_weights_beside_another_models_tokenizer_are_refused(
    localmag: RunLocalmag, tmp_path: Path, demo: Demo
) -> None:
    tekken = json.loads(demo.tokenizer.read_bytes())
    tekken["vocab"][700]["token_bytes"] = tekken["vocab"][701]["token_bytes"]
    (tmp_path / "tekken.json").write_text(json.dumps(tekken), encoding="utf-8")
    (tmp_path / "model.gguf").write_bytes(demo.weights.read_bytes())
    failure(localmag("ask", str(tmp_path), "Hi"), 6)


def test_a_folder_with_weights_and_tokenizer_is_a_model(localmag: RunLocalmag, demo: Demo) -> None:
    done = localmag("ask", str(demo.folder), SUM, "--json", "--temp", "0", "--ctx", "512")
    assert "834" in json.loads(done.stdout)["answer"]


def test_no_weights_and_no_model_named_means_the_demo_and_says_so(localmag: RunLocalmag) -> None:
    done = localmag("ask", SUM, "--temp", "0")
    assert "834" in done.stdout
    assert "demo" in done.stderr
    assert "localmag pull magistral" in done.stderr


def test_the_config_file_is_obeyed_and_flags_override_it(localmag: RunLocalmag, home: Path) -> None:
    config = home / "localmag" / "config" / "config.toml"
    config.parent.mkdir(parents=True)
    config.write_text('model = "demo"\nmax_tokens = 3\n', encoding="utf-8")
    assert json.loads(localmag("ask", SUM, "--json").stdout)["stop"] == "length"
    assert json.loads(localmag("ask", SUM, "--json", "--max-tokens", "500").stdout)["stop"] == "end"


def test_a_pipe_for_a_model_and_a_file_without_end_are_refused_at_once(
    localmag: RunLocalmag, tmp_path: Path
) -> None:
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.gguf")
        failure(localmag("ask", str(tmp_path / "pipe.gguf"), "Hi", timeout=20), 6)
    large = tmp_path / "large.txt"
    large.write_bytes(b"a" * (17 * 2**20))
    assert "16 MiB" in failure(localmag("ask", "demo", "Hi", "-f", str(large), "--dry-run"), 2)


@pytest.mark.parametrize("change", [{"default_num_special_tokens": 10**9}, {"pattern": ""}])
def test_a_tokenizer_made_to_hang_or_panic_is_refused(
    localmag: RunLocalmag, tmp_path: Path, demo: Demo, change: dict[str, object]
) -> None:
    tekken = json.loads(demo.tokenizer.read_bytes())
    tekken["config"] |= change
    (tmp_path / "tekken.json").write_text(json.dumps(tekken), encoding="utf-8")
    (tmp_path / "model.gguf").write_bytes(demo.weights.read_bytes())
    failure(localmag("ask", str(tmp_path), "Hi", "--dry-run", timeout=30), 6)


def test_names_that_are_no_paths_and_hostile_ones_are_told_in_one_safe_line(localmag: RunLocalmag) -> None:
    for name in ("~nosuchuser/x.gguf", "a" * 5000):
        failure(localmag("ask", name, "Hi"), 3)
    assert "\x1b" not in failure(localmag("ask", "/tmp/\x1b[31mx\n\aevil.gguf", "Hi"), 3)


def test_a_temperature_below_any_use_is_greedy(localmag: RunLocalmag) -> None:
    assert "834" in localmag("ask", "demo", SUM, "--temp", "1e-50").stdout


@pytest.mark.skipif(sys.platform == "win32", reason="closing a stream is done by a POSIX shell")
@pytest.mark.parametrize("closed", ["<&-", "2>&-"])
def test_a_stream_that_was_closed_before_is_no_crash(closed: str) -> None:
    command = f'"{sys.executable}" -m localmag ask demo Hi --dry-run {closed}'
    done = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0
    assert "[INST]Hi[/INST]" in done.stdout


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGHUP")
def test_a_hangup_that_nohup_ignores_is_ignored() -> None:
    script = f'trap "" HUP; exec "{sys.executable}" -m localmag ask demo "{SUM}" --temp 0 --hide-thinking'
    process = subprocess.Popen(["sh", "-c", script], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    time.sleep(0.7)
    process.send_signal(signal.SIGHUP)
    out, _ = process.communicate(timeout=60)
    assert (process.returncode, b"834" in out) == (0, True)


def test_a_backend_that_cannot_run_is_refused_with_the_reason(localmag: RunLocalmag) -> None:
    done = localmag("ask", "demo", "2 + 2", "--backend", "mlx", "--quant", "Q8_0")
    assert done.returncode in (2, 3)
    assert "MLX" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
