// Keeps the first page fresh: asks for its parts again and changes only what is different, so that focus, selection and
// what was opened stay as they are. Pauses while nobody looks, and says so when what is shown is old.
"use strict";

(() => {
  const EVERY_MS = 5000;
  const PATIENCE_MS = 10000;
  const MOST_MS = 30000;

  const root = document.querySelector("[data-db]");
  const notice = root.querySelector("[data-db-stale]");
  let failures = 0;
  let timer = 0;
  let isAsking = false;
  let isOutdated = false;

  function keyOf(node) {
    return node.nodeType === Node.ELEMENT_NODE ? node.getAttribute("data-db-key") : null;
  }

  function isLike(old, fresh) {
    return old.nodeName === fresh.nodeName && keyOf(old) === keyOf(fresh);
  }

  function update(old, fresh) {
    if (old.nodeType !== Node.ELEMENT_NODE) {
      if (old.nodeValue !== fresh.nodeValue) old.nodeValue = fresh.nodeValue;
      return;
    }
    for (const { name } of [...old.attributes]) {
      // What somebody opened stays open.
      if (!fresh.hasAttribute(name) && !(old.nodeName === "DETAILS" && name === "open")) old.removeAttribute(name);
    }
    for (const { name, value } of fresh.attributes) {
      if (old.getAttribute(name) !== value) old.setAttribute(name, value);
    }
    updateChildren(old, fresh);
  }

  function updateChildren(old, fresh) {
    let place = old.firstChild;
    for (const wanted of [...fresh.childNodes]) {
      let found = place;
      // Of rows with a key, those in between are gone, or come later.
      if (keyOf(wanted) !== null) while (found && !isLike(found, wanted)) found = found.nextSibling;
      if (found && isLike(found, wanted)) {
        if (found === place) place = place.nextSibling;
        else old.insertBefore(found, place);
        update(found, wanted);
      } else {
        old.insertBefore(wanted, place);
      }
    }
    while (place) {
      const next = place.nextSibling;
      place.remove();
      place = next;
    }
  }

  function say(text, link) {
    notice.hidden = !text;
    root.classList.toggle("db-is-stale", Boolean(text));
    const parts = link ? [`${text} `, link] : [text];
    if (notice.textContent !== parts.map((part) => part.textContent ?? part).join("")) notice.replaceChildren(...parts);
  }

  function shownSince() {
    return root.querySelector("[data-db-time]")?.textContent ?? "a while ago";
  }

  async function ask() {
    const response = await fetch(root.dataset.db, {
      credentials: "same-origin",
      redirect: "manual",
      signal: AbortSignal.timeout(PATIENCE_MS),
    });
    if (response.type === "opaqueredirect" || response.status === 403) {
      const link = document.createElement("a");
      link.href = window.location.href;
      link.textContent = "Sign in again";
      say(`You are signed out. What is shown is of ${shownSince()}.`, link);
      return false;
    }
    if (!response.ok) throw new Error(`HTTP ${response.status}`);
    const template = document.createElement("template");
    template.innerHTML = await response.text();
    for (const part of template.content.querySelectorAll("[data-db-part]")) {
      const old = root.querySelector(`[data-db-part="${part.dataset.dbPart}"]`);
      if (old) update(old, part);
    }
    return true;
  }

  async function refresh() {
    window.clearTimeout(timer);
    if (document.hidden) return;
    if (isAsking) {
      isOutdated = true;
      return;
    }
    isAsking = true;
    isOutdated = false;
    try {
      if (!(await ask())) return;
      failures = 0;
      say("");
    } catch {
      failures += 1;
      say(`Aegis does not answer. What is shown is of ${shownSince()}; it is asked again.`);
    } finally {
      isAsking = false;
    }
    const wait = Math.min(MOST_MS, EVERY_MS * 2 ** Math.min(failures, 4));
    timer = window.setTimeout(refresh, isOutdated ? 0 : wait);
  }

  // Another time of the traffic, without leaving the page; a reload keeps it.
  root.addEventListener("click", (event) => {
    const link = event.target.closest("[data-db-ask]");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    root.dataset.db = link.dataset.dbAsk;
    window.history.replaceState(null, "", link.href);
    refresh();
  });
  document.addEventListener("visibilitychange", refresh);
  timer = window.setTimeout(refresh, EVERY_MS);
})();
