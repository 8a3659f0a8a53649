/**
 * lambdad's own runtime for Node.js functions: the counterpart of AWS's /var/runtime/index.mjs, without native code.
 *
 * It loads the function's handler, tells READY and then runs one invocation after another. Where AWS's runtimes differ
 * between generations (callbacks, the context object, how modules are loaded), AWS_EXECUTION_ENV decides; without it,
 * the running Node's own version does.
 *
 * AWS also ships the AWS SDK for JavaScript v3 in its Node runtimes. It is not part of lambdad: put it into the
 * function's package or into a layer under nodejs/node_modules.
 */

import { patchConsole, logError } from './console.mjs';
import { becomeFunction, isUnbound } from './binding.mjs';
import { errorPayload, UnhandledPromiseRejection } from './errors.mjs';
import { Frames } from './frames.mjs';
import { loadHandler } from './loader.mjs';
import { searchNodePath } from './node_path.mjs';
import { serve } from './serve.mjs';
import { installGlobals } from './streaming.mjs';

const EXIT_UNCAUGHT_EXCEPTION = 129;
const EXIT_UNHANDLED_REJECTION = 128;

/** Which of AWS's Node runtimes to behave as: 20, 22, 24... */
function generation() {
  const declared = /^AWS_Lambda_nodejs(\d+)\.x$/.exec(process.env.AWS_EXECUTION_ENV ?? '');
  return Number(declared ? declared[1] : process.versions.node.split('.', 1)[0]);
}

const frames = new Frames(Number(process.env._LAMBDAD_FRAMES_FD));
delete process.env._LAMBDAD_FRAMES_FD;
if (isUnbound()) {
  await becomeFunction(frames);
}
const settings = { generation: generation(), modern: generation() >= 24 };
patchConsole(settings);

// Until the first invocation the server is told of a failed init; `serve` replaces this.
const dying = {
  report(error) {
    const payload = errorPayload(error, settings);
    frames.initError(payload.errorType, JSON.stringify(payload));
  },
};

function die(message, error, status) {
  logError(message, error);
  dying.report(error);
  process.exit(status);
}

process.on('uncaughtException', (error) => die('Uncaught Exception', error, EXIT_UNCAUGHT_EXCEPTION));
process.on('unhandledRejection', (reason, promise) =>
  die('Unhandled Promise Rejection', new UnhandledPromiseRejection(reason, promise), EXIT_UNHANDLED_REJECTION),
);

installGlobals();
searchNodePath(settings);
// Imported only where there is something: a process that waits for its function starts with the less behind it.
const hideCompileCache = process.env._LAMBDAD_COMPILED
  ? (await import('./compile_cache.mjs')).useCompileCache()
  : () => {};
try {
  const handler = await loadHandler(process.env.LAMBDA_TASK_ROOT, process.env._HANDLER, settings);
  hideCompileCache();
  serve(frames, handler, settings, dying);
} catch (error) {
  die(settings.modern ? 'Init Error' : 'Uncaught Exception', error, EXIT_UNCAUGHT_EXCEPTION);
}
