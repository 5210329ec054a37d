// JSON and gRPC on one port, over HTTP/2 without TLS, and a stop that no client notices.

import http2 from "node:http2";

import { answerer, isCall, send } from "./grpc.mjs";

// A body that is larger is not read.
const MAX_BODY_BYTES = 64 * 1024;
// After SIGTERM it serves on for this long; then clients are told to go.
const DRAIN_MS = 300;

// Makes a server of `answer`, for requests with JSON, and of gRPC's `calls`.
export function server(servedBy, answer, calls) {
  const headers = { "x-served-by": servedBy };
  const called = answerer(calls);
  const made = http2.createServer();
  made.on("stream", async (stream, request) => {
    stream.on("error", (error) => console.error(`a client went away: ${error.message}`));
    const body = await read(stream).catch(() => null);
    if (stream.destroyed || stream.closed) return;
    const { [":method"]: method, [":path"]: path = "" } = request;
    if (body === null) stream.close(http2.constants.NGHTTP2_CANCEL);
    else if (isCall(request)) send(stream, headers, () => called(path, body));
    else sendJson(stream, headers, () => answer(parsed(method, path)));
  });
  return made;
}

async function read(stream) {
  const pieces = [];
  let length = 0;
  for await (const piece of stream) {
    length += piece.length;
    if (length > MAX_BODY_BYTES) throw new RangeError("the body is too large");
    pieces.push(piece);
  }
  return Buffer.concat(pieces);
}

function parsed(method, target) {
  const [path, query] = target.split("?");
  return { method, path, query: new URLSearchParams(query) };
}

function sendJson(stream, headers, answer) {
  let { status, document } = { status: 500 };
  try {
    ({ status, document } = answer());
  } catch (error) {
    console.error(error);
    document = { error: error.message };
  }
  stream.respond({ ":status": status, "content-type": "application/json", ...headers });
  stream.end(JSON.stringify(document));
}

// Serves until SIGTERM or SIGINT, then finishes what is under way.
export function serve(server, host, port) {
  const sessions = new Set();
  server.on("session", (session) => {
    sessions.add(session);
    session.on("close", () => sessions.delete(session));
  });
  const stop = () => {
    server.close(() => process.exit(0));
    sessions.forEach((session) => session.close());
  };
  let stopping;
  for (const signal of ["SIGTERM", "SIGINT"]) process.on(signal, () => (stopping ??= setTimeout(stop, DRAIN_MS)));
  server.listen(port, host);
}
