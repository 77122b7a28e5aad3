// Reason and end date of an exception from verification are shown while there is one. Without this script they always are.
"use strict";

document.addEventListener("DOMContentLoaded", () => {
  const skips = document.getElementById("id_skip_verify");
  const rows = ["skip_verify_reason", "skip_verify_until"].map((name) =>
    document.getElementById(`id_${name}`)?.closest(`.field-${name}`)
  );
  if (!skips || rows.includes(undefined) || rows.includes(null)) {
    return;
  }
  // Not the attribute `hidden`: the rows' own classes set `display`.
  const show = () => rows.forEach((row) => (row.style.display = skips.checked ? "" : "none"));
  skips.addEventListener("change", show);
  show();
});
