// Test Connection in the host editor: sends the form as it stands, shows the progress, then what the server rendered.
"use strict";

document.addEventListener("DOMContentLoaded", () => {
  const POLL_EVERY_MS = 250;
  const HIGHLIGHT_MS = 3000;

  const section = document.getElementById("connection-test");
  if (!section) return;
  const form = section.closest("form");
  const runButton = section.querySelector("[data-ct-run]");
  const saveButton = section.querySelector("[data-ct-save]");
  const submitButton = document.querySelector(`button[name="${section.dataset.saveButton}"]`);
  const status = section.querySelector("[data-ct-status]");
  const clock = section.querySelector("[data-ct-clock]");
  const results = section.querySelector("[data-ct-results]");
  let ticking = null;

  // The address as it stands in the form, for whoever waits.
  function targets() {
    const rows = [...form.querySelectorAll('[name$="-address"]')]
      .filter((input) => !input.name.includes("__prefix__") && input.value.trim())
      .map((input) => {
        const field = (name) => form.elements[input.name.replace(/address$/, name)];
        const isUsed = field("enabled")?.checked !== false && !field("DELETE")?.checked;
        return isUsed ? `${input.value.trim()}:${field("port")?.value ?? ""}` : "";
      })
      .filter(Boolean);
    const wantsAll = form.elements.tested_upstreams.value === "all";
    if (wantsAll && rows.length > 1) return `${rows.length} upstreams`;
    return rows.length ? `upstream ${rows[0]}` : "the upstream";
  }

  function start(what) {
    const startedAt = performance.now();
    runButton.disabled = saveButton.disabled = true;
    results.setAttribute("aria-busy", "true");
    status.textContent = `Testing ${what} …`;
    status.parentElement.classList.add("ct-active");
    // Apart from the status, which a screen reader speaks at every change.
    const tick = () => { clock.textContent = `${((performance.now() - startedAt) / 1000).toFixed(1)} s`; };
    tick();
    ticking = setInterval(tick, 100);
  }

  function stop(message) {
    clearInterval(ticking);
    runButton.disabled = saveButton.disabled = false;
    results.removeAttribute("aria-busy");
    clock.textContent = "";
    status.textContent = message;
    status.parentElement.classList.toggle("ct-active", false);
  }

  function show(html) {
    results.innerHTML = html; // rendered and escaped by our own server
  }

  function showProblem(text) {
    const card = document.createElement("p");
    card.className = "ct-message";
    card.textContent = text;
    results.replaceChildren(card);
  }

  async function ask(url, options = {}) {
    const response = await fetch(url, { credentials: "same-origin", headers: { Accept: "application/json" }, ...options });
    if (!(response.headers.get("Content-Type") ?? "").startsWith("application/json")) {
      throw new Error(response.redirected ? "Your session has ended: sign in again." : `The server answered ${response.status}.`);
    }
    return response.json();
  }

  async function follow(answer) {
    while (answer.poll_url) {
      await new Promise((resolve) => setTimeout(resolve, POLL_EVERY_MS));
      answer = await ask(answer.poll_url);
    }
    show(answer.html);
    stop(answer.summary);
  }

  async function run(firstAnswer, what) {
    start(what);
    try {
      await follow(await firstAnswer());
    } catch (error) {
      showProblem(error instanceof TypeError ? "Aegis cannot be reached." : error.message);
      stop("");
    }
    results.focus({ preventScroll: true });
    results.scrollIntoView({ block: "nearest" });
  }

  function find(control) {
    control.dispatchEvent(new Event("editor:reveal", { bubbles: true }));
    const isCalm = matchMedia("(prefers-reduced-motion: reduce)").matches;
    control.scrollIntoView({ block: "center", behavior: isCalm ? "auto" : "smooth" });
    control.focus({ preventScroll: true });
    control.classList.add("ct-found");
    setTimeout(() => control.classList.remove("ct-found"), HIGHLIGHT_MS);
  }

  runButton.hidden = false;
  runButton.addEventListener("click", () => {
    run(() => ask(section.dataset.testUrl, { method: "POST", body: new FormData(form) }), targets());
  });

  if (submitButton) {
    saveButton.hidden = false;
    saveButton.addEventListener("click", () => form.requestSubmit(submitButton));
    // The server need not wait for the result before it answers: this script will.
    const mark = Object.assign(document.createElement("input"), { type: "hidden", name: "shows_progress", value: "1" });
    form.append(mark);
  }

  results.addEventListener("click", (event) => {
    const link = event.target.closest("[data-ct-field]");
    const control = link && document.getElementById(link.dataset.ctField);
    if (!control) return;
    event.preventDefault();
    find(control);
  });

  if (section.dataset.pollUrl) {
    run(() => ask(section.dataset.pollUrl), targets());
  }
});
