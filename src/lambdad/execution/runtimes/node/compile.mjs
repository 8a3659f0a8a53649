/**
 * Program: compiles the modules below the folders it is given, and tells what Node.js' own compile cache would hold of
 * them once they had been loaded. Nothing of them is loaded here: functions are made of them and modules, which are
 * neither called nor linked nor evaluated.
 *
 * Runs in an environment like a function's, started as the function's Node.js will be: V8 takes no code that was
 * compiled under other flags. Told through the frames' descriptor, as records (u32 length, name, u32 length, bytes):
 * `tag`, which tells caches of different builds of Node.js apart; an entry for each module, by the name of its file;
 * at last `end`, without which the whole is worth nothing.
 */

import fs from 'node:fs';
import module, { createRequire } from 'node:module';
import os from 'node:os';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import vm from 'node:vm';
import zlib from 'node:zlib';

const MAX_FILES = 10_000;
const MAX_BYTES = 64 << 20;
const MAX_FILE_BYTES = 16 << 20;

// Node.js: src/compile_cache.h. Whether it still holds is tried out before anything is compiled.
const MAGIC = 0x8adfdbb2;
const HEAD_BYTES = 20;
const KINDS = { commonjs: 0, module: 1 };
const WRAPPER = ['exports', 'require', 'module', '__filename', '__dirname'];

const descriptor = Number(process.env._LAMBDAD_FRAMES_FD);

/** The files below a folder that Node.js would load as JavaScript, each with what package.json says of its kind. */
function* sources(folder, type = '') {
  let entries;
  try {
    entries = fs.readdirSync(folder, { withFileTypes: true });
  } catch {
    return;
  }
  type = typeOfPackage(folder) ?? type;
  for (const entry of entries) {
    const file = path.join(folder, entry.name);
    if (entry.isDirectory()) {
      // The search for a package.json ends at node_modules.
      yield* sources(file, entry.name === 'node_modules' ? '' : type);
    } else if (entry.isFile() && /\.[cm]?js$/.test(entry.name)) {
      yield { file, kinds: kindsOf(path.extname(entry.name), type), size: fs.lstatSync(file).size };
    }
  }
}

/** `module`, `commonjs` or nothing, if this folder has a package.json. */
function typeOfPackage(folder) {
  try {
    return JSON.parse(fs.readFileSync(path.join(folder, 'package.json'), 'utf8'))?.type ?? '';
  } catch {
    return undefined;
  }
}

/** What a file is tried as, in this order; Node.js guesses in the same way where nothing declares it. */
function kindsOf(extension, type) {
  if (extension === '.mjs' || (extension === '.js' && type === 'module')) {
    return ['module'];
  }
  return extension === '.cjs' || type === 'commonjs' ? ['commonjs'] : ['commonjs', 'module'];
}

/**
 * V8's data for a module: all of it parsed, and compiled what V8 does not leave until it is called. Throws SyntaxError.
 *
 * Inner functions could be had too (`--no-lazy`), but V8 compiles them without the names that it infers: stacks would
 * say `Object.handler` where they say `exports.handler`.
 */
function compile(kind, file, text) {
  if (kind === 'module') {
    return new vm.SourceTextModule(text, { identifier: pathToFileURL(file).href }).createCachedData();
  }
  return vm.compileFunction(text, WRAPPER, { filename: file, produceCachedData: true }).cachedData;
}

function nameOf(kind, file) {
  const key = kind === 'module' ? pathToFileURL(file).href : file;
  return zlib.crc32(key, zlib.crc32(Buffer.from([KINDS[kind]]))).toString(16).padStart(8, '0');
}

function headOf(text, data) {
  const code = Buffer.from(text);
  return Buffer.from(Uint32Array.of(MAGIC, code.length, data.length, zlib.crc32(code), zlib.crc32(data)).buffer);
}

/**
 * Has Node.js cache two modules of ours, and compares: how it names its entries and what they look like is its own
 * affair. Returns what it calls a cache of its build and flags.
 */
async function tryOut() {
  const place = fs.mkdtempSync(path.join(fs.realpathSync(os.tmpdir()), 'try-'));
  const files = { commonjs: path.join(place, 'one.cjs'), module: path.join(place, 'two.mjs') };
  const text = 'const é = () => { const inner = (x) => x + 1; return inner; };\n';
  module.enableCompileCache(path.join(place, 'cache'));
  for (const [kind, file] of Object.entries(files)) {
    fs.writeFileSync(file, text);
    await (kind === 'module' ? import(pathToFileURL(file).href) : createRequire(file)(file));
  }
  module.flushCompileCache();
  const cache = module.getCompileCacheDir();
  for (const [kind, file] of Object.entries(files)) {
    const entry = fs.readFileSync(path.join(cache, nameOf(kind, file)));
    if (!headOf(text, entry.subarray(HEAD_BYTES)).equals(entry.subarray(0, HEAD_BYTES))) {
      throw new Error(`this Node.js keeps what it compiles in another form: ${process.version}`);
    }
  }
  // Each user has a cache of its own there.
  return path.basename(cache).replace(new RegExp(`-${process.getuid()}$`), '');
}

/** A module's data and its kind; nothing if Node.js could not load it either. */
function compiled({ file, kinds, size }) {
  const text = fs.readFileSync(file, 'utf8');
  if (size > MAX_FILE_BYTES || text.startsWith('\ufeff')) {
    return undefined;
  }
  for (const kind of kinds) {
    try {
      return { kind, text, data: compile(kind, file, text) };
    } catch {
      // Loading it tells why.
    }
  }
  return undefined;
}

function tell(name, ...data) {
  const bytes = Buffer.concat([Buffer.from(name), Buffer.alloc(4), ...data]);
  bytes.writeUInt32BE(bytes.length - name.length - 4, name.length);
  const head = Buffer.alloc(4);
  head.writeUInt32BE(name.length);
  for (const piece of [head, bytes]) {
    for (let at = 0; at < piece.length; ) {
      at += fs.writeSync(descriptor, piece, at);
    }
  }
}

const found = [];
let bytes = 0;
for (const folder of process.argv.slice(2)) {
  for (const source of sources(folder)) {
    found.push(source);
    bytes += source.size;
    if (found.length > MAX_FILES || bytes > MAX_BYTES) {
      tell('end'); // entries of only some would make the others slower
      process.exit(0);
    }
  }
}
tell('tag', Buffer.from(await tryOut()));
for (const source of found) {
  const result = compiled(source);
  if (result) {
    tell(nameOf(result.kind, source.file), headOf(result.text, result.data), result.data);
  }
}
tell('end');
process.exit(0);
