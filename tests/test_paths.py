from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from localmag import config, paths
from localmag.errors import WrongUsage


def test_localmag_home_holds_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCALMAG_HOME", str(tmp_path / "deep" / "home"))
    made = [paths.data(), paths.cache(), paths.config(), paths.logs()]
    assert len(set(made)) == 4
    for path in made:
        assert path.is_dir()
        assert path.is_relative_to(tmp_path / "deep" / "home")
    assert paths.database().parent == paths.data()


def test_a_tilde_in_localmag_home_is_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.setenv("LOCALMAG_HOME", "~/mine")
    assert paths.data() == tmp_path / "mine" / "data"


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="XDG is Linux's convention")
def test_without_it_the_platform_decides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LOCALMAG_HOME", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "xdg"))
    assert paths.data() == tmp_path / "xdg" / "localmag"


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("LOCALMAG_HOME", str(tmp_path / "file"))
    with pytest.raises(WrongUsage, match="LOCALMAG_HOME") as caught:
        paths.data()
    assert str(tmp_path / "file" / "data") in caught.value.what


def test_what_is_only_read_need_not_be_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("LOCALMAG_HOME", str(tmp_path / "file"))
    assert config.load() == config.Config()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows always has a profile")
def test_a_user_without_a_home_is_told_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    import pwd

    def unknown(uid: int) -> None:
        raise KeyError(uid)

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    for name in ("HOME", "LOCALMAG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME"):
        monkeypatch.delenv(name)
    for place in (paths.data, paths.logs):
        with pytest.raises(WrongUsage, match="LOCALMAG_HOME"):
            place()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such bits; its user folders are private")
def test_other_users_cannot_look_in() -> None:
    assert paths.data().stat().st_mode & 0o077 == 0


def test_people_read_a_tilde_for_the_home_folder_where_a_path_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(tmp_path))
    short = str(Path("~", "a b", "c"))
    assert paths.shortened(tmp_path / "a b" / "c") == short
    assert paths.shortened(f"7 in {tmp_path / 'a b' / 'c'} (2 MB)") == f"7 in {short} (2 MB)"
    for other in (f"{tmp_path}2/a", f"/mnt{tmp_path}/a", str(tmp_path), "a/b", ""):
        assert paths.shortened(other) == other


def test_importing_makes_no_folder(tmp_path: Path) -> None:
    home = tmp_path / "home"
    code = "import localmag.paths, localmag.config, localmag.sessions, localmag.chat"
    subprocess.run([sys.executable, "-c", code], check=True, env={"LOCALMAG_HOME": str(home), "PATH": ""})
    assert not home.exists()
