// Fields of the host editor that mean something only with another one are shown with it. Their values are kept and sent
// either way. Never hidden is what has an error, or what a link leads to. Without this script everything is shown.
"use strict";

document.addEventListener("DOMContentLoaded", () => {
  const form = document.getElementById("host_form");
  if (!form) return;
  const control = (name) => form.elements.namedItem(name);
  const isOn = (name) => () => control(name)?.checked !== false;
  const hasAny = (...names) => () => names.some((name) => control(name)?.value.trim());
  const HEALTH = "health_check-0-";

  const isHttpCheck = () => (control(`${HEALTH}kind`)?.value ?? "http") === "http";
  const RULES = [
    [
      isOn("tls_enabled"),
      [
        ...["client_certificate", "client_certificate_file", "client_certificate_facts"],
        ...["client_key", "client_key_file", "client_key_passphrase", "clear_client_key"],
      ],
    ],
    [isOn("skip_verify"), ["skip_verify_reason", "skip_verify_until"]],
    [
      () => hasAny("https_certificate", "https_certificate_file")() || control("force_https")?.checked,
      ["force_https", "hsts_max_age_s"],
    ],
    [hasAny("https_key", "https_key_file", "https_certificate_file", "kept_https_key"), ["https_key_passphrase"]],
    [
      isOn(`${HEALTH}enabled`),
      ["kind", "interval_s", "timeout_s", "healthy_after", "unhealthy_after"].map((name) => HEALTH + name),
    ],
    [
      () => isOn(`${HEALTH}enabled`)() && isHttpCheck(),
      ["method", "path", "host_field", "expected_status", "body_contains", "headers"].map((name) => HEALTH + name),
    ],
  ];

  function lineOf(name) {
    const input = document.getElementById(`id_${name}`);
    return input ? input.closest(".field-line") : form.querySelector(`.field-line.field-${name}`);
  }
  const lines = RULES.flatMap(([isShown, names]) =>
    names.map((name) => ({ isShown, line: lineOf(name) })).filter(({ line }) => line)
  );
  const revealed = new Set();

  // Not the attribute `hidden`: the lines' own classes set `display`.
  function show() {
    for (const { isShown, line } of lines) {
      const isKept = revealed.has(line) || line.classList.contains("errors") || line.querySelector(".errorlist");
      line.style.display = isKept || isShown() ? "" : "none";
    }
    for (const row of new Set(lines.map(({ line }) => line.parentElement))) {
      const isEmpty = [...row.children].every((line) => line.style.display === "none");
      row.style.display = isEmpty ? "none" : "";
    }
  }

  form.addEventListener("input", show);
  form.addEventListener("change", show);
  document.addEventListener("editor:reveal", (event) => {
    revealed.add(event.target.closest(".field-line"));
    show();
  });
  show();
});
