// The catalog: what the shop sells, and for how much. Customers read /items, other services call GetItem.

import { NOT_FOUND, Refusal } from "./grpc.mjs";

const PRICES_IN_CENTS = { tea: 350, coffee: 480, honey: 720, biscuits: 290 };

const isItem = (id) => Object.hasOwn(PRICES_IN_CENTS, id);
const item = (id) => ({ id, price_cents: PRICES_IN_CENTS[id] });
const refused = (status, error) => ({ status, document: { error } });

// Answers a request of a customer.
export function answer({ method, path }) {
  if (method !== "GET") return refused(405, "items can only be read");
  if (path === "/items") return { status: 200, document: { items: Object.keys(PRICES_IN_CENTS).map(item) } };
  if (!path.startsWith("/items/")) return refused(404, `there is nothing at ${path}`);
  const id = path.slice("/items/".length);
  return isItem(id) ? { status: 200, document: item(id) } : refused(404, `there is no item \`${id}\``);
}

// Answers the RPC of proto/catalog.proto.
export function getItem({ id }) {
  if (!isItem(id)) throw new Refusal(NOT_FOUND, `there is no item \`${id}\``);
  return { id, price_cents: PRICES_IN_CENTS[id] };
}
