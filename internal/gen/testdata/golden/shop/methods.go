package shop

import (
	"context"

	. "github.com/durango-go/durango"
)

type (
	Store    struct{}
	Mailer   struct{}
	mailerPP = Mailer
	range_   struct{}
)

// Names that parameters must not shadow.
func store() {}

//durango:activity
func (*Store) SaveOrder(context.Context, []Order) (map[string]*Order, error) { return nil, nil }

//durango:activity
func (s Store) LoadOrder(_ context.Context, id string) (o Order, err error) { return }

//durango:activity
func (Mailer) SendMail(context.Context, struct {
	To string `json:"to"`
}) (any, error) {
	return nil, nil
}

//durango:orchestration var=Audit
func (m mailerPP) AuditMail(*Context, None) (None, error) { store(); return None{}, nil }

//durango:activity
func (*range_) Sweep(context.Context, None) (None, error) { return None{}, nil }
