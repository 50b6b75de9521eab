// Tests the browser build of ali-oss with a temporary key, and uppy with an upload token, in
// Chromium.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';

import { build } from 'esbuild';
import { chromium } from 'playwright-core';

import * as app from './app.mjs';

const version = name => JSON.parse(readFileSync(`node_modules/${name}/package.json`)).version;

const uppy = await build({
  stdin: {
    contents: `import Uppy from '@uppy/core'; import AwsS3 from '@uppy/aws-s3';
      Object.assign(window, { Uppy, AwsS3 });`,
    resolveDir: process.cwd(),
  },
  bundle: true,
  write: false,
  format: 'iife',
});
const sdk = 'node_modules/ali-oss/dist/aliyun-oss-sdk.min.js';
const html =
  '<!doctype html><link rel="icon" href="data:,">' +
  '<script src="/ali-oss.js"></script><script src="/uppy.js"></script>';
const files = {
  '/': ['text/html', html],
  '/ali-oss.js': ['text/javascript', readFileSync(sdk)],
  '/uppy.js': ['text/javascript', uppy.outputFiles[0].contents],
};
const pages = createServer((request, response) => {
  const [type, content] = files[request.url] ?? [];
  if (type === undefined) {
    response.writeHead(404).end();
  } else {
    response.writeHead(200, { 'Content-Type': type }).end(content);
  }
});
await new Promise(done => pages.listen(0, '127.0.0.1', done));

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM,
  args: ['--no-sandbox'],
});
try {
  const page = await browser.newPage();
  page.on('console', message => console.error('console:', message.text()));
  await page.goto(`http://127.0.0.1:${pages.address().port}/`);

  await page.evaluate(prepareInPage);

  const endpoint = app.OSS_URL.replace('127.0.0.1', 'localhost');
  for (const authorizationV4 of [false, true]) {
    const folder = `browser ${authorizationV4 ? 'v4' : 'v1'}/`;
    const options = {
      bucket: app.BUCKET,
      region: app.REGION,
      endpoint,
      // A page cannot set the header `Host`, so the bucket must be in the path.
      sldEnable: true,
      authorizationV4,
      refreshSTSTokenInterval: 3_600_000,
    };

    let name = folder + 'put +&中.bin';
    const server = app.APP_URL;
    const granted = { server, options, name, callback: await app.granted(name), type: app.TYPE };
    const put = await page.evaluate(putInPage, granted);
    assert.deepEqual(put, { Status: 'OK', object: name });
    await app.checkSeen(name, 'PutObject', 1024);

    name = folder + 'multipart.bin';
    const size = app.LARGE.length;
    const callback = await app.granted(name);
    const parts = { server, options, name, callback, type: app.TYPE, size, partSize: app.PART };
    assert.deepEqual(await page.evaluate(multipartInPage, parts), { Status: 'OK', object: name });
    await app.checkSeen(name, 'CompleteMultipartUpload', size);

    name = folder + 'failing.bin';
    const noTicket = await app.withoutTicket(name);
    const failing = { server, options, name, callback: noTicket, type: app.TYPE };
    assert.deepEqual(await page.evaluate(failInPage, failing), [203, 'CallbackFailed']);
    await app.checkNotSeen(name);
    console.log('ali-oss', version('ali-oss'), 'in', 'Chromium', browser.version(), folder, 'ok');
  }

  const uploaded = await page.evaluate(uppyInPage, app.APP_URL);
  assert.equal(uploaded.failed, 0, JSON.stringify(uploaded));
  assert.match(uploaded.key, /^forms\/[0-9a-f-]{36}\.txt$/);
  await app.checkSeen(uploaded.key, 'PostObject', 5, 'any client');
  console.log('uppy', version('@uppy/aws-s3'), 'in', 'Chromium', browser.version(), 'ok');
} finally {
  await browser.close();
  pages.close();
}

// The functions below run in the page.

function prepareInPage() {
  // As in Alibaba's documentation, the page requests a temporary key from its own server, now and
  // before the key expires.
  window.connect = async ({ server, options }) => {
    const token = async () => {
      const answer = await fetch(server + '/sts');
      const key = await answer.json();
      return {
        accessKeyId: key.AccessKeyId,
        accessKeySecret: key.AccessKeySecret,
        stsToken: key.SecurityToken,
      };
    };
    return new window.OSS({ ...options, ...(await token()), refreshSTSToken: token });
  };
}

async function putInPage({ server, options, name, callback, type }) {
  const client = await window.connect({ server, options });
  const content = new Blob([new Uint8Array(1024)]);
  const result = await client.put(name, content, { headers: { 'Content-Type': type }, callback });
  return result.data;
}

async function multipartInPage({ server, options, name, callback, type, size, partSize }) {
  const client = await window.connect({ server, options });
  const file = new File([new Uint8Array(size)], 'a.bin');
  return client
    .multipartUpload(name, file, { mime: type, partSize, parallel: 2, callback })
    .then(result => result.data);
}

async function failInPage({ server, options, name, callback, type }) {
  const client = await window.connect({ server, options });
  const content = new Blob([new Uint8Array(1)]);
  return client.put(name, content, { headers: { 'Content-Type': type }, callback }).then(
    () => ['no error'],
    error => [error.status, error.code],
  );
}

async function uppyInPage(server) {
  let token;
  const uppy = new window.Uppy({ autoProceed: false });
  uppy.use(window.AwsS3, {
    shouldUseMultipart: false,
    signRequest: async ({ key }) => {
      const answer = await fetch(server + '/token?filename=' + encodeURIComponent(key));
      token = await answer.json();
      return { url: token.url, fields: token.fields };
    },
  });
  const data = new Blob(['hello'], { type: 'text/plain' });
  uppy.addFile({ name: 'a.txt', type: 'text/plain', data });
  const result = await uppy.upload();
  return {
    failed: result.failed.length,
    errors: result.failed.map(file => String(file.error)),
    key: token?.key,
  };
}
