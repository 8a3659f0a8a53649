"""Start of the runtime, and its loop."""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import signal
import site
import sys
import threading
import time
from typing import Any, NoReturn

from . import channel, context, faults, handlers, logs, marshalling, snapshots

_FRAMES_VARIABLE = "_LAMBDAD_FRAMES_FD"
_PLACES_VARIABLE = "_LAMBDAD_PLACES"
"""Set only without mount namespaces: `real=shown` pairs of directories, by newlines."""
_TRACE_VARIABLE = "_X_AMZN_TRACE_ID"


def main() -> NoReturn:
    """When Python was executed for this environment."""
    _run_to_the_end()


def main_after_fork(environ: dict[str, str]) -> NoReturn:
    """In the child of a zygote: puts on the environment's variables first, those that the zygote lacks."""
    current = os.environ
    zone = current.get("TZ")
    for name in [name for name in current if name not in environ]:
        del current[name]
    for name, value in environ.items():
        if current.get(name) != value:
            current[name] = value
    if environ.get("TZ") != zone:
        time.tzset()
    _run_to_the_end()


def _run_to_the_end() -> NoReturn:
    """Ends the process as the interpreter would: atexit functions, flushed streams, the right exit status."""
    status, interrupted = 1, False
    try:
        status = _run()
    except channel.ServerGone:
        os._exit(0)
    except SystemExit as error:
        status = _status_of(error)
    except BaseException as error:
        sys.excepthook(*sys.exc_info())
        interrupted = isinstance(error, KeyboardInterrupt)
    try:
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
    except BaseException:
        sys.excepthook(*sys.exc_info())
    _flush()
    if interrupted:  # as the interpreter ends itself, so that it is told as a signal
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    os._exit(status & 0xFF)


def _status_of(error: SystemExit) -> int:
    if error.code is None:
        return 0
    if isinstance(error.code, int):
        return error.code
    print(error.code, file=sys.stderr)
    return 1


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):  # closed or replaced by the function
            stream.flush()


def _run() -> int:
    """Init and the loop; returns only when init failed."""
    link = channel.Channel(int(os.environ.pop(_FRAMES_VARIABLE)))
    opt = _read_places(os.environ.pop(_PLACES_VARIABLE, ""))
    for stream in (sys.stdout, sys.stderr):
        # Lines must be in the pipe even if the function is killed in the middle of a call.
        stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    _set_search_path(opt)
    encoder = marshalling.Encoder(marshalling.writes_plain_text(os.environ.get("AWS_EXECUTION_ENV", "")))
    logs.set_up()
    try:
        handler = handlers.load(os.environ["_HANDLER"])
        snapshots.run_hooks()
    except snapshots.HookFailed as failure:
        return _init_failed(link, encoder, snapshots.described(failure), failure.kind, failure.status)
    except faults.Fault as fault:
        return _init_failed(link, encoder, faults.payload(fault.message, fault.kind, fault.trace))
    except Exception as error:
        return _init_failed(link, encoder, faults.describe(error))
    _flush()
    link.ready()
    return _serve(link, handler, encoder)


def _init_failed(
    link: channel.Channel, encoder: marshalling.Encoder, result: dict[str, Any], kind: str = "", status: int = 1
) -> int:
    logging.getLogger().warning(logs.UNHANDLED_WARNING)
    logs.error(result, encoder.encode)
    _flush()
    link.init_failed(kind or result["errorType"], encoder.encode(result).encode())
    return status


def _serve(link: channel.Channel, handler: handlers.Handler, encoder: marshalling.Encoder) -> NoReturn:
    surroundings = context.Surroundings()
    environ = os.environ
    current = logs.current
    encode = encoder.encode
    json_type = marshalling.JSON_TYPE.encode()
    bytes_type = marshalling.BYTES_TYPE.encode()
    output, errors = sys.stdout, sys.stderr
    while True:
        deadline_ms, texts, event = link.next()
        request_id, function_arn, trace_id, client_context, identity, tenant = texts
        tenant_id = tenant or None
        current.request_id = request_id
        current.tenant_id = tenant_id
        if trace_id:
            environ[_TRACE_VARIABLE] = trace_id
        else:
            environ.pop(_TRACE_VARIABLE, None)
        try:
            its_context = context.LambdaContext(
                surroundings,
                request_id,
                context.parse_json(client_context, "Client Context") if client_context else None,
                context.parse_json(identity, "Cognito Identity") if identity else None,
                deadline_ms,
                function_arn,
                tenant_id,
            )
            response = handler(marshalling.unmarshal(event), its_context)
            if isinstance(response, bytes):
                content_type, text, body = bytes_type, None, response
            else:
                try:
                    content_type, text = json_type, encode(response)
                except Exception as error:
                    raise faults.Fault(faults.MARSHAL_ERROR, f"Unable to marshal response: {error}") from error
            result = None
        except faults.Fault as fault:
            result = faults.payload(fault.message, fault.kind, fault.trace, request_id)
        except Exception as error:
            result = faults.describe(error, request_id)
        event = b""
        # What cannot be encoded (a lone surrogate) ends the process, as it ends awslambdaric.
        if result is None:
            output.flush()
            errors.flush()
            if sys.stdout is not output or sys.stderr is not errors:
                _flush()
            link.respond(content_type, body if text is None else text.encode())
        else:
            logs.error(result, encode)
            _flush()
            link.fail(result["errorType"], encode(result).encode())
        response, text, body = None, None, b""  # nothing large is kept until the next call


def _read_places(text: str) -> str:
    """Learns where things really lie; returns the directory that stands for /opt."""
    opt = "/opt"
    for line in filter(None, text.split("\n")):
        real, _, shown = line.partition("=")
        if shown == "/opt":
            opt = real
        faults.places.add(real, shown)
    return opt


def _set_search_path(opt: str) -> None:
    """sys.path as functions know it: code, layers, standard library, the runtime's own packages last.

    The code comes first, so that a vendored boto3 wins over the runtime's (AWS Lambda developer guide).
    """
    runtime_place = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    task_root = os.environ.get("LAMBDA_TASK_ROOT", "/var/task")
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    first = [task_root, opt + "/python/lib/" + version + "/site-packages", opt + "/python"]
    rest = [place for place in sys.path if place not in ("", runtime_place) and place not in first]
    sys.path[:] = [*first, *rest, runtime_place]
    sys.argv = [runtime_place + "/bootstrap.py"]
    for place in first:
        _add_path_files(place)


def _add_path_files(place: str) -> None:
    """Directories named in `.pth` files beside the code are searched as well, as in a site directory."""
    try:
        has_path_files = any(name.endswith(".pth") for name in os.listdir(place))
    except OSError:
        return
    if has_path_files:
        site.addsitedir(place)
