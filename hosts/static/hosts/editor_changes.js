// Says that the host editor has changes that are not saved, and asks before they are lost.
"use strict";

document.addEventListener("DOMContentLoaded", () => {
  const bar = document.querySelector("[data-et-bar]");
  if (!bar) return;
  const form = bar.closest("form");
  const note = bar.querySelector("[data-et-note]");
  // Nothing of the host: how it is tested, and what other scripts put here.
  const NOT_OF_HOST = new Set(["csrfmiddlewaretoken", "tested_upstreams", "shows_progress"]);
  // The value of a hidden field is its default as well, so what it was is kept here.
  const hidden = new Map([...form.elements].filter((each) => each.type === "hidden").map((each) => [each, each.value]));
  let isLeaving = false;

  function isChangedControl(each) {
    if (!each.name || NOT_OF_HOST.has(each.name) || each.name.includes("__prefix__")) return false;
    switch (each.type) {
      case "hidden":
        return hidden.has(each) && hidden.get(each) !== each.value;
      case "checkbox":
      case "radio":
        return each.checked !== each.defaultChecked;
      case "file":
        return each.files.length > 0;
      case "select-one": {
        const stored = [...each.options].findIndex((option) => option.defaultSelected);
        return each.selectedIndex !== Math.max(stored, 0);
      }
      case "submit":
      case "button":
      case "fieldset":
        return false;
      default:
        return each.value !== each.defaultValue;
    }
  }

  // What was refused is in the form and nowhere else.
  const isChanged = () => "etUnsaved" in bar.dataset || [...form.elements].some(isChangedControl);

  function tell() {
    const text = isChanged() ? "Unsaved changes" : "";
    if (note.textContent !== text) note.textContent = text;
  }

  form.addEventListener("input", tell);
  form.addEventListener("change", tell);
  // Rows that were added, removed or dragged.
  new MutationObserver(tell).observe(form, { childList: true, subtree: true });
  form.addEventListener("submit", () => { isLeaving = true; });
  window.addEventListener("pageshow", () => { isLeaving = false; tell(); });
  window.addEventListener("beforeunload", (event) => {
    if (!isLeaving && isChanged()) event.preventDefault();
  });
});
