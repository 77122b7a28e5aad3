// A new host, step by step: says that a test is running while its page is on the way, and sends nothing twice.
"use strict";

document.addEventListener("DOMContentLoaded", () => {
  const status = document.querySelector("[data-wz-status]");
  const forms = [...document.querySelectorAll("form[data-wz-tests]")];

  for (const form of forms) {
    form.addEventListener("submit", (event) => {
      if (form.dataset.wzSent) {
        event.preventDefault();
        return;
      }
      form.dataset.wzSent = "1";
      // Beside the button that was pressed, which may stand far from the end of the page.
      (form.querySelector(".wz-actions") ?? form).append(status);
      status.textContent = "Testing the upstream: eight seconds at most …";
    });
  }

  // Whoever comes back by the browser's button finds the page as it was left.
  window.addEventListener("pageshow", () => {
    status.textContent = "";
    for (const form of forms) delete form.dataset.wzSent;
  });
});
