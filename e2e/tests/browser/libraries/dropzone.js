import Dropzone from "dropzone";

/* ask */

document.querySelector("#app").innerHTML = '<form id="drop" class="dropzone"></form>';
Dropzone.autoDiscover = false;
/* snippet */
const { dropzone } = document.querySelector("#drop");
dropzone.on("success", () => { window.outcome = "done"; });
dropzone.on("error", (file, message) => { window.outcome = String(message); });
