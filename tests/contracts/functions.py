"""One function in each language: it does what the event's `do` says. And a `bootstrap` written by hand."""

from __future__ import annotations

PYTHON = """
import json, os, subprocess, sys

count = 0

def handler(event, context):
    global count
    count += 1
    do = event["do"]
    if do == "echo":
        return event["value"]
    if do == "nothing":
        return None
    if do == "count":
        return count
    if do == "fail":
        raise ValueError(event["message"])
    if do == "exit":
        sys.exit(event["status"])
    if do == "big":
        return "x" * (event["size"] - 2)
    if do == "print":
        for line in event["lines"]:
            print(line)
        return None
    if do == "environ":
        return dict(os.environ)
    if do == "descriptors":
        return subprocess.run(["/bin/ls", "-l", "/proc/self/fd"], stdout=subprocess.PIPE).stdout.decode()
    if do == "context":
        return {
            "requestId": context.aws_request_id,
            "arn": context.invoked_function_arn,
            "name": context.function_name,
            "version": context.function_version,
            "memory": context.memory_limit_in_mb,
            "logGroup": context.log_group_name,
            "logStream": context.log_stream_name,
            "remaining": context.get_remaining_time_in_millis(),
            "trace": os.environ.get("_X_AMZN_TRACE_ID"),
            "custom": context.client_context.custom if context.client_context else None,
            "tenant": context.tenant_id,
        }
    raise KeyError(do)
"""

NODE = """
const { execFileSync } = require('child_process');
let count = 0;

exports.handler = async (event, context) => {
  count += 1;
  switch (event.do) {
    case 'echo': return event.value;
    case 'nothing': return undefined;
    case 'count': return count;
    case 'fail': throw new RangeError(event.message);
    case 'exit': process.exit(event.status);
    case 'big': return 'x'.repeat(event.size - 2);
    case 'print': event.lines.forEach((line) => process.stdout.write(line + '\\n')); return null;
    case 'environ': return process.env;
    case 'descriptors': return execFileSync('/bin/ls', ['-l', '/proc/self/fd']).toString();
    case 'context': return {
      requestId: context.awsRequestId,
      arn: context.invokedFunctionArn,
      name: context.functionName,
      version: context.functionVersion,
      memory: context.memoryLimitInMB,
      logGroup: context.logGroupName,
      logStream: context.logStreamName,
      remaining: context.getRemainingTimeInMillis(),
      trace: process.env._X_AMZN_TRACE_ID,
      custom: context.clientContext?.custom ?? null,
      tenant: context.tenantId ?? null,
    };
  }
};
"""

BOOTSTRAP = """#!/usr/bin/env python3
import http.client, json, os, sys, time

connection = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])

def call(method, path, body=None, headers={}):
    connection.request(method, "/2018-06-01/runtime" + path, body, headers)
    response = connection.getresponse()
    return response, response.read()

if os.environ["_HANDLER"] != "main.handler":
    error = json.dumps({"errorMessage": "no handler", "errorType": "Runtime.HandlerNotFound"})
    call("POST", "/init/error", error, {"Lambda-Runtime-Function-Error-Type": "Runtime.HandlerNotFound"})
    sys.exit(1)

count = 0
while True:
    response, body = call("GET", "/invocation/next")
    if response.status != 200:
        sys.exit(9)
    count += 1
    event, headers = json.loads(body), response.headers
    request_id = headers["Lambda-Runtime-Aws-Request-Id"]
    do, result = event["do"], None
    if do == "fail":
        error = json.dumps({"errorMessage": event["message"], "errorType": "Failure"})
        call("POST", f"/invocation/{request_id}/error", error, {"Lambda-Runtime-Function-Error-Type": "Failure"})
        continue
    if do == "echo":
        result = event["value"]
    elif do == "count":
        result = count
    elif do == "exit":
        sys.exit(event["status"])
    elif do == "big":
        result = "x" * (event["size"] - 2)
    elif do == "print":
        for line in event["lines"]:
            print(line, flush=True)
    elif do == "environ":
        result = dict(os.environ)
    elif do == "context":
        client = headers.get("Lambda-Runtime-Client-Context")
        result = {
            "requestId": request_id,
            "arn": headers["Lambda-Runtime-Invoked-Function-Arn"],
            "name": os.environ["AWS_LAMBDA_FUNCTION_NAME"],
            "version": os.environ["AWS_LAMBDA_FUNCTION_VERSION"],
            "memory": os.environ["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"],
            "logGroup": os.environ["AWS_LAMBDA_LOG_GROUP_NAME"],
            "logStream": os.environ["AWS_LAMBDA_LOG_STREAM_NAME"],
            "remaining": int(headers["Lambda-Runtime-Deadline-Ms"]) - time.time() * 1000,
            "trace": headers["Lambda-Runtime-Trace-Id"],
            "custom": json.loads(client.encode("latin-1"))["custom"] if client else None,
            "tenant": headers.get("Lambda-Runtime-Aws-Tenant-Id"),
        }
    answer = json.dumps(result, ensure_ascii=False).encode()
    response, _ = call("POST", f"/invocation/{request_id}/response", answer, {"Content-Type": "application/json"})
    if response.status == 413:
        connection.close()
"""
