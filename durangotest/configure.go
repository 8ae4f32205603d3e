package durangotest

import "github.com/durango-go/durango"

// Configure changes the options of the nodes: their codec and interceptors,
// which Client gets too, or their limits. It is a deployment, as Replace is: the
// node shuts down, and the next one runs with the changed options. Call it
// before Client.
func (e *Env) Configure(change func(*durango.Options)) {
	f := e.fleet
	f.lock <- struct{}{}
	change(&f.options)
	f.halt()
	e.client = durango.NewClientWith(e.world, durango.ClientOptions{
		Codec: f.options.Codec, Interceptors: f.options.Interceptors, Limits: f.options.Limits,
	})
	<-f.lock
	e.world.change()
}
