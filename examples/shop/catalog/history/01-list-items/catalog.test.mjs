import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { answer, getItem } from "./catalog.mjs";
import { OpenApi } from "./contract.mjs";
import { NOT_FOUND } from "./grpc.mjs";
import { rpcs } from "./proto.mjs";

const api = new OpenApi();
const rpc = rpcs(readFileSync("proto/catalog.proto", "utf8"))["/shop.catalog.v1.Catalog/GetItem"];

// Asks as a customer does; what is asked and answered must be in the contract.
function get(path, query = {}) {
  const asked = new URLSearchParams(query);
  api.checkQuery("GET", path, asked);
  const { status, document } = answer({ method: "GET", path, query: asked });
  api.checkAnswer("GET", path, status, document);
  return { status, document };
}

// Asks as another service does, by bytes.
const call = (message) => rpc.gives.read(rpc.gives.write(getItem(rpc.takes.read(rpc.takes.write(message)))));

test("lists every item with its price", () => {
  const { status, document } = get("/items");
  assert.equal(status, 200);
  assert.deepEqual(document.items[0], { id: "tea", price_cents: 350 });
  assert.equal(document.items.length, 4);
});

test("shows one item", () => {
  assert.deepEqual(get("/items/honey"), { status: 200, document: { id: "honey", price_cents: 720 } });
});

test("tells other services about an item", () => {
  assert.deepEqual(call({ id: "honey" }), { id: "honey", price_cents: 720 });
  assert.throws(() => call({ id: "gold" }), { status: NOT_FOUND });
  assert.throws(() => call({ id: "" }), { status: NOT_FOUND });
});

test("refuses unknown items and changes", () => {
  assert.equal(get("/items/gold").status, 404);
  assert.equal(answer({ method: "POST", path: "/items", query: new URLSearchParams() }).status, 405);
});
