// The whole flow through the code of oapi-codegen.
package main

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"os"
	"time"

	"example.com/flow/customers"
	"example.com/flow/orchestrator"
	"example.com/flow/orders"
)

const (
	price = int64(3_000_000_000)
	total = 2 * price
)

func check(what string, holds bool, found any) {
	if !holds {
		log.Fatalf("%s: %+v", what, found)
	}
	fmt.Println("ok:", what)
}

func must[T any](value T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return value
}

func main() {
	ctx, end := context.WithTimeout(context.Background(), time.Minute)
	defer end()
	run := fmt.Sprintf("go-%d", time.Now().UnixNano())
	key := func(step string) *string { name := run + step; return &name }

	id, secret := os.Getenv("CLIENT_ID"), os.Getenv("CLIENT_SECRET")
	plain := must(orders.NewClientWithResponses(os.Getenv("ORDERS_URL")))
	token := must(plain.IssueTokenWithFormdataBodyWithResponse(ctx, orders.TokenRequest{
		GrantType: "client_credentials", ClientId: &id, ClientSecret: &secret,
	}))
	check("a token", token.JSON200 != nil, string(token.Body))
	authorize := func(_ context.Context, request *http.Request) error {
		request.Header.Set("Authorization", "Bearer "+token.JSON200.AccessToken)
		return nil
	}
	atCustomers := must(customers.NewClientWithResponses(os.Getenv("CUSTOMERS_URL"), customers.WithRequestEditorFn(authorize)))
	atOrders := must(orders.NewClientWithResponses(os.Getenv("ORDERS_URL"), orders.WithRequestEditorFn(authorize)))
	atOrchestrator := must(orchestrator.NewClientWithResponses(os.Getenv("ORCHESTRATOR_URL"), orchestrator.WithRequestEditorFn(authorize)))

	customer := must(atCustomers.CreateCustomerWithResponse(ctx, nil, customers.NewCustomer{
		Name: run, Email: run + "@example.com",
	}))
	check("a customer", customer.JSON201 != nil && customer.JSON201.Phone == nil, string(customer.Body))
	product := must(atOrders.CreateProductWithResponse(ctx, nil, orders.NewProduct{
		Sku: run, Name: "Machine", PriceCents: price, Stock: 10,
	}))
	check("a product whose price needs more than 31 bits", product.JSON201 != nil && product.JSON201.PriceCents == price, string(product.Body))

	wanted := func(qty int32) orders.NewOrder {
		return orders.NewOrder{CustomerId: customer.JSON201.Id, Items: []orders.NewOrderItem{{ProductId: product.JSON201.Id, Qty: qty}}}
	}
	placed := must(atOrders.PlaceOrderWithResponse(ctx, &orders.PlaceOrderParams{IdempotencyKey: key("-place")}, wanted(2)))
	check("an order whose total needs more than 32 bits", placed.JSON201 != nil && placed.JSON201.TotalCents == total, string(placed.Body))
	order := placed.JSON201.Id

	confirmed := must(atOrders.ConfirmOrderWithResponse(ctx, order, &orders.ConfirmOrderParams{IdempotencyKey: key("-confirm")}))
	check("it is confirmed", confirmed.JSON200 != nil && confirmed.JSON200.Status == orders.OrderStatusCONFIRMED, string(confirmed.Body))

	from := "2026-01-01"
	page := must(atOrders.ListOrdersWithResponse(ctx, &orders.ListOrdersParams{CustomerId: &customer.JSON201.Id, From: &from}))
	check("the list has it", page.JSON200 != nil && page.JSON200.Data[0].Id == order && page.JSON200.Data[0].TotalCents == total, string(page.Body))

	done := must(atOrchestrator.CreateAndConfirmOrderWithResponse(ctx,
		&orchestrator.CreateAndConfirmOrderParams{IdempotencyKey: key("-both")},
		orchestrator.CreateAndConfirm{
			CustomerId: customer.JSON201.Id,
			Items:      []orchestrator.NewOrderItem{{ProductId: product.JSON201.Id, Qty: 2}},
		}))
	check("created and confirmed in one call", done.JSON201 != nil && bool(done.JSON201.Success) && done.JSON201.Data.Order.TotalCents == total, string(done.Body))

	canceled := must(atOrders.CancelOrderWithResponse(ctx, order, nil, orders.CancelOrder{}))
	check("it is canceled", canceled.JSON200 != nil && canceled.JSON200.Status == orders.OrderStatusCANCELED, string(canceled.Body))

	refused := must(atOrders.PlaceOrderWithResponse(ctx, nil, wanted(1_000)))
	problem := refused.ApplicationproblemJSON409
	check("too little stock is a problem document", problem != nil && problem.Code == "insufficient_stock", string(refused.Body))
}
