// Command callback has people complete activities: each asks with a link, and
// ends when somebody follows it, in another process, on another day, or after a
// crash.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/durango-go/durango"
	"github.com/durango-go/durango/provider/sqlite"
)

// Request is what somebody wants, Answer what another says to it.
type (
	Request struct{ Who, What string }
	Answer  struct{ By string }
)

var (
	Buy     = durango.NewOrchestration[Request, string]("buy")
	Ask     = durango.NewActivity[Request, Answer]("ask-manager")
	Refused = durango.NewError[string]("refused") // by whom
)

func buy(ctx *durango.Context, r Request) (string, error) {
	// To the orchestration it is an activity like any other.
	answer, err := Ask.With(durango.CallOptions{StartToClose: 72 * time.Hour}).Call(ctx, r)
	if by, ok := Refused.From(err); ok {
		return fmt.Sprintf("%s gets no %s: %s is against it", r.Who, r.What, by), nil
	}
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s gets a %s, says %s", r.Who, r.What, answer.By), nil
}

// asking returns the activity, which mails a link to answer at. Anybody who has
// or guesses the link can answer: a real one is signed.
func asking(address string, mails chan<- string) func(context.Context, Request) (Answer, error) {
	return func(ctx context.Context, r Request) (Answer, error) {
		token, err := durango.CompleteLater(ctx) // it is stored before it is handed out
		if err != nil {
			return Answer{}, err
		}
		select {
		case mails <- fmt.Sprintf("http://%s/answer?token=%s", address, token):
			return Answer{}, nil // the result is up to whoever follows the link
		case <-ctx.Done():
			return Answer{}, ctx.Err()
		}
	}
}

// answer is what is behind the link.
func answer(client *durango.Client) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		token, by := r.FormValue("token"), r.FormValue("by")
		var err error
		if r.FormValue("ok") == "yes" {
			err = Ask.Complete(r.Context(), client, token, Answer{By: by})
		} else {
			err = client.Fail(r.Context(), token, Refused.New(by))
		}
		switch {
		case errors.Is(err, durango.ErrNotRunning):
			http.Error(w, "it has been decided already", http.StatusConflict)
		case err != nil:
			http.Error(w, err.Error(), http.StatusInternalServerError)
		default:
			fmt.Fprintln(w, "thank you")
		}
	}
}

func main() {
	dir, err := os.MkdirTemp("", "callback-")
	if err != nil {
		log.Fatal(err)
	}
	err = run(context.Background(), os.Stdout, filepath.Join(dir, "callback.db"))
	if err = errors.Join(err, os.RemoveAll(dir)); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, out io.Writer, path string) error {
	store, err := sqlite.Open(path)
	if err != nil {
		return err
	}
	defer store.Close()
	rt, err := durango.New(store, durango.Options{})
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	mails := make(chan string)
	rt.Register(Buy.Bind(buy), Ask.Bind(asking(listener.Addr().String(), mails)))
	server := &http.Server{Handler: answer(rt.Client()), ReadHeaderTimeout: time.Second}

	ctx, stop := context.WithCancel(ctx)
	node, served := make(chan error, 1), make(chan error, 1)
	go func() { node <- rt.Run(ctx) }()
	go func() { served <- server.Serve(listener) }()
	err = requests(ctx, out, rt.Client(), mails)
	stop()
	err = errors.Join(err, <-node, server.Close())
	<-served // which always has an error; one that matters has failed a request
	return err
}

func requests(ctx context.Context, out io.Writer, client *durango.Client, mails <-chan string) error {
	for _, r := range []Request{{"Ann", "chair"}, {"Bob", "yacht"}} {
		buying, err := Buy.Start(ctx, client, "buy-"+r.What, r)
		if err != nil {
			return err
		}
		link := <-mails
		fmt.Fprintln(out, "mail to Max:", link)
		ok := "yes"
		if r.What == "yacht" {
			ok = "no"
		}
		for range 2 { // people click twice
			page, err := http.PostForm(link, url.Values{"by": {"Max"}, "ok": {ok}})
			if err != nil {
				return err
			}
			text, err := io.ReadAll(page.Body)
			if err = errors.Join(err, page.Body.Close()); err != nil {
				return err
			}
			fmt.Fprintf(out, "Max reads: %s", text)
		}
		text, err := buying.Wait(ctx)
		if err != nil {
			return err
		}
		fmt.Fprintln(out, text)
	}
	return nil
}
