/**
 * The runtime's end of the frames channel: length-prefixed messages on an inherited socket.
 *
 * Reading blocks the whole process, on purpose. Between two invocations a function on AWS is frozen: its timers do not
 * run, its sockets are not served. A blocking read gives just that, and it is the fastest way there is. While an
 * invocation runs, nothing of ours is registered with the event loop, so that "the loop is empty" means what it means
 * on AWS.
 */

import fs from 'node:fs';

// Functions may patch `fs`; the channel must not notice.
const { readSync, writeSync } = fs;
const { resourceUsage } = process;

const INVOKE = 0x01;
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
const RESPONSE_HEAD_SIZE = HEAD_SIZE + 4 + CONTENT_TYPE.length + 4;

export class Frames {
  #descriptor;
  #inbox = Buffer.allocUnsafeSlow(BUFFER_SIZE);
  #filled = 0;
  #outbox = Buffer.allocUnsafeSlow(BUFFER_SIZE);

  constructor(descriptor) {
    this.#descriptor = descriptor;
    // What every result has in common is written once; no other frame uses this buffer.
    this.#outbox.writeUInt8(RESPONSE, 4);
    this.#outbox.writeUInt32BE(CONTENT_TYPE.length, HEAD_SIZE);
    this.#outbox.write(CONTENT_TYPE, HEAD_SIZE + 4, 'latin1');
  }

  ready() {
    this.#send(READY, []);
  }

  /** The next invocation; blocks until there is one. Ends the process when the server has gone. */
  receive() {
    const frame = this.#receiveFrame();
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
      sent += writeSync(this.#descriptor, buffer, sent, size - sent);
    }
  }

  #receiveFrame() {
    this.#fill(4);
    const size = 4 + this.#inbox.readUInt32BE(0);
    if (size <= BUFFER_SIZE) {
      this.#fill(size);
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
