import assert from "node:assert/strict";
import { test } from "node:test";

import { window } from "./window.mjs";

const documents = { catalog: { items: [{ id: "tea" }] }, orders: { orders: [{ id: "o-1" }] } };
const call = async (service) => ({ document: documents[service], servedBy: `${service}@1.0.0` });

test("shows items, orders and who took part", async () => {
  const shown = await window("storefront@1.0.0", call);
  assert.deepEqual(shown.items, [{ id: "tea" }]);
  assert.deepEqual(shown.orders, [{ id: "o-1" }]);
  assert.deepEqual(shown.chain, ["storefront@1.0.0", "catalog@1.0.0", "orders@1.0.0"]);
});

test("fails when a service fails", async () => {
  await assert.rejects(window("storefront@1.0.0", async () => assert.fail("down")), /down/);
});
