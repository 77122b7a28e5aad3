// Swagger UI on the OpenAPI document of this server. It asks nobody else for anything.
window.addEventListener("DOMContentLoaded", () => {
  const place = document.getElementById("api-docs");
  window.SwaggerUIBundle({
    url: place.dataset.document,
    domNode: place,
    deepLinking: true,
    docExpansion: "list",
    defaultModelsExpandDepth: 0,
    validatorUrl: null,
    presets: [window.SwaggerUIBundle.presets.apis],
    layout: "BaseLayout",
    requestInterceptor: (request) => {
      // The session of the admin is used; Django wants to see that no other site sends the request.
      if ((request.method ?? "GET") !== "GET") request.headers["X-CSRFToken"] = place.dataset.csrfToken;
      return request;
    },
  });
});
