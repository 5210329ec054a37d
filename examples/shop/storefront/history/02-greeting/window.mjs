// The shop window: everything that a customer sees first. `call(service, path)` asks another service.

const GREETING = process.env.GREETING ?? "Welcome";

export async function window(servedBy, call) {
  const catalog = await call("catalog", "/items");
  const orders = await call("orders", "/orders");
  return {
    greeting: GREETING,
    items: catalog.document.items,
    orders: orders.document.orders,
    chain: [servedBy, catalog.servedBy, orders.servedBy],
  };
}
