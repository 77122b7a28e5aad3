// The tabs of the host editor. Which one is open stands in the address; links to something in a tab open it.
// Without this script the bar is a list of links, and everything is shown.
"use strict";

// Before anything is painted: the stylesheet hides the other tabs from then on.
document.documentElement.classList.add("et-script");

document.addEventListener("DOMContentLoaded", () => {
  const list = document.querySelector("[data-et-list]");
  if (!list) return;
  const form = list.closest("form");
  const tabs = [...list.querySelectorAll(".et-tab")];
  const panelOf = (tab) => document.getElementById(tab.hash.slice(1));
  const tabOf = (panel) => tabs.find((tab) => panelOf(tab) === panel);

  function open(tab) {
    for (const each of tabs) {
      const isOpen = each === tab;
      each.setAttribute("aria-selected", String(isOpen));
      each.tabIndex = isOpen ? 0 : -1;
      each.classList.toggle("et-open", isOpen);
      panelOf(each).classList.toggle("et-open", isOpen);
    }
    // The stylesheet goes by it for the buttons below the form.
    document.body.dataset.etTab = tab.hash.slice("#tab-".length);
  }

  function choose(tab) {
    open(tab);
    history.replaceState(history.state, "", tab.hash);
  }

  // Whatever hides the element is opened.
  function reveal(element) {
    const panel = element.closest(".et-panel");
    if (!panel) return;
    open(tabOf(panel));
    for (let node = element; node !== panel; node = node.parentElement) {
      if (node.tagName === "DETAILS") node.open = true;
    }
  }

  function followAddress() {
    const element = document.getElementById(location.hash.slice(1));
    if (!element) return;
    const tab = tabOf(element);
    if (tab) {
      open(tab);
      return;
    }
    element.dispatchEvent(new Event("editor:reveal", { bubbles: true }));
    element.scrollIntoView({ block: "center" });
  }

  list.setAttribute("role", "tablist");
  for (const tab of tabs) {
    tab.setAttribute("role", "tab");
    tab.setAttribute("aria-controls", panelOf(tab).id);
    panelOf(tab).setAttribute("role", "tabpanel");
  }
  open(tabs.find((tab) => tab.classList.contains("et-open")));

  list.addEventListener("click", (event) => {
    const tab = event.target.closest(".et-tab");
    if (!tab || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    choose(tab);
  });
  list.addEventListener("keydown", (event) => {
    const here = tabs.indexOf(document.activeElement);
    const last = tabs.length - 1;
    const next = {
      ArrowRight: here === last ? 0 : here + 1,
      ArrowLeft: here === 0 ? last : here - 1,
      Home: 0,
      End: last,
    }[event.key];
    if (here < 0 || next === undefined) return;
    event.preventDefault();
    tabs[next].focus();
    choose(tabs[next]);
  });
  document.addEventListener("editor:reveal", (event) => reveal(event.target));
  window.addEventListener("hashchange", followAddress);
  // What leads back here comes back to the same tab: a redirect keeps the fragment of the address that was asked for.
  form.addEventListener("submit", (event) => {
    if (event.submitter?.name === "_save") return;
    const tab = tabs.find((each) => each.classList.contains("et-open"));
    form.setAttribute("action", `${location.pathname}${location.search}${tab.hash}`);
  });
  const refused = tabs.find((tab) => tab.dataset.etErrors !== "0");
  if (refused) {
    panelOf(refused).querySelector(".errorlist, .errors")?.scrollIntoView({ block: "center" });
  } else {
    followAddress();
  }
});
