// The shop window: everything that a customer sees first. `call(service, path)` asks another service.

export async function window(servedBy, call) {
  const catalog = await call("catalog", "/items");
  const orders = await call("orders", "/orders");
  return {
    items: catalog.document.items,
    orders: orders.document.orders,
    chain: [servedBy, catalog.servedBy, orders.servedBy],
  };
}
