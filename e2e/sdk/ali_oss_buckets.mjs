// Restates what the test suite of ali-oss asserts of buckets, listings, tags and deletions, and runs
// it with the published ali-oss.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';

import OSS from 'ali-oss';

import * as app from './app.mjs';

const { version } = JSON.parse(readFileSync('node_modules/ali-oss/package.json'));

// Yields a client and a prefix for the names of its buckets, for each way to sign and to address.
async function* accounts() {
  const temporary = await app.temporary();
  for (const authorizationV4 of [false, true]) {
    for (const [kind, key] of [['', app.KEY], ['-sts', temporary]]) {
      const options = {
        ...key,
        region: app.REGION,
        authorizationV4,
        refreshSTSToken: async () => app.temporary(),
        refreshSTSTokenInterval: 3_600_000,
      };
      const way = (authorizationV4 ? 'v4' : 'v1') + kind;
      // For an IP address, ali-oss puts the bucket into the header `Host`.
      yield [way, () => new OSS({ ...options, endpoint: app.OSS_URL })];
      // With `sldEnable`, it puts the bucket into the path.
      const endpoint = app.OSS_URL.replace('127.0.0.1', 'localhost');
      yield [way + '-path', () => new OSS({ ...options, endpoint, sldEnable: true })];
    }
  }
}

const fails = (call, name) => assert.rejects(call, error => error.name === name + 'Error');

// The names of tests are those of test/node, where not stated otherwise.
const cases = {
  // bucket.test.js: putBucket()
  async bucketsAreCreated(client, prefix) {
    const name = prefix + 'created';
    for (let again = 0; again < 2; again++) {
      const result = await client.putBucket(name);
      assert.equal(result.bucket, name);
      assert.equal(result.res.status, 200);
    }
    const archive = prefix + 'archive';
    await client.putBucket(archive, { StorageClass: 'Archive', dataRedundancyType: 'ZRS' });
    const { buckets } = await client.listBuckets({ prefix });
    assert.equal(buckets.find(one => one.name === archive).StorageClass, 'Archive');
    const { bucket } = await client.getBucketInfo(archive);
    assert.equal(bucket.DataRedundancyType, 'ZRS');
    const open = prefix + 'open';
    await client.putBucket(open, { acl: 'public-read' });
    const info = await client.getBucketInfo(open);
    assert.equal(info.bucket.AccessControlList.Grant, 'public-read');
    for (const one of [name, archive, open]) {
      assert.equal((await client.deleteBucket(one)).res.status, 204);
    }
  },

  // bucket.test.js: getBucketInfo, getBucketLocation
  async bucketsDescribeThemselves(client, prefix) {
    const result = await client.getBucketInfo(prefix + 'shared');
    assert.equal(result.res.status, 200);
    assert.equal(result.bucket.Location, 'oss-cn-hangzhou');
    if (prefix.endsWith('path-')) {
      assert.equal(result.bucket.ExtranetEndpoint, client.options.endpoint.host);
    } else {
      assert.equal(result.bucket.ExtranetEndpoint, 'oss-cn-hangzhou.aliyuncs.com');
      assert.equal(result.bucket.IntranetEndpoint, 'oss-cn-hangzhou-internal.aliyuncs.com');
    }
    assert.equal(result.bucket.AccessControlList.Grant, 'private');
    assert.equal(result.bucket.StorageClass, 'Standard');
    const { location } = await client.getBucketLocation(prefix + 'shared');
    assert.equal(location, 'oss-cn-hangzhou');
    await fails(() => client.getBucketInfo(prefix + 'missing'), 'NoSuchBucket');
    await fails(() => client.getBucketLocation(prefix + 'missing'), 'NoSuchBucket');
  },

  // bucket.test.js: getBucketStat
  async statisticsCountAtOnce(client, prefix) {
    client.useBucket(prefix + 'shared');
    await client.put('stat', Buffer.from('hello'));
    const { stat } = await client.getBucketStat(prefix + 'shared');
    assert(Number(stat.ObjectCount) >= 1 && Number(stat.Storage) >= 5);
    assert.equal(stat.LiveChannelCount, '0');
  },

  // bucket.test.js: deleteBucket()
  async onlyEmptyBucketsAreDeleted(client, prefix) {
    await fails(() => client.deleteBucket(prefix + 'missing'), 'NoSuchBucket');
    client.useBucket(prefix + 'shared');
    await client.put('ali-oss-test-bucket.txt', Buffer.from('x'));
    await fails(() => client.deleteBucket(prefix + 'shared'), 'BucketNotEmpty');
    await client.delete('ali-oss-test-bucket.txt');
  },

  // bucket.test.js: putBucketACL()
  async aclsAreSetAndCreateBuckets(client, prefix) {
    const name = prefix + 'acl';
    for (const acl of ['public-read', 'public-read-write', 'private']) {
      const put = await client.putBucketACL(name, acl);
      assert.deepEqual([put.res.status, put.bucket], [200, name]);
      const get = await client.getBucketACL(name);
      assert.deepEqual([get.res.status, get.acl], [200, acl]);
    }
    await client.deleteBucket(name);
  },

  // bucket.test.js: listBuckets(); putBucketTags
  async bucketsAreListedByPrefixAndTag(client, prefix) {
    const names = [0, 1].map(at => prefix + 'list-' + at);
    for (const name of names) await client.putBucket(name);
    const result = await client.listBuckets({ prefix: prefix + 'list-', 'max-keys': 20 });
    assert.deepEqual(result.buckets.map(one => one.name), names);
    assert(!result.isTruncated);
    assert.equal(result.nextMarker, null);
    assert.equal(typeof result.owner.id, 'string');
    assert.equal(typeof result.owner.displayName, 'string');
    const page = await client.listBuckets({ prefix: prefix + 'list-', 'max-keys': 1 });
    assert(page.isTruncated);
    assert.equal(page.nextMarker, names[0]);

    const tag = { a: '1', b: '2' };
    await client.putBucketTags(names[0], tag);
    assert.deepEqual((await client.getBucketTags(names[0])).tag, tag);
    const tagging = '"a":"1","b":"2"';
    const tagged = await client.listBuckets({ prefix: prefix + 'list-', subres: { tagging } });
    assert.deepEqual(tagged.buckets.map(one => [one.name, one.tag]), [[names[0], tag]]);
    assert.equal((await client.deleteBucketTags(names[0])).status, 204);
    assert.deepEqual((await client.getBucketTags(names[0])).tag, {});
    for (const name of names) await client.deleteBucket(name);
  },

  // object.test.js: list()
  async objectsAreListedWithVersion1(client, prefix) {
    client.useBucket(prefix + 'shared');
    const names = ['fun/movie/001.avi', 'fun/movie/007.avi', 'fun/test.jpg', 'oss.jpg', 'other/a'];
    for (const name of names) await client.put('list/' + name, Buffer.from(name));
    const check = one => {
      for (const name of ['name', 'lastModified', 'etag']) assert.equal(typeof one[name], 'string');
      assert.deepEqual([one.type, one.storageClass], ['Normal', 'Standard']);
      assert.equal(typeof one.size, 'number');
      assert.equal(typeof one.owner.id, 'string');
      assert.equal(typeof one.owner.displayName, 'string');
    };
    const first = await client.list({ prefix: 'list/', 'max-keys': 3 });
    assert.equal(first.objects.length, 3);
    first.objects.forEach(check);
    assert(first.isTruncated);
    assert.equal(first.prefixes, null);
    const next = await client.list({ prefix: 'list/', 'max-keys': 3, marker: first.nextMarker });
    const found = [...first.objects, ...next.objects].map(one => one.name);
    assert.deepEqual(found, names.map(name => 'list/' + name));
    assert.deepEqual([next.isTruncated, next.nextMarker], [false, null]);
    const top = await client.list({ prefix: 'list/', delimiter: '/' });
    assert.deepEqual(top.objects.map(one => one.name), ['list/oss.jpg']);
    assert.deepEqual(top.prefixes, ['list/fun/', 'list/other/']);
    const deep = await client.list({ prefix: 'list/fun/movie', delimiter: '/' });
    assert.deepEqual(deep.prefixes, ['list/fun/movie/']);
  },

  // object.test.js: deleteMulti()
  async manyObjectsAreDeletedAtOnce(client, prefix) {
    client.useBucket(prefix + 'shared');
    const names = [0, 1, 2].map(at => `many/&<>'" 中${at}.js`);
    for (const name of names) await client.put(name, Buffer.from('x'));
    const result = await client.deleteMulti([...names.slice(0, 2), 'not-exist1']);
    assert.equal(result.res.status, 200);
    assert.deepEqual(result.deleted.map(one => one.Key), [...names.slice(0, 2), 'not-exist1']);
    const quiet = await client.deleteMulti(names, { quiet: true });
    assert.deepEqual([quiet.res.status, quiet.deleted.length], [200, 0]);
    const left = await client.list({ prefix: 'many/' });
    assert.deepEqual(left.objects ?? [], []);
  },

  // multipart.test.js: listUploads()
  async uploadsInProgressAreListed(client, prefix) {
    const bucket = prefix + 'uploads';
    await client.putBucket(bucket);
    client.useBucket(bucket);
    const begin = async name => (await client.initMultipartUpload(name)).uploadId;
    const bar = [await begin('bar'), await begin('bar'), await begin('bar')].sort();
    const foo = [await begin('foo0'), await begin('foo1')];
    const list = async query => {
      const { uploads } = await client.listUploads({ 'max-uploads': 10, ...query });
      return (uploads ?? []).map(one => one.uploadId);
    };
    assert.deepEqual(await list({}), [...bar, ...foo]);
    assert.deepEqual(await list({ 'key-marker': 'bar' }), foo);
    assert.deepEqual(await list({ 'key-marker': 'foo1' }), []);
    // Alone it is ignored.
    assert.deepEqual(await list({ 'upload-id-marker': bar[1] }), [...bar, ...foo]);
    const after = at => ({ 'key-marker': 'bar', 'upload-id-marker': bar[at] });
    assert.deepEqual(await list(after(0)), [...bar.slice(1), ...foo]);
    assert.deepEqual(await list(after(2)), foo);
    await fails(() => client.deleteBucket(bucket), 'BucketNotEmpty');
    const { uploads } = await client.listUploads({ 'max-uploads': 1000 });
    for (const one of uploads) await client.abortMultipartUpload(one.name, one.uploadId);
    await client.deleteBucket(bucket);
  },

  // object.test.js: getObjectTagging() putObjectTagging() deleteObjectTagging()
  async objectsHaveTags(client, prefix) {
    client.useBucket(prefix + 'shared');
    await client.put('tagging.js', Buffer.from('x'));
    assert.deepEqual((await client.getObjectTagging('tagging.js')).tag, {});
    for (const tag of [{ a: '1', b: '2' }, { a: '1' }]) {
      assert.equal((await client.putObjectTagging('tagging.js', tag)).status, 200);
      assert.deepEqual((await client.getObjectTagging('tagging.js')).tag, tag);
    }
    assert.equal((await client.deleteObjectTagging('tagging.js')).status, 204);
    assert.deepEqual((await client.getObjectTagging('tagging.js')).tag, {});
  },

  // The operations that the suite tests and the emulator does not implement.
  async whatIsNotImplementedChangesNothing(client, prefix) {
    const bucket = prefix + 'shared';
    for (const call of [
      () => client.putBucketLogging(bucket, 'logs/'),
      () => client.getBucketLogging(bucket),
      () => client.putBucketWebsite(bucket, { index: 'index.html' }),
      () => client.deleteBucketWebsite(bucket),
      () => client.getBucketLifecycle(bucket),
      () => client.deleteBucketLifecycle(bucket),
      () => client.getBucketWorm(bucket),
      () => client.getBucketInventory(bucket, 'id'),
    ]) {
      await fails(call, 'NotImplemented');
    }
    assert.equal((await client.getBucketInfo(bucket)).res.status, 200);
  },
};

for await (const [way, connect] of accounts()) {
  const prefix = `ali-${way}-`;
  await connect().putBucket(prefix + 'shared');
  for (const [name, test] of Object.entries(cases)) {
    try {
      // A new client each time: ali-oss keeps the bucket that was used last.
      await test(connect(), prefix);
    } catch (error) {
      console.error('ali-oss', version, way, name, 'FAILED');
      throw error;
    }
  }
  console.log('ali-oss', version, way, Object.keys(cases).length, 'cases ok');
}
