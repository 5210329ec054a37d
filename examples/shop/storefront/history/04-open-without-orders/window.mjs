// The shop window: everything that a customer sees first. `call(service, path)` asks another service.

const GREETING = process.env.GREETING ?? "Welcome";

// The shop stays open when orders cannot be shown.
function withoutOrders(error) {
  console.error(error);
  return { document: { orders: [] } };
}

export async function window(servedBy, call) {
  const [catalog, orders] = await Promise.all([
    call("catalog", "/items"),
    call("orders", "/orders?limit=5").catch(withoutOrders),
  ]);
  return {
    greeting: GREETING,
    items: catalog.document.items,
    orders: orders.document.orders,
    chain: [servedBy, catalog.servedBy, orders.servedBy].filter(Boolean),
  };
}
