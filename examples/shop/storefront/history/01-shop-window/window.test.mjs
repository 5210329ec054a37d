import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { window } from "./window.mjs";

const documents = { catalog: { items: [{ id: "tea" }] }, orders: { orders: [{ id: "o-1" }] } };
const contract = (service) => JSON.parse(readFileSync(new URL(`clients/${service}.json`, import.meta.url)));

// Answers as another service does, and only what its contract has.
async function call(service, path) {
  const [resource, query] = path.split("?");
  const operation = contract(service).paths[resource]?.get;
  assert.ok(operation, `GET ${path} is not in the contract of ${service}`);
  const named = (operation.parameters ?? []).map((parameter) => parameter.name);
  for (const name of new URLSearchParams(query).keys()) assert.ok(named.includes(name), `${service} does not take ${name}`);
  return { document: documents[service], servedBy: `${service}@1.0.0` };
}

test("shows items, orders and who took part", async () => {
  const shown = await window("storefront@1.0.0", call);
  assert.deepEqual(shown.items, [{ id: "tea" }]);
  assert.deepEqual(shown.orders, [{ id: "o-1" }]);
  assert.deepEqual(shown.chain, ["storefront@1.0.0", "catalog@1.0.0", "orders@1.0.0"]);
});

test("fails when a service fails", async () => {
  await assert.rejects(window("storefront@1.0.0", async () => assert.fail("down")), /down/);
});
