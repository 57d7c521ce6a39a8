"""The whole flow through the code of openapi-generator's python."""

import os
import time

import b2b_customers
import b2b_orchestrator
import b2b_orders

RUN = f"python-{time.time_ns()}"
PRICE = 3_000_000_000
TOTAL = 2 * PRICE


def check(what, holds, found):
    if not holds:
        raise SystemExit(f"{what}: {found}")
    print(f"ok: {what}")


def api(package, service, token=None):
    return package.ApiClient(package.Configuration(host=os.environ[f"{service}_URL"], access_token=token))


auth = b2b_orders.AuthApi(api(b2b_orders, "ORDERS"))
token = auth.issue_token(
    grant_type="client_credentials",
    client_id=os.environ["CLIENT_ID"],
    client_secret=os.environ["CLIENT_SECRET"],
)
check("a token", token.token_type == "Bearer", token)

customers = b2b_customers.CustomersApi(api(b2b_customers, "CUSTOMERS", token.access_token))
at_orders = api(b2b_orders, "ORDERS", token.access_token)
products = b2b_orders.ProductsApi(at_orders)
orders = b2b_orders.OrdersApi(at_orders)
orchestrator = b2b_orchestrator.OrchestratorApi(api(b2b_orchestrator, "ORCHESTRATOR", token.access_token))

customer = customers.create_customer(b2b_customers.NewCustomer(name=RUN, email=f"{RUN}@example.com"))
check("a customer", customer.phone is None, customer)

product = products.create_product(b2b_orders.NewProduct(sku=RUN, name="Machine", price_cents=PRICE, stock=10))
check("a product whose price needs more than 31 bits", product.price_cents == PRICE, product)


def wanted(package, qty):
    return [package.NewOrderItem(product_id=product.id, qty=qty)]


order = orders.place_order(
    b2b_orders.NewOrder(customer_id=customer.id, items=wanted(b2b_orders, 2)), idempotency_key=f"{RUN}-place"
)
check("an order whose total needs more than 32 bits", order.total_cents == TOTAL, order)

confirmed = orders.confirm_order(order.id, idempotency_key=f"{RUN}-confirm")
check("it is confirmed", confirmed.status == "CONFIRMED", confirmed)

page = orders.list_orders(customer_id=customer.id, var_from="2026-01-01", limit=5)
check("the list has it", page.data[0].id == order.id and page.data[0].total_cents == TOTAL, page)

done = orchestrator.create_and_confirm_order(
    b2b_orchestrator.CreateAndConfirm(customer_id=customer.id, items=wanted(b2b_orchestrator, 2)),
    idempotency_key=f"{RUN}-both",
)
check("created and confirmed in one call", done.success and done.data.order.total_cents == TOTAL, done)

canceled = orders.cancel_order(order.id)
check("it is canceled", canceled.status == "CANCELED", canceled)

try:
    orders.place_order(b2b_orders.NewOrder(customer_id=customer.id, items=wanted(b2b_orders, 1_000)))
    raise SystemExit("an order for too much was taken")
except b2b_orders.exceptions.ConflictException as refused:
    check("too little stock is a problem document", refused.data.code == "insufficient_stock", refused)
