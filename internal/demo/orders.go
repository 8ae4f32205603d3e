package demo

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"os"

	"github.com/durango-go/durango/examples/order/fulfil"
)

//go:embed orders.json
var ordersJSON []byte

//go:embed stock.json
var stockJSON []byte

// task is an order with what the person in charge will do when asked to
// approve it: "approve", "reject" or "ignore".
type task struct {
	Order    fulfil.Order `json:"order"`
	Approval string       `json:"approval,omitempty"`
}

type stockItem struct {
	SKU   string `json:"sku"`
	Name  string `json:"name"`
	Stock int    `json:"stock"`
}

// loadOrders returns the first n orders of the file; beyond its end the orders
// come again, under other IDs.
func loadOrders(n int) ([]task, error) {
	var all []task
	if err := json.Unmarshal(ordersJSON, &all); err != nil {
		return nil, fmt.Errorf("orders.json: %w", err)
	}
	tasks := make([]task, n)
	for i := range tasks {
		tasks[i] = all[i%len(all)]
		if round := i / len(all); round > 0 {
			tasks[i].Order.ID = fmt.Sprintf("%s-%d", tasks[i].Order.ID, round+1)
		}
	}
	return tasks, nil
}

func loadStock() (stock []stockItem, err error) {
	if err := json.Unmarshal(stockJSON, &stock); err != nil {
		return nil, fmt.Errorf("stock.json: %w", err)
	}
	return stock, nil
}

// writeFile writes v as JSON.
func writeFile(path string, v any) error {
	b, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, b, 0o644)
}

func readFile(path string, v any) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}
