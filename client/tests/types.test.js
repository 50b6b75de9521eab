import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

import * as module from "../upload.js";

const folder = new URL("..", import.meta.url);
const types = readFileSync(new URL("upload.d.ts", folder), "utf8").replaceAll(
  /\/\*\*.*?\*\//gs,
  "",
);

test("the declarations name what the module exports", () => {
  const declared = [...types.matchAll(/^export (?:class|function|const) (\w+)/gm)].map(
    ([, name]) => name,
  );
  assert.deepEqual(declared.sort(), Object.keys(module).sort());
});

test("the declarations name every member of an upload", () => {
  const [, body] = types.match(/export class Upload \{(.*?)^\}/ms);
  const declared = [...body.matchAll(/^ {2}(?:readonly )?(\w+)[(:]/gm)].map(([, name]) => name);
  const real = Object.getOwnPropertyNames(module.Upload.prototype);
  assert.deepEqual(declared.sort(), real.sort());
});

test("the declarations name every error code", () => {
  const [, union] = types.match(/type UploadErrorCode =(.*?);/s);
  const declared = [...union.matchAll(/\| "(\w+)"/g)].map(([, code]) => code);
  const sources = ["attempts.js", "errors.js", "source.js", "upload.js", "urls.js"].map((name) =>
    readFileSync(new URL(name, folder), "utf8"),
  );
  const used = [
    ...sources.join("\n").matchAll(/new UploadError\(\s*(?:gone \? error : )?"(\w+)"/g),
  ].map(([, code]) => code);
  assert.deepEqual([...new Set(declared)].sort(), [...new Set(used)].sort());
});

// TypeScript of this folder, or of another.
const installed = process.env.TYPESCRIPT_FOLDER ?? fileURLToPath(folder);
const tsc = join(installed, "node_modules/.bin/tsc");

test(
  "TypeScript accepts the declarations and their use",
  {
    skip: existsSync(tsc)
      ? false
      : "TypeScript is not installed; name its folder in TYPESCRIPT_FOLDER",
  },
  async () => {
    const use = fileURLToPath(new URL("types.ts", import.meta.url));
    const options = [
      "--noEmit",
      "--strict",
      "--target",
      "es2022",
      "--module",
      "nodenext",
      "--types",
      "",
    ];
    const run = promisify(execFile)(tsc, [...options, "--lib", "es2022,dom", use]);
    await run.catch(({ stdout }) => assert.fail(stdout));
  },
);
