"""`lambdad up` as a process: its start, its lines, its end; and the commands that speak to it."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path

import pytest
from botocore.exceptions import BotoCoreError

from lambdad import __version__
from tests.conftest import StartServer
from tests.running import RunningServer, clean_environment

pytestmark = pytest.mark.server

GREETING = """
def handler(event, context):
    print("greeting", event.get("name"))
    if event.get("name") == "nobody":
        raise ValueError("nobody cannot be greeted")
    return {"greeting": "Hello, " + event["name"]}
"""


SLEEPER = """
import time
def handler(event, context):
    print("running")
    time.sleep(60)
"""


@pytest.fixture(scope="module")
def greeter(server: RunningServer) -> RunningServer:
    server.create_function("cli-greeter", GREETING)
    return server


def lambdad(
    *arguments: str, environ: dict[str, str] | None = None, given: str = ""
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "lambdad", *arguments],
        env=clean_environment() | (environ or {}),
        input=given,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def at(server: RunningServer, **more: str) -> dict[str, str]:
    return {"AWS_ENDPOINT_URL": server.endpoint} | more


# --- start and end ---


def test_it_says_where_it_is_and_what_to_paste(server: RunningServer):
    assert f"lambdad {__version__} is ready at {server.endpoint}" in server.output
    assert f"export AWS_ENDPOINT_URL={server.endpoint}" in server.output
    assert "export AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test" in server.output
    assert "export AWS_DEFAULT_REGION=us-east-1" in server.output
    assert f"python3.{sys.version_info.minor}" in server.wait_for_line("runtimes ").string


def test_health_answers_with_the_version(server: RunningServer):
    with urllib.request.urlopen(f"{server.endpoint}/_lambdad/health") as answer:
        assert answer.status == 200
        assert json.load(answer)["version"] == __version__


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_it_cleanly(start_server: StartServer, number: signal.Signals):
    server = start_server()
    assert server.stop(number) == 0
    assert server.lines[-1] == "Stopped."


def test_ctrl_c_reaches_every_process_of_the_terminal_and_still_ends_cleanly(start_server: StartServer):
    server = start_server()
    server.create_function("warm", GREETING)
    server.client("lambda").invoke(FunctionName="warm", Payload=b'{"name": "Ada"}')
    os.killpg(server.process.pid, signal.SIGINT)
    assert server.stop() == 0
    assert "Traceback" not in server.output


def test_a_second_ctrl_c_ends_it_at_once(start_server: StartServer):
    server = start_server()
    server.create_function("slow", SLEEPER, Timeout=60)
    calling = threading.Thread(target=_call_in_vain, args=(server, "slow"))
    calling.start()
    children = _wait_for_function(server)
    server.process.send_signal(signal.SIGINT)
    server.wait_for_line("Stopping")
    assert server.stop(signal.SIGINT) == 130
    calling.join()
    for child in children:
        _wait_gone(child)


def test_nothing_is_left_running_after_kill_9(start_server: StartServer):
    server = start_server()
    server.create_function(
        "pid", "import os\ndef handler(event, context):\n    return os.readlink('/proc/self/ns/pid')\n"
    )
    server.client("lambda").invoke(FunctionName="pid")
    children = _descendants(server.process.pid)
    assert children
    server.process.kill()
    server.process.wait()
    for child in children:
        _wait_gone(child)


def test_without_its_spawner_the_server_ends_and_says_so(start_server: StartServer):
    server = start_server()
    spawner = _descendants(server.process.pid)[0]
    os.kill(spawner, signal.SIGKILL)
    assert server.process.wait(10) == 1
    server.wait_for_line("The spawner, which starts functions, has ended")


def test_the_data_outlives_kill_9(start_server: StartServer):
    first = start_server()
    first.create_function("kept", GREETING)
    first.process.kill()
    first.process.wait()
    second = start_server(data=first.data)
    answer = second.client("lambda").invoke(FunctionName="kept", Payload=b'{"name": "Ada"}')
    assert json.load(answer["Payload"]) == {"greeting": "Hello, Ada"}


def test_a_second_server_on_the_same_data_is_refused(server: RunningServer):
    done = lambdad("up", "--port", "0", "--data", str(server.data))
    assert done.returncode == 1
    assert f"process {server.process.pid}" in done.stderr
    assert "--data" in done.stderr


def test_a_port_in_use_is_told_with_what_to_do(server: RunningServer, tmp_path: Path):
    done = lambdad("up", "--port", str(server.port), "--data", str(tmp_path / "other"))
    assert done.returncode == 1
    assert f"Something else listens on port {server.port}" in done.stderr
    assert "--port (LAMBDAD_PORT)" in done.stderr


def test_an_address_of_another_machine_is_told(tmp_path: Path):
    done = lambdad("up", "--port", "0", "--host", "192.0.2.1", "--data", str(tmp_path / "data"))
    assert done.returncode == 1
    assert "This machine has no address 192.0.2.1" in done.stderr


def test_a_data_folder_that_cannot_be_is_told(tmp_path: Path):
    (tmp_path / "file").write_text("")
    done = lambdad("up", "--port", "0", "--data", str(tmp_path / "file" / "data"))
    assert done.returncode == 1
    assert "--data (LAMBDAD_DATA)" in done.stderr


def test_variables_count_as_options(start_server: StartServer, tmp_path: Path):
    server = start_server(environ={"LAMBDAD_REGION": "eu-central-1", "LAMBDAD_AUTH": "strict", "LAMBDAD_PROT": "1"})
    assert "export AWS_DEFAULT_REGION=eu-central-1" in server.output
    assert "lambdad keys create" in server.output
    assert "Warning: LAMBDAD_PROT is set" in server.output


def test_it_listens_on_loopback_alone_by_default(server: RunningServer):
    with socket.socket() as other, pytest.raises(OSError, match="refused"):
        other.connect((socket.gethostbyname_ex("localhost")[2][0].replace("127.0.0.1", "127.0.0.2"), server.port))


# --- one line for each invocation ---


def test_each_invocation_is_a_line(greeter: RunningServer):
    answer = greeter.client("lambda").invoke(FunctionName="cli-greeter", Payload=b'{"name": "line"}')
    request_id = answer["ResponseMetadata"]["RequestId"]
    line = greeter.wait_for_line(request_id).string
    assert "cli-greeter" in line
    assert "success" in line
    failed = greeter.client("lambda").invoke(FunctionName="cli-greeter", Payload=b'{"name": "nobody"}')
    assert "error ValueError" in greeter.wait_for_line(failed["ResponseMetadata"]["RequestId"]).string


def test_from_warning_on_invocations_are_not_shown(start_server: StartServer):
    server = start_server("--log-level", "warning")
    server.create_function("quiet", GREETING)
    server.client("lambda").invoke(FunctionName="quiet", Payload=b'{"name": "Ada"}')
    assert server.stop() == 0
    assert "quiet" not in server.output


# --- the commands ---


def test_invoke_prints_the_answer(greeter: RunningServer):
    done = lambdad("invoke", "cli-greeter", "-p", '{"name": "Ada"}', environ=at(greeter))
    assert (done.returncode, done.stdout) == (0, '{"greeting": "Hello, Ada"}\n')


def test_invoke_takes_files_and_standard_input(greeter: RunningServer, tmp_path: Path):
    (tmp_path / "event.json").write_text('{"name": "File"}')
    from_file = lambdad("invoke", "cli-greeter", "-p", f"@{tmp_path / 'event.json'}", environ=at(greeter))
    from_input = lambdad("invoke", "cli-greeter", "-p", "-", environ=at(greeter), given='{"name": "Input"}')
    assert json.loads(from_file.stdout) == {"greeting": "Hello, File"}
    assert json.loads(from_input.stdout) == {"greeting": "Hello, Input"}


def test_invoke_exits_with_1_when_the_function_fails(greeter: RunningServer):
    done = lambdad("invoke", "cli-greeter", "-p", '{"name": "nobody"}', environ=at(greeter))
    assert done.returncode == 1
    assert json.loads(done.stdout)["errorType"] == "ValueError"
    assert "The function failed (Unhandled, version $LATEST)." in done.stderr


def test_invoke_shows_the_tail_beside_the_answer(greeter: RunningServer):
    done = lambdad("invoke", "cli-greeter", "-p", '{"name": "tail"}', "--tail", environ=at(greeter))
    assert json.loads(done.stdout) == {"greeting": "Hello, tail"}
    assert "greeting tail" in done.stderr
    assert "REPORT RequestId:" in done.stderr


def test_invoke_tells_what_the_server_refuses(server: RunningServer):
    done = lambdad("invoke", "not-there", environ=at(server))
    assert done.returncode == 1
    assert "ResourceNotFoundException: Function not found" in done.stderr


def test_invoke_calls_a_version(greeter: RunningServer):
    version = greeter.client("lambda").publish_version(FunctionName="cli-greeter")["Version"]
    done = lambdad("invoke", "cli-greeter", "-q", version, "-p", '{"name": "nobody"}', environ=at(greeter))
    assert f"version {version}" in done.stderr


def test_logs_show_what_was_printed(greeter: RunningServer):
    greeter.client("lambda").invoke(FunctionName="cli-greeter", Payload=b'{"name": "for the log"}')
    with subprocess.Popen(
        [sys.executable, "-m", "lambdad", "logs", "cli-greeter", "--follow", "--since", "all"],
        env=clean_environment() | at(greeter),
        stdout=subprocess.PIPE,
        text=True,
    ) as following:
        assert following.stdout is not None
        assert any("greeting for the log" in line for line in following.stdout)
        greeter.client("lambda").invoke(FunctionName="cli-greeter", Payload=b'{"name": "later"}')
        assert any("greeting later" in line for line in following.stdout)
        following.send_signal(signal.SIGINT)
        assert following.wait(10) == 0
    once = lambdad("logs", "cli-greeter", "--filter", '"greeting later"', environ=at(greeter))
    assert once.stdout.count("greeting later") == 1
    assert "for the log" not in once.stdout


def test_logs_of_a_function_that_does_not_exist_are_an_error(server: RunningServer):
    done = lambdad("logs", "not-there", environ=at(server))
    assert done.returncode == 1
    assert "ResourceNotFoundException" in done.stderr


# --- keys, strict ---


def test_a_strict_server_takes_only_keys_that_were_made(start_server: StartServer, tmp_path: Path):
    data = {"LAMBDAD_DATA": str(tmp_path / "data")}
    first = json.loads(lambdad("keys", "create", "--json", environ=data).stdout)
    server = start_server("--auth", "strict")
    with_key = at(server, AWS_ACCESS_KEY_ID=first["access_key_id"], AWS_SECRET_ACCESS_KEY=first["secret_access_key"])

    refused = lambdad("invoke", "hello", environ=at(server))
    assert "UnrecognizedClientException" in refused.stderr
    assert "ResourceNotFoundException" in lambdad("invoke", "hello", environ=with_key).stderr

    # While the server runs it is asked; what it is told holds at once.
    second = json.loads(lambdad("keys", "create", "--json", environ=data | with_key).stdout)
    assert lambdad("keys", "create", environ=data | at(server)).returncode == 1
    listed = lambdad("keys", "list", environ=data | with_key).stdout
    assert first["access_key_id"] in listed
    assert second["access_key_id"] in listed
    assert lambdad("keys", "revoke", first["access_key_id"], environ=data | with_key).returncode == 0
    assert "UnrecognizedClientException" in lambdad("invoke", "hello", environ=with_key).stderr


def test_doctor_knows_a_running_server(server: RunningServer):
    done = lambdad("doctor", "--json", "--port", str(server.port), "--data", str(server.data))
    port = next(finding for finding in json.loads(done.stdout)["findings"] if finding["name"] == "port")
    assert port["status"] == "ok"
    assert "a lambdad server answers there" in port["detail"]


def test_the_demo_does_all_it_shows():
    done = lambdad("demo")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "All of it happened" in done.stdout


def test_the_demo_does_without_the_aws_cli(tmp_path: Path):
    done = lambdad("demo", environ={"PATH": str(tmp_path)})
    assert done.returncode == 0, done.stdout + done.stderr
    assert "boto3, because there is no aws CLI on PATH" in done.stdout


def _call_in_vain(server: RunningServer, function: str) -> None:
    with pytest.raises(BotoCoreError):
        server.client("lambda").invoke(FunctionName=function)


def _wait_for_function(server: RunningServer) -> list[int]:
    """The processes below the server once the function `slow` has printed that it runs."""
    logs = server.client("logs")
    group = "/aws/lambda/slow"
    while not logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"]:
        pass
    while not logs.filter_log_events(logGroupName=group, filterPattern="running")["events"]:
        pass
    return _descendants(server.process.pid)


def _descendants(process: int) -> list[int]:
    found = [int(child) for child in Path(f"/proc/{process}/task/{process}/children").read_text().split()]
    return found + [below for child in found for below in _descendants(child)]


def _wait_gone(process: int) -> None:
    try:
        descriptor = os.pidfd_open(process)
    except ProcessLookupError:
        return
    with os.fdopen(descriptor) as watched:
        import select

        assert select.select([watched], [], [], 10)[0], f"process {process} outlives its server"
