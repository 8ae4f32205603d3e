package bench

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
)

// childVariable makes the program a child process, which has nothing in memory
// but what is measured. It holds the child's orders.
const childVariable = "DURANGO_BENCH_CHILD"

type childOrders struct{ Peer *peerOrders }

type childReport struct {
	Error  string
	Sample *Sample // of a peer
}

func isChild() bool { return os.Getenv(childVariable) != "" }

// again is a process of this program that finds its orders in a variable.
func (e *env) again(variable string, orders any) (*exec.Cmd, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(orders)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(e, program)
	cmd.Env = append(os.Environ(), variable+"="+string(text))
	if onPostgres(e.store) {
		conn, err := connString()
		if err != nil {
			return nil, err
		}
		cmd.Env = append(cmd.Env, serverVariable+"="+conn)
	}
	return cmd, nil
}

// spawn runs a child process and returns its report.
func (e *env) spawn(o childOrders) (*childReport, error) {
	child, err := e.again(childVariable, o)
	if err != nil {
		return nil, err
	}
	var stdout, stderr bytes.Buffer
	child.Stdout, child.Stderr = &stdout, &stderr
	if err := child.Run(); err != nil {
		return nil, fmt.Errorf("child process: %w: %s", err, tail(stderr.Bytes()))
	}
	var r childReport
	if err := json.Unmarshal(stdout.Bytes(), &r); err != nil {
		return nil, fmt.Errorf("child process: %w", err)
	}
	if r.Error != "" {
		return nil, fmt.Errorf("child process: %s", r.Error)
	}
	return &r, nil
}

// tail is the end of what a process printed.
func tail(b []byte) []byte {
	b = bytes.TrimSpace(b)
	return b[max(0, len(b)-2000):]
}

// childMain is the child process: it prints a childReport on what was its
// standard output; whatever else prints there goes to its standard error.
func childMain() int {
	report := os.Stdout
	os.Stdout = os.Stderr
	var o childOrders
	r := &childReport{}
	err := json.Unmarshal([]byte(os.Getenv(childVariable)), &o)
	switch {
	case err != nil:
	case o.Peer != nil:
		r.Sample, err = measurePeer(o.Peer)
	default:
		err = errors.New("no orders")
	}
	if err != nil {
		r.Error = err.Error()
	}
	if err := json.NewEncoder(report).Encode(r); err != nil {
		return 1
	}
	return 0
}
