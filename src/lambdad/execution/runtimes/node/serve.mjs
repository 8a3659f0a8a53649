/** Invocations, one after another: context, handler, answer. */

import { logError, setInvocation } from './console.mjs';
import { errorPayload, JSONStringifyError, NodeJsExit } from './errors.mjs';
import { HIGH_WATER_MARK, ResponseStream, STREAMING } from './streaming.mjs';

// After so long a pause, closed connections and due timers are looked at before the handler runs: it would otherwise
// pick a kept-alive connection that the other side has long closed.
const LONG_PAUSE_MS = 500;

const NEVER_SETTLED =
  'The Lambda runtime client detected an unexpected Node.js exit code. This is most commonly caused by a Promise that ' +
  'was never settled. For more information, see https://nodejs.org/docs/latest/api/process.html#exit-codes';

const nothing = () => {};

/** Tells READY and takes invocations until the process ends. `dying.report` says how a crash is told. */
export function serve(frames, handler, settings, dying) {
  const run = chooseRun(handler, settings);
  const constants = {
    functionName: process.env.AWS_LAMBDA_FUNCTION_NAME,
    functionVersion: process.env.AWS_LAMBDA_FUNCTION_VERSION,
    memoryLimitInMB: process.env.AWS_LAMBDA_FUNCTION_MEMORY_SIZE,
    logGroupName: process.env.AWS_LAMBDA_LOG_GROUP_NAME,
    logStreamName: process.env.AWS_LAMBDA_LOG_STREAM_NAME,
  };
  let running = false;
  let onEmptyLoop = nothing;

  const environment = {
    frames,
    handler,
    settings,
    constants,
    /** What to do when nothing is left to wait for; the last call counts. */
    whenLoopIsEmpty(callback) {
      onEmptyLoop = callback;
    },
    /** The invocation has been answered. */
    done() {
      running = false;
      onEmptyLoop = nothing;
      setImmediate(takeNext);
    },
  };

  function takeNext() {
    const asked = Date.now();
    const invocation = frames.receive();
    if (invocation === null) {
      frames.receiveLater(begin);
    } else if (Date.now() - asked > LONG_PAUSE_MS) {
      setImmediate(begin, invocation);
    } else {
      begin(invocation);
    }
  }

  function begin(invocation) {
    running = true;
    setInvocation(invocation.requestId, invocation.tenantId);
    setTraceId(invocation.traceId);
    run(environment, invocation);
  }

  process.on('beforeExit', () => onEmptyLoop());
  // Not before the next turn of the loop: a promise that the module left rejected is told first, as a failed init.
  setImmediate(() => {
    dying.report = (error) => {
      if (running) {
        const payload = errorPayload(error, settings);
        frames.fatal(payload.errorType, JSON.stringify(payload));
      }
    };
    frames.ready();
    takeNext();
  });
}

function chooseRun(handler, { modern }) {
  if (handler[STREAMING]) {
    return runStreaming;
  }
  return modern ? runReturning : runCallback;
}

function setTraceId(traceId) {
  if (traceId) {
    process.env._X_AMZN_TRACE_ID = traceId;
  } else {
    delete process.env._X_AMZN_TRACE_ID;
  }
}

/** From nodejs24.x on: what the handler returns, or its promise resolves to, is the result. */
function runReturning(environment, invocation) {
  const answer = new Answer(environment);
  // One more turn of the loop lets a promise that was rejected unnoticed come to light before the answer.
  const succeed = (value) => setImmediate(() => answer.succeed(value));
  const fail = (error) => setImmediate(() => answer.fail(error));
  try {
    const result = environment.handler(parsed(invocation), contextOf(environment, invocation, {}));
    if (isPromise(result)) {
      environment.whenLoopIsEmpty(() => answer.fail(new NodeJsExit(NEVER_SETTLED)));
      result.then(succeed, fail);
    } else {
      succeed(result);
    }
  } catch (error) {
    fail(error);
  }
}

/** Up to nodejs22.x: a promise's value or the callback's is the result; a plain return value is ignored. */
function runCallback(environment, invocation) {
  const answer = new Answer(environment);
  let waits = true;
  let called = false;
  // Whichever way the handler answers, the first one counts, even while its result waits for the loop to empty.
  const first = (respond) => (...values) => {
    if (!called) {
      called = true;
      respond(...values);
    }
  };
  const done = (error, result) => (isGiven(error) ? answer.fail(error) : answer.succeed(result));
  const succeed = first((result) => answer.succeed(result));
  const fail = first((error) => answer.fail(isGiven(error) ? error : 'handled'));
  const callback = first((error, result) => {
    if (isGiven(error) || !waits) {
      done(error, result);
    } else {
      environment.whenLoopIsEmpty(() => setImmediate(done, null, result));
    }
  });
  const old = {
    get callbackWaitsForEmptyEventLoop() {
      return waits;
    },
    set callbackWaitsForEmptyEventLoop(value) {
      waits = value;
    },
    succeed,
    fail,
    done: first(done),
  };
  environment.whenLoopIsEmpty(() => succeed(null));
  try {
    const context = contextOf(environment, invocation, old);
    const result = environment.handler(parsed(invocation), context, callback);
    if (isPromise(result)) {
      if (!called) {
        environment.whenLoopIsEmpty(() => fail(new NodeJsExit(NEVER_SETTLED)));
      }
      result.then(succeed, fail);
    }
  } catch (error) {
    fail(error);
  }
}

/** The handler writes to a stream; the invocation is over when it has settled and the stream has finished. */
function runStreaming(environment, invocation) {
  const { handler, settings } = environment;
  const stream = new ResponseStream(environment.frames, handler[HIGH_WATER_MARK]);
  let over = false;
  const finish = (error, failed = true) => {
    if (over) {
      return;
    }
    over = true;
    if (failed) {
      logError('Invoke Error', error);
    }
    stream.finishInvocation(failed ? errorPayload(error, settings) : undefined);
    environment.done();
  };
  // AWS's older runtimes throw plain text here.
  const complaint = (text) => (settings.modern ? new Error(text) : text);
  const finishSettled = () => finish(undefined, false);
  const settled = (result) => {
    if (result !== undefined) {
      console.warn('Streaming handlers ignore return values.');
    }
    if (stream.writableFinished) {
      finishSettled();
    } else {
      stream.once('finish', finishSettled);
      environment.whenLoopIsEmpty(() => finish(complaint('Response stream is not finished.')));
    }
  };

  stream.on('error', (error) => finish(error));
  environment.whenLoopIsEmpty(() =>
    stream.writableFinished ? finishSettled() : finish(new NodeJsExit(NEVER_SETTLED)),
  );
  try {
    const old = settings.modern ? {} : { callbackWaitsForEmptyEventLoop: true };
    const result = handler(parsed(invocation), stream, contextOf(environment, invocation, old));
    if (isPromise(result)) {
      result.then(settled, (error) => finish(error));
    } else {
      finish(complaint('Streaming does not support non-async handlers.'));
    }
  } catch (error) {
    finish(error);
  }
}

/** The one answer of a buffered invocation; whatever comes after the first is ignored. */
class Answer {
  #given = false;
  #environment;

  constructor(environment) {
    this.#environment = environment;
  }

  succeed(result) {
    if (this.#given) {
      return;
    }
    const { frames, settings } = this.#environment;
    let text;
    try {
      text = JSON.stringify(result) ?? 'null';
    } catch {
      const problem = 'Unable to stringify response body';
      this.fail(settings.modern ? new JSONStringifyError(problem) : new Error(problem));
      return;
    }
    this.#given = true;
    frames.respond(text);
    this.#environment.done();
  }

  fail(error) {
    if (this.#given) {
      return;
    }
    this.#given = true;
    const { frames, settings } = this.#environment;
    logError('Invoke Error', error);
    const payload = errorPayload(error, settings);
    frames.error(payload.errorType, JSON.stringify(payload));
    this.#environment.done();
  }
}

function isGiven(error) {
  return error !== undefined && error !== null;
}

function isPromise(value) {
  return typeof value?.then === 'function';
}

function parsed(invocation) {
  return JSON.parse(invocation.event);
}

/** The handler's context object; `old` holds what only the older runtimes have. */
function contextOf({ constants }, invocation, old) {
  const { deadline } = invocation;
  return Object.assign(old, constants, {
    clientContext: fromJson(invocation.clientContext, 'ClientContext'),
    identity: fromJson(invocation.identity, 'CognitoIdentity'),
    invokedFunctionArn: invocation.functionArn,
    awsRequestId: invocation.requestId,
    tenantId: invocation.tenantId || undefined,
    getRemainingTimeInMillis: () => deadline - Date.now(),
  });
}

function fromJson(text, name) {
  if (text === '') {
    return undefined;
  }
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new Error(`Cannot parse ${name} as json: ${error}`);
  }
}
