// Runs the Node.js line that the program `oss-emulator` prints at its start. Then runs the scripts
// about buckets and objects with the program, which lets clients create buckets.

import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import OSS from "ali-oss";
import * as app from "./app.mjs";

/** Starts the program, and calls `use` with the Node.js line of its start message and its URL. */
async function withProgram(options, use) {
  const program = spawn(process.env.EMULATOR, ["--listen", "127.0.0.1:0", ...options], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  let line, url;
  for await (const printed of createInterface({ input: program.stdout })) {
    if (printed.startsWith("listening on ")) {
      url = printed.split(" ")[2].replace("/examplebucket", "");
    }
    if (printed.startsWith("Node.js ")) {
      line = printed.slice("Node.js ".length).trim();
      break;
    }
  }
  await use(line, url);
  program.kill("SIGTERM");
  const [code] = await once(program, "exit");
  assert.equal(code, 0);
}

await withProgram([], async line => {
  const client = new Function("OSS", `return ${line};`)(OSS);
  await client.put("node.txt", Buffer.from("hello"));
  const { content } = await client.get("node.txt");
  assert.equal(content.toString(), "hello");
  console.log("ali-oss:", client.options.endpoint.host, "ok");
});

const { accessKeyId, accessKeySecret, stsToken } = await app.temporary();
const options = ["--create-buckets", "--bucket", "examplebucket", "--bucket", "secondbucket"];
options.push("--key", `${app.KEY.accessKeyId}:${app.KEY.accessKeySecret}`);
options.push("--key", `${accessKeyId}:${accessKeySecret}:${stsToken}`);
await withProgram(options, async (_, url) => {
  for (const script of ["ali_oss_buckets.mjs", "ali_oss_objects.mjs"]) {
    console.log("oss-emulator:", script);
    const env = { ...process.env, OSS_URL: url };
    execFileSync(process.execPath, [script], { env, stdio: "inherit" });
  }
});
