// What the servers say, in words.

import { bytes } from "./dom.js";

/** Why a file is not even asked for; null when it may be. The server decides the same, whatever this page thinks. */
export function objection(file, config) {
  if (file.size === 0) return "This file is empty, and an upload needs at least one byte.";
  if (file.size > config.maxSize) {
    return `Too large: ${bytes(file.size)}. At most ${bytes(config.maxSize)} are allowed.`;
  }
  if (!config.types.includes(file.type)) {
    return `This type is not allowed (${file.type || "unknown"}). Text, PDF, images and videos are.`;
  }
  return null;
}

export function refusedToken(status, answer) {
  const said = answer.message ? `: ${answer.message}` : "";
  return `The server gives no token${said} (${status}).`;
}

/** An answer of OSS that is no success: code, message and EC out of its XML. */
export function readError(text) {
  const part = (name) => text.match(new RegExp(`<${name}>([^<]*)</${name}>`))?.[1] ?? "";
  const plain = (xml) =>
    xml.replace(/&quot;/g, '"').replace(/&apos;/g, "'").replace(/&lt;/g, "<").replace(/&gt;/g, ">").replace(/&amp;/g, "&");
  return { code: part("Code"), message: plain(part("Message")), ec: part("EC") };
}

export const isExpired = (error) =>
  error.code === "AccessDenied" && /expired/i.test(error.message);

const OSS = {
  EntityTooLarge: "The file is larger than the token allows.",
  EntityTooSmall: "The file is smaller than the token allows.",
  FileAlreadyExists: "This name is taken already.",
  SignatureDoesNotMatch: "The signature does not belong to this form.",
  InvalidAccessKeyId: "OSS does not know the key that has signed.",
  CallbackFailed: "The file is stored, but your server did not confirm it. A retry asks for a new token.",
};

export function refusedUpload(status, error) {
  if (isExpired(error)) return "The token has expired.";
  if (OSS[error.code]) return OSS[error.code];
  if (error.code === "AccessDenied") return "The form is not the one that was granted.";
  return `OSS refused the upload (${status}${error.code ? `, ${error.code}` : ""}).`;
}

/** What a check of OSS is about. */
export const OSS_CHECKS = [
  ["form", "The form is complete up to its file"],
  ["signature", "The signature is that of your key"],
  ["expiry", "The policy has not expired"],
  ["conditions", "Every field is as the policy says"],
  ["callbackParameters", "The callback can be made"],
  ["size", "The size is within what is allowed"],
  ["stored", "The object is stored"],
  ["callback", "Your server has answered as it must"],
];

/** What a check of the callback layer is about. */
export const LAYER_CHECKS = {
  method: "It is a POST",
  headers: "The signature's headers are there, once each",
  keyUrl: "The key URL is one of OSS's own",
  target: "The path is spelled in its one way",
  contentType: "The content type is the one that was asked for",
  body: "The body is small, whole and in time",
  ticket: "The ticket is ours and has not expired",
  key: "The public key is at hand (nothing was fetched)",
  signature: "OSS has signed this path and body",
  grant: "Bucket, object, size and type are what was granted",
  oneUse: "The ticket is used for the first time",
};

/** Why the layer refuses. */
export const LAYER_REASONS = {
  MissingHeader: "There is no signature at all.",
  KeyUrlRejected: "The key URL is not in the closed table. It is only looked at, never fetched.",
  TicketMissing: "OSS did sign it, as it does for every customer. But there is no ticket of ours: this upload was never granted here.",
  TicketInvalid: "The ticket is not one of ours, or is for something else.",
  SignatureMismatch: "The ticket is good, but this body is not the one that OSS signed.",
  OutsideGrant: "Signature and ticket are good, but the ticket was given for another object.",
  TicketUsed: "The ticket was used before, for another upload.",
};
