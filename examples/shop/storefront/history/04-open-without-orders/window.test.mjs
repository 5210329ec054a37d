import assert from "node:assert/strict";
import { test } from "node:test";

import { window } from "./window.mjs";

const documents = { catalog: { items: [{ id: "tea" }] }, orders: { orders: [{ id: "o-1" }] } };
const call = async (service) => ({ document: documents[service], servedBy: `${service}@1.0.0` });

test("greets, shows items, orders and who took part", async () => {
  const shown = await window("storefront@1.0.0", call);
  assert.equal(shown.greeting, "Welcome");
  assert.deepEqual(shown.items, [{ id: "tea" }]);
  assert.deepEqual(shown.orders, [{ id: "o-1" }]);
  assert.deepEqual(shown.chain, ["storefront@1.0.0", "catalog@1.0.0", "orders@1.0.0"]);
});

const without = (down) => (service) => (service === down ? Promise.reject(new Error("down")) : call(service));

test("fails without a catalog", async () => {
  await assert.rejects(window("storefront@1.0.0", without("catalog")), /down/);
});

test("stays open without orders", async () => {
  const shown = await window("storefront@1.0.0", without("orders"));
  assert.deepEqual(shown.orders, []);
  assert.deepEqual(shown.chain, ["storefront@1.0.0", "catalog@1.0.0"]);
});
