import * as FilePond from "filepond";

/* ask */

/* snippet */
FilePond.create(document.querySelector("#pick"), {
  onprocessfile: (error, { serverId }) => {
    window.outcome = error ? JSON.stringify(error) : serverId.startsWith("up/") && "done";
  },
});
