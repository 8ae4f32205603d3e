package postgres

import (
	"cmp"
	"context"
	"math"

	"github.com/jackc/pgx/v5"

	"github.com/durango-go/durango/provider"
)

const (
	// defaultLoadBytes and defaultLoadRows bound a reply that asks for no bound.
	defaultLoadBytes = 16 << 20
	defaultLoadRows  = 20_000
)

// Load implements [provider.Provider]. Everything is read from one snapshot,
// so the order in which tasks and mail are read does not matter.
func (s *Store) Load(ctx context.Context, batch []provider.LoadRequest) ([]provider.Loaded, error) {
	var loaded []provider.Loaded
	err := s.read(ctx, "load", func(run func(*trip) error) error {
		loaded = make([]provider.Loaded, len(batch))
		if len(batch) == 0 {
			return nil
		}
		l := &loading{s: s, batch: batch, loaded: loaded}
		t := s.trip()
		t.add(qBeginRead)
		l.ask(t)
		t.add(qCommit)
		err := run(t)
		l.finish()
		return err
	})
	if err != nil {
		return nil, err
	}
	return loaded, nil
}

type loading struct {
	s      *Store
	batch  []provider.LoadRequest
	loaded []provider.Loaded
	rows   map[provider.Key]provider.Instance
	room   []bounds
}

// bounds counts what a reply carries. The first of each kind always fits.
type bounds struct{ bytes, maxBytes int }

func (b *bounds) admit(have, limit, next int) bool {
	if have > 0 && (limit > 0 && have >= limit || b.bytes+next > b.maxBytes) {
		return false
	}
	b.bytes += next
	return true
}

func (l *loading) ask(t *trip) {
	n := len(l.batch)
	places, shards := make([]int32, n), make([]int32, n)
	keys, from, after, mostTurns, mostMail, mostBytes := make([]int64, n), make([]int64, n), make([]int64, n),
		make([]int64, n), make([]int64, n), make([]int64, n)
	l.rows = map[provider.Key]provider.Instance{}
	l.room = make([]bounds, n)
	for i := range l.batch {
		req := &l.batch[i]
		l.room[i].maxBytes = cmp.Or(req.MaxBytes, defaultLoadBytes)
		places[i], shards[i], keys[i] = int32(i), l.s.keyShard(req.Key), int64(req.Key)
		from[i], after[i], mostBytes[i] = req.FromTurn, req.AfterMail, int64(l.room[i].maxBytes)
		// One row more than fits tells that there is more.
		mostTurns[i] = min(int64(cmp.Or(req.MaxTurns, defaultLoadRows)), math.MaxInt32) + 1
		mostMail[i] = min(int64(cmp.Or(req.MaxMail, defaultLoadRows)), math.MaxInt32) + 1
	}
	t.each(qLoadInstances, func(rows pgx.Rows) error {
		in, err := scanInstance(rows)
		l.rows[in.Key] = in
		return err
	}, shards, keys)
	t.each(qLoadTurns, l.turn, places, shards, keys, from, mostTurns, mostBytes)
	t.each(qLoadTasks, l.number(func(r *provider.Loaded, n int64) { r.Tasks = append(r.Tasks, n) }), places, shards, keys)
	t.each(qLoadMail, l.mail, places, shards, keys, after, mostMail, mostBytes)
	t.each(qLoadAnswered, l.number(func(r *provider.Loaded, n int64) { r.Answered = append(r.Answered, n) }), places, shards, keys)
}

func (l *loading) turn(rows pgx.Rows) error {
	var place int
	h, err := scanTurn(rows, &place)
	if err != nil {
		return err
	}
	r := &l.loaded[place]
	if r.MoreTurns || !l.room[place].admit(len(r.Turns), cmp.Or(l.batch[place].MaxTurns, defaultLoadRows), len(h.Events)) {
		r.MoreTurns = true
		return nil
	}
	r.Turns = append(r.Turns, h)
	return nil
}

func (l *loading) mail(rows pgx.Rows) error {
	var place int
	m, err := scanMail(rows, &place)
	if err != nil {
		return err
	}
	r := &l.loaded[place]
	if r.MoreMail || !l.room[place].admit(len(r.Mail), cmp.Or(l.batch[place].MaxMail, defaultLoadRows), len(m.Payload)) {
		r.MoreMail = true
		return nil
	}
	r.Mail = append(r.Mail, m)
	return nil
}

func (l *loading) number(add func(*provider.Loaded, int64)) func(pgx.Rows) error {
	return func(rows pgx.Rows) error {
		var place int
		var n int64
		if err := rows.Scan(&place, &n); err != nil {
			return err
		}
		add(&l.loaded[place], n)
		return nil
	}
}

func (l *loading) finish() {
	for i := range l.batch {
		in, found := l.rows[l.batch[i].Key]
		if !found {
			l.loaded[i].Err = provider.ErrNotFound
			continue
		}
		l.loaded[i].Instance = in
	}
}

// scanTurn scans the columns of a turn behind those of first.
func scanTurn(rows pgx.Rows, first ...any) (h provider.Turn, err error) {
	err = rows.Scan(append(first, &h.Number, &h.Execution, &h.CommitID, &h.Time, &h.Deliveries, &h.Commands, &h.Events)...)
	return h, err
}

// scanMail scans the columns of a message behind those of first.
func scanMail(rows pgx.Rows, first ...any) (m provider.Mail, err error) {
	err = rows.Scan(append(first, &m.Seq, &m.Execution, &m.Command, &m.Refused, &m.Payload)...)
	return m, err
}
