// Another time, or other upstreams, without leaving the page: what is written into the host's form stays there.
"use strict";

document.addEventListener("click", async (event) => {
  const link = event.target.closest("[data-hh-link]");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) {
    return;
  }
  event.preventDefault();
  const section = link.closest("[data-hh]");
  const status = section.querySelector("[data-hh-status]");
  status.textContent = "Loading…";
  try {
    const response = await fetch(`${link.href}&fragment=1`, { credentials: "same-origin", redirect: "error" });
    if (!response.ok) {
      throw new Error(`HTTP ${response.status}`);
    }
    const template = document.createElement("template");
    template.innerHTML = await response.text();
    const fresh = template.content.querySelector("[data-hh]");
    section.replaceWith(fresh);
    (fresh.querySelector(`[data-hh-link="${link.dataset.hhLink}"]`) ?? fresh.querySelector("[data-hh-link]")).focus();
  } catch (error) {
    status.textContent = `Not loaded: ${error.message}.`;
  }
});
