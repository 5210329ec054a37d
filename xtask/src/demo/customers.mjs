// Customers who come over TLS by HTTP/1.1, HTTP/2, gRPC and WebSocket, with the clients that Node has.
//
//   node customers.mjs HOST PORT
//
// HOST is looked for on this machine. Each line that is read is answered by one line of JSON:
//   look      what came of all requests since the last look, and who answered one that begins now, on each wire
//   to PORT   where all further ones go, once somebody listens there; answered when none is under way elsewhere

import dns from "node:dns";
import http2 from "node:http2";
import https from "node:https";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { setTimeout as pause } from "node:timers/promises";
import tls from "node:tls";

const [HOST, PORT] = process.argv.slice(2);
// How long an answer may take; a person would have given up.
const TIMEOUT_MS = 15_000;
// How often it is tried whether somebody listens, within that time.
const TRY_EVERY_MS = 50;
// How many different customers there are. Each always carries the same key.
const KEYS = 200;
// Reasons of failures that are kept in words.
const KEPT_REASONS = 20;
// What is said on a WebSocket before another one is opened.
const WORDS = 10;
const PRICES_IN_CENTS = { tea: 350, coffee: 480, honey: 720, biscuits: 290 };
const ITEMS = Object.keys(PRICES_IN_CENTS);
const UNAVAILABLE = "14";

const lookup = dns.lookup;
dns.lookup = (host, options, callback) => lookup(host === HOST ? "127.0.0.1" : host, options, callback);

// The connections to one port.
class Shop {
  constructor(port) {
    this.url = `https://${HOST}:${port}`;
    this.agent = new https.Agent({ keepAlive: true, maxSockets: 1, ALPNProtocols: ["http/1.1"] });
  }

  // Waits until it is open: until somebody listens and has a certificate.
  async open() {
    const { hostname: host, port } = new URL(this.url);
    for (const begin = Date.now(); ; await pause(TRY_EVERY_MS)) {
      const socket = tls.connect({ host, port, servername: host });
      const error = await once(socket, "secureConnect").catch((error) => error);
      socket.destroy();
      if (!(error instanceof Error)) return this;
      if (Date.now() - begin > TIMEOUT_MS) throw error;
    }
  }

  // A connection of HTTP/2 of its own for each purpose.
  session(purpose) {
    if (!this[purpose] || this[purpose].closed || this[purpose].destroyed) {
      this[purpose] = http2.connect(this.url).on("error", () => {});
    }
    return this[purpose];
  }

  close() {
    this.agent.destroy();
    for (const one of [this.http2, this.grpc, this.socket]) one?.close();
  }
}

const key = (turn) => ({ "x-lockstep-key": `customer-${Math.floor(turn / ITEMS.length) % KEYS}` });

async function overHttp1(shop, turn) {
  const request = https.get(`${shop.url}/items`, { agent: shop.agent, headers: key(turn) }).on("error", () => {});
  const [answer] = await once(request, "response");
  const { alpnProtocol } = answer.socket;
  const body = await whole(answer);
  demand(alpnProtocol === "http/1.1" && answer.statusCode === 200, `${alpnProtocol}, status ${answer.statusCode}: ${body}`);
  demand(JSON.parse(body).items.length === ITEMS.length, body);
  return answer.headers["lockstep-version"];
}

async function overHttp2(shop, turn) {
  const { head, body, spoke } = await ask(shop.session("http2"), { ":path": "/orders?limit=5", ...key(turn) });
  demand(spoke === "h2" && head[":status"] === 200, `${spoke}, status ${head[":status"]}: ${body}`);
  demand(Array.isArray(JSON.parse(body).orders), body);
  return head["lockstep-version"];
}

async function overGrpc(shop, turn) {
  const id = ITEMS[turn % ITEMS.length];
  const fields = { ":method": "POST", ":path": "/shop.catalog.v1.Catalog/GetItem", te: "trailers", ...key(turn) };
  const call = { ...fields, "content-type": "application/grpc", "grpc-timeout": `${TIMEOUT_MS}m` };
  const asked = framed(field(1, id));
  const { head, body, trailers, spoke } = await ask(shop.session("grpc"), call, asked);
  const ended = { ...head, ...trailers };
  const [status, by] = [ended["grpc-status"], ended["lockstep-version"]];
  if (status === UNAVAILABLE && ended[":status"] === 200 && by) throw new Unavailable(by);
  demand(spoke === "h2" && status === "0", `${spoke}, grpc-status ${status}: ${ended["grpc-message"]}`);
  const price = PRICES_IN_CENTS[id];
  const item = Buffer.concat([field(1, id), Buffer.from([0x10, (price & 127) | 128, price >> 7])]);
  demand(body.subarray(5, 5 + item.length).equals(item), `it was answered ${body.toString("hex")}`);
  return by;
}

async function overWebSocket(shop, _, isLooked) {
  if (shop.socket && (isLooked || shop.words === WORDS)) await leave(shop);
  if (!shop.socket) await enter(shop);
  demand(shop.socket.readyState === WebSocket.OPEN, "it was closed while nobody spoke");
  const answered = heard(shop.socket, "message");
  shop.socket.send("how many are we?");
  shop.words += 1;
  const { visitors, served_by: by } = JSON.parse((await answered).data);
  demand(visitors >= 1, `there are ${visitors} visitors`);
  return by;
}

async function enter(shop) {
  shop.words = 0;
  shop.socket = new WebSocket(`${shop.url.replace("https", "wss")}/visitors`);
  await heard(shop.socket, "open");
}

async function leave(shop) {
  const closed = heard(shop.socket, "close");
  shop.socket.close(1000);
  const { code, wasClean } = await closed;
  shop.socket = undefined;
  demand(code === 1000 && wasClean, `it was closed with ${code}`);
}

// Waits for an event of a WebSocket; any other end of it is a failure.
function heard(socket, event) {
  return new Promise((resolve, reject) => {
    socket.onerror = ({ message }) => reject(new Error(message));
    socket.onclose = ({ code }) => reject(new Error(`it was closed with ${code}`));
    socket[`on${event}`] = resolve;
  });
}

async function ask(session, headers, body) {
  const stream = session.request(headers);
  let trailers = {};
  stream.on("error", () => {}).on("trailers", (fields) => (trailers = fields)).end(body);
  const [head] = await once(stream, "response");
  return { head, body: await whole(stream), trailers, spoke: session.alpnProtocol };
}

async function whole(stream) {
  const pieces = [];
  for await (const piece of stream) pieces.push(piece);
  return Buffer.concat(pieces);
}

const field = (number, text) => Buffer.concat([Buffer.from([(number << 3) | 2, text.length]), Buffer.from(text)]);
const framed = (message) => Buffer.concat([Buffer.from([0, 0, 0, 0, message.length]), message]);

// Fails when something takes longer.
function within(ms, promise) {
  return new Promise((resolve, reject) => {
    const late = setTimeout(() => reject(new Error(`no answer in ${ms} ms`)), ms);
    promise.then(resolve, reject).finally(() => clearTimeout(late));
  });
}

function demand(holds, words) {
  if (!holds) throw new Error(words);
}

// A call ended with UNAVAILABLE, by the word of a version.
class Unavailable extends Error {
  constructor(by) {
    super(`${by} is not available`);
    this.by = by;
  }
}

// One kind of customers: one request after the other, and what came of them.
class Wire {
  found = {};
  waiting = [];

  constructor(name, asks, everyMs) {
    Object.assign(this, { name, asks, everyMs });
  }

  async keep() {
    for (let turn = 0; ; turn++) {
      const waiting = this.waiting.splice(0);
      await within(TIMEOUT_MS, this.asks(shop, turn, waiting.length > 0)).then(
        (by) => this.answered(by ?? "nobody"),
        (error) => (error instanceof Unavailable ? this.count("unavailable", error.by) : this.fail(error)),
      );
      waiting.forEach((resolve) => resolve());
      await pause(this.everyMs);
    }
  }

  answered(by) {
    this.last = by;
    this.count("answers", by);
  }

  count(what, by) {
    const counts = (this.found[what] ??= {});
    counts[by] = (counts[by] ?? 0) + 1;
  }

  fail(error) {
    const known = Object.keys(this.found.failed ?? {});
    const words = `${error.message}`.slice(0, 300);
    this.count("failed", known.length < KEPT_REASONS || known.includes(words) ? words : "others");
    if (shop.socket?.readyState > WebSocket.OPEN) shop.socket = undefined;
  }

  // Resolves when a request is over that had not begun.
  next() {
    return new Promise((resolve) => this.waiting.push(resolve));
  }

  take() {
    const found = { answers: {}, unavailable: {}, failed: {}, ...this.found, last: this.last };
    this.found = {};
    return found;
  }
}

const wires = [
  new Wire("HTTP/1.1", overHttp1, 50),
  new Wire("HTTP/2", overHttp2, 50),
  new Wire("gRPC", overGrpc, 10),
  new Wire("WebSocket", overWebSocket, 50),
];
let shop = await new Shop(PORT).open();

async function obey(line) {
  const [command, port] = line.split(" ");
  const before = shop;
  if (command === "to") shop = await new Shop(port).open();
  await Promise.all(wires.map((wire) => wire.next()));
  if (command === "to") {
    before.close();
    return {};
  }
  return Object.fromEntries(wires.map((wire) => [wire.name, wire.take()]));
}

wires.forEach((wire) => wire.keep());
for await (const line of createInterface({ input: process.stdin })) console.log(JSON.stringify(await obey(line)));
process.exit(0);
