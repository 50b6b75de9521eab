// The XML of OSS, as far as an upload needs it. Responses have no attributes and no nested names.

const ENTITIES = { "&quot;": '"', "&apos;": "'", "&lt;": "<", "&gt;": ">", "&amp;": "&" };

/** Returns the text of the first element of this name, or an empty one. */
export function element(xml, name) {
  const text = xml.match(new RegExp(`<${name}>([^<]*)</${name}>`))?.[1] ?? "";
  return text.replace(/&(?:quot|apos|lt|gt|amp);/g, (entity) => ENTITIES[entity]);
}

/** Reads a page of `ListParts`: the parts by number, and the marker of the next page. */
export function listedParts(xml) {
  const parts = Array.from(xml.matchAll(/<Part>(.*?)<\/Part>/gs), ([, part]) => {
    const crc = element(part, "HashCrc64ecma");
    return [
      Number(element(part, "PartNumber")),
      {
        etag: element(part, "ETag"),
        size: Number(element(part, "Size")),
        crc: /^\d+$/.test(crc) ? BigInt(crc) : null,
      },
    ];
  });
  const next = Number(element(xml, "NextPartNumberMarker"));
  return { parts, next: element(xml, "IsTruncated") === "true" ? next : null };
}

/** Writes the body of `CompleteMultipartUpload`. Browsers add no content type to bytes. */
export function completion(etags) {
  const parts = etags.map(
    (etag, at) =>
      `<Part><PartNumber>${at + 1}</PartNumber><ETag>${etag.replaceAll('"', "&quot;")}</ETag></Part>`,
  );
  const xml = `<CompleteMultipartUpload>${parts.join("")}</CompleteMultipartUpload>`;
  return new TextEncoder().encode(xml);
}
