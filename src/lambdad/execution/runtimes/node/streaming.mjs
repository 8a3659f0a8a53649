/** Response streaming: the `awslambda` global, and the stream that a streaming handler writes to. */

import { Writable } from 'node:stream';
import { InvalidStreamingOperation } from './errors.mjs';

/** Marks a handler; its value is 'response'. AWS's own symbols, so that wrapped handlers are recognised. */
export const STREAMING = Symbol.for('aws.lambda.runtime.handler.streaming');
export const HIGH_WATER_MARK = Symbol.for('aws.lambda.runtime.handler.streaming.highWaterMark');

const DEFAULT_CONTENT_TYPE = 'application/octet-stream';
const HTTP_CONTENT_TYPE = 'application/vnd.awslambda.http-integration-response';
const PRELUDE_END = Buffer.alloc(8);

/** Makes `awslambda.streamifyResponse` and `awslambda.HttpResponseStream` known to the function. */
export function installGlobals() {
  if (['1', 'true'].includes(process.env.AWS_LAMBDA_NODEJS_NO_GLOBAL_AWSLAMBDA)) {
    return;
  }
  globalThis.awslambda = { ...globalThis.awslambda, streamifyResponse, HttpResponseStream };
}

function streamifyResponse(handler, options) {
  handler[STREAMING] = 'response';
  if (typeof options?.highWaterMark === 'number') {
    handler[HIGH_WATER_MARK] = Math.trunc(options.highWaterMark);
  }
  return handler;
}

/** For function URLs: status, headers and cookies go ahead of the body. */
class HttpResponseStream {
  static from(stream, prelude) {
    stream.setContentType(HTTP_CONTENT_TYPE);
    const text = JSON.stringify(prelude);
    // Sent by the first `write`, so a stream that is only ended has no prelude; it is the same on AWS.
    stream._onBeforeFirstWrite = (write) => {
      write(text);
      write(PRELUDE_END);
    };
    return stream;
  }
}

/** What a streaming handler gets; every piece is sent as it is written. */
export class ResponseStream extends Writable {
  #frames;
  #contentType = DEFAULT_CONTENT_TYPE;
  #written = false;
  #started = false;
  #closed = false;

  constructor(frames, highWaterMark) {
    super(highWaterMark ? { highWaterMark } : {});
    this.#frames = frames;
  }

  setContentType(contentType) {
    if (this.#written || this.#started) {
      throw new InvalidStreamingOperation('Cannot set content-type, too late.');
    }
    this.#contentType = contentType;
  }

  /** Takes text and bytes as any stream does, and anything else as JSON. */
  write(chunk, ...rest) {
    const data = typeof chunk === 'string' || chunk instanceof Uint8Array ? chunk : JSON.stringify(chunk);
    if (!this.#written) {
      this.#written = true;
      this._onBeforeFirstWrite?.((piece) => super.write(piece));
    }
    return super.write(data, ...rest);
  }

  /** The invocation is over: tells so, with the error if there is one. Whatever is written later is dropped. */
  finishInvocation(error) {
    this.#start();
    this.#closed = true;
    if (error) {
      this.#frames.endStream(error.errorType, JSON.stringify(error));
    } else {
      this.#frames.endStream();
    }
  }

  _write(chunk, _encoding, callback) {
    if (!this.#closed) {
      this.#start();
      this.#frames.chunk(chunk);
    }
    callback();
  }

  #start() {
    if (!this.#started) {
      this.#started = true;
      this.#frames.startStream(this.#contentType);
    }
  }
}
