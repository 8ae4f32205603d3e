// Command session works on files that lie on one machine's disk: each is
// downloaded, processed and uploaded there, by three activities of one session.
// When the machine leaves in the middle, the session moves to another one, where
// the file is missing, and the work starts over.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"
	"strings"

	"github.com/durango-go/durango"
	"github.com/durango-go/durango/provider/sqlite"
)

var (
	Convert  = durango.NewOrchestration[string, string]("convert")
	Download = durango.NewActivity[string, string]("download") // returns the machine's name
	Process  = durango.NewActivity[string, durango.None]("process")
	Upload   = durango.NewActivity[string, string]("upload")
	Missing  = durango.NewError[string]("file-missing") // its name
	GoOn     = durango.NewSignal[durango.None]("go-on")
)

func convert(ctx *durango.Context, film string) (string, error) {
	for {
		text, err := onOneDisk(ctx, film)
		if Missing.Is(err) {
			continue // the session is on another machine now
		}
		return text, err
	}
}

func onOneDisk(ctx *durango.Context, film string) (string, error) {
	session := durango.CallOptions{Session: ctx.InstanceID()}
	machine, err := Download.With(session).Call(ctx, film)
	if err != nil {
		return "", err
	}
	// A pause, for us to switch the machine off.
	if err := ctx.SetStatus(machine); err != nil {
		return "", err
	}
	if _, err := GoOn.Next(ctx).Await(ctx); err != nil {
		return "", err
	}
	if _, err := Process.With(session).Call(ctx, film); err != nil {
		return "", err
	}
	return Upload.With(session).Call(ctx, film)
}

// machine is a node that works on a disk of its own. It runs no orchestrations.
type machine struct {
	name, disk string
	out        io.Writer
}

func (m machine) download(_ context.Context, film string) (string, error) {
	fmt.Fprintf(m.out, "  %s downloads %s\n", m.name, film)
	return m.name, os.WriteFile(filepath.Join(m.disk, film), []byte("the content of "+film), 0o600)
}

func (m machine) process(_ context.Context, film string) (none durango.None, err error) {
	text, err := m.read("processes", film)
	if err != nil {
		return none, err
	}
	return none, os.WriteFile(filepath.Join(m.disk, film), []byte(strings.ToUpper(text)), 0o600)
}

func (m machine) upload(_ context.Context, film string) (string, error) {
	return m.read("uploads", film)
}

func (m machine) read(verb, film string) (string, error) {
	text, err := os.ReadFile(filepath.Join(m.disk, film))
	if errors.Is(err, os.ErrNotExist) {
		verb, err = "does not have", Missing.New(film)
	}
	fmt.Fprintf(m.out, "  %s %s %s\n", m.name, verb, film)
	return string(text), err
}

// start starts a node and returns what stops it.
func start(ctx context.Context, store *sqlite.Store, name string, does ...durango.Registrable) (stop func() error, err error) {
	rt, err := durango.New(store, durango.Options{Name: name})
	if err != nil {
		return nil, err
	}
	rt.Register(does...)
	ctx, cancel := context.WithCancel(ctx)
	node := make(chan error, 1)
	go func() { node <- rt.Run(ctx) }()
	return func() error { cancel(); return <-node }, nil
}

func main() {
	dir, err := os.MkdirTemp("", "session-")
	if err != nil {
		log.Fatal(err)
	}
	err = run(context.Background(), os.Stdout, dir)
	if err = errors.Join(err, os.RemoveAll(dir)); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, out io.Writer, dir string) (err error) {
	store, err := sqlite.Open(filepath.Join(dir, "session.db"))
	if err != nil {
		return err
	}
	defer store.Close()
	running := map[string]func() error{} // what stops each node
	defer func() {
		for _, stop := range running {
			err = errors.Join(err, stop())
		}
	}()
	if running["office"], err = start(ctx, store, "office", Convert.Bind(convert)); err != nil {
		return err
	}
	for _, name := range []string{"red", "blue"} {
		m := machine{name, filepath.Join(dir, name), out}
		if err := os.Mkdir(m.disk, 0o700); err != nil {
			return err
		}
		running[name], err = start(ctx, store, name, Download.Bind(m.download), Process.Bind(m.process), Upload.Bind(m.upload))
		if err != nil {
			return err
		}
	}

	client := durango.NewClient(store)
	for _, name := range []string{"alien", "amelie", "argo"} {
		if err := film(ctx, out, client, name, func(string) error { return nil }); err != nil {
			return err
		}
	}
	return film(ctx, out, client, "brazil", func(machine string) error {
		stop := running[machine]
		delete(running, machine)
		fmt.Fprintf(out, "  %s is switched off\n", machine)
		// The signal is kept until the next machine gets there.
		return errors.Join(stop(), GoOn.Send(ctx, client, "convert-brazil", durango.None{}))
	})
}

// film has a film converted, with something done in the pause.
func film(ctx context.Context, out io.Writer, client *durango.Client, name string, pause func(machine string) error) error {
	converting, err := Convert.Start(ctx, client, "convert-"+name, name)
	if err != nil {
		return err
	}
	var machine string
	status, err := converting.NextStatus(ctx, 0)
	if err == nil {
		err = status.Decode(&machine)
	}
	if err == nil {
		err = pause(machine)
	}
	if err == nil {
		err = GoOn.Send(ctx, client, converting.ID(), durango.None{})
	}
	if err != nil {
		return err
	}
	text, err := converting.Wait(ctx)
	fmt.Fprintln(out, text)
	return err
}
