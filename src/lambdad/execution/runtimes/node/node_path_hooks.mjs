/** What `node_path.mjs` does, for Node versions whose hooks have to be asynchronous. Loaded on Node's own hooks thread. */

import { isMissingPackage } from './node_path.mjs';

let importers = [];

export function initialize(given) {
  importers = given;
}

export async function resolve(specifier, context, next) {
  try {
    return await next(specifier, context);
  } catch (error) {
    if (!isMissingPackage(error, specifier)) {
      throw error;
    }
    for (const parentURL of importers) {
      try {
        return await next(specifier, { ...context, parentURL });
      } catch (again) {
        if (!isMissingPackage(again, specifier)) {
          throw again;
        }
      }
    }
    throw error;
  }
}
