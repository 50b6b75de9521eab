// The page of the emulator: asks once a second what is new.

import { ask } from "./dom.js";
import { byId } from "./element.js";
import { refresh } from "./objects.js";
import { clear, update } from "./requests.js";

const PAUSE = 1000;

function live(text, on) {
  const chip = byId("live");
  if (chip.textContent !== text) chip.textContent = text;
  chip.className = on ? "chip on" : "chip off";
}

async function look(always) {
  try {
    const isNew = await update();
    if (isNew || always) await refresh();
    live("live", true);
    return true;
  } catch (error) {
    // The message of `fetch` if the emulator has stopped.
    live(error instanceof TypeError ? "no connection" : error.message, false);
    return false;
  }
}

async function run() {
  let settings = null;
  let connected = false;
  for (;;) {
    if (!document.hidden) {
      try {
        settings ??= await ask("settings");
        const stored = settings.data ?? "in memory";
        byId("where").textContent = `${settings.url} · region ${settings.region} · objects ${stored}`;
      } catch {
        // `look` shows it.
      }
      connected = await look(!connected);
      if (connected) document.documentElement.dataset.ready = "true";
    }
    await new Promise((resolve) => setTimeout(resolve, PAUSE));
  }
}

byId("reset").addEventListener("click", () => byId("confirm").showModal());
byId("confirm").addEventListener("close", async () => {
  if (byId("confirm").returnValue !== "reset") return;
  byId("confirm").returnValue = "";
  try {
    await ask("reset", {}, "POST");
    clear();
  } catch (error) {
    live(error.message, false);
    return;
  }
  await look(true);
});

run();
