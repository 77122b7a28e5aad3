// The API in a browser: sends what stands in the form as JSON, and makes the addresses in answers into links.
const ADDRESS = /"(https?:\/\/[^"\\]+)"/g;

function linked(text) {
  const parts = document.createDocumentFragment();
  let end = 0;
  for (const match of text.matchAll(ADDRESS)) {
    if (new URL(match[1]).origin !== window.location.origin) continue;
    const link = document.createElement("a");
    link.href = match[1];
    link.textContent = match[1];
    link.className = "text-primary-600 dark:text-primary-500";
    parts.append(text.slice(end, match.index + 1), link);
    end = match.index + 1 + match[1].length;
  }
  parts.append(text.slice(end));
  return parts;
}

async function send(form, method) {
  const status = form.querySelector("[data-api-status]");
  const answer = form.querySelector("[data-api-answer]");
  const headers = { Accept: "application/json", "X-CSRFToken": form.dataset.csrfToken };
  const hasBody = method !== "DELETE";
  if (hasBody) headers["Content-Type"] = "application/json";
  if (method !== "POST" && form.dataset.etag) headers["If-Match"] = form.dataset.etag;
  status.textContent = `${method} …`;
  answer.textContent = "";
  try {
    const response = await fetch(window.location.href, {
      method,
      headers,
      body: hasBody ? form.elements.body.value : undefined,
      signal: AbortSignal.timeout(60000),
    });
    status.textContent = `${response.status} ${response.statusText}`;
    const text = await response.text();
    let shown = text;
    try {
      shown = JSON.stringify(JSON.parse(text), null, 2);
    } catch {
      // A download, or nothing.
    }
    answer.replaceChildren(linked(shown));
    if (response.ok && response.headers.get("ETag")) form.dataset.etag = response.headers.get("ETag");
  } catch (error) {
    status.textContent = String(error);
  }
}

document.querySelectorAll("[data-api-content]").forEach((place) => {
  place.replaceChildren(linked(place.textContent));
});
document.querySelectorAll("[data-api-form]").forEach((form) => {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const method = event.submitter.value;
    if (method === "DELETE" && !window.confirm("Delete this?")) return;
    send(form, method);
  });
});
