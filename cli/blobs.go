package cli

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/durango-go/durango"
	"github.com/durango-go/durango/provider"

	"github.com/spf13/cobra"
)

// blobView is a content that is stored beside the histories, as JSON has it.
type blobView struct {
	Address   string     `json:"address"`
	Size      int64      `json:"size"`
	PutAt     *time.Time `json:"put_at"`
	Instances int        `json:"instances"`
}

func (a *app) blobsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "blobs",
		Short: "See and collect the contents of blobs that are in the store",
		RunE:  noCommand,
		Args:  cobra.ArbitraryArgs,
	}
	limit := 0
	list := &cobra.Command{
		Use:   "list",
		Short: "List blobs, with how many instances refer to each",
		Args:  args(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if limit <= 0 {
				return Usagef("--limit must be positive")
			}
			return a.with(reading, func(s *session) error { return a.listBlobs(cmd, s, limit) })
		},
	}
	list.Flags().IntVar(&limit, "limit", 100, "how many at most")
	var idle time.Duration
	gc := &cobra.Command{
		Use:   "gc",
		Short: "Delete blobs that no instance refers to",
		Long: "Delete blobs that no instance refers to and that were not put for some time. Nodes do that by\n" +
			"themselves; this does it now. The time must be longer than anything takes between putting a\n" +
			"content and recording it.",
		Args: args(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if idle < time.Minute {
				return Usagef("--idle is %v, the least is 1m", idle)
			}
			return a.with(writing, func(s *session) error { return a.collectBlobs(cmd, s, idle) })
		},
	}
	gc.Flags().DurationVar(&idle, "idle", 24*time.Hour, "for how long a blob is left alone after it was put")
	cmd.AddCommand(list, gc)
	return cmd
}

func (s *session) keeper() (provider.BlobKeeper, error) {
	if k, ok := s.store.(provider.BlobKeeper); ok {
		return k, nil
	}
	return nil, fmt.Errorf("blobs: %w", durango.ErrNotSupported)
}

func (a *app) listBlobs(cmd *cobra.Command, s *session, limit int) error {
	k, err := s.keeper()
	if err != nil {
		return err
	}
	list, err := k.Blobs(cmd.Context(), provider.BlobAddress{}, limit)
	if err != nil {
		return fmt.Errorf("list blobs: %w", err)
	}
	views, rows := []blobView{}, [][]string{}
	for _, b := range list {
		v := blobView{b.Address.String(), b.Size, timestamp(b.PutAt), b.Instances}
		views = append(views, v)
		rows = append(rows, []string{v.Address, strconv.FormatInt(v.Size, 10), v.PutAt.Format(time.RFC3339), strconv.Itoa(v.Instances)})
	}
	return a.print(cmd, map[string]any{"blobs": views}, func(w io.Writer) {
		if len(rows) == 0 {
			fmt.Fprintln(w, "no blobs")
			return
		}
		table(w, []string{"ADDRESS", "BYTES", "PUT", "INSTANCES"}, rows)
	})
}

func (a *app) collectBlobs(cmd *cobra.Command, s *session, idle time.Duration) error {
	k, err := s.keeper()
	if err != nil {
		return err
	}
	deleted, bytes, err := sweepAll(cmd.Context(), k, idle)
	if err != nil {
		return fmt.Errorf("collect blobs: %w", err)
	}
	return a.print(cmd, map[string]any{"deleted": deleted, "bytes": bytes}, func(w io.Writer) {
		fmt.Fprintf(w, "deleted %d blobs of %d bytes\n", deleted, bytes)
	})
}

func sweepAll(ctx context.Context, k provider.BlobKeeper, idle time.Duration) (deleted int, bytes int64, err error) {
	for sweep := (provider.BlobSweep{Idle: int64(idle), Limit: 100}); ; {
		swept, err := k.SweepBlobs(ctx, sweep)
		deleted, bytes = deleted+swept.Deleted, bytes+swept.Bytes
		if err != nil || !swept.More {
			return deleted, bytes, err
		}
		sweep.After = swept.Next
	}
}
