/**
 * console as log records: one line per call, with time, request id and level, in text or JSON.
 *
 * A record is one log event, and in the pipe a newline ends an event: newlines inside are written as a byte that occurs
 * in no UTF-8 text, and the server turns them back. Another such byte stands before each record, so that it is an event
 * of its own whatever was written before without a newline. Everything is written synchronously: what a function printed is in
 * the pipe before its answer is on the way.
 */

import fs from 'node:fs';
import { format } from 'node:util';
import { asError, errorFields, errorLogText } from './errors.mjs';

const { writeSync } = fs;

const LEVELS = ['TRACE', 'DEBUG', 'INFO', 'WARN', 'ERROR', 'FATAL'];
const STDOUT = 1;
const NEWLINE = 0x0a;
const NEWLINE_IN_RECORD = 0xff;
const RECORD_START = 0xfe;

const current = { requestId: undefined, tenantId: undefined };
let json = false;

/** Whose records the following ones are. */
export function setInvocation(requestId, tenantId) {
  current.requestId = requestId;
  current.tenantId = tenantId;
}

/** Replaces the six level methods and `log`; the others (`table`, `dir`, `time`...) print as Node prints them. */
export function patchConsole({ modern }) {
  if (modern) {
    current.requestId = '-';
  }
  json = process.env.AWS_LAMBDA_LOG_FORMAT?.toUpperCase() === 'JSON';
  const lowest = Math.max(0, LEVELS.indexOf(process.env.AWS_LAMBDA_LOG_LEVEL?.toUpperCase()));
  const render = json ? jsonRecord : textRecord;
  LEVELS.forEach((level, index) => {
    console[level.toLowerCase()] =
      index < lowest && level !== 'FATAL'
        ? () => {}
        : (message, ...rest) => writeRecord(render(level, message, rest));
  });
  console.log = console.info;
  makeSynchronous('stdout');
  makeSynchronous('stderr');
}

/** One record about a failed invocation or init. */
export function logError(message, error) {
  if (json) {
    console.error(asError(error));
  } else {
    console.error(message, `\t${errorLogText(asError(error))}`);
  }
}

function textRecord(level, message, rest) {
  return `${new Date().toISOString()}\t${current.requestId}\t${level}\t${format(message, ...rest)}`;
}

function jsonRecord(level, message, rest) {
  const record = { timestamp: new Date().toISOString(), level, requestId: current.requestId };
  if (current.tenantId) {
    record.tenantId = current.tenantId;
  }
  if (rest.length === 0) {
    record.message = message;
    try {
      return JSON.stringify(record, (_key, value) =>
        value instanceof Error ? { ...errorFields(value), ...value } : value,
      );
    } catch {
      record.message = format(message); // it refers to itself, or to a BigInt
      return JSON.stringify(record);
    }
  }
  record.message = format(message, ...rest);
  const error = rest.find((value) => value instanceof Error);
  return JSON.stringify(error ? { ...record, ...errorFields(error) } : record);
}

function writeRecord(record) {
  let line = Buffer.from(` ${record}\n`);
  line[0] = RECORD_START;
  for (let at = line.indexOf(NEWLINE); at < line.length - 1; at = line.indexOf(NEWLINE, at + 1)) {
    line[at] = NEWLINE_IN_RECORD;
  }
  while (line.length > 0) {
    try {
      line = line.subarray(writeSync(STDOUT, line));
    } catch (error) {
      if (error.code !== 'EAGAIN') {
        return; // nobody reads the log any more; the function goes on
      }
      pause(); // a child process made the pipe non-blocking, and it is full
    }
  }
}

function pause() {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1);
}

/** Node queues what a full pipe does not take; blocking instead keeps order and loses nothing at exit. */
function makeSynchronous(name) {
  const { get, ...rest } = Object.getOwnPropertyDescriptor(process, name);
  if (!get) {
    return;
  }
  Object.defineProperty(process, name, {
    ...rest,
    get() {
      const stream = get.call(process);
      stream._handle?.setBlocking?.(true);
      Object.defineProperty(process, name, { ...rest, get });
      return stream;
    },
  });
}
