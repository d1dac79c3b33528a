// Shows how the vote stands: a page at /, the numbers at /api/result.
"use strict";

const fs = require("node:fs");
const http = require("node:http");
const os = require("node:os");
const { Pool } = require("pg");

const page = fs.readFileSync(`${__dirname}/index.html`, "utf8");
const pool = new Pool({ max: 4, connectionTimeoutMillis: 3000 }); // PGHOST and the like say where
pool.on("error", (err) => console.error("idle connection:", err.message));

async function result() {
  try {
    const { rows } = await pool.query("SELECT vote, COUNT(*)::int AS count FROM votes GROUP BY vote");
    return Object.fromEntries(rows.map((row) => [row.vote, row.count]));
  } catch (err) {
    if (err.code === "42P01") return {}; // no table before the first vote
    throw err;
  }
}

const routes = {
  "/": async (res) => send(res, 200, "text/html; charset=utf-8", page.replace("{{host}}", os.hostname())),
  "/api/result": async (res) => send(res, 200, "application/json", JSON.stringify(await result()) + "\n"),
  "/healthz": async (res) => {
    await pool.query("SELECT 1");
    send(res, 200, "text/plain", "ok\n");
  },
};

function send(res, status, type, body) {
  res.writeHead(status, { "Content-Type": type, "Cache-Control": "no-store" });
  res.end(body);
}

const server = http.createServer(async (req, res) => {
  const route = routes[new URL(req.url, "http://localhost").pathname];
  if (!route) return send(res, 404, "text/plain", "not found\n");
  try {
    await route(res);
  } catch (err) {
    console.error(err.message);
    send(res, 503, "text/plain", err.message + "\n");
  }
});
server.listen(80, () => console.log("result listens on :80"));
process.on("SIGTERM", () => {
  server.close(() => process.exit(0));
  server.closeAllConnections();
});
