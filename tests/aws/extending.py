"""Extensions for tests: layers with small programs that speak the Extensions API over http.client alone."""

from __future__ import annotations

import io
import stat
import zipfile
from collections.abc import Mapping
from typing import Any

CLIENT = r'''#!/usr/bin/env python3
import http.client, json, os, socket, sys, tempfile, threading, time
from http.server import BaseHTTPRequestHandler, HTTPServer

NAME = os.path.basename(sys.argv[0])
identity = {}

def call(method, path, body=None, **headers):
    """Status, headers in lower case, decoded body."""
    connection = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
    connection.request(method, path, None if body is None else json.dumps(body), {**headers, **identity})
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    try:
        text = json.loads(text)
    except ValueError:
        pass
    return answer.status, {name.lower(): value for name, value in answer.getheaders()}, text

def register(*events, name=NAME, **headers):
    answer = call("POST", "/2020-01-01/extension/register", {"events": list(events)},
                  **{"Lambda-Extension-Name": name, **headers})
    if answer[0] == 200:
        identity["Lambda-Extension-Identifier"] = answer[1]["lambda-extension-identifier"]
    return answer

def next_event():
    return call("GET", "/2020-01-01/extension/event/next")[2]

def say(*what):
    print(NAME, *[one if isinstance(one, str) else json.dumps(one) for one in what], flush=True)

def home():
    """The address to listen on; without isolation nobody knows the name of AWS."""
    try:
        socket.getaddrinfo("sandbox.localdomain", 0)
        return "sandbox.localdomain"
    except OSError:
        return "127.0.0.1"

def listen(path="/telemetry", port=0):
    """Writes every record that comes into a file of /tmp, one a line; returns the port."""
    class Listener(BaseHTTPRequestHandler):
        def do_POST(self):
            records = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with open(tempfile.gettempdir() + path, "a") as kept:
                kept.writelines(json.dumps(record) + "\n" for record in records)
            self.send_response(200)
            self.end_headers()
        def log_message(self, *_):
            pass
    server = HTTPServer((home(), port), Listener)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_port

def heard(path="/telemetry"):
    """What was written."""
    with open(tempfile.gettempdir() + path) as kept:
        return [json.loads(line) for line in kept]

def subscribe(port, types=("platform", "function", "extension"), api="/2022-07-01/telemetry", **settings):
    body = {"types": types, "buffering": {"timeoutMs": 25},
            "destination": {"protocol": "HTTP", "URI": "http://sandbox.localdomain:%d/" % port}, **settings}
    return call("PUT", api, body)

'''
"""The beginning of an extension in Python."""

LOOP = CLIENT + (
    "register('INVOKE', 'SHUTDOWN')\n"
    "while True:\n"
    "    event = next_event()\n"
    "    say(event['eventType'], event.get('shutdownReason', event.get('requestId')))\n"
    "    if event['eventType'] == 'SHUTDOWN':\n"
    "        break\n"
)
"""An extension that prints what it is told."""


def layer_archive(files: Mapping[str, str], *, mode: int = 0o755) -> bytes:
    """A layer whose files are all executable."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            info = zipfile.ZipInfo(name, (2026, 1, 1, 0, 0, 0))
            info.external_attr = (stat.S_IFREG | mode) << 16
            archive.writestr(info, content)
    return buffer.getvalue()


SHELL = r"""#!/bin/bash
api="http://$AWS_LAMBDA_RUNTIME_API/2020-01-01/extension"
name=$(basename "$0")
head=$(mktemp)
curl -sS -D "$head" -X POST -H "Lambda-Extension-Name: $name" -d '{"events": ["INVOKE", "SHUTDOWN"]}' "$api/register" > /dev/null
id=$(grep -i '^Lambda-Extension-Identifier:' "$head" | tr -d '\r' | cut -d' ' -f2)
while true; do
    event=$(curl -sS -H "Lambda-Extension-Identifier: $id" "$api/event/next")
    echo "$name $event"
    case "$event" in *SHUTDOWN*) exit 0 ;; esac
done
"""
"""The same in shell."""


def publish(client: Any, extensions: Mapping[str, str], *, mode: int = 0o755) -> str:
    """The ARN of a layer version with these programs in /opt/extensions."""
    archive = layer_archive({f"extensions/{name}": text for name, text in extensions.items()}, mode=mode)
    name = "-".join(extensions).replace(".", "-")
    return str(client.publish_layer_version(LayerName=name, Content={"ZipFile": archive})["LayerVersionArn"])
