package bench

// target is a figure that DESIGN.md section 10 promises, or the share of the
// limit that it asks for. Peers is what the same machine gave for the best Go
// peer, from the same table; such figures are not measured here.
type target struct {
	row    string // a benchmark's id
	metric string
	atMost bool // otherwise: at least
	value  float64
	unit   string
	peers  string
	source string
}

// design is the table of targets. Those for what is measured by other means
// (recover) are not here.
var design = []target{
	{row: "seq/1/sqlite", metric: "of_bare", value: 0.70, unit: "of the bare loop", source: "seq, 1 in flight, SQLite"},
	{row: "seq/1/sqlite-normal", metric: "rate", value: 10_000, unit: "activities/s", peers: "DBOS 3,430 (NORMAL); go-workflows 213", source: "seq, 1 in flight, SQLite"},
	{row: "seq/64/sqlite", metric: "rate", value: 35_000, unit: "activities/s", peers: "DBOS 2,370 (NORMAL); go-workflows 335; durabletask 146", source: "seq, 64 in flight, SQLite"},
	{row: "seq/64/sqlite", metric: "of_bare", value: 0.50, unit: "of the bare loop", source: "limits: the engine's share"},
	{row: "seq/64/sqlite", metric: "of_rows", value: 0.50, unit: "of the loop with the same rows", source: "limits: the engine's share"},
	{row: "seq/64/sqlite", metric: "cpu_us", atMost: true, value: 30, unit: "µs CPU/activity", peers: "DBOS 260; go-workflows 1,200", source: "CPU per activity (seq ×64), process"},
	{row: "seq/512/sqlite", metric: "rate", value: 70_000, unit: "activities/s", source: "seq, 512 in flight, SQLite"},
	{row: "seq/512/sqlite", metric: "of_bare", value: 0.50, unit: "of the bare loop", source: "limits: the engine's share"},
	{row: "seq/512/sqlite", metric: "of_rows", value: 0.50, unit: "of the loop with the same rows", source: "limits: the engine's share"},
	{row: "fanout/20/sqlite", metric: "rate", value: 60_000, unit: "activities/s", peers: "DBOS 3,650 (NORMAL); go-workflows 503", source: "fanout, SQLite"},
	{row: "long/1000/sqlite", metric: "ratio", value: 1, unit: "of seq ×1", peers: "DBOS 6,180/s (NORMAL); go-workflows 241/s", source: "long, SQLite"},
	{row: "long/10000/sqlite", metric: "ratio", value: 1, unit: "of seq ×1", peers: "go-workflows slows to 106/s", source: "long, SQLite"},
	{row: "long/10000/sqlite", metric: "last_to_first", atMost: true, value: 1.1, unit: "last/first tenth", source: "long, SQLite"},
	{row: "start/no node/sqlite", metric: "rate", value: 50_000, unit: "starts/s", peers: "DBOS 2,450 (NORMAL)", source: "start, SQLite"},
	{row: "event/sqlite", metric: "wall_ms", atMost: true, value: 50, unit: "ms", peers: "DBOS 860 (NORMAL)", source: "event, 500 raised, SQLite"},
	{row: "timer/sqlite", metric: "wall_ms", atMost: true, value: 1050, unit: "ms", peers: "DBOS 1,550 (PostgreSQL)", source: "timer, 1,000 × 1 s"},
	{row: "timer/sqlite", metric: "late_p99_ms", atMost: true, value: 20, unit: "ms late, p99", source: "timer, 1,000 × 1 s"},
	{row: "idle/sqlite", metric: "rss_mib", atMost: true, value: 40, unit: "MiB", peers: "go-workflows 41; DBOS 108", source: "idle, 2,000 waiting"},
	{row: "idle/sqlite", metric: "cpu_percent", atMost: true, value: 0.2, unit: "% CPU", peers: "go-workflows 0.1; DBOS 5", source: "idle, 2,000 waiting"},
	{row: "idle/sqlite", metric: "queries_per_s", atMost: true, value: 5, unit: "statements/s", source: "idle, 2,000 waiting (queries)"},
	{row: "seq/1/postgres", metric: "rate", value: 1_500, unit: "activities/s", peers: "DBOS 1,100", source: "seq, 1 in flight, PostgreSQL"},
	{row: "seq/64/postgres", metric: "rate", value: 14_000, unit: "activities/s", peers: "DBOS 2,250; go-workflows 494; durabletask 484", source: "seq, 64 in flight, PostgreSQL"},
	{row: "seq/64/postgres", metric: "of_bare", value: 0.50, unit: "of the bare loop", source: "limits: the engine's share"},
	{row: "seq/64/postgres", metric: "others_cpu_us", atMost: true, value: 60, unit: "µs CPU/activity, server", peers: "DBOS 480; go-workflows 2,100", source: "CPU per activity (seq ×64), PostgreSQL"},
	{row: "seq/512/postgres", metric: "rate", value: 40_000, unit: "activities/s", source: "seq, 512 in flight, PostgreSQL"},
	{row: "fanout/20/postgres", metric: "rate", value: 30_000, unit: "activities/s", peers: "DBOS 2,350; go-workflows 565; River 8,150", source: "fanout, PostgreSQL"},
	{row: "start/no node/postgres", metric: "rate", value: 25_000, unit: "starts/s", peers: "durabletask 5,075; DBOS 4,670", source: "start, PostgreSQL"},
	{row: "event/postgres", metric: "wall_ms", atMost: true, value: 100, unit: "ms", peers: "DBOS 560", source: "event, 500 raised, PostgreSQL"},
	{row: "replay/engine/sqlite", metric: "rate", value: 1_000_000, unit: "events/s", peers: "Temporal ~110,000 (published)", source: "replay"},
	{row: "replay/machine", metric: "rate", value: 1_000_000, unit: "events/s", peers: "Temporal ~110,000 (published)", source: "replay"},
}

// designLimits are the bare loops that the design measured on such a machine,
// to compare this one with: activities per second.
var designLimits = map[string]float64{
	"bare/1/sqlite": 5_000, "bare/64/sqlite": 75_000, "bare/512/sqlite": 143_000,
	"bare/1/postgres": 2_000, "bare/64/postgres": 27_000, "bare/512/postgres": 84_000,
	"bare/1/sqlite-normal": 21_700, "bare/64/sqlite-normal": 128_000, "bare/512/sqlite-normal": 169_000,
}
