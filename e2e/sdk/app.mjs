// Client for the application server that e2e/sdk/run.sh starts.

import assert from 'node:assert/strict';

export const OSS_URL = process.env.OSS_URL;
export const APP_URL = process.env.APP_URL;
export const BUCKET = 'examplebucket';
export const REGION = 'oss-cn-hangzhou';
export const KEY = { accessKeyId: 'test-id', accessKeySecret: 'test-secret' };
export const NOTE = 'a note: +/=中';
export const TYPE = 'application/octet-stream';

export const CONTENT = Buffer.from(Array.from({ length: 1024 }, (_, i) => i % 256));
export const PART = 128 * 1024;
export const LARGE = Buffer.from(Array.from({ length: 2 * PART + 1234 }, (_, i) => (i * 7) % 251));

async function get(path) {
  const answer = await fetch(APP_URL + path);
  assert.equal(answer.status, 200, await answer.clone().text());
  return answer.json();
}

export async function temporary() {
  const { AccessKeyId, AccessKeySecret, SecurityToken } = await get('/sts');
  return { accessKeyId: AccessKeyId, accessKeySecret: AccessKeySecret, stsToken: SecurityToken };
}

/** Has the application sign an upload in parts. */
export async function presign(ask) {
  const answer = await fetch(APP_URL + '/presign', {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify(ask),
  });
  assert.equal(answer.status, 200, await answer.clone().text());
  return answer.json();
}

/** Requests a callback for an upload of this object, and splits it into the options of ali-oss. */
export async function granted(key) {
  const { callback, variables } = await get('/callback?key=' + encodeURIComponent(key));
  const parameters = JSON.parse(Buffer.from(callback, 'base64').toString());
  return {
    url: parameters.callbackUrl,
    body: parameters.callbackBody,
    contentType: parameters.callbackBodyType,
    // ali-oss adds the prefix `x:` to the names itself.
    customValue: Object.fromEntries(
      Object.entries(variables).map(([name, value]) => [name.slice(2), value]),
    ),
  };
}

/** Returns a callback without its ticket, which the layer rejects with 403. */
export async function withoutTicket(key) {
  const callback = await granted(key);
  const start = callback.body.indexOf(',"x:ticket":');
  assert.notEqual(start, -1);
  return { ...callback, body: callback.body.slice(0, start) + '}' };
}

/** Asserts that the layer accepted exactly one callback for this object, with its claims. */
export async function checkSeen(key, operation, size, grantedTo = 'uploader of ' + key) {
  const seen = (await get('/seen')).filter(one => one.object === key);
  assert.equal(seen.length, 1, key + ' ' + JSON.stringify(seen));
  const { etag, ...one } = seen[0];
  assert.ok(etag);
  assert.deepEqual(one, { object: key, size, operation, note: NOTE, granted_to: grantedTo });
}

export async function checkNotSeen(key) {
  assert.deepEqual((await get('/seen')).filter(one => one.object === key), []);
}
