"""Weights that are already here, as a user meets them: import, list, show, ask, chat and rm."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Demo, RunLocalmag
from tests.hub.look import cached, two_sentences
from tests.hub.magistral import BASE_REPO, WEIGHTS_REPO
from tests.hub.server import Hub
from tests.hub.zygote import Zygote
from tests.store.make import magistral, mlx, tiny
from tests.test_gguf import small

pytest_plugins = ("tests.hub.fixtures",)

GREEDY = ("What is 478 + 356?", "--temp", "0", "--max-tokens", "200")


def listed(run: RunLocalmag, *args: str) -> dict[str, Any]:
    return {entry["name"]: entry for entry in json.loads(run("list", "--json", *args).stdout)}


def failure(done: subprocess.CompletedProcess[str], code: int) -> str:
    assert done.returncode == code, done.stderr
    assert not done.stdout
    assert two_sentences(done.stderr)
    return done.stderr


@pytest.fixture
def studio(home: Path, demo: Demo) -> Path:
    """A model that LM Studio fetched."""
    file = home / ".lmstudio" / "models" / "someone" / "tiny-GGUF" / "tiny-reasoner-Q8_0.gguf"
    file.parent.mkdir(parents=True)
    shutil.copy(demo.weights, file)
    return file


def test_lm_studios_weights_answer_by_name_and_stay_when_removed(studio: Path, localmag: RunLocalmag) -> None:
    assert listed(localmag)["tiny-reasoner-Q8_0"]["place"] == "LM Studio"
    bundled = json.loads(localmag("ask", "demo", *GREEDY, "--json").stdout)
    done = localmag("ask", "Tiny-Reasoner-q8_0", *GREEDY, "--json", "--system", "")
    theirs = json.loads(done.stdout)
    assert theirs["answer"] == bundled["answer"]
    assert "rebuilt from its own vocabulary" in done.stderr
    said = failure(localmag("rm", "tiny-reasoner-Q8_0", "--yes"), 3)
    assert "LM Studio's" in said
    assert studio.is_file()


def test_a_word_that_names_weights_is_the_model_when_text_is_piped(
    studio: Path, localmag: RunLocalmag
) -> None:
    done = localmag("ask", "tiny-reasoner-Q8_0", *GREEDY[1:], stdin="What is 478 + 356?")
    assert "834" in done.stdout


def test_chat_takes_the_name_and_goes_on_with_it(studio: Path, localmag: RunLocalmag) -> None:
    done = localmag("chat", "tiny-reasoner-Q8_0", "--temp", "0", stdin="What is 478 + 356?\n")
    assert "834" in done.stdout, done.stderr
    done = localmag("chat", "--continue", "--temp", "0", stdin="now add 12\n")
    assert "846" in done.stdout, done.stderr


def test_import_then_use_then_forget(localmag: RunLocalmag, tmp_path: Path, demo: Demo) -> None:
    file = tmp_path / "somewhere" / "mine.gguf"
    file.parent.mkdir()
    shutil.copy(demo.weights, file)
    done = localmag("import", str(file), "--name", "little")
    assert (done.returncode, done.stdout) == (0, "little\n")
    assert "834" in localmag("ask", "little", *GREEDY).stdout
    assert listed(localmag)["little"]["path"] == str(file)
    assert localmag("rm", "little").returncode == 2  # nobody there to ask
    assert localmag("rm", "little", "--yes").returncode == 0
    assert "little" not in listed(localmag)
    assert file.is_file()
    failure(localmag("ask", "little", "Hi"), 3)


def test_importing_again_keeps_the_name_that_was_chosen(
    localmag: RunLocalmag, tmp_path: Path, demo: Demo
) -> None:
    file = Path(shutil.copy(demo.weights, tmp_path / "mine.gguf"))
    link = tmp_path / "link.gguf"
    link.symlink_to(file)
    assert localmag("import", str(file), "--name", "little").stdout == "little\n"
    for path in (file, link):
        assert localmag("import", str(path)).stdout == "little\n"
    assert localmag("import", str(link), "--name", "small").stdout == "small\n"
    assert {"small"} == {name for name, one in listed(localmag).items() if one["place"] == "import"}


@pytest.mark.parametrize("command", ["ask", "chat", "fit"])
def test_an_import_whose_file_has_gone_says_so(
    localmag: RunLocalmag, tmp_path: Path, demo: Demo, command: str
) -> None:
    file = shutil.copy(demo.weights, tmp_path / "my model;date.gguf")
    assert localmag("import", str(file)).stdout == "my-model;date\n"
    Path(file).unlink()
    said = failure(localmag(command, "my-model;date", *(("Hi",) if command == "ask" else ())), 3)
    assert f"Nothing is at {file} any more." in said
    assert "`localmag rm 'my-model;date'`" in said


def test_a_file_called_as_an_option_gets_a_name_that_can_be_typed(
    localmag: RunLocalmag, tmp_path: Path, demo: Demo
) -> None:
    file = shutil.copy(demo.weights, tmp_path / "-h.gguf")
    (name,) = localmag("import", str(file)).stdout.splitlines()
    assert localmag("rm", name, "--yes").returncode == 0


@pytest.mark.parametrize("name", ["small/../x", "a\\b", "mine@home", "-x", "magistral", ""])
def test_what_would_be_read_as_something_else_is_no_name(
    localmag: RunLocalmag, tmp_path: Path, demo: Demo, name: str
) -> None:
    file = shutil.copy(demo.weights, tmp_path / "mine.gguf")
    done = localmag("import", str(file), "--name", name)
    assert done.returncode == 2
    assert "cannot be the name of an import" in done.stderr


@pytest.mark.parametrize("command", ["import", "fit"])
def test_an_empty_path_is_not_the_current_folder(localmag: RunLocalmag, command: str) -> None:
    done = localmag(command, "")
    assert done.returncode == 2
    assert done.stdout == ""


def test_what_is_known_already_keeps_its_name_and_says_so(localmag: RunLocalmag, demo: Demo) -> None:
    done = localmag("import", str(demo.folder), "--name", "mine")
    assert done.stdout.startswith("demo")
    assert "known already, as demo" in done.stderr


def test_list_says_whose_each_is_and_where(studio: Path, localmag: RunLocalmag) -> None:
    (studio.parent / "Llama-3-8B-Q4_K_M.gguf").write_bytes(small(pre="llama-bpe"))
    done = localmag("list")
    *_, line, where = done.stdout.splitlines()
    assert line.split()[0] == "tiny-reasoner-Q8_0"
    assert "LM Studio" in line
    assert "not verified" in line
    assert where.strip() == str(Path("~", *studio.relative_to(Path.home()).parts))
    assert "Not shown: 1" in done.stderr
    assert "not Mistral's Tekken" in localmag("list", "--all").stdout


def test_a_folder_that_cannot_be_read_is_told_of(home: Path, localmag: RunLocalmag) -> None:
    models = home / ".ollama" / "models"
    models.mkdir(parents=True)
    (models / "manifests").symlink_to(models / "manifests")
    done = localmag("list")
    assert done.returncode == 0
    assert "manifests cannot be read" in done.stderr


def test_show_knows_what_the_catalogue_does_not(studio: Path, localmag: RunLocalmag) -> None:
    shown = localmag("show", "tiny-reasoner-Q8_0").stdout
    assert "from" in shown
    assert "LM Studio" in shown
    assert "layers" in shown
    (copy,) = json.loads(localmag("show", "tiny-reasoner-Q8_0", "--json").stdout)["copies"]
    assert copy["path"] == str(studio)
    failure(localmag("show", "no-such-thing"), 3)


def test_show_of_what_the_catalogue_does_not_know_shows_what_is_asked_for(
    studio: Path, localmag: RunLocalmag
) -> None:
    for asked in (("--quant", "q8_0"), ("--backend", "llama.cpp")):
        assert localmag("show", "tiny-reasoner-Q8_0", *asked).returncode == 0
    for asked in (("--quant", "Q4_K_M"), ("--backend", "mlx")):
        said = failure(localmag("show", "tiny-reasoner-Q8_0", *asked), 3)
        assert "has no such build. `localmag show tiny-reasoner-Q8_0` lists" in said


@pytest.mark.parametrize("command", ["show", "rm"])
def test_what_takes_names_says_so_of_a_path(studio: Path, localmag: RunLocalmag, command: str) -> None:
    said = failure(localmag(command, str(studio)), 3)
    assert "is a path, and no name" in said
    assert f"localmag import {studio}" in said


def test_a_path_too_long_for_the_system_is_refused(localmag: RunLocalmag) -> None:
    failure(localmag("import", "a" * 5_000), 3)


def test_show_counts_every_copy(home: Path, localmag: RunLocalmag) -> None:
    studio = home / ".lmstudio" / "models"
    file = magistral(studio / "a" / "b" / "Magistral-Small-2509-UD-Q4_K_XL.gguf")
    shown = localmag("show", "magistral").stdout
    assert "magistral:UD-Q4_K_XL" in shown
    assert file.name in shown
    alone = localmag("show", "magistral:UD-Q4_K_XL").stdout
    assert file.name in alone
    assert localmag("show", "magistral", "--quant", "ud-q4_k_xl").stdout == alone
    failure(localmag("show", "magistral", "--quant", "UD-Q2_K_XL"), 3)


@pytest.mark.parametrize("command", ["ask", "import", "chat"])
def test_a_llama_3_named_magistral_is_refused(localmag: RunLocalmag, tmp_path: Path, command: str) -> None:
    file = tmp_path / "Magistral-Small-2509-Q4_K_M.gguf"
    file.write_bytes(small(pre="llama-bpe"))
    args = ("Hi",) if command == "ask" else ()
    assert "llama-bpe" in failure(localmag(command, str(file), *args), 6)


def test_a_smaller_model_named_magistral_is_refused(localmag: RunLocalmag, home: Path) -> None:
    folder = home / ".lmstudio" / "models" / "a" / "b"
    magistral(folder / "Magistral-Small-2509-Q4_K_M.gguf", layers=32)
    assert "32 and not 40" in failure(localmag("ask", "magistral", "Hi"), 6)
    assert listed(localmag)["magistral:Q4_K_M"]["state"] == "refused"


def test_an_mlx_build_without_its_tokenizer_says_how_to_get_it(localmag: RunLocalmag, home: Path) -> None:
    mlx(home / ".lmstudio" / "models" / "lmstudio-community" / "Magistral-Small-2509-MLX-4bit")
    assert "MLX" in localmag("list").stdout
    done = localmag("ask", "magistral:4bit", "Hi")
    if done.returncode == 2:
        assert "MLX: cannot run here" in done.stderr
    else:
        assert "localmag pull magistral --without-weights" in failure(done, 3)
    assert "demo" in localmag("ask", "What is 2 + 2?", "--max-tokens", "3").stderr


def test_a_system_prompt_that_is_missing_is_said_to_be(localmag: RunLocalmag, tmp_path: Path) -> None:
    file = magistral(tmp_path / "Magistral-Small-2509-Q4_K_M.gguf")
    done = localmag("ask", str(file), "Hi", "--dry-run", timeout=110)
    assert done.stdout == "<s>[INST]Hi[/INST]\n"
    assert "so none is sent; `localmag pull magistral --without-weights` fetches it" in done.stderr


def test_a_system_prompt_of_ones_own_needs_no_other(localmag: RunLocalmag, tmp_path: Path) -> None:
    file = magistral(tmp_path / "Magistral-Small-2509-Q4_K_M.gguf")
    done = localmag("ask", str(file), "Hi", "--dry-run", "--system", "Be brief.", timeout=110)
    assert done.stdout == "<s>[SYSTEM_PROMPT]Be brief.[/SYSTEM_PROMPT][INST]Hi[/INST]\n"
    assert "none is sent" not in done.stderr


def test_the_bundled_demo_waits_for_no_scan(studio: Path, localmag: RunLocalmag, home: Path) -> None:
    assert localmag("ask", "demo", "Hi", "--max-tokens", "2").returncode == 0
    assert not (home / "localmag" / "cache" / "looks.json").exists()


def test_pull_brings_what_goes_with_weights_that_are_here(hub: Hub, run: Zygote, home: Path) -> None:
    folder = home / ".lmstudio" / "models" / "lmstudio-community" / "Magistral-Small-2509-GGUF"
    magistral(folder / "Magistral-Small-2509-Q4_K_M.gguf")
    offered = run("pull", "magistral")
    assert offered.returncode == 2
    assert "is this build already (LM Studio)" in offered.stderr
    done = run("pull", "magistral", "--without-weights", "--yes")
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).name == "tekken.json"
    assert not cached(WEIGHTS_REPO).exists()
    assert {p.name for p in cached(BASE_REPO).rglob("snapshots/*/*")} >= {"tekken.json", "SYSTEM_PROMPT.txt"}
    (here,) = [e for e in json.loads(run("list", "--json").stdout) if e["name"] == "magistral:Q4_K_M"]
    assert (here["place"], here["tokenizer"], here["state"]) == ("LM Studio", "own", "unverified")


def test_rm_of_a_model_names_the_copies_that_stay(hub: Hub, run: Zygote, home: Path) -> None:
    assert run("pull", "magistral", "--yes").returncode == 0
    folder = home / ".lmstudio" / "models" / "a" / "b"
    folder.mkdir(parents=True)
    (folder / "Magistral-Small-2509-Q4_K_M.gguf").write_bytes(tiny())
    done = run("rm", "magistral", "--yes")
    assert done.returncode == 0, done.stderr
    assert "stays: it is LM Studio's" in done.stderr
    assert (folder / "Magistral-Small-2509-Q4_K_M.gguf").is_file()
    assert not cached(WEIGHTS_REPO).exists()
