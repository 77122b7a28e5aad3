// Follows the log: new lines come to the top, as rendered and escaped by our own server.
"use strict";

document.addEventListener("DOMContentLoaded", () => {
  const POLL_EVERY_MS = 1500;
  const SLOWEST_MS = 30000;
  const MAX_LINES = 500;

  const page = document.querySelector("[data-lg-page]");
  const button = page?.querySelector("[data-lg-follow]");
  if (!button) return;
  const status = page.querySelector("[data-lg-status]");
  const body = page.querySelector("[data-lg-lines] tbody");
  const keys = new Set([...body.querySelectorAll("[data-key]")].map((row) => row.dataset.key));
  let isFollowing = false;
  let timer = null;
  let failures = 0;

  function newestKey() {
    return body.querySelector("[data-key]")?.dataset.key ?? "";
  }

  // Keys have one length, and their order is that of the lines. Lines of another process may come a little late.
  function insert(row) {
    if (keys.has(row.dataset.key)) return false;
    body.querySelector("[data-lg-empty]")?.remove();
    const older = [...body.children].find((other) => other.dataset.key < row.dataset.key) ?? null;
    if (older === null && body.children.length >= MAX_LINES) return false;
    keys.add(row.dataset.key);
    row.classList.add("lg-new");
    body.insertBefore(row, older);
    return true;
  }

  function show(html) {
    const template = document.createElement("template");
    template.innerHTML = html;
    const rows = [...template.content.querySelectorAll("[data-key]")];
    const newest = newestKey();
    const isGap = rows.length >= 100 && newest && rows.every((row) => !keys.has(row.dataset.key));
    const count = rows.filter(insert).length;
    while (body.children.length > MAX_LINES) {
      keys.delete(body.lastElementChild.dataset.key);
      body.lastElementChild.remove();
    }
    return { count, isGap };
  }

  async function look() {
    const url = new URL(location.href);
    url.searchParams.delete("before");
    url.searchParams.set("fragment", "1");
    url.searchParams.set("after", newestKey());
    const response = await fetch(url, { credentials: "same-origin", redirect: "error", cache: "no-store" });
    if (!response.ok) throw new Error(response.status === 429 ? "busy" : `HTTP ${response.status}`);
    return show(await response.text());
  }

  async function turn() {
    try {
      const { isGap } = await look();
      failures = 0;
      if (isFollowing) status.textContent = isGap ? "Following. More lines come than are shown." : "Following.";
    } catch (error) {
      failures += 1;
      const why = error instanceof TypeError ? "Aegis cannot be reached, or your session has ended" : error.message;
      if (isFollowing) status.textContent = `Not loaded (${why}), tried again.`;
    }
    if (isFollowing && !document.hidden) {
      timer = setTimeout(turn, Math.min(POLL_EVERY_MS * 2 ** failures, SLOWEST_MS));
    }
  }

  function set(following) {
    isFollowing = following;
    clearTimeout(timer);
    button.setAttribute("aria-pressed", String(following));
    button.textContent = following ? "Pause" : "Follow";
    status.textContent = following ? "Following." : "Paused.";
    if (following) turn();
  }

  button.hidden = false;
  button.addEventListener("click", () => set(!isFollowing));
  document.addEventListener("visibilitychange", () => {
    clearTimeout(timer);
    if (isFollowing && !document.hidden) turn();
  });
});
