// The image's health check: exits 0 when the server can reach the database.
"use strict";

fetch("http://127.0.0.1/healthz", { signal: AbortSignal.timeout(2000) })
  .then((res) => process.exit(res.ok ? 0 : 1))
  .catch(() => process.exit(1));
