/** The runtime's own errors, and errors as payloads and log texts (AWS's forms). */

import { types } from 'node:util';

class RuntimeError extends Error {}

function named(name) {
  const errorClass = class extends RuntimeError {};
  errorClass.prototype.name = `Runtime.${name}`;
  return errorClass;
}

export const CallbackHandlerDeprecated = named('CallbackHandlerDeprecated');
export const HandlerNotFound = named('HandlerNotFound');
export const ImportModuleError = named('ImportModuleError');
export const InvalidStreamingOperation = named('InvalidStreamingOperation');
export const JSONStringifyError = named('JSONStringifyError');
export const MalformedHandlerName = named('MalformedHandlerName');
export const MalformedStreamingHandler = named('MalformedStreamingHandler');
export const NodeJsExit = named('NodeJsExit');
export const UserCodeSyntaxError = named('UserCodeSyntaxError');

export class UnhandledPromiseRejection extends RuntimeError {
  constructor(reason, promise) {
    super(asText(reason));
    this.reason = reason;
    this.promise = promise;
  }
}
UnhandledPromiseRejection.prototype.name = 'Runtime.UnhandledPromiseRejection';

function asText(value) {
  try {
    return String(value);
  } catch {
    return Object.prototype.toString.call(value);
  }
}

// Without mount namespaces the function's files lie elsewhere; what it reports names AWS's places all the same.
const places = [
  [process.env.LAMBDA_TASK_ROOT, '/var/task'],
  [import.meta.dirname ?? new URL('.', import.meta.url).pathname.replace(/\/$/, ''), '/var/runtime'],
].filter(([actual, onAws]) => actual && actual !== onAws);

function withAwsPlaces(text) {
  return places.reduce((result, [actual, onAws]) => result.replaceAll(actual, onAws), text);
}

function clean(text) {
  return withAwsPlaces(text).replaceAll('\x7F', '%7F');
}

function looksLikeError(value) {
  return Boolean(
    value &&
      value.name &&
      value.message &&
      value.stack &&
      [value.name, value.message, value.stack].every((part) => typeof part === 'string'),
  );
}

/** What the caller gets for anything thrown: `errorType`, `errorMessage`, `trace`. */
export function errorPayload(error, { modern }) {
  try {
    if (types.isNativeError(error) || (modern ? error instanceof Error : looksLikeError(error))) {
      return {
        errorType: clean(error.name),
        errorMessage: clean(error.message),
        trace: clean(error.stack).split('\n'),
      };
    }
    return { errorType: typeof error, errorMessage: modern ? String(error) : error.toString(), trace: [] };
  } catch {
    return {
      errorType: 'handled',
      errorMessage:
        'callback called with Error argument, but there was a problem while retrieving one or more of its ' +
        'message, name, and stack',
      ...(modern && { trace: [] }),
    };
  }
}

/** `value` itself if it is an Error, else one that carries its text. */
export function asError(value) {
  return value instanceof Error ? value : new Error(asText(value));
}

/** The JSON that follows `Invoke Error` and its like in the log; own properties of the error are part of it. */
export function errorLogText(error) {
  try {
    return withAwsPlaces(JSON.stringify(error, (_key, value) => (value instanceof Error ? described(value) : value)));
  } catch {
    return JSON.stringify(errorPayload(error, { modern: true })); // it refers to itself, or to a BigInt
  }
}

function described(error) {
  const description = { errorType: error.name, errorMessage: error.message, code: error.code, ...error };
  if (typeof error.stack === 'string') {
    description.stack = error.stack.split('\n');
  }
  return description;
}

/** For JSON records: error class, message and stack of one error. */
export function errorFields(error) {
  return {
    errorType: error?.constructor?.name ?? 'UnknownError',
    errorMessage: withAwsPlaces(String(error.message)),
    stackTrace: typeof error.stack === 'string' ? withAwsPlaces(error.stack).split('\n') : [],
  };
}
