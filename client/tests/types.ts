// Compiled by `types.test.js`, never run.

import {
  Upload,
  UploadError,
  forgetUploads,
  unfinishedUploads,
  type UploadErrorCode,
  type UploadOutcome,
  type UploadState,
} from "../upload.js";

export async function typical(file: File, signal: AbortSignal): Promise<UploadOutcome | null> {
  const upload = new Upload(file, {
    endpoint: "/oss/presign",
    concurrency: 5,
    backoff: { first: 100 },
    headers: async () => ({ "x-csrf-token": "7" }),
    scope: "user-7",
    signal,
    onProgress: ({ loaded, total, secondsLeft }) => {
      const left: number | null = secondsLeft;
      console.log(loaded / total, left);
    },
    onState: (state: UploadState, { reason, until }) => console.log(state, reason, until ?? 0),
    lookup: async ({ key }) => fetch(`/uploads?key=${key}`).then((response) => response.json()),
  });
  upload.pause();
  upload.resume();
  const session = upload.session;
  if (session)
    new Upload(new Blob(), { endpoint: new URL("https://a.example/"), session, storage: null });
  try {
    const outcome = await upload.start();
    const text: string = outcome.key;
    const verified: boolean = outcome.crc64Verified;
    console.log(text, verified, outcome.size + 1, outcome.crc64 ?? "");
    return outcome;
  } catch (error) {
    if (error instanceof UploadError) {
      const code: UploadErrorCode = error.code;
      console.log(code, error.retriable, error.stored, error.detail?.ec);
    }
    const deleted: boolean = await upload.cancel();
    console.log(deleted);
    return null;
  }
}

export function names(): string[] {
  forgetUploads({ scope: "user-7", fingerprint: "x" });
  return unfinishedUploads({ scope: "user-7" }).map(({ name }) => name);
}

// @ts-expect-error an endpoint is required
new Upload(new Blob(), {});
// @ts-expect-error errors are not created by applications
new UploadError("Network", "no");
// @ts-expect-error not a code
export const code: UploadErrorCode = "Other";
