"""The commands without a server: help, wrong options, nothing that answers."""

import json
import socket
import subprocess
import sys
from typing import Any

import pytest
from click.testing import CliRunner, Result

from lambdad import __version__
from lambdad.cli import COMMANDS, main


@pytest.fixture(autouse=True)
def own_environment(monkeypatch, tmp_path):
    """No settings or keys of whoever runs the tests."""
    for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "LAMBDAD_PORT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("LAMBDAD_DATA", str(tmp_path / "data"))


@pytest.fixture
def dead_endpoint():
    """A port of this machine that is taken but on which nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"


def lambdad(*arguments: str, given: str | None = None) -> Result:
    return CliRunner().invoke(main, arguments, input=given, catch_exceptions=False)


def test_the_version_is_told():
    assert lambdad("--version").output == f"lambdad {__version__}\n"


def test_the_module_is_the_command():
    done = subprocess.run([sys.executable, "-m", "lambdad", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"lambdad {__version__}\n"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name: str):
    result = lambdad(name, "--help")
    assert result.exit_code == 0
    assert result.output.startswith("Usage: ")


def test_an_unknown_command_is_refused():
    assert lambdad("serve").exit_code == 2


def test_help_and_wrong_options_load_nothing_of_the_server():
    program = (
        "import sys; from click.testing import CliRunner; from lambdad.cli import main;"
        "CliRunner().invoke(main, ['up', '--port', 'x']); CliRunner().invoke(main, ['--help']);"
        "print(sorted(m for m in sys.modules if m.split('.')[0] in ('asyncio', 'botocore', 'boto3', 'httptools')))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_up_refuses_a_value_that_cannot_be_used():
    result = lambdad("up", "--database", "postgresql://db/lambdad")
    assert result.exit_code == 2
    assert "PostgreSQL is not supported by this version" in result.output


# --- invoke and logs ---


@pytest.mark.parametrize("command", ["invoke", "logs"])
def test_a_server_that_does_not_answer_is_told_with_what_to_do(command: str, dead_endpoint: str):
    result = lambdad(command, "hello", "--endpoint-url", dead_endpoint)
    assert result.exit_code == 1
    assert f"Nothing answers at {dead_endpoint}" in result.output
    assert "lambdad up" in result.output


def test_the_endpoint_can_come_from_the_variable_that_aws_tools_use(dead_endpoint: str, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", dead_endpoint)
    assert f"Nothing answers at {dead_endpoint}" in lambdad("invoke", "hello").output


def test_the_endpoint_can_come_from_a_profile(dead_endpoint: str, monkeypatch, tmp_path):
    profile = tmp_path / "config"
    profile.write_text(f"[default]\nendpoint_url = {dead_endpoint}\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(profile))
    assert f"Nothing answers at {dead_endpoint}" in lambdad("invoke", "hello").output


def test_without_any_endpoint_it_is_the_local_one_and_never_aws():
    from lambdad.cli.client import make_client

    assert make_client("lambda", None).meta.endpoint_url == "http://127.0.0.1:4566"


def test_keys_and_region_have_local_defaults_and_follow_the_environment(monkeypatch):
    from lambdad.cli.client import make_session

    assert make_session().get_credentials().access_key == "test"
    assert make_session().get_config_variable("region") == "us-east-1"
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "111122223333")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    assert make_session().get_credentials().access_key == "111122223333"
    assert make_session().get_config_variable("region") == "eu-central-1"


def test_a_payload_file_that_is_not_there_is_named():
    result = lambdad("invoke", "hello", "-p", "@nowhere.json")
    assert result.exit_code == 1
    assert "nowhere.json: No such file or directory" in result.output


@pytest.mark.parametrize("since", ["yesterday", "10", "-5m", "5y"])
def test_a_time_that_is_not_understood_is_told(since: str):
    result = lambdad("logs", "hello", "--since", since)
    assert result.exit_code == 2
    assert "such as 30s, 10m, 2h or 7d" in result.output


# --- doctor ---


def findings(*arguments: str) -> tuple[int, dict[str, dict[str, str]]]:
    result = lambdad("doctor", "--json", *arguments)
    report = json.loads(result.stdout)
    assert report["complete"] is (result.exit_code == 0)
    return result.exit_code, {finding["name"]: finding for finding in report["findings"]}


def test_doctor_looks_at_what_up_would_use(tmp_path):
    status, found = findings("--port", "0")
    assert status == 0
    assert found["botocore"]["status"] == "ok"
    assert found["data folder"]["detail"] == f"{tmp_path / 'data'} (will be made)"
    assert not (tmp_path / "data").exists()


def test_doctor_names_a_port_that_is_taken(dead_endpoint: str):
    status, found = findings("--port", dead_endpoint.rpartition(":")[2])
    assert status == 1
    assert found["port"]["status"] == "missing"
    assert "--port" in found["port"]["remedy"]


def test_doctor_names_a_data_folder_that_cannot_be(tmp_path):
    (tmp_path / "file").write_text("")
    status, found = findings("--port", "0", "--data", str(tmp_path / "file" / "data"))
    assert status == 1
    assert "--data" in found["data folder"]["remedy"]


@pytest.mark.parametrize(("is_resolved", "status"), [(True, "ok"), (False, "note")])
def test_doctor_tells_whether_names_of_function_urls_are_resolved(monkeypatch, is_resolved: bool, status: str):
    asked = []
    resolve = socket.getaddrinfo

    def getaddrinfo(host: str, *arguments: Any, **options: Any) -> Any:
        if not host.startswith("id."):
            return resolve(host, *arguments, **options)
        asked.append(host)
        if not is_resolved:
            raise socket.gaierror(-2, "Name or service not known")
        return []

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    _, found = findings("--port", "0", "--hostname", "*.lambda.example.org")
    assert asked == ["id.lambda-url.us-east-1.lambda.example.org"]
    assert found["function URLs"]["status"] == status


def test_doctor_warns_of_misspelt_variables(monkeypatch):
    monkeypatch.setenv("LAMBDAD_PROT", "1")
    assert "LAMBDAD_PROT" in findings("--port", "0")[1]["variable"]["detail"]


def test_doctor_tells_what_freezing_and_cpu_time_stand_on():
    _, found = findings("--port", "0", "--isolation", "off")
    assert found["freezing"]["detail"] == "between calls, by signals, which functions can notice"
    assert found["CPU time"]["status"] == "note"
    _, found = findings("--port", "0", "--isolation", "off", "--freeze-after", "off")
    assert found["freezing"]["detail"].startswith("switched off")


def test_doctor_refuses_a_quota_that_cannot_be_had():
    status, found = findings("--port", "0", "--isolation", "off", "--cpu", "quota")
    assert status == 1
    assert "--cpu quota needs" in found["CPU time"]["remedy"]


def test_doctor_shows_isolation_and_interpreters():
    _, found = findings("--port", "0", "--isolation", "off")
    assert found["tier"]["detail"].startswith("T0")
    own = f"python3.{sys.version_info.minor}"
    assert found[own]["status"] == "ok"
    assert found[own]["detail"].startswith(f"3.{sys.version_info.minor}.")


def test_doctor_fails_below_the_tier_that_is_required():
    status, found = findings("--port", "0", "--isolation", "require=T3")
    assert (status == 1) is (found["tier"]["status"] == "missing")
    assert found["tier"]["detail"].startswith("T3") is (status == 0)


def test_doctor_speaks_to_people_too():
    result = lambdad("doctor", "--port", "0")
    assert "✓ botocore" in result.output
    assert "Everything that lambdad needs is there." in result.output
