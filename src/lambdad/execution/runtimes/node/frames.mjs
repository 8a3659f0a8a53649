/**
 * The runtime's end of the frames channel: length-prefixed messages on an inherited socket.
 *
 * Reading blocks the whole process, on purpose. Between two invocations a function on AWS is frozen: its timers do not
 * run, its sockets are not served. A blocking read gives just that, and it is the fastest way there is. While an
 * invocation runs, nothing of ours is registered with the event loop, so that "the loop is empty" means what it means
 * on AWS.
 *
 * Where there are extensions the server sends TURN, and the loop turns between invocations from then on: an extension
 * inside this process has to ask for its next event, and a listener for SIGTERM has to hear of it.
 */

import fs from 'node:fs';
import net from 'node:net';

// Functions may patch `fs`; the channel must not notice.
const { readSync, writeSync } = fs;
const { resourceUsage } = process;

const INVOKE = 0x01;
const TURN = 0x02;
const BIND = 0x03;
const READY = 0x11;
const RESPONSE = 0x12;
const ERROR = 0x13;
const INIT_ERROR = 0x14;
const STREAM_START = 0x15;
const STREAM_CHUNK = 0x16;
const STREAM_END = 0x17;
const FATAL = 0x18;

const HEAD_SIZE = 5; // u32 length of what follows, u8 kind
const BUFFER_SIZE = 65536;
const MAX_BYTES_PER_UNIT = 3; // of UTF-8 for one unit of a JavaScript string
const CONTENT_TYPE = 'application/json';
const PAUSE = new Int32Array(new SharedArrayBuffer(4));
const RESPONSE_HEAD_SIZE = HEAD_SIZE + 4 + CONTENT_TYPE.length + 4;

export class Frames {
  #descriptor;
  #inbox = Buffer.allocUnsafeSlow(BUFFER_SIZE);
  #filled = 0;
  #outbox = Buffer.allocUnsafeSlow(BUFFER_SIZE);
  #socket = null;
  #arrived = [];
  #waiting = null;

  constructor(descriptor) {
    this.#descriptor = descriptor;
    // What every result has in common is written once; no other frame uses this buffer.
    this.#outbox.writeUInt8(RESPONSE, 4);
    this.#outbox.writeUInt32BE(CONTENT_TYPE.length, HEAD_SIZE);
    this.#outbox.write(CONTENT_TYPE, HEAD_SIZE + 4, 'latin1');
  }

  /** Blocks until this process is told whose it is: the function's variables, as `NAME=value`. */
  receiveVariables() {
    const frame = this.#receiveFrame();
    if (frame[4] !== BIND) {
      throw new Error(`unexpected frame ${frame[4]}`);
    }
    const variables = [];
    for (let position = HEAD_SIZE; position < frame.length; ) {
      const start = position + 4;
      position = start + frame.readUInt32BE(position);
      variables.push(frame.toString('utf8', start, position));
    }
    if (this.#filled > 0) {
      this.#inbox.copyWithin(0, frame.length, this.#filled);
      this.#filled -= frame.length;
    }
    return variables;
  }

  ready() {
    this.#send(READY, []);
  }

  /**
   * The next invocation; blocks until there is one. Null if the loop is to turn: use `receiveLater` from then on.
   * Ends the process when the server has gone.
   */
  receive() {
    if (this.#socket !== null) {
      return null;
    }
    const frame = this.#receiveFrame();
    if (frame[4] === TURN) {
      this.#turn(frame.length);
      return null;
    }
    return this.#parse(frame);
  }

  /** Calls back with the next invocation, and keeps the event loop alive until then. */
  receiveLater(callback) {
    this.#waiting = callback;
    this.#socket.ref();
    this.#handOver();
  }

  #turn(used) {
    this.#arrived.push(Buffer.from(this.#inbox.subarray(used, this.#filled)));
    this.#socket = new net.Socket({ fd: this.#descriptor, readable: true, writable: false });
    this.#socket.on('data', (bytes) => {
      this.#arrived.push(bytes);
      this.#handOver();
    });
    this.#socket.on('error', () => process.exit(0));
    this.#socket.on('close', () => process.exit(0));
    this.#socket.unref(); // while an invocation runs it does not count
  }

  #handOver() {
    const size = this.#arrived.reduce((sum, bytes) => sum + bytes.length, 0);
    if (this.#waiting === null || size < HEAD_SIZE) {
      return;
    }
    // Joined only when a frame is complete: an event of megabytes comes in many pieces.
    const first = this.#arrived[0].length < 4 ? Buffer.concat(this.#arrived) : this.#arrived[0];
    const wanted = 4 + first.readUInt32BE(0);
    if (size < wanted) {
      return;
    }
    const bytes = Buffer.concat(this.#arrived);
    this.#arrived = [bytes.subarray(wanted)];
    const callback = this.#waiting;
    this.#waiting = null;
    this.#socket.unref();
    callback(this.#parse(bytes.subarray(0, wanted)));
  }

  #parse(frame) {
    if (frame[4] !== INVOKE) {
      throw new Error(`unexpected frame ${frame[4]}`);
    }
    const deadline = frame.readUInt32BE(HEAD_SIZE) * 0x100000000 + frame.readUInt32BE(HEAD_SIZE + 4);
    let position = HEAD_SIZE + 8;
    const text = () => {
      const start = position + 4;
      position = start + frame.readUInt32BE(position);
      return position === start ? '' : frame.toString('utf8', start, position);
    };
    return {
      deadline,
      requestId: text(),
      functionArn: text(),
      traceId: text(),
      clientContext: text(),
      identity: text(),
      tenantId: text(),
      event: frame.toString('utf8', position),
    };
  }

  /** The result of the invocation, as JSON text. */
  respond(json) {
    const peak = peakKib();
    if (json.length * MAX_BYTES_PER_UNIT > BUFFER_SIZE - RESPONSE_HEAD_SIZE) {
      this.#send(RESPONSE, [text(CONTENT_TYPE), u32(peak), Buffer.from(json)]);
      return;
    }
    const outbox = this.#outbox;
    outbox.writeUInt32BE(peak, RESPONSE_HEAD_SIZE - 4);
    const size = RESPONSE_HEAD_SIZE + outbox.write(json, RESPONSE_HEAD_SIZE, 'utf8');
    outbox.writeUInt32BE(size - 4, 0);
    this.#write(outbox, size);
  }

  /** The invocation failed; the process goes on. */
  error(type, json) {
    this.#send(ERROR, [text(type), u32(peakKib()), Buffer.from(json)]);
  }

  /** The invocation, or the stream that is open, failed, and the process will exit. */
  fatal(type, json) {
    this.#send(FATAL, [text(type), u32(peakKib()), Buffer.from(json)]);
  }

  initError(type, json) {
    this.#send(INIT_ERROR, [text(type), u32(peakKib()), Buffer.from(json)]);
  }

  startStream(contentType) {
    this.#send(STREAM_START, [text(contentType)]);
  }

  chunk(bytes) {
    this.#send(STREAM_CHUNK, [bytes]);
  }

  /** Ends the stream; both texts are empty unless the function failed. */
  endStream(errorType = '', json = '') {
    this.#send(STREAM_END, [text(errorType), u32(peakKib()), Buffer.from(json)]);
  }

  #send(kind, parts) {
    const size = parts.reduce((sum, part) => sum + part.length, HEAD_SIZE);
    const frame = Buffer.allocUnsafe(size);
    frame.writeUInt32BE(size - 4, 0);
    frame.writeUInt8(kind, 4);
    let position = HEAD_SIZE;
    for (const part of parts) {
      frame.set(part, position);
      position += part.length;
    }
    this.#write(frame, size);
  }

  #write(buffer, size) {
    for (let sent = 0; sent < size; ) {
      try {
        sent += writeSync(this.#descriptor, buffer, sent, size - sent);
      } catch (error) {
        if (error.code !== 'EAGAIN') {
          throw error;
        }
        Atomics.wait(PAUSE, 0, 0, 1); // the server has yet to read; only where the loop turns does it come to that
      }
    }
  }

  #receiveFrame() {
    this.#fill(4);
    const size = 4 + this.#inbox.readUInt32BE(0);
    if (size <= BUFFER_SIZE) {
      this.#fill(size);
      if (this.#inbox[4] === TURN || this.#inbox[4] === BIND) {
        return this.#inbox.subarray(0, size); // another frame may follow at once
      }
      this.#filled = 0; // one frame at a time: the server sends the next only after our answer
      return this.#inbox.subarray(0, size);
    }
    const frame = Buffer.allocUnsafeSlow(size);
    this.#inbox.copy(frame, 0, 0, this.#filled);
    for (let filled = this.#filled; filled < size; ) {
      filled += this.#read(frame, filled, size);
    }
    this.#filled = 0;
    return frame;
  }

  #fill(size) {
    while (this.#filled < size) {
      this.#filled += this.#read(this.#inbox, this.#filled, BUFFER_SIZE);
    }
  }

  #read(buffer, start, end) {
    const count = readSync(this.#descriptor, buffer, start, end - start, null);
    if (count === 0) {
      process.exit(0);
    }
    return count;
  }
}

/** High-water mark of the process's memory. */
function peakKib() {
  return resourceUsage().maxRSS;
}

function u32(value) {
  const bytes = Buffer.allocUnsafe(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

function text(value) {
  const bytes = Buffer.from(String(value));
  return Buffer.concat([u32(bytes.length), bytes]);
}
