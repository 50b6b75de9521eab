/* ask */

document.querySelector("#pick").addEventListener("change", async ({ target }) => {
  const file = target.files[0];
  const token = await ask(file);
  /* snippet */
  window.outcome = "done";
});
