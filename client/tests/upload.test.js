import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";

import { Upload, UploadError, forgetUploads, unfinishedUploads } from "../upload.js";
import { Fake, MemoryStorage, PART, fileOf } from "./fake.js";

let fake;
let storage;

beforeEach(async () => {
  fake = await new Fake().start();
  storage = new MemoryStorage();
});

afterEach(() => fake.stop());

const create = (file, options = {}) =>
  new Upload(file, {
    endpoint: fake.endpoint,
    storage,
    backoff: { first: 1, longest: 4 },
    ...options,
  });

/** Asserts that the only object is these bytes, of parts that were stored once, and one callback. */
function assertStored(bytes, { puts = 1 } = {}) {
  assert.equal(fake.objects.size, 1);
  assert.deepEqual([...fake.objects.values()][0], bytes);
  assert.equal(fake.callbacks, 1);
  for (const [number, count] of fake.completed?.puts ?? []) {
    assert.ok(count <= puts, `part ${number} was stored ${count} times`);
  }
}

const failsWith =
  (code, more = {}) =>
  (error) => {
    assert.ok(error instanceof UploadError, String(error?.stack ?? error));
    assert.equal(error.code, code, error.message);
    for (const [name, value] of Object.entries(more)) assert.equal(error[name], value, name);
    return true;
  };

test("a small file is one signed PUT, and the answer of the callback is returned", async () => {
  const { file, bytes } = fileOf(PART);
  fake.callback = () => ({ status: 200, json: { id: 7 } });
  const outcome = await create(file).start();
  assertStored(bytes);
  assert.deepEqual(outcome.reply, { id: 7 });
  assert.deepEqual(
    [outcome.key, outcome.size, outcome.crc64Verified, outcome.requestId],
    ["up/1.bin", PART, true, "REQ"],
  );
  assert.deepEqual(
    fake.requests.map(({ kind }) => kind),
    ["create", "put", "whole"],
  );
});

test("a large file goes in parts, several at once, and never more than set", async () => {
  for (const concurrency of [3, 6, 50]) {
    fake.objects.clear();
    Object.assign(fake, { callbacks: 0, mostAtOnce: 0 });
    const { file, bytes } = fileOf(40 * PART + 7);
    const seen = [];
    const states = [];
    // The first parts are answered when as many as expected are there.
    const expected = Math.min(6, concurrency);
    const all = deferred();
    fake.fault = async ({ kind }) => {
      if (kind !== "part") return;
      if (fake.mostAtOnce === expected) all.resolve();
      await all.promise;
    };
    const outcome = await create(file, {
      concurrency,
      onProgress: (progress) => seen.push(progress),
      onState: (state) => states.push(state),
    }).start();
    assertStored(bytes);
    assert.equal(outcome.crc64Verified, true);
    assert.equal(fake.mostAtOnce, expected);
    assert.deepEqual(states, ["preparing", "uploading", "completing", "done"]);
    const last = seen.at(-1);
    assert.deepEqual(
      [last.loaded, last.total, last.partsStored, last.partCount],
      [file.size, file.size, 41, 41],
    );
    assert.ok(last.speed > 0);
    for (const [at, { loaded }] of seen.entries())
      assert.ok(at === 0 || loaded >= seen[at - 1].loaded);
  }
});

test("one ask signs the parts of all connections, and an incomplete answer is an error", async () => {
  const { file } = fileOf(8 * PART);
  await create(file).start();
  assert.deepEqual(
    fake.of("parts").map(({ ask }) => ask.parts.length),
    [8],
  );
  fake.fault = ({ kind }) => (kind === "parts" ? { status: 200, body: '{"parts":[]}' } : undefined);
  await assert.rejects(create(file).start(), failsWith("Refused"));
});

test("no ask is for more than 100 parts", async () => {
  const { file, bytes } = fileOf(450 * PART);
  await create(file).start();
  assertStored(bytes);
  const asked = fake.of("parts").map(({ ask }) => ask.parts.length);
  assert.ok(Math.max(...asked) <= 100, String(asked));
  assert.ok(asked.length <= 10, String(asked));
  assert.equal(
    asked.reduce((sum, count) => sum + count, 0),
    450,
  );
});

test("connections that break in any request are repeated, and no stored part is sent twice", async () => {
  const { file, bytes } = fileOf(60 * PART);
  const cut = new Map();
  fake.fault = ({ kind, number }) => {
    const name = `${kind} ${number}`;
    const times = cut.get(name) ?? 0;
    cut.set(name, times + 1);
    return times < 2 && (kind !== "part" || number % 3 === 0) ? "cut" : undefined;
  };
  const outcome = await create(file).start();
  assertStored(bytes);
  assert.deepEqual(outcome.reply, { ok: true });
  assert.equal(fake.of("part").length, 60 + 2 * 20);
});

test("a part whose response is lost is the only one that is stored twice", async () => {
  const { file, bytes } = fileOf(10 * PART);
  let lost = 0;
  fake.fault = ({ kind, number }) =>
    kind === "part" && number === 4 && (lost += 1) === 1 ? "lose" : undefined;
  await create(file).start();
  assertStored(bytes, { puts: 2 });
  assert.equal(fake.of("part").length, 11);
});

test("delays grow, are spread, and end after the set number", async () => {
  const { file } = fileOf(5 * PART);
  const waits = [];
  fake.fault = ({ kind }) => (kind === "part" ? "cut" : undefined);
  const upload = create(file, {
    concurrency: 1,
    retries: 6,
    backoff: { first: 8, longest: 32 },
    onState: (state, { until, reason }) => {
      if (state === "waiting") waits.push([until - Date.now(), reason]);
    },
  });
  await assert.rejects(upload.start(), failsWith("Network", { retriable: true }));
  assert.equal(waits.length, 6);
  for (const [at, [wait, reason]] of waits.entries()) {
    const longest = Math.min(32, 8 * 2 ** at);
    // A millisecond passes between the two readings of the clock.
    assert.ok(wait > longest / 2 - 3 && wait <= longest, `${at}: ${wait}`);
    assert.equal(reason, "network");
  }
  assert.equal(upload.state, "failed");
  // Nothing is lost: the same upload continues.
  fake.fault = () => undefined;
  await upload.start();
  assert.equal(upload.state, "done");
  assert.equal(fake.of("create").length, 1);
});

test("Retry-After is obeyed", async () => {
  const { file } = fileOf(3 * PART);
  const waits = [];
  fake.fault = ({ kind }) =>
    kind === "parts"
      ? { status: 503, headers: { "retry-after": "60" }, body: '{"code":"Busy","message":"later"}' }
      : undefined;
  const upload = create(file, {
    onState: (state, { reason, until }) => {
      if (state !== "waiting") return;
      waits.push([reason, Math.round((until - Date.now()) / 10_000)]);
      upload.cancel();
    },
  });
  await assert.rejects(upload.start(), failsWith("Cancelled"));
  assert.deepEqual(waits, [["service", 6]]);
});

test("URLs that OSS rejects as expired are signed again", async () => {
  const { file, bytes } = fileOf(30 * PART);
  fake.fault = (seen) => {
    // The first ask for parts returns URLs whose time is over, whatever the client's clock says.
    if (seen.kind === "parts") fake.urlLifetime = fake.of("parts").length === 1 ? -1 : 900;
  };
  await create(file).start();
  assertStored(bytes);
  assert.ok(fake.of("part").some(({ expired }) => expired));
});

test("URLs whose time is over are not sent", async () => {
  const { file, bytes } = fileOf(30 * PART);
  const real = Date.now;
  let late = 0;
  Date.now = () => real() + late;
  try {
    fake.fault = ({ kind }) => {
      // An hour passes after a third of the parts.
      if (kind === "part" && fake.of("part").length === 10) late = 3_600_000;
    };
    await create(file, { concurrency: 1 }).start();
  } finally {
    Date.now = real;
  }
  assertStored(bytes);
  // The one on its way when the hour passed.
  assert.ok(fake.of("part").filter(({ expired }) => expired).length <= 1);
});

test("URLs that are always expired fail as such, without an endless loop", async () => {
  const { file } = fileOf(3 * PART);
  fake.fault = ({ kind }) => {
    if (kind === "parts") fake.urlLifetime = -10;
  };
  await assert.rejects(create(file).start(), failsWith("Expired", { retriable: true }));
  assert.ok(fake.of("part").length <= 4 * 4);
});

test("a pause sends nothing, and a resume continues with what is missing", async () => {
  const { file, bytes } = fileOf(30 * PART);
  let upload;
  const states = [];
  const held = deferred();
  fake.fault = async ({ kind }) => {
    if (kind !== "part" || fake.of("part").length !== 12) return;
    upload.pause();
    assert.equal(upload.state, "paused");
    held.resolve();
  };
  upload = create(file, { onState: (state) => states.push(state) });
  const done = upload.start();
  await held.promise;
  // Whatever was on its way has ended after a turn of another connection.
  await fetch(fake.endpoint, { method: "POST", body: '{"action":"none"}' });
  const before = fake.of("part").length;
  await fetch(fake.endpoint, { method: "POST", body: '{"action":"none"}' });
  assert.equal(fake.of("part").length, before);
  assert.equal(fake.callbacks, 0);
  upload.resume();
  await done;
  assertStored(bytes, { puts: 2 });
  assert.ok(fake.of("part").length <= 30 + 4, String(fake.of("part").length));
  assert.deepEqual(states, ["preparing", "uploading", "paused", "uploading", "completing", "done"]);
});

function deferred() {
  const made = {};
  made.promise = new Promise((resolve, reject) => Object.assign(made, { resolve, reject }));
  return made;
}

test("an upload that is paused before it starts waits", async () => {
  const { file, bytes } = fileOf(3 * PART);
  const upload = create(file);
  upload.pause();
  const done = upload.start();
  await fetch(fake.endpoint, { method: "POST", body: '{"action":"none"}' });
  assert.equal(fake.of("create").length, 0);
  upload.resume();
  await done;
  assertStored(bytes);
});

test("cancel deletes the parts at OSS and the record", async () => {
  const { file } = fileOf(30 * PART);
  let upload;
  let ended;
  fake.fault = ({ kind }) => {
    if (kind === "part" && fake.of("part").length === 9) ended = upload.cancel();
  };
  upload = create(file);
  await assert.rejects(upload.start(), failsWith("Cancelled"));
  assert.equal(await ended, true);
  assert.equal(upload.state, "cancelled");
  assert.deepEqual([fake.uploads.size, storage.length, fake.callbacks], [0, 0, 0]);
  await assert.rejects(upload.start(), failsWith("Cancelled"));
});

test("an AbortSignal cancels, also before the start", async () => {
  const { file } = fileOf(30 * PART);
  const aborter = new AbortController();
  fake.fault = ({ kind }) => {
    if (kind === "part") aborter.abort();
  };
  await assert.rejects(create(file, { signal: aborter.signal }).start(), failsWith("Cancelled"));
  const before = fake.of("create").length;
  await assert.rejects(create(file, { signal: aborter.signal }).start(), failsWith("Cancelled"));
  assert.equal(fake.of("create").length, before);
});

test("a handle that expires is authorised again, and the upload goes on under the same key", async () => {
  const { file, bytes } = fileOf(200 * PART);
  fake.nameKey = () => "up/same.bin";
  fake.fault = ({ kind }) => {
    if (kind === "parts" && fake.of("parts").length === 3)
      for (const handle of fake.handles.values()) handle.expired = true;
  };
  await create(file).start();
  assertStored(bytes);
  assert.deepEqual(
    [fake.of("create").length, fake.of("initiate").length, fake.of("part").length],
    [2, 1, 200],
  );
});

test("an expired handle whose successor has another key starts anew", async () => {
  const { file, bytes } = fileOf(100 * PART);
  let once = true;
  fake.fault = ({ kind }) => {
    if (kind !== "parts" || fake.of("parts").length !== 3 || !once) return;
    once = false;
    for (const handle of fake.handles.values()) handle.expired = true;
  };
  const outcome = await create(file).start();
  assertStored(bytes);
  assert.equal(outcome.key, "up/2.bin");
  assert.equal(fake.of("initiate").length, 2);
});

test("a small file whose handle expires is authorised again", async () => {
  const { file, bytes } = fileOf(PART);
  fake.fault = ({ kind }) => {
    if (kind === "put" && fake.of("put").length === 1)
      for (const handle of fake.handles.values()) handle.expired = true;
  };
  const outcome = await create(file).start();
  assertStored(bytes);
  assert.equal(outcome.key, "up/2.bin");
});

test("a service that calls every handle expired ends in an error", async () => {
  const { file } = fileOf(3 * PART);
  fake.fault = ({ kind }) =>
    kind === "parts"
      ? { status: 410, body: '{"code":"HandleExpired","message":"old"}' }
      : undefined;
  await assert.rejects(create(file).start(), failsWith("Expired", { retriable: false }));
  assert.ok(fake.of("create").length <= 4, String(fake.of("create").length));
});

test("an upload that OSS dropped begins anew", async () => {
  const { file, bytes } = fileOf(20 * PART);
  let once = true;
  fake.fault = ({ kind }) => {
    if (kind !== "part" || fake.of("part").length !== 8 || !once) return;
    once = false;
    fake.uploads.clear();
  };
  await create(file).start();
  assertStored(bytes);
  assert.equal(fake.of("initiate").length, 2);
});

test("an upload that OSS always drops fails", async () => {
  const { file } = fileOf(20 * PART);
  fake.fault = ({ kind }) => {
    if (kind === "part") fake.uploads.clear();
  };
  await assert.rejects(create(file).start(), failsWith("NoSuchUpload"));
  assert.equal(fake.of("initiate").length, 3);
});

test("203 is a failure, with the object stored", async () => {
  for (const size of [PART, 5 * PART]) {
    fake.callback = () => ({ status: 500 });
    const { file } = fileOf(size);
    await assert.rejects(create(file).start(), (error) => {
      failsWith("CallbackFailed", { stored: true, retriable: false })(error);
      assert.deepEqual(
        [error.detail.status, error.detail.code, error.detail.message],
        [203, "CallbackFailed", "Error status : 500."],
      );
      return true;
    });
    assert.equal(storage.length, 0);
  }
});

test("if the response to complete is lost, the application is asked", async () => {
  const { file, bytes } = fileOf(5 * PART);
  fake.fault = ({ kind }) =>
    kind === "completion" && fake.of("completion").length === 1 ? "lose" : undefined;
  await assert.rejects(create(file).start(), failsWith("Unconfirmed"));
  assertStored(bytes);
  fake.objects.clear();
  fake.callbacks = 0;
  fake.requests.length = 0;
  const asked = [];
  const outcome = await create(file, {
    lookup: async ({ key }) => {
      asked.push(key);
      return { ok: "found" };
    },
  }).start();
  assertStored(bytes);
  assert.deepEqual(
    [outcome.reply, outcome.recovered, asked],
    [{ ok: "found" }, true, [outcome.key]],
  );
});

test("if the response to a PUT is lost, the application is asked", async () => {
  const { file, bytes } = fileOf(PART);
  fake.fault = ({ kind }) =>
    kind === "whole" && fake.of("whole").length === 1 ? "lose" : undefined;
  const outcome = await create(file, { lookup: () => ({ ok: "found" }) }).start();
  assertStored(bytes);
  assert.equal(outcome.recovered, true);
});

test("if a PUT is paused after OSS has stored it, the application is asked", async () => {
  const { file, bytes } = fileOf(PART);
  let upload;
  fake.callback = () => {
    upload.pause();
    return { status: 200, json: { id: 7 } };
  };
  upload = create(file, {
    lookup: () => ({ ok: "found" }),
    onState: (state) => {
      if (state === "paused") setImmediate(() => upload.resume());
    },
  });
  const outcome = await upload.start();
  assertStored(bytes);
  assert.deepEqual([outcome.recovered, outcome.reply], [true, { ok: "found" }]);
  assert.equal(fake.of("whole").length, 2);
});

test("if a PUT is repeated and the application has accepted the first, it is asked", async () => {
  const { file } = fileOf(PART);
  fake.allowOverwrite = true;
  fake.fault = ({ kind }) =>
    kind === "whole" && fake.of("whole").length % 2 === 1 ? "lose" : undefined;
  // A ticket serves one callback.
  fake.callback = () => ({ status: fake.callbacks % 2 === 1 ? 200 : 409, json: {} });
  const outcome = await create(file, { lookup: () => ({ ok: "found" }) }).start();
  assert.deepEqual([outcome.recovered, outcome.reply], [true, { ok: "found" }]);
  const failure = failsWith("CallbackFailed", { stored: true });
  await assert.rejects(create(file, { lookup: () => null }).start(), failure);
});

test("cancel does not claim to have deleted what OSS has completed", async () => {
  const { file } = fileOf(5 * PART);
  let upload;
  let ended;
  fake.callback = () => {
    ended = upload.cancel();
    return { status: 200, json: {} };
  };
  upload = create(file);
  await assert.rejects(upload.start(), failsWith("Cancelled"));
  assert.equal(await ended, false);
  assert.equal(fake.objects.size, 1);
  assert.equal(fake.of("deletion").length, 1);
});

test("a small file shows that it is uploaded", async () => {
  const states = [];
  await create(fileOf(PART).file, { onState: (state) => states.push(state) }).start();
  assert.deepEqual(states, ["preparing", "uploading", "done"]);
});

test("an object that existed before is an error of its own", async () => {
  const { file } = fileOf(PART);
  fake.objects.set("up/1.bin", Buffer.from("older"));
  await assert.rejects(create(file).start(), failsWith("AlreadyExists"));
});

test("a part that arrives damaged is sent again", async () => {
  const { file, bytes } = fileOf(10 * PART);
  fake.fault = (seen) => {
    if (
      seen.kind === "part" &&
      seen.number === 3 &&
      fake.of("part").filter(({ number }) => number === 3).length === 1
    ) {
      seen.damaged = true;
    }
  };
  await create(file).start();
  assertStored(bytes, { puts: 2 });
  assert.equal(fake.of("part").length, 11);
});

test("parts that always arrive damaged fail", async () => {
  const { file } = fileOf(3 * PART);
  fake.fault = (seen) => {
    if (seen.kind === "part") seen.damaged = true;
  };
  await assert.rejects(
    create(file, { retries: 2 }).start(),
    failsWith("ChecksumMismatch", { stored: false }),
  );
  assert.equal(fake.callbacks, 0);
});

test("without ETags in responses, those of the list are used", async () => {
  fake.hideEtags = true;
  fake.listPage = 7;
  const { file, bytes } = fileOf(20 * PART);
  await create(file).start();
  assertStored(bytes);
  assert.equal(fake.of("listing").length, 3);
});

test("without checksums in responses, the outcome says so", async () => {
  fake.hideCrcs = true;
  const { file, bytes } = fileOf(5 * PART);
  const outcome = await create(file).start();
  assertStored(bytes);
  assert.equal(outcome.crc64Verified, false);
});

test("what the service refuses is returned with its code", async () => {
  const { file } = fileOf(5 * PART);
  for (const [status, body, code, retriable, serviceCode] of [
    [403, '{"code":"SizeNotGranted","message":"too large"}', "Refused", false, "SizeNotGranted"],
    [401, '{"code":"Unauthorized","message":"sign in"}', "Refused", true, "Unauthorized"],
    [200, "<html>sign in</html>", "Refused", false, ""],
    [404, "not here", "Refused", false, ""],
  ]) {
    fake.fault = () => ({ status, body });
    await assert.rejects(create(file).start(), (error) => {
      failsWith(code, { retriable })(error);
      assert.deepEqual(
        [error.detail.from, error.detail.status, error.detail.code],
        ["service", status, serviceCode],
      );
      return true;
    });
  }
  fake.fault = () => ({ status: 500, body: "" });
  await assert.rejects(
    create(file, { retries: 2 }).start(),
    failsWith("Unavailable", { retriable: true }),
  );
});

test("what OSS rejects is returned with its code, and not repeated", async () => {
  const { file } = fileOf(5 * PART);
  const body = "<Error><Code>InvalidArgument</Code><Message>a &lt; b</Message><EC>1</EC></Error>";
  fake.fault = ({ kind }) => (kind === "initiate" ? { status: 400, body } : undefined);
  await assert.rejects(create(file).start(), (error) => {
    failsWith("Rejected", { retriable: false })(error);
    assert.deepEqual(
      [error.detail.code, error.detail.message, error.detail.ec],
      ["InvalidArgument", "a < b", "1"],
    );
    return true;
  });
  assert.equal(fake.of("initiate").length, 1);
});

test("headers and credentials go to the service alone", async () => {
  const { file } = fileOf(PART);
  let asked = 0;
  await create(file, { headers: async () => ({ "x-csrf": String((asked += 1)) }) }).start();
  assert.deepEqual(fake.of("create")[0].headers["x-csrf"], "1");
  assert.deepEqual(fake.of("put")[0].headers["x-csrf"], "2");
});

test("a file that can no longer be read is an error of its own", async () => {
  const { file } = fileOf(5 * PART);
  const gone = () => {
    throw new DOMException("gone", "NotReadableError");
  };
  const slice = file.slice.bind(file);
  file.slice = (from, to) =>
    Object.assign(slice(from, to), {
      stream: () => ({ getReader: () => ({ read: gone, cancel: async () => {} }) }),
    });
  await assert.rejects(create(file).start(), failsWith("FileUnreadable"));
});

test("without a network, no attempt is used up, and `online` ends the wait", async () => {
  const { file, bytes } = fileOf(8 * PART);
  const target = new EventTarget();
  const was = Object.getOwnPropertyDescriptor(globalThis, "navigator");
  const navigator = { onLine: true };
  Object.defineProperty(globalThis, "navigator", { value: navigator, configurable: true });
  globalThis.addEventListener = target.addEventListener.bind(target);
  globalThis.removeEventListener = target.removeEventListener.bind(target);
  try {
    const waited = [];
    fake.fault = ({ kind }) => {
      if (kind !== "part" || fake.of("part").length < 4 || waited.length > 0) return undefined;
      navigator.onLine = false;
      return "cut";
    };
    await create(file, {
      concurrency: 1,
      retries: 0,
      backoff: { first: 1, longest: 3_600_000 },
      onState: (state, { reason }) => {
        if (state !== "waiting") return;
        waited.push(reason);
        navigator.onLine = true;
        setImmediate(() => target.dispatchEvent(new Event("online")));
      },
    }).start();
    assertStored(bytes);
    assert.deepEqual(waited, ["offline"]);
  } finally {
    if (was) Object.defineProperty(globalThis, "navigator", was);
    else delete globalThis.navigator;
    delete globalThis.addEventListener;
    delete globalThis.removeEventListener;
  }
});

test("the `offline` event is shown at once, and ends when something moves", async () => {
  const { file, bytes } = fileOf(8 * PART);
  const real = Date.now;
  let late = 0;
  Date.now = () => real() + late;
  const target = new EventTarget();
  globalThis.addEventListener = target.addEventListener.bind(target);
  globalThis.removeEventListener = target.removeEventListener.bind(target);
  try {
    const states = [];
    fake.fault = ({ kind, number }) => {
      if (kind !== "part") return;
      if (number === 3 || number === 5) target.dispatchEvent(new Event("offline"));
      // Two seconds pass until OSS answers.
      if (number === 3) late += 2000;
      if (number === 5) target.dispatchEvent(new Event("online"));
    };
    const upload = create(file, {
      concurrency: 1,
      onState: (state, { reason, until }) => states.push(reason ? [state, reason, until] : state),
    });
    await upload.start();
    assertStored(bytes);
    assert.deepEqual(states, [
      "preparing",
      "uploading",
      ["waiting", "offline", undefined],
      "uploading",
      ["waiting", "offline", undefined],
      "uploading",
      "completing",
      "done",
    ]);
  } finally {
    Date.now = real;
    delete globalThis.addEventListener;
    delete globalThis.removeEventListener;
  }
});

test("connections that hang when the network is back are replaced", async () => {
  const { file, bytes } = fileOf(8 * PART);
  const target = new EventTarget();
  globalThis.addEventListener = target.addEventListener.bind(target);
  globalThis.removeEventListener = target.removeEventListener.bind(target);
  try {
    let hanging = 0;
    fake.fault = ({ kind, number }) => {
      if (kind !== "part" || number !== 3) return undefined;
      hanging += 1;
      if (hanging > 1) return undefined;
      target.dispatchEvent(new Event("offline"));
      target.dispatchEvent(new Event("online"));
      return new Promise(() => {});
    };
    await create(file, { concurrency: 1, stallTimeout: 300 }).start();
    assertStored(bytes);
    assert.equal(hanging, 2);
  } finally {
    delete globalThis.addEventListener;
    delete globalThis.removeEventListener;
  }
});

test("a start after the end returns the same outcome, and after a final failure begins anew", async () => {
  const { file, bytes } = fileOf(5 * PART);
  fake.callback = () => ({ status: 500 });
  const upload = create(file);
  await assert.rejects(upload.start(), failsWith("CallbackFailed"));
  fake.objects.clear();
  fake.callbacks = 0;
  fake.callback = () => ({ status: 200, json: { ok: true } });
  const outcome = await upload.start();
  assertStored(bytes);
  assert.equal(outcome.key, "up/2.bin");
  assert.equal(await upload.start(), outcome);
  assert.equal(fake.of("create").length, 2);
});

test("two uploads of one file at once do not share a record", async () => {
  const { file, bytes } = fileOf(20 * PART);
  const outcomes = await Promise.all([create(file).start(), create(file).start()]);
  assert.notEqual(outcomes[0].key, outcomes[1].key);
  assert.equal(fake.objects.size, 2);
  for (const object of fake.objects.values()) assert.deepEqual(object, bytes);
  assert.equal(storage.length, 0);
});

test("a full or broken storage costs only the continuation", async () => {
  const { file, bytes } = fileOf(20 * PART);
  storage.setItem = () => {
    throw new DOMException("full", "QuotaExceededError");
  };
  storage.getItem = () => {
    throw new Error("denied");
  };
  await create(file).start();
  assertStored(bytes);
  fake.objects.clear();
  fake.callbacks = 0;
  await create(file, { storage: null }).start();
  assertStored(bytes);
});

test("another device continues with the session", async () => {
  const { file, bytes } = fileOf(20 * PART);
  let first;
  fake.fault = ({ kind }) => {
    if (kind === "part" && fake.of("part").length === 10) first.pause();
  };
  first = create(file);
  first.start().catch(() => {});
  while (first.state !== "paused") await new Promise(setImmediate);
  const { session } = first;
  const outcome = await create(file, {
    storage: new MemoryStorage(),
    scope: "other",
    // As stores of applications keep it.
    session: new Proxy(Object.freeze({ ...session, etags: Object.freeze(session.etags) }), {}),
  }).start();
  assertStored(bytes, { puts: 2 });
  assert.equal(outcome.key, session.key);
  assert.equal(fake.of("create").length, 1);
  fake.fault = () => undefined;
  await first.cancel();
});

test("what is not a session is ignored", async () => {
  for (const session of [{}, { version: 2 }, "text", null]) {
    const { file } = fileOf(3 * PART);
    await create(file, { storage: new MemoryStorage(), session }).start();
  }
  assert.equal(fake.of("create").length, 4);
});

test("records are listed and forgotten by scope", async () => {
  const { file } = fileOf(20 * PART);
  fake.fault = ({ kind }) => (kind === "part" && fake.of("part").length > 9 ? "cut" : undefined);
  const options = { scope: "user 7", retries: 0 };
  await assert.rejects(create(file, options).start(), failsWith("Network"));
  const [record, ...none] = unfinishedUploads({ storage, scope: "user 7" });
  assert.deepEqual(none, []);
  assert.deepEqual(
    [record.name, record.size, record.key, record.partCount],
    ["film.mp4", file.size, "up/1.bin", 20],
  );
  assert.ok(record.partsStored > 0);
  assert.deepEqual(unfinishedUploads({ storage, scope: "user 8" }), []);
  storage.setItem("oss-upload:a%3Ab:x", storage.getItem(storage.key(0)));
  assert.deepEqual(unfinishedUploads({ storage, scope: "a" }), []);
  assert.equal(unfinishedUploads({ storage, scope: "a:b" }).length, 1);
  forgetUploads({ storage, scope: "a:b", fingerprint: "x" });
  forgetUploads({ storage, scope: "user 8" });
  assert.equal(unfinishedUploads({ storage, scope: "user 7" }).length, 1);
  forgetUploads({ storage, scope: "user 7" });
  assert.equal(storage.length, 0);
});
