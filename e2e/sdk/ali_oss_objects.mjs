// Restates what the tests of ali-oss assert about objects: copies, conditions, ACLs, appended objects,
// symbolic links, images, and replaced response headers. Run with the published package.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { Readable } from 'node:stream';
import { crc32, deflateSync } from 'node:zlib';

import OSS from 'ali-oss';

import * as app from './app.mjs';

const { version } = JSON.parse(readFileSync('node_modules/ali-oss/package.json'));
const PAST = new Date(Date.now() - 3_600_000).toUTCString();
const FUTURE = new Date(Date.now() + 3_600_000).toUTCString();
const SECOND = 'secondbucket';

function* clients() {
  for (const authorizationV4 of [false, true]) {
    const options = { ...app.KEY, bucket: app.BUCKET, region: app.REGION, authorizationV4 };
    yield [authorizationV4 ? 'v4' : 'v1', new OSS({ ...options, endpoint: app.OSS_URL })];
  }
}

/** Returns a grey PNG. */
function png(width, height) {
  const chunk = (kind, data) => {
    const body = Buffer.concat([Buffer.from(kind), data]);
    const [length, checksum] = [Buffer.alloc(4), Buffer.alloc(4)];
    length.writeUInt32BE(data.length);
    checksum.writeUInt32BE(crc32(body));
    return Buffer.concat([length, body, checksum]);
  };
  const head = Buffer.alloc(13);
  head.writeUInt32BE(width);
  head.writeUInt32BE(height, 4);
  head[8] = 8;
  const rows = Buffer.alloc(height * (width + 1), 0x80);
  for (let row = 0; row < height; row++) rows[row * (width + 1)] = 0;
  const begin = Buffer.from('\x89PNG\r\n\x1a\n', 'latin1');
  const chunks = [chunk('IHDR', head), chunk('IDAT', deflateSync(rows)), chunk('IEND', Buffer.alloc(0))];
  return Buffer.concat([begin, ...chunks]);
}

const CONDITIONS = etag => [
  ['If-Match', etag, 200],
  ['If-Match', 'foo-bar', 412],
  ['If-None-Match', 'foo-bar', 200],
  ['If-None-Match', etag, 304],
  ['If-Modified-Since', PAST, 200],
  ['If-Modified-Since', FUTURE, 304],
  ['If-Unmodified-Since', FUTURE, 200],
  ['If-Unmodified-Since', PAST, 412],
];

function failed(condition) {
  return {
    name: 'PreconditionFailedError',
    status: 412,
    message:
      'At least one of the pre-conditions you specified did not hold. ' +
      `(condition: ${condition})`,
  };
}

const tests = {
  async copy(client, folder) {
    const source = folder + 'copy-a;,/?:@&=+$#b测试.js';
    await client.put(source, app.CONTENT, { meta: { uid: 1, pid: '123' } });
    for (const name of [folder + 'copy', folder + 'copy-a+b', folder + 'copy_测试']) {
      const result = await client.copy(name, source);
      assert.equal(result.res.status, 200);
      assert.equal(typeof result.data.etag, 'string');
      assert.equal(typeof result.data.lastModified, 'string');
      const found = await client.get(name);
      assert.deepEqual(found.content, app.CONTENT);
      const { meta } = await client.head(name);
      assert.deepEqual({ ...meta }, { uid: '1', pid: '123' });
    }
    let result = await client.copy(folder + 'other', source, { meta: { uid: '2' } });
    assert.equal(result.res.status, 200);
    const { meta } = await client.head(folder + 'other');
    assert.deepEqual({ ...meta }, { uid: '2' });
    const disposition = 'attachment; filename=test';
    const headers = { 'Content-Disposition': disposition };
    await client.copy(folder + 'named', source, { headers });
    const { res } = await client.get(folder + 'named');
    assert.equal(res.headers['content-disposition'], disposition);
    await assert.rejects(client.copy(folder + 'x', folder + 'none'), {
      name: 'NoSuchKeyError',
      status: 404,
      message: 'The specified key does not exist.',
    });
    client.useBucket(SECOND);
    await client.put(folder + 'second', app.CONTENT);
    client.useBucket(app.BUCKET);
    for (const [from, bucket] of [[`/${SECOND}/${folder}second`], [folder + 'second', SECOND]]) {
      result = await client.copy(folder + 'from second', from, bucket);
      assert.equal(result.res.status, 200);
    }
  },

  async copyOntoItself(client, folder) {
    const key = folder + 'itself';
    await client.put(key, app.CONTENT, { meta: { uid: 1 } });
    const headers = { 'Cache-Control': 'max-age=0, s-maxage=86400' };
    await client.copy(key, key, { headers });
    const { res } = await client.head(key);
    assert.equal(res.headers['cache-control'], 'max-age=0, s-maxage=86400');
    await client.putMeta(key, { uid: '2' });
    const { meta } = await client.head(key);
    assert.deepEqual({ ...meta }, { uid: '2' });
    assert.deepEqual((await client.get(key)).content, app.CONTENT);
    const update = client.putMeta(folder + 'none', { uid: '2' });
    await assert.rejects(update, { name: 'NoSuchKeyError', status: 404 });
  },

  async copyConditions(client, folder) {
    const source = folder + 'source';
    const { res } = await client.put(source, app.CONTENT);
    for (const [name, value, status] of CONDITIONS(res.headers.etag)) {
      const copy = client.copy(folder + 'conditional', source, { headers: { [name]: value } });
      if (status === 412) {
        await assert.rejects(copy, failed(name));
      } else {
        assert.equal((await copy).res.status, status, name);
      }
    }
  },

  async readConditions(client, folder) {
    const key = folder + 'conditions';
    const { res } = await client.put(key, app.CONTENT);
    for (const [name, value, status] of CONDITIONS(res.headers.etag)) {
      const headers = { [name]: value };
      const get = () => client.get(key, { headers: { ...headers } });
      const head = () => client.head(key, { headers: { ...headers } });
      if (status === 412) {
        await assert.rejects(get(), failed(name));
        await assert.rejects(head(), { name: 'PreconditionFailedError', status: 412 });
      } else {
        assert.equal((await get()).res.status, status, name);
        assert.equal((await head()).status, status, name);
      }
    }
  },

  async partCopy(client, folder) {
    const source = folder + 'large';
    await client.put(source, app.LARGE);
    const sourceData = { sourceKey: source, sourceBucketName: app.BUCKET };
    const { uploadId } = await client.initMultipartUpload(folder + 'parts');
    const parts = [];
    for (const [number, from, to] of [
      [1, 0, app.PART - 1],
      [2, app.PART, app.LARGE.length - 1],
    ]) {
      const name = folder + 'parts';
      const part = await client.uploadPartCopy(
        name, uploadId, number, `${from}-${to}`, sourceData, {},
      );
      parts.push({ number, etag: part.res.headers.etag });
    }
    const result = await client.completeMultipartUpload(folder + 'parts', uploadId, parts);
    assert.equal(result.res.status, 200);
    assert.deepEqual((await client.get(folder + 'parts')).content, app.LARGE);
    const whole = await client.multipartUploadCopy(folder + 'copied', sourceData, {
      partSize: app.PART,
    });
    assert.equal(whole.res.status, 200);
    assert.deepEqual((await client.get(folder + 'copied')).content, app.LARGE);
  },

  async acl(client, folder) {
    const key = folder + 'acl';
    await client.put(key, Buffer.from('hello world'));
    assert.equal((await client.getACL(key)).acl, 'default');
    assert.equal((await client.putACL(key, 'public-read')).res.status, 200);
    assert.equal((await client.getACL(key)).acl, 'public-read');
    assert.equal((await client.get(key)).content.toString(), 'hello world');
  },

  async append(client, folder) {
    const key = folder + 'appended';
    let result = await client.append(key, Buffer.from('foo'));
    assert.equal(result.res.status, 200);
    assert.equal(result.nextAppendPosition, '3');
    let found = await client.get(key);
    assert.equal(found.content.toString(), 'foo');
    assert.equal(found.res.headers['x-oss-next-append-position'], '3');
    const stream = Readable.from([Buffer.from('bar')]);
    result = await client.append(key, stream, { position: result.nextAppendPosition });
    assert.equal(result.nextAppendPosition, '6');
    found = await client.get(key);
    assert.equal(found.content.toString(), 'foobar');
    await assert.rejects(client.append(key, Buffer.from('foo')), {
      name: 'PositionNotEqualToLengthError',
      message: 'Position is not equal to file length',
    });
  },

  async symlink(client, folder) {
    const target = folder + 'target-测试.js';
    const link = folder + 'symlink-软链接.js';
    await client.put(target, app.CONTENT);
    const meta = { uid: '1', slus: 'test.html' };
    const result = await client.putSymlink(link, target, { storageClass: 'IA', meta });
    assert.equal(result.res.status, 200);
    assert.equal((await client.getSymlink(link)).targetName, target);
    const head = await client.head(link);
    assert.equal(head.res.headers['x-oss-object-type'], 'Symlink');
    assert.deepEqual({ ...head.meta }, meta);
    assert.deepEqual((await client.get(link)).content, app.CONTENT);
  },

  async meta(client, folder) {
    const key = folder + 'meta';
    const { res } = await client.put(key, app.CONTENT);
    const info = await client.getObjectMeta(key);
    assert.equal(info.status, 200);
    assert.equal(info.res.headers.etag, res.headers.etag);
    assert.equal(info.res.headers['content-length'], String(app.CONTENT.length));
    const missing = client.getObjectMeta(folder + 'none');
    await assert.rejects(missing, { name: 'NoSuchKeyError', status: 404 });
  },

  async overrides(client, folder) {
    const key = folder + 'overrides';
    await client.put(key, app.CONTENT);
    const response = { 'content-type': 'text/x', 'content-disposition': 'attachment; filename=a' };
    // ali-oss builds no URLs for an IP address.
    const endpoint = app.OSS_URL.replace('127.0.0.1', 'localhost');
    const { authorizationV4 } = client.options;
    const options = { ...app.KEY, bucket: app.BUCKET, region: app.REGION, authorizationV4 };
    const named = new OSS({ ...options, endpoint, sldEnable: true });
    const queries = Object.fromEntries(
      Object.entries(response).map(([name, value]) => ['response-' + name, value]),
    );
    const url = authorizationV4
      ? await named.signatureUrlV4('GET', 60, { queries }, key)
      : named.signatureUrl(key, { expires: 60, response });
    const answer = await fetch(url);
    assert.equal(answer.status, 200, await answer.clone().text());
    assert.equal(answer.headers.get('content-type'), 'text/x');
    assert.equal(answer.headers.get('content-disposition'), 'attachment; filename=a');
  },

  async image(client, folder) {
    const key = folder + 'a.png';
    await client.put(key, png(200, 100));
    const info = async (name, process) => {
      const { content } = await client.get(name, { process });
      const found = JSON.parse(content);
      return [found.ImageWidth.value, found.ImageHeight.value, found.Format.value];
    };
    assert.deepEqual(await info(key, 'image/info'), ['200', '100', 'png']);
    assert.deepEqual(await info(key, 'image/resize,w_50/info'), ['50', '25', 'png']);
    const saved = folder + 'saved.jpg';
    const steps = 'image/resize,w_100/format,jpg';
    for (const bucket of [undefined, app.BUCKET]) {
      const result = await client.processObjectSave(key, saved, steps, bucket);
      assert.equal(result.res.status, 200);
      assert.equal(result.status, 200);
    }
    assert.deepEqual(await info(saved, 'image/info'), ['100', '50', 'jpg']);
  },
};

for (const [way, client] of clients()) {
  for (const [name, test] of Object.entries(tests)) {
    const title = `ali-oss ${version} objects ${way} ${name}`;
    try {
      await test(client, `ali-oss objects ${way}/`);
    } catch (error) {
      console.error(title, 'FAILED');
      throw error;
    }
    console.log(title, 'ok');
  }
}
