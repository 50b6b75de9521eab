import Uppy from "@uppy/core";
import AwsS3 from "@uppy/aws-s3";
import GoldenRetriever from "@uppy/golden-retriever";

const uppy = new Uppy();
window.uppy = uppy;
/* snippets */
uppy.on("restored", () => { window.restored = true; });
uppy.on("upload-success", (file, { body }) => { window.body = body; });
uppy.on("complete", ({ failed }) => {
  window.outcome = failed.length === 0 ? "done" : String(failed[0].error);
});
document.querySelector("#pick").addEventListener("change", ({ target }) => {
  for (const data of target.files) uppy.addFile({ name: data.name, type: data.type, data });
  uppy.upload();
});
