import { cloneElement } from "react";
import { createRoot } from "react-dom/client";
import { Upload } from "antd";

/* ask */

const upload = (() => {
  /* snippet */
})();

const onChange = ({ file }) => {
  window.outcome = file.status;
};
createRoot(document.querySelector("#app")).render(cloneElement(upload, { onChange }));
