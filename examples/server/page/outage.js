// The switch that stops the callback server. The uploads are recovered when it starts again.

import { announce, byId } from "./dom.js";
import { t } from "./texts.js";

const PATH = "/demo/callback-server";

/** Shows the switch if the server has one. Every page shares it. */
export async function setup({ emulated }) {
  if (!emulated) return;
  const input = byId("stopped");
  const { stopped } = await (await fetch(PATH)).json();
  input.checked = stopped;
  input.addEventListener("change", () => set(input));
  byId("outage").hidden = false;
}

async function set(input) {
  const stopped = input.checked;
  input.disabled = true;
  try {
    const response = await fetch(PATH, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ stopped }),
    });
    if (!response.ok) throw new Error(String(response.status));
    announce(t(stopped ? "outageStopped" : "outageStarted"));
  } catch {
    input.checked = !stopped;
    announce(t("error.unreachable"));
  }
  input.disabled = false;
  // A disabled element loses the focus. Restore it, unless the focus has moved elsewhere.
  if (document.activeElement === document.body) input.focus({ preventScroll: true });
}
