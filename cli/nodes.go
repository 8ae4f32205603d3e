package cli

import (
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/durango-go/durango/provider"

	"github.com/spf13/cobra"
)

type nodeView struct {
	Key     string `json:"key"`
	Name    string `json:"name"`
	PID     int    `json:"pid"`
	Version string `json:"version,omitempty"`
	Beat    int64  `json:"beat"`
	State   string `json:"state"`
}

func (a *app) nodesCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "nodes",
		Short: "List the nodes that have joined the store",
		Args:  args(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.with(reading, func(s *session) error { return a.nodes(cmd, s) })
		},
	}
}

func (a *app) nodes(cmd *cobra.Command, s *session) error {
	nodes, err := s.inspector.Nodes(cmd.Context())
	if err != nil {
		return fmt.Errorf("list nodes: %w", err)
	}
	views := []nodeView{}
	var rows [][]string
	for _, n := range nodes {
		v := nodeView{strconv.FormatInt(int64(n.Key), 36), n.Info.Name, n.Info.PID, n.Info.Version, n.Beat, nodeState(n)}
		views = append(views, v)
		rows = append(rows, []string{v.Name, strconv.Itoa(v.PID), dash(v.Version), v.State, strconv.FormatInt(v.Beat, 10), v.Key})
	}
	return a.print(cmd, map[string][]nodeView{"nodes": views}, func(w io.Writer) {
		if len(rows) == 0 {
			fmt.Fprintln(w, "no nodes: nothing is running")
			return
		}
		table(w, []string{"NAME", "PID", "VERSION", "STATE", "BEAT", "KEY"}, rows)
	})
}

// nodeState says what the store knows. A node that hangs looks alive until
// another has watched it for a lease.
func nodeState(n provider.NodeView) string {
	switch {
	case n.Dead:
		return "buried"
	case n.Gone:
		return "gone"
	}
	return "joined"
}

type statsView struct {
	Store struct {
		Kind       string `json:"kind"`
		Version    string `json:"version"`
		Durability string `json:"durability"`
	} `json:"store"`
	Instances    map[string]int64 `json:"instances"`
	Turns        int64            `json:"turns"`
	Unread       int64            `json:"unread_messages"`
	TasksWaiting int64            `json:"tasks_waiting"`
	TasksHeld    int64            `json:"tasks_held"`
	Nodes        int              `json:"nodes"`
	Now          *time.Time       `json:"now"`
}

func (a *app) statsCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "stats",
		Short: "Count what is in the store",
		Args:  args(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.with(reading, func(s *session) error { return a.stats(cmd, s) })
		},
	}
}

func (a *app) stats(cmd *cobra.Command, s *session) error {
	d, err := s.store.Describe(cmd.Context())
	if err != nil {
		return fmt.Errorf("describe the store: %w", err)
	}
	st, err := s.inspector.Stats(cmd.Context())
	if err != nil {
		return fmt.Errorf("statistics: %w", err)
	}
	v := statsView{
		Instances: map[string]int64{}, Turns: st.Turns, Unread: st.UnreadMail,
		TasksWaiting: st.TaskWaiting, TasksHeld: st.TaskHeld, Nodes: st.Nodes, Now: timestamp(st.Now),
	}
	v.Store.Kind, v.Store.Version, v.Store.Durability = d.Name, d.Version, d.Durability
	var rows [][]string
	for status := provider.Pending; status <= provider.Quarantined; status++ {
		name := strings.ToLower(status.String())
		v.Instances[name] = st.Instances[status]
		rows = append(rows, []string{name, strconv.FormatInt(st.Instances[status], 10)})
	}
	for _, r := range []struct {
		name string
		n    int64
	}{
		{"turns", st.Turns}, {"unread messages", st.UnreadMail}, {"tasks waiting", st.TaskWaiting},
		{"tasks held", st.TaskHeld}, {"nodes", int64(st.Nodes)},
	} {
		rows = append(rows, []string{r.name, strconv.FormatInt(r.n, 10)})
	}
	return a.print(cmd, v, func(w io.Writer) {
		fmt.Fprintf(w, "%s %s, durability %s\n", d.Name, d.Version, d.Durability)
		table(w, []string{"WHAT", "COUNT"}, rows)
	})
}

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the versions of durango and Go",
		Args:  args(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			v := struct {
				Durango  string `json:"durango"`
				Contract int    `json:"contract"`
				Go       string `json:"go"`
				Platform string `json:"platform"`
			}{moduleVersion(), provider.ContractVersion, runtime.Version(), runtime.GOOS + "/" + runtime.GOARCH}
			return a.print(cmd, v, func(w io.Writer) {
				fmt.Fprintf(w, "durango %s, contract %d, %s, %s\n", v.Durango, v.Contract, v.Go, v.Platform)
			})
		},
	}
}

// moduleVersion is the version of durango that the program was built with.
func moduleVersion() string {
	const path = "github.com/durango-go/durango"
	if info, ok := debug.ReadBuildInfo(); ok {
		if info.Main.Path == path && info.Main.Version != "" {
			return info.Main.Version
		}
		for _, m := range info.Deps {
			if m.Path == path {
				return m.Version
			}
		}
	}
	return "(devel)"
}

func (a *app) workerCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "worker",
		Short: "Run this program's orchestrations and activities until a signal comes",
		Long: `Run this program's orchestrations and activities.

SIGINT and SIGTERM stop it: it claims nothing more, lets running activities end or
gives them back, and exits with 0. A second signal kills it, which loses nothing
but time.`,
		Args: args(),
		RunE: func(cmd *cobra.Command, _ []string) error { return a.rt.Run(cmd.Context()) },
	}
}
