/**
 * A process that was started ahead of its function. It loads what every function needs, then blocks until it is told
 * whose it is; by then the function's code lies at its place. Nothing of a function has run before.
 */

const UNBOUND = '_LAMBDAD_UNBOUND';

export function isUnbound() {
  return process.env[UNBOUND] !== undefined;
}

/** Waits for the function, then has its variables and its working directory. */
export async function becomeFunction(frames) {
  // What functions use most of Node itself; compiled here, it costs them nothing.
  await Promise.all(['node:crypto', 'node:https', 'node:path', 'node:url', 'node:util'].map((name) => import(name)));
  const variables = new Map(
    frames.receiveVariables().map((text) => {
      const at = text.indexOf('=');
      return [text.slice(0, at), text.slice(at + 1)];
    }),
  );
  for (const name of Object.keys(process.env)) {
    if (!variables.has(name)) {
      delete process.env[name];
    }
  }
  for (const [name, value] of variables) {
    if (process.env[name] !== value) {
      process.env[name] = value;
    }
  }
  process.chdir(process.env.LAMBDA_TASK_ROOT);
}
