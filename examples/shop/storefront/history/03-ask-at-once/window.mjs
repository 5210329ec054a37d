// The shop window: everything that a customer sees first. `call(service, path)` asks another service.

const GREETING = process.env.GREETING ?? "Welcome";

export async function window(servedBy, call) {
  const [catalog, orders] = await Promise.all([call("catalog", "/items"), call("orders", "/orders?limit=5")]);
  return {
    greeting: GREETING,
    items: catalog.document.items,
    orders: orders.document.orders,
    chain: [servedBy, catalog.servedBy, orders.servedBy],
  };
}
