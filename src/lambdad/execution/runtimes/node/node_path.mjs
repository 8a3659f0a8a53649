/**
 * Packages of layers for `import`: AWS's runtimes look for them on NODE_PATH since nodejs18.x (AWS: announcement of the
 * runtime), while Node itself does so for `require` alone.
 */

import fs from 'node:fs';
import * as module from 'node:module';
import { pathToFileURL } from 'node:url';

const FIRST_GENERATION = 18;

/** Installs the search, if there is a folder to search: without one, imports cost what they always cost. */
export function searchNodePath({ generation }) {
  const folders = (process.env.NODE_PATH ?? '')
    .split(':')
    .filter((folder) => folder.endsWith('/node_modules') && fs.existsSync(folder));
  if (generation < FIRST_GENERATION || folders.length === 0) {
    return;
  }
  const importers = folders.map((folder) => pathToFileURL(`${folder.slice(0, -'/node_modules'.length)}/_`).href);
  if (module.registerHooks) {
    module.registerHooks({ resolve: (specifier, context, next) => resolve(importers, specifier, context, next) });
  } else {
    // Before Node 22.15 hooks run on a thread of their own.
    module.register?.('./node_path_hooks.mjs', { parentURL: import.meta.url, data: importers });
  }
}

/** As `require` does it: where the importing module would find it, then on NODE_PATH in its order. */
function resolve(importers, specifier, context, next) {
  try {
    return next(specifier, context);
  } catch (error) {
    if (!isMissingPackage(error, specifier)) {
      throw error;
    }
    for (const parentURL of importers) {
      try {
        return next(specifier, { ...context, parentURL });
      } catch (again) {
        if (!isMissingPackage(again, specifier)) {
          throw again;
        }
      }
    }
    throw error;
  }
}

/** Whether an import failed for want of a package; `require` has searched NODE_PATH already. */
export function isMissingPackage(error, specifier) {
  return error.code === 'ERR_MODULE_NOT_FOUND' && !/^(\.{0,2}\/|[a-z][a-z0-9+.-]*:)/i.test(specifier);
}
