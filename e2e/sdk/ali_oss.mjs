// Tests ali-oss, Alibaba's SDK for Node.js, with signature versions 1 and 4, and with long-term and
// temporary keys.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { Readable } from 'node:stream';

import OSS from 'ali-oss';

import * as app from './app.mjs';

const { version } = JSON.parse(readFileSync('node_modules/ali-oss/package.json'));

async function* clients() {
  const temporary = await app.temporary();
  for (const authorizationV4 of [false, true]) {
    for (const [kind, key] of [['', app.KEY], [' sts', temporary]]) {
      const options = {
        ...key,
        bucket: app.BUCKET,
        region: app.REGION,
        authorizationV4,
        // There is one temporary key, so a refresh returns the same one.
        refreshSTSToken: async () => app.temporary(),
        refreshSTSTokenInterval: 3_600_000,
      };
      const way = (authorizationV4 ? 'v4' : 'v1') + kind;
      // For an IP address, ali-oss puts the bucket into the header `Host`.
      yield [way, new OSS({ ...options, endpoint: app.OSS_URL })];
      // With `sldEnable`, it puts the bucket into the path.
      const endpoint = app.OSS_URL.replace('127.0.0.1', 'localhost');
      yield [way + ' path', new OSS({ ...options, endpoint, sldEnable: true })];
    }
  }
}

// Returns a new object each time: ali-oss modifies the headers that are passed to it.
const headers = () => ({ 'Content-Type': app.TYPE });

const tests = {
  async put(client, folder) {
    const key = folder + 'put +&中.bin';
    const callback = await app.granted(key);
    const result = await client.put(key, app.CONTENT, { headers: headers(), callback });
    assert.equal(result.res.status, 200);
    assert.deepEqual(result.data, { Status: 'OK', object: key });
    await app.checkSeen(key, 'PutObject', app.CONTENT.length);
    assert.deepEqual((await client.get(key)).content, app.CONTENT);
  },

  async putStream(client, folder) {
    const key = folder + 'stream.bin';
    const stream = Readable.from([app.CONTENT, app.CONTENT]);
    const callback = await app.granted(key);
    const result = await client.putStream(key, stream, { headers: headers(), callback });
    assert.deepEqual(result.data, { Status: 'OK', object: key });
    await app.checkSeen(key, 'PutObject', 2 * app.CONTENT.length);
  },

  async multipartUpload(client, folder) {
    const key = folder + 'multipart +&中.bin';
    const progress = [];
    const result = await client.multipartUpload(key, app.LARGE, {
      headers: headers(),
      mime: app.TYPE,
      partSize: app.PART,
      parallel: 2,
      callback: await app.granted(key),
      progress: done => progress.push(done),
    });
    assert.deepEqual(result.data, { Status: 'OK', object: key });
    assert.equal(progress.at(-1), 1);
    await app.checkSeen(key, 'CompleteMultipartUpload', app.LARGE.length);
    assert.deepEqual((await client.get(key)).content, app.LARGE);
  },

  async failing(client, folder) {
    const key = folder + 'failing.bin';
    const callback = await app.withoutTicket(key);
    await assert.rejects(client.put(key, app.CONTENT, { headers: headers(), callback }), error => {
      assert.equal(error.status, 203);
      assert.equal(error.code, 'CallbackFailed');
      assert.match(error.message, /Error status : 403\./);
      return true;
    });
    await app.checkNotSeen(key);
    assert.equal((await client.head(key)).status, 200);
  },

  async presigned(client, folder, way) {
    const key = folder + 'presigned +&.bin';
    const callback = await app.granted(key);
    let url;
    if (way.startsWith('v4')) {
      const encoded = text => Buffer.from(JSON.stringify(text)).toString('base64');
      const queries = {
        callback: encoded({
          callbackUrl: callback.url,
          callbackBody: callback.body,
          callbackBodyType: callback.contentType,
        }),
        'callback-var': encoded({ 'x:note': callback.customValue.note }),
      };
      url = await client.signatureUrlV4('PUT', 600, { headers: headers(), queries }, key);
    } else {
      url = client.signatureUrl(key, { method: 'PUT', expires: 600, ...headers(), callback });
    }
    const answer = await fetch(url, { method: 'PUT', headers: headers(), body: app.CONTENT });
    assert.deepEqual(await answer.json(), { Status: 'OK', object: key });
    await app.checkSeen(key, 'PutObject', app.CONTENT.length);
  },

  // ali-oss sends nothing to URLs. It shares an upload with a client that does.
  async presignedParts(client) {
    const created = await app.presign({
      action: 'create', filename: 'film.bin', size: app.LARGE.length, type: app.TYPE,
    });
    const { key, handle } = created;
    const send = async ({ url, method, headers: signed }, body) => {
      const answer = await fetch(url, { method, headers: signed, body });
      assert.equal(answer.status, 200, await answer.clone().text());
      return answer;
    };
    const begun = await (await send(created.request)).text();
    const [, uploadId] = begun.match(/<UploadId>(.*)<\/UploadId>/);
    const upload = { handle, uploadId };
    const { parts } = await app.presign({ action: 'parts', parts: [1, 3], ...upload });
    for (const { partNumber, request } of parts) {
      const at = (partNumber - 1) * app.PART;
      await send(request, app.LARGE.subarray(at, at + app.PART));
    }
    const middle = app.LARGE.subarray(app.PART, 2 * app.PART);
    const data = { stream: Readable.from([middle]), size: middle.length };
    await client._uploadPart(key, uploadId, 2, data, {});
    const listed = (await client.listParts(key, uploadId)).parts;
    assert.deepEqual(listed.map(one => Number(one.PartNumber)), [1, 2, 3]);
    const xml = listed.map(one =>
      `<Part><PartNumber>${one.PartNumber}</PartNumber><ETag>${one.ETag}</ETag></Part>`);
    const { request } = await app.presign({ action: 'complete', ...upload });
    const body = `<CompleteMultipartUpload>${xml.join('')}</CompleteMultipartUpload>`;
    const answer = await send(request, body);
    assert.deepEqual(await answer.json(), { Status: 'OK', object: key });
    await app.checkSeen(key, 'CompleteMultipartUpload', app.LARGE.length, 'any client');
    assert.deepEqual((await client.get(key)).content, app.LARGE);
  },

  async multipartByHand(client, folder) {
    const key = folder + 'by hand.bin';
    const { uploadId } = await client.initMultipartUpload(key);
    const data = { stream: Readable.from([app.CONTENT]), size: app.CONTENT.length };
    const part = await client._uploadPart(key, uploadId, 1, data, {});
    const listed = await client.listParts(key, uploadId);
    assert.deepEqual([].concat(listed.parts).map(one => one.ETag), [part.etag]);
    await client.abortMultipartUpload(key, uploadId);
    await assert.rejects(client.listParts(key, uploadId), { code: 'NoSuchUpload', status: 404 });
  },

  async listing(client, folder) {
    const names = ['a b+&.txt', 'deep/1', 'deep/2', 'z'].map(name => folder + 'list/' + name);
    for (const name of names) await client.put(name, Buffer.from('x'));
    const page = await client.listV2({ prefix: folder + 'list/', delimiter: '/', 'max-keys': 10 });
    assert.deepEqual(page.objects.map(one => one.name), [names[0], names[3]]);
    assert.deepEqual(page.prefixes, [folder + 'list/deep/']);
    for (const name of names) assert.equal((await client.delete(name)).res.status, 204);
  },

  async cors(client) {
    const before = (await client.getBucketCORS(app.BUCKET)).rules;
    const rule = {
      allowedOrigin: 'http://*.example',
      allowedMethod: ['PUT', 'GET'],
      allowedHeader: 'x-oss-*',
      exposeHeader: 'ETag',
      maxAgeSeconds: '60',
    };
    for (const rules of [[rule], before]) {
      await client.putBucketCORS(app.BUCKET, rules);
      assert.deepEqual((await client.getBucketCORS(app.BUCKET)).rules, rules);
    }
  },
};

for await (const [way, client] of clients()) {
  for (const [name, test] of Object.entries(tests)) {
    // A presigned URL must carry the bucket itself: its user does not set the header `Host`.
    if (name === 'presigned' && !way.endsWith('path')) continue;
    try {
      await test(client, 'ali-oss ' + way + '/', way);
    } catch (error) {
      console.error('ali-oss', version, way, name, 'FAILED');
      throw error;
    }
    console.log('ali-oss', version, way, name, 'ok');
  }
}
