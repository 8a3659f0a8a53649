/** From a handler string such as `dir/file.fn` to the function it names. */

import fs from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import {
  CallbackHandlerDeprecated,
  HandlerNotFound,
  ImportModuleError,
  MalformedHandlerName,
  MalformedStreamingHandler,
  UserCodeSyntaxError,
} from './errors.mjs';
import { STREAMING } from './streaming.mjs';

// The name by which AWS's runtime appears in "Require stack", wherever this file lies.
const require = createRequire('/var/runtime/index.mjs');

const HANDLER_GUIDE = 'https://docs.aws.amazon.com/lambda/latest/dg/nodejs-handler.html';

/** Loads the function's module and finds its handler. Throws what the caller is to be told. */
export async function loadHandler(taskRoot, handlerString, settings) {
  if (handlerString.includes('..')) {
    throw new MalformedHandlerName(
      `'${handlerString}' is not a valid handler name. Use absolute paths when specifying root directories in ` +
        'handler names.',
    );
  }
  const file = path.basename(handlerString);
  const folder = handlerString.slice(0, handlerString.indexOf(file));
  const dot = file.indexOf('.');
  if (dot < 0) {
    throw new MalformedHandlerName('Bad handler');
  }
  const module = await loadModule(taskRoot, folder, file.slice(0, dot), settings);
  const handler = findHandler(module, file.slice(dot + 1), settings);
  if (!handler) {
    throw new HandlerNotFound(`${handlerString} is undefined or not exported`);
  }
  if (typeof handler !== 'function') {
    throw new HandlerNotFound(`${handlerString} is not a function`);
  }
  checkKind(handler, settings);
  return handler;
}

async function loadModule(taskRoot, folder, name, { modern }) {
  try {
    return await (modern ? importModule : requireModule)(taskRoot, folder, name);
  } catch (error) {
    if (error instanceof SyntaxError) {
      const translated = new UserCodeSyntaxError(String(error));
      if (modern) {
        translated.stack = error.stack; // begins with the file, the line and the text that is wrong
      }
      throw translated;
    }
    if (error?.code === 'MODULE_NOT_FOUND') {
      throw new ImportModuleError(String(error));
    }
    throw error;
  }
}

/** From nodejs24.x on every file is imported. */
async function importModule(taskRoot, folder, name) {
  const base = path.resolve(taskRoot, folder, name);
  for (const extension of ['', '.js', '.mjs', '.cjs']) {
    if (isFile(base + extension)) {
      return import(pathToFileURL(base + extension).href);
    }
  }
  return requireByName(taskRoot, folder, name);
}

/** Up to nodejs22.x only what is declared to be an ES module is imported. */
async function requireModule(taskRoot, folder, name) {
  const base = path.resolve(taskRoot, folder, name);
  if (fs.existsSync(base)) {
    return require(base);
  }
  if (isFile(`${base}.js`)) {
    return isInModulePackage(path.dirname(base)) ? import(pathToFileURL(`${base}.js`).href) : require(`${base}.js`);
  }
  if (isFile(`${base}.mjs`)) {
    return import(pathToFileURL(`${base}.mjs`).href);
  }
  return isFile(`${base}.cjs`) ? require(`${base}.cjs`) : requireByName(taskRoot, folder, name);
}

/** The last resort: a package of that name, in node_modules or on NODE_PATH. */
function requireByName(taskRoot, folder, name) {
  return require(require.resolve(name, { paths: [taskRoot, path.join(taskRoot, folder)] }));
}

function isFile(file) {
  return fs.statSync(file, { throwIfNoEntry: false })?.isFile() ?? false;
}

/** Whether the nearest package.json says `"type": "module"`. */
function isInModulePackage(folder) {
  for (let at = folder; !at.endsWith('/node_modules'); at = path.dirname(at)) {
    const file = path.join(at, 'package.json');
    if (fs.existsSync(file)) {
      try {
        return JSON.parse(fs.readFileSync(file, 'utf8'))?.type === 'module';
      } catch (error) {
        console.warn(`${file} cannot be read, it will be ignored for ES module detection purposes.`, error);
        return false;
      }
    }
    if (at === path.dirname(at)) {
      return false;
    }
  }
  return false;
}

function findHandler(module, dotted, { modern }) {
  const found = nested(module, dotted);
  // An imported CommonJS module has its exports under `default`, unless Node recognised their names.
  return found || !modern ? found : nested(module?.default, dotted);
}

function nested(value, dotted) {
  return dotted.split('.').reduce((inner, key) => inner && inner[key], value);
}

function checkKind(handler, { generation, modern }) {
  const streaming = handler[STREAMING];
  if (streaming && streaming !== 'response') {
    throw new MalformedStreamingHandler('Only response streaming is supported.');
  }
  if (streaming || handler.length < 3) {
    return;
  }
  if (modern) {
    throw new CallbackHandlerDeprecated(
      'ERROR: AWS Lambda has removed support for callback-based function handlers starting with Node.js 24. You need ' +
        'to modify this function to use a supported handler signature to use Node.js 24 or later. For more ' +
        `information see ${HANDLER_GUIDE}.`,
    );
  }
  if (generation >= 20 && !['true', '1'].includes(process.env.AWS_LAMBDA_NODEJS_DISABLE_CALLBACK_WARNING)) {
    console.warn(
      'WARNING: AWS Lambda plans to remove support for callback-based function handlers starting with Node.js 24. ' +
        'You will need to update this function to use an async handler to use Node.js 24 or later. For more ' +
        'information and to provide feedback on this change, see ' +
        'https://github.com/aws/aws-lambda-nodejs-runtime-interface-client/issues/137. To disable this warning, set ' +
        'the AWS_LAMBDA_NODEJS_DISABLE_CALLBACK_WARNING environment variable.',
    );
  }
}
