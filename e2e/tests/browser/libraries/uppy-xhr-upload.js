import Uppy from "@uppy/core";
import XHRUpload from "@uppy/xhr-upload";

/* ask */

const url = window.uploadUrl;
const uppy = new Uppy();
/* snippet */
uppy.on("complete", ({ failed }) => {
  window.outcome = failed.length === 0 ? "done" : String(failed[0].error);
});
document.querySelector("#pick").addEventListener("change", ({ target }) => {
  for (const data of target.files) uppy.addFile({ name: data.name, type: data.type, data });
  uppy.upload();
});
