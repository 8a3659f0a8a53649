/**
 * What was compiled of the function when it was deployed, shown to Node.js as its own compile cache
 * (module.enableCompileCache, Node.js 22.8).
 */

import fs from 'node:fs';
import module from 'node:module';
import os from 'node:os';
import path from 'node:path';
import v8 from 'node:v8';

const VARIABLE = '_LAMBDAD_COMPILED';
const NOTHING = () => {};

/**
 * Lets modules be loaded from the cache until the function that it returns is called.
 *
 * Node.js looks for a folder that is named for its build, its flags and its user, and each environment has a user of
 * its own. So /tmp has a link of that name to what every environment reads, for as long as the handler is loaded.
 */
export function useCompileCache() {
  const place = process.env[VARIABLE];
  delete process.env[VARIABLE];
  // What the function says about Node's cache goes first; coverage is less exact with it.
  const own = ['NODE_COMPILE_CACHE', 'NODE_DISABLE_COMPILE_CACHE', 'NODE_V8_COVERAGE'];
  if (!place || !module.enableCompileCache || own.some((name) => process.env[name] !== undefined)) {
    return NOTHING;
  }
  let hide = NOTHING;
  try {
    // With any other name Node.js would find nothing, and only prepare what it could keep: that takes longer.
    const tag = `${process.version}-${process.arch}-${v8.cachedDataVersionTag().toString(16).padStart(8, '0')}`;
    const compiled = path.join(process.env.LAMBDA_TASK_ROOT, place, tag);
    if (fs.existsSync(compiled)) {
      const folder = fs.mkdtempSync(path.join(os.tmpdir(), '.lambdad-'));
      hide = () => {
        process.off('exit', hide);
        fs.rmSync(folder, { recursive: true, force: true });
      };
      process.once('exit', hide);
      fs.symlinkSync(compiled, path.join(folder, `${tag}-${process.getuid()}`));
      module.enableCompileCache(folder);
    }
  } catch {
    // Without it the function starts as well.
  }
  return hide;
}
