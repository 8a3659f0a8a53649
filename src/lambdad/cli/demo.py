"""`lambdad demo`: real calls against a server of its own, each one checked.

The calls go through the aws CLI when there is one, else through boto3, the same way a user would make them.
"""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import click

from lambdad import config
from lambdad.cli.demo_clients import CallFailed, Client, choose_client

START_TIMEOUT_S = 30
STOP_TIMEOUT_S = 20
ROLE = "arn:aws:iam::000000000000:role/demo"
QUEUE_ARN = "arn:aws:sqs:us-east-1:000000000000:failures"

GREETING = """\
def handler(event, context):
    print("greeting", event["name"])
    if event["name"] == "nobody":
        raise ValueError("nobody cannot be greeted")
    return {"message": "Hello, " + event["name"] + "!"}
"""


class DemoFailed(Exception):
    """Something did not happen as on AWS."""


class Server:
    """A `lambdad up` process on a free port, with what it prints."""

    def __init__(self, data: Path) -> None:
        self._process = subprocess.Popen(  # noqa: S603 - our own command
            [sys.executable, "-m", "lambdad", "up", "--port", "0", "--data", str(data)],
            env=config.child_environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.lines: list[str] = []
        self.endpoint = ""
        self._ready = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def wait_ready(self) -> None:
        """Raises DemoFailed when the server ends or stays silent."""
        self._ready.wait(START_TIMEOUT_S)
        if not self.endpoint:
            raise DemoFailed("the server did not start")

    def stop(self) -> int:
        """Ends the server as Ctrl-C does; its exit status."""
        self._process.terminate()
        try:
            status = self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            status = self._process.wait()
        self._reader.join(STOP_TIMEOUT_S)
        return status

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.lines.append(line.rstrip("\n"))
            if match := re.search(r"ready at (http://\S+)", line):
                self.endpoint = match[1]
                self._ready.set()
        self._ready.set()


@click.command("demo")
def command() -> None:
    """Start a server with a temporary data folder and show it at work with real calls.

    Exits with 0 only if everything that is shown really happened.
    """
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="lambdad-demo-") as folder:
        work = Path(folder)
        server = Server(work / "data")
        try:
            server.wait_ready()
            _title(f"A server of its own is ready at {server.endpoint} after {time.monotonic() - began:.2f} s")
            client = choose_client(server.endpoint, work)
            click.echo(f"  Calls are made with {client.name}.")
            for step in (_create, _call, _fail, _refuse, _tail, _versions, _logs):
                step(client)
            _asynchronous(client, server)
            _title("The server saw")
            for line in server.lines[-16:]:
                if re.match(r"\d\d:\d\d:\d\d", line):
                    click.echo(f"  {line}")
            _check("the server stops cleanly", server.stop() == 0)
        except (DemoFailed, CallFailed) as error:
            click.secho(f"\nThis did not work: {error}", fg="red", err=True)
            click.echo("The server's last lines:", err=True)
            for line in server.lines[-20:]:
                click.echo(f"  {line}", err=True)
            sys.exit(1)
        finally:
            server.stop()
    click.secho(f"\nAll of it happened, in {time.monotonic() - began:.1f} s.", fg="green", bold=True)
    click.echo("Next: `lambdad up`, then paste the export lines that it shows.")


# --- the steps ---


def _create(client: Client) -> None:
    _title("A function is made from a zip file")
    _write_zip(client.folder / "hello.zip", GREETING)
    runtime = f"python3.{sys.version_info.minor}"
    made = client.call(
        "lambda",
        "CreateFunction",
        FunctionName="hello",
        Runtime=runtime,
        Handler="app.handler",
        Role=ROLE,
        ZipFile=Path("hello.zip"),
    )
    _check("it is Pending at first", made["State"] == "Pending")
    client.wait("lambda", "function_active_v2", FunctionName="hello")
    state = client.call("lambda", "GetFunctionConfiguration", FunctionName="hello")
    _check("and Active at once", state["State"] == "Active", state.get("StateReason", ""))


def _call(client: Client) -> None:
    _title("It is called and answers")
    answer = client.invoke(FunctionName="hello", Payload='{"name": "world"}')
    _check("StatusCode 200, no error", answer["StatusCode"] == 200 and "FunctionError" not in answer, answer)
    _check("the answer is the function's", answer["payload"] == {"message": "Hello, world!"}, answer["payload"])


def _fail(client: Client) -> None:
    _title("A function error: StatusCode 200, the error in the payload")
    answer = client.invoke(FunctionName="hello", Payload='{"name": "nobody"}')
    _check("StatusCode 200 with FunctionError Unhandled", answer.get("FunctionError") == "Unhandled", answer)
    error = answer["payload"]
    _check("errorType ValueError", error.get("errorType") == "ValueError", error)
    _check("the trace names /var/task/app.py", "/var/task/app.py" in "".join(error["stackTrace"]), error)


def _refuse(client: Client) -> None:
    _title("A payload that is not JSON is refused before anything runs")
    try:
        client.invoke(FunctionName="hello", Payload="{name")
    except CallFailed as refused:
        _check("InvalidRequestContentException", "InvalidRequestContentException" in str(refused), str(refused))
    else:
        raise DemoFailed("the payload was accepted")


def _tail(client: Client) -> None:
    _title("The end of the log comes with the answer")
    answer = client.invoke(FunctionName="hello", Payload='{"name": "log"}', LogType="Tail")
    log = answer["log"]
    for line in log.splitlines():
        click.echo(f"    | {line}")
    order = [log.find(word) for word in ("START RequestId: ", "greeting log", "END RequestId: ", "REPORT RequestId: ")]
    _check("START, what it printed, END, REPORT", -1 not in order and order == sorted(order), log)


def _versions(client: Client) -> None:
    _title("Versions stay as they are, an alias divides calls between them")
    first = client.call("lambda", "PublishVersion", FunctionName="hello")["Version"]
    _write_zip(client.folder / "hello2.zip", GREETING.replace("Hello", "Good day"))
    client.call("lambda", "UpdateFunctionCode", FunctionName="hello", ZipFile=Path("hello2.zip"))
    client.wait("lambda", "function_updated_v2", FunctionName="hello")
    second = client.call("lambda", "PublishVersion", FunctionName="hello")["Version"]
    client.call(
        "lambda",
        "CreateAlias",
        FunctionName="hello",
        Name="live",
        FunctionVersion=first,
        RoutingConfig={"AdditionalVersionWeights": {second: 0.5}},
    )
    seen: dict[str, str] = {}
    for _ in range(40):  # both within 40 calls, but for one run in 500 thousand million
        answer = client.invoke(FunctionName="hello", Qualifier="live", Payload='{"name": "you"}', shown=not seen)
        seen[answer["ExecutedVersion"]] = answer["payload"]["message"]
        if len(seen) == 2:
            break
    _check("the alias reached both versions", seen == {first: "Hello, you!", second: "Good day, you!"}, seen)


def _logs(client: Client) -> None:
    _title("The log is kept and searched through CloudWatch Logs")

    def find() -> list[str]:
        found = client.call(
            "logs", "FilterLogEvents", logGroupName="/aws/lambda/hello", filterPattern="ValueError", shown=False
        )
        return [event["message"].rstrip() for event in found["events"]]

    client.show("logs", "FilterLogEvents", logGroupName="/aws/lambda/hello", filterPattern="ValueError")
    messages = _until(find)
    for message in messages:
        click.echo(f"    | {message.splitlines()[0]}")
    _check("the traceback is one event", len(messages) == 1 and "nobody cannot be greeted" in messages[0], messages)


def _asynchronous(client: Client, server: Server) -> None:
    _title("An asynchronous call that fails is retried after one and two minutes, and ends in a queue")
    url = client.call("sqs", "CreateQueue", QueueName="failures")["QueueUrl"]
    client.call(
        "lambda",
        "PutFunctionEventInvokeConfig",
        FunctionName="hello",
        DestinationConfig={"OnFailure": {"Destination": QUEUE_ARN}},
    )
    answer = client.invoke(FunctionName="hello", InvocationType="Event", Payload='{"name": "nobody"}')
    _check("StatusCode 202: the event is stored, the answer comes at once", answer["StatusCode"] == 202, answer)

    def attempts() -> list[str]:
        # Alone among the calls so far they are unqualified errors of the function's newest code.
        lines = [line for line in server.lines if " error ValueError" in line]
        return lines[1:]  # the first was the synchronous one

    for number, wait in enumerate(("", "60s", "120s"), start=1):
        if wait:
            _advance(server, wait)
        seen = _until(lambda wanted=number: attempts() if len(attempts()) >= wanted else [])  # type: ignore[misc]
        _check(
            f"attempt {number}" + (f", {wait} of the server's time later" if wait else ""), len(seen) == number, seen
        )
    _check("every attempt has the same request id", len({line.split()[-1] for line in attempts()}) == 1, attempts())

    def receive() -> list[str]:
        found = client.call("sqs", "ReceiveMessage", QueueUrl=url, shown=False)
        return [message["Body"] for message in found.get("Messages", [])]

    client.show("sqs", "ReceiveMessage", QueueUrl=url)
    bodies = _until(receive)
    for body in bodies:
        click.echo(f"    {body}")
    context = json.loads(bodies[0])["requestContext"] if bodies else {}
    told = (context.get("condition"), context.get("approximateInvokeCount"))
    _check("the record tells RetriesExhausted after 3 attempts", told == ("RetriesExhausted", 3), bodies)


def _advance(server: Server, time_text: str) -> None:
    """Moves the server's time forward with the command that users have."""
    click.secho(f"  $ lambdad clock advance {time_text}", fg="cyan")
    done = subprocess.run(  # noqa: S603 - our own command
        [sys.executable, "-m", "lambdad", "clock", "advance", time_text, "--endpoint-url", server.endpoint],
        env=config.child_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise DemoFailed(f"the clock could not be moved: {done.stderr or done.stdout}")


# --- telling and checking ---


def _title(text: str) -> None:
    click.secho(f"\n{text}", bold=True)


def _check(what: str, happened: bool, instead: object = "") -> None:
    if not happened:
        raise DemoFailed(f"{what}: got {instead}" if instead != "" else what)
    click.secho(f"  ✓ {what}", fg="green")


def _until(look: Callable[[], list[str]], seconds: float = 10) -> list[str]:
    """What `look` finds, as soon as it finds anything; stored logs follow the answer by a moment, as on AWS."""
    deadline = time.monotonic() + seconds
    while not (found := look()) and time.monotonic() < deadline:
        time.sleep(0.1)
    return found


def _write_zip(path: Path, source: str) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("app.py", source)
    path.write_bytes(buffer.getvalue())
