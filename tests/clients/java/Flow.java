// The whole flow through the code of openapi-generator's java, with its library `native`.
import com.fasterxml.jackson.databind.ObjectMapper;
import com.example.orders.model.Problem;
import java.util.List;

public class Flow {
  private static final long PRICE = 3_000_000_000L;
  private static final long TOTAL = 2 * PRICE;
  private static final String RUN = "java-" + System.nanoTime();

  public static void main(String[] args) throws Exception {
    var plain = new com.example.orders.ApiClient();
    plain.updateBaseUri(System.getenv("ORDERS_URL"));
    var token = new com.example.orders.api.AuthApi(plain)
        .issueToken("client_credentials", System.getenv("CLIENT_ID"), System.getenv("CLIENT_SECRET"), null);
    check("a token", token.getExpiresIn() > 0, token);
    var bearer = "Bearer " + token.getAccessToken();

    var atCustomers = new com.example.customers.ApiClient();
    atCustomers.updateBaseUri(System.getenv("CUSTOMERS_URL"));
    atCustomers.setRequestInterceptor(request -> request.header("Authorization", bearer));
    var customers = new com.example.customers.api.CustomersApi(atCustomers);
    var atOrders = new com.example.orders.ApiClient();
    atOrders.updateBaseUri(System.getenv("ORDERS_URL"));
    atOrders.setRequestInterceptor(request -> request.header("Authorization", bearer));
    var products = new com.example.orders.api.ProductsApi(atOrders);
    var orders = new com.example.orders.api.OrdersApi(atOrders);
    var atOrchestrator = new com.example.orchestrator.ApiClient();
    atOrchestrator.updateBaseUri(System.getenv("ORCHESTRATOR_URL"));
    atOrchestrator.setRequestInterceptor(request -> request.header("Authorization", bearer));
    var orchestrator = new com.example.orchestrator.api.OrchestratorApi(atOrchestrator);

    var customer = customers.createCustomer(
        new com.example.customers.model.NewCustomer().name(RUN).email(RUN + "@example.com"), null, null);
    check("a customer", customer.getPhone() == null, customer);

    var product = products.createProduct(
        new com.example.orders.model.NewProduct().sku(RUN).name("Machine").priceCents(PRICE).stock(10L), null, null);
    check("a product whose price needs more than 31 bits", product.getPriceCents() == PRICE, product);

    var order = orders.placeOrder(wanted(customer.getId(), product.getId(), 2), RUN + "-place", null);
    check("an order whose total needs more than 32 bits", order.getTotalCents() == TOTAL, order);

    var confirmed = orders.confirmOrder(order.getId(), RUN + "-confirm", null);
    check("it is confirmed", confirmed.getStatus().getValue().equals("CONFIRMED"), confirmed);

    var page = orders.listOrders(5, null, null, customer.getId(), "2026-01-01", null, null, null);
    var first = page.getData().get(0);
    check("the list has it", first.getId().equals(order.getId()) && first.getTotalCents() == TOTAL, page);

    var done = orchestrator.createAndConfirmOrder(
        new com.example.orchestrator.model.CreateAndConfirm().customerId(customer.getId()).items(List.of(
            new com.example.orchestrator.model.NewOrderItem().productId(product.getId()).qty(2))),
        RUN + "-both", null);
    check("created and confirmed in one call",
        done.getSuccess() && done.getData().getOrder().getTotalCents() == TOTAL, done);

    var canceled = orders.cancelOrder(order.getId(), null, null, null);
    check("it is canceled", canceled.getStatus().getValue().equals("CANCELED"), canceled);

    try {
      orders.placeOrder(wanted(customer.getId(), product.getId(), 1_000), null, null);
      throw new IllegalStateException("an order for too much was taken");
    } catch (com.example.orders.ApiException refused) {
      var problem = com.example.orders.ApiClient.createDefaultObjectMapper()
          .readValue(refused.getResponseBody(), Problem.class);
      check("too little stock is a problem document", problem.getCode().equals("insufficient_stock"), problem);
    }
  }

  private static com.example.orders.model.NewOrder wanted(long customer, long product, int qty) {
    var item = new com.example.orders.model.NewOrderItem().productId(product).qty(qty);
    return new com.example.orders.model.NewOrder().customerId(customer).items(List.of(item));
  }

  private static void check(String what, boolean holds, Object found) {
    if (!holds) throw new IllegalStateException(what + ": " + found);
    System.out.println("ok: " + what);
  }
}
