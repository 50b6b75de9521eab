import { createApp } from "vue";
import ElementPlus from "element-plus";

/* ask */

const url = window.uploadUrl;
const template = `/* snippet */`;
createApp({ template, setup: () => ({ ask, url }) }).use(ElementPlus).mount("#app");

let stored = 0;
new MutationObserver(() => {
  const { length } = document.querySelectorAll(".el-upload-list__item.is-success");
  if (length > stored) window.outcome = "done";
  stored = length;
}).observe(document.querySelector("#app"), { subtree: true, childList: true, attributes: true });
