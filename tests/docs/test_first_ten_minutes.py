"""The console blocks of the README, run as they stand with the real aws CLI; `…` there stands for anything."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.running import RunningServer, clean_environment

README = Path(__file__).parent.parent.parent / "README.md"
SHOWN_RUNTIME = "python3.11"
SHOWN_ACCOUNT = "000000000000"
ACCOUNT = "100000000010"
"""An account of its own keeps the functions of other tests out of the picture."""


def console_commands() -> list[tuple[str, str]]:
    """Each command of the console blocks and the output shown below it."""
    found: list[tuple[str, str]] = []
    for block in re.findall(r"^```console\n(.*?)^```", README.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, output = part.partition("\n")
            if here_document := re.search(r"<<'END'$", command):
                body, _, output = output.partition("END\n")
                command = f"{command}\n{body}END"
                assert here_document
            found.append((command, output))
    return found


def matches(shown: str, printed: str) -> bool:
    pattern = r".*?".join(re.escape(part) for part in shown.strip().split("…"))
    # AWS's Python runtime indents the lines of a traceback by no-break spaces, which nobody could copy from a page.
    return re.fullmatch(pattern, printed.replace("\u00a0", " ").strip(), re.DOTALL) is not None


def test_the_readme_shows_enough_commands():
    commands = [command for command, _ in console_commands()]
    assert len(commands) >= 18
    assert sum(command.startswith("aws ") for command in commands) >= 12


@pytest.mark.server
@pytest.mark.skipif(shutil.which("aws") is None, reason="needs the aws CLI; script/test installs it")
def test_every_command_of_the_readme_does_what_it_shows(server: RunningServer, tmp_path):
    environ = clean_environment() | {
        "AWS_ENDPOINT_URL": server.endpoint,
        "AWS_ACCESS_KEY_ID": ACCOUNT,
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_CONFIG_FILE": str(tmp_path / "config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "none"),
        "AWS_PAGER": "",
        "TZ": "UTC",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    (tmp_path / "config").write_text("[default]\ncli_binary_format = raw-in-base64-out\n")
    work = tmp_path / "work"
    work.mkdir()
    for shown_command, shown in console_commands():
        command = shown_command.replace(SHOWN_RUNTIME, f"python3.{sys.version_info.minor}").replace(
            SHOWN_ACCOUNT, ACCOUNT
        )
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=work,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
            check=False,
        )
        expected = shown.replace(SHOWN_ACCOUNT, ACCOUNT)
        assert matches(expected, done.stdout), f"$ {command}\n{done.stdout}\n--- shown:\n{expected}"
