// A presign service and an OSS in one HTTP server, as far as the client sees them. `fault` may
// spoil any request.

import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:http";

import { Crc64, combined } from "../crc64.js";

export const PART = 1000;

export class Fake {
  /** Seconds that a URL lives. Negative: it has expired when it is signed. */
  urlLifetime = 900;
  /** Called with each request. Returns nothing, `"cut"`, `"lose"` or `{ status, body, headers }`. */
  fault = () => undefined;
  partSize = PART;
  listPage = 1000;
  hideEtags = false;
  hideCrcs = false;
  allowOverwrite = false;
  /** What the callback handler answers: a status and JSON. */
  callback = () => ({ status: 200, json: { ok: true } });
  requests = [];
  handles = new Map();
  uploads = new Map();
  objects = new Map();
  callbacks = 0;
  mostAtOnce = 0;
  #partsNow = 0;
  #created = 0;

  /** The key of the next handle. */
  nameKey = (number) => `up/${number}.bin`;

  async start() {
    this.server = createServer((request, response) => {
      this.#answer(request, response).catch((error) => {
        response.writeHead(599).end(String(error.stack));
      });
    });
    this.server.listen(0, "127.0.0.1");
    await once(this.server, "listening");
    this.origin = `http://127.0.0.1:${this.server.address().port}`;
    this.endpoint = `${this.origin}/presign`;
    return this;
  }

  stop() {
    this.server.closeAllConnections();
    this.server.close();
  }

  /** Requests of one kind, such as `"part"` or `"parts"`. */
  of(kind) {
    return this.requests.filter((request) => request.kind === kind);
  }

  async #answer(request, response) {
    const url = new URL(request.url, this.origin);
    const service = url.pathname === "/presign";
    const seen = {
      kind: url.searchParams.get("kind"),
      number: Number(url.searchParams.get("partNumber")),
    };
    if (!service && seen.kind === "part") {
      this.#partsNow += 1;
      this.mostAtOnce = Math.max(this.mostAtOnce, this.#partsNow);
      response.once("close", () => {
        this.#partsNow -= 1;
      });
    }
    if (!service && (await this.#spoil(seen, request, response))) return;
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    const body = Buffer.concat(chunks);
    if (service) {
      const ask = JSON.parse(body);
      Object.assign(seen, { kind: ask.action, ask, headers: request.headers });
      if (await this.#spoil(seen, request, response)) return;
    }
    const {
      status,
      headers = {},
      text = "",
    } = service ? this.#service(seen.ask) : this.#oss(seen, url, request, body);
    if (seen.lose) {
      response.destroy();
      return;
    }
    response.writeHead(status, headers).end(text);
  }

  /** Returns whether the request is dealt with. */
  async #spoil(seen, request, response) {
    this.requests.push(seen);
    const fault = await this.fault(seen);
    if (fault === "cut") {
      request.socket.destroy();
      return true;
    }
    seen.lose = fault === "lose";
    if (!fault || seen.lose) return false;
    request.resume();
    response.writeHead(fault.status, fault.headers ?? {}).end(fault.body ?? "");
    return true;
  }

  // The service.

  #service(ask) {
    const refuse = (status, code, message = code) => json(status, { code, message });
    if (ask.action === "create") {
      const handle = `handle-${randomBytes(4).toString("hex")}`;
      const key = this.nameKey((this.#created += 1));
      this.handles.set(handle, { key, size: ask.size });
      const partCount = Math.max(1, Math.ceil(ask.size / this.partSize));
      return json(200, {
        handle,
        key,
        size: ask.size,
        type: ask.type,
        partSize: this.partSize,
        partCount,
        expires: Math.floor(Date.now() / 1000) + 3600,
        request: this.#signed("POST", key, { kind: "initiate" }, { "content-type": ask.type }),
      });
    }
    const handle = this.handles.get(ask.handle);
    if (!handle) return refuse(400, "InvalidHandle");
    if (handle.expired) return refuse(410, "HandleExpired");
    const upload = { uploadId: ask.uploadId };
    const { key } = handle;
    switch (ask.action) {
      case "parts":
        return json(200, {
          parts: ask.parts.map((partNumber) => ({
            partNumber,
            size: this.partSize,
            request: this.#signed("PUT", key, { kind: "part", partNumber, ...upload }),
          })),
        });
      case "list":
        return json(200, {
          request: this.#signed("GET", key, {
            kind: "listing",
            marker: ask.marker ?? 0,
            ...upload,
          }),
        });
      case "complete":
        return json(200, { request: this.#signed("POST", key, { kind: "completion", ...upload }) });
      case "abort":
        return json(200, { request: this.#signed("DELETE", key, { kind: "deletion", ...upload }) });
      case "put":
        return json(200, {
          request: this.#signed("PUT", key, { kind: "whole" }, { "content-type": "text/plain" }),
        });
      default:
        return refuse(400, "InvalidAsk");
    }
  }

  #signed(method, key, query, headers = {}) {
    const expires = Math.floor(Date.now() / 1000) + this.urlLifetime;
    const parameters = new URLSearchParams({ ...query, expires });
    return { method, url: `${this.origin}/oss/${key}?${parameters}`, headers, expires };
  }

  // OSS.

  #oss(seen, url, request, body) {
    const key = url.pathname.slice("/oss/".length);
    seen.expired = Number(url.searchParams.get("expires")) < Date.now() / 1000;
    if (seen.expired) return xmlError(403, "AccessDenied", "Request has expired.");
    const id = url.searchParams.get("uploadId");
    const upload = this.uploads.get(id);
    if (seen.kind === "initiate") {
      const uploadId = randomBytes(8).toString("hex");
      this.uploads.set(uploadId, { key, parts: new Map(), puts: new Map() });
      return xml(
        `<InitiateMultipartUploadResult><UploadId>${uploadId}</UploadId></InitiateMultipartUploadResult>`,
      );
    }
    if (seen.kind === "whole") {
      if (this.objects.has(key) && !this.allowOverwrite) return xmlError(409, "FileAlreadyExists", "exists");
      return this.#store(key, body, crcOf(body));
    }
    if (!upload || upload.key !== key) return xmlError(404, "NoSuchUpload", "no such upload");
    switch (seen.kind) {
      case "part": {
        const etag = `"${createHash("md5").update(body).digest("hex").toUpperCase()}"`;
        upload.parts.set(seen.number, { body, etag, crc: crcOf(body) });
        upload.puts.set(seen.number, (upload.puts.get(seen.number) ?? 0) + 1);
        const crc = seen.damaged ? "1" : String(crcOf(body));
        return {
          status: 200,
          headers: {
            ...(this.hideEtags ? {} : { etag }),
            ...(this.hideCrcs ? {} : { "x-oss-hash-crc64ecma": crc }),
          },
        };
      }
      case "listing": {
        const marker = Number(url.searchParams.get("marker"));
        const all = [...upload.parts]
          .sort(([a], [b]) => a - b)
          .filter(([number]) => number > marker);
        const page = all.slice(0, this.listPage);
        const parts = page.map(
          ([number, { body, etag, crc }]) =>
            `<Part><PartNumber>${number}</PartNumber><ETag>${etag.replaceAll('"', "&quot;")}</ETag>` +
            `${this.hideCrcs ? "" : `<HashCrc64ecma>${crc}</HashCrc64ecma>`}<Size>${body.length}</Size></Part>`,
        );
        return xml(
          `<ListPartsResult><NextPartNumberMarker>${page.at(-1)?.[0] ?? 0}</NextPartNumberMarker>` +
            `<IsTruncated>${all.length > page.length}</IsTruncated>${parts.join("")}</ListPartsResult>`,
        );
      }
      case "completion": {
        const asked = [
          ...body.toString().matchAll(/<PartNumber>(\d+)<\/PartNumber><ETag>(.*?)<\/ETag>/g),
        ];
        const parts = asked.map(([, number, etag]) => {
          const part = upload.parts.get(Number(number));
          return part?.etag === etag.replaceAll("&quot;", '"') ? part : null;
        });
        if (parts.includes(null)) return xmlError(400, "InvalidPart", "part");
        this.uploads.delete(id);
        this.completed = upload;
        const crc = combined(parts.map((part) => ({ crc: part.crc, size: part.body.length })));
        return this.#store(key, Buffer.concat(parts.map((part) => part.body)), crc);
      }
      case "deletion":
        this.uploads.delete(id);
        return { status: 204 };
      default:
        throw new Error(`unknown request ${request.method} ${url}`);
    }
  }

  #store(key, body, crc) {
    this.objects.set(key, body);
    this.callbacks += 1;
    const { status, json: reply } = this.callback();
    if (status !== 200) return xmlError(203, "CallbackFailed", `Error status : ${status}.`);
    const hash = this.hideCrcs ? {} : { "x-oss-hash-crc64ecma": String(crc) };
    return {
      status: 200,
      headers: {
        "content-type": "application/json",
        "x-oss-request-id": "REQ",
        etag: '"E"',
        ...hash,
      },
      text: JSON.stringify(reply),
    };
  }
}

const crcOf = (bytes) => new Crc64().update(bytes).value();

const json = (status, value) => ({
  status,
  headers: { "content-type": "application/json" },
  text: JSON.stringify(value),
});

const xml = (text) => ({ status: 200, headers: { "content-type": "application/xml" }, text });

const xmlError = (status, code, message) => ({
  status,
  headers: { "content-type": "application/xml" },
  text: `<Error><Code>${code}</Code><Message>${message}</Message><EC>0000-00000000</EC></Error>`,
});

/** A `File` with bytes that differ everywhere: a Blob with its members, because Node 18 has none. */
export function fileOf(size, { name = "film.mp4", seed = 1, type = "video/mp4" } = {}) {
  const bytes = new Uint8Array(size);
  let state = seed * 2654435761;
  for (let at = 0; at < size; at += 1) {
    state = (Math.imul(state, 1664525) + 1013904223) | 0;
    bytes[at] = state >>> 24;
  }
  const file = new Blob([bytes], { type });
  Object.defineProperties(file, { name: { value: name }, lastModified: { value: 1700000000000 } });
  return { file, bytes: Buffer.from(bytes) };
}

/** What `localStorage` is. */
export class MemoryStorage {
  #values = new Map();

  get length() {
    return this.#values.size;
  }

  key(at) {
    return [...this.#values.keys()][at] ?? null;
  }

  getItem(name) {
    return this.#values.get(name) ?? null;
  }

  setItem(name, value) {
    this.#values.set(name, String(value));
  }

  removeItem(name) {
    this.#values.delete(name);
  }
}
