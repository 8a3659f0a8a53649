"""`lambdad keys` on a data folder that no server has."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from lambdad.cli import main
from tests.conftest import StartServer


@pytest.fixture
def data(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("LAMBDAD_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


def keys(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["keys", *arguments], catch_exceptions=False)


def made(*arguments: str) -> dict[str, str]:
    result = keys("create", "--json", *arguments)
    assert result.exit_code == 0, result.output
    key: dict[str, str] = json.loads(result.stdout)
    return key


def test_a_key_is_made_listed_and_revoked(data: Path):
    key = made("--account", "111122223333", "--label", "ci")
    assert len(key["secret_access_key"]) == 40
    listed = keys("list").output
    assert listed.startswith(f"{key['access_key_id']}  111122223333")
    assert listed.rstrip().endswith("ci")
    assert key["secret_access_key"] not in listed
    assert keys("revoke", key["access_key_id"]).exit_code == 0
    assert json.loads(keys("list", "--json").stdout) == {"keys": []}


def test_people_get_lines_to_paste(data: Path):
    output = keys("create").output
    assert "export AWS_ACCESS_KEY_ID=AKIA" in output
    assert "export AWS_SECRET_ACCESS_KEY=" in output


def test_the_folder_is_for_its_owner_alone(data: Path):
    made()
    assert data.stat().st_mode & 0o077 == 0
    assert (data / "lambdad.db").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("create", "--account", "12"), "An account is 12 digits"),
        (("create", "--label", "x" * 129), "128 characters at most"),
        (("revoke", "AKIANOTTHERE"), "There is no access key AKIANOTTHERE"),
    ],
)
def test_what_cannot_be_done_is_told(data: Path, arguments: tuple[str, ...], text: str):
    result = keys(*arguments)
    assert result.exit_code == 1
    assert text in result.output


def test_the_server_whose_lines_were_pasted_is_asked(start_server: StartServer, tmp_path, monkeypatch):
    server = start_server()
    monkeypatch.delenv("LAMBDAD_DATA", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.endpoint)
    key = made()
    assert not (tmp_path / "home").exists()
    assert key["access_key_id"] in keys("list").output
    other = made("--data", str(tmp_path / "other"))
    assert other["access_key_id"] not in keys("list").output
    assert other["access_key_id"] in keys("list", "--data", str(tmp_path / "other")).output


def test_the_first_key_needs_no_server(tmp_path, monkeypatch):
    monkeypatch.delenv("LAMBDAD_DATA", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    made()
    assert (tmp_path / "home" / "lambdad" / "lambdad.db").exists()


def test_a_folder_that_cannot_be_made_is_told(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("LAMBDAD_DATA", str(tmp_path / "file" / "data"))
    result = keys("list")
    assert result.exit_code == 1
    assert "cannot be used" in result.output
