/* snippet */

document.querySelector("#pick").addEventListener("change", async ({ target }) => {
  const { reply } = await upload(target.files[0], () => {});
  if (JSON.parse(reply).Status === "OK") window.outcome = "done";
});
